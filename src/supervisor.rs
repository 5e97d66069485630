//! The app as a child: spawn, signals, reaping, end.
