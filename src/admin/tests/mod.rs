//! The admin port as its clients see it, over real sockets.

pub(crate) mod fixture;
