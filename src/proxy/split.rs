//! A share of the requests for a second app.

use crate::proxy::plan::Arm;

/// A second app beside the stable one, and who gets it.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// The second app.
    pub candidate: Arm,
}

/// One of the two arms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArmId {
    /// The app that serves.
    Stable,
    /// The one beside it.
    Candidate,
}
