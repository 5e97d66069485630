//! Active checks: is the app ready?
//!
//! It owns the question and how often it is asked. It does not know what follows from the answer, and never gives up by
//! itself: how long an app may take to start is not its business, so whoever asks drops the question.

mod readiness;

pub use crate::prober::readiness::{Place, Readiness, Target};
