//! The data path: listening, forwarding, timing, and whose fault a failure was.
