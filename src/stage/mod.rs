//! The stand-in platform, the demo's app and its load.
