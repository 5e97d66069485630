//! A share of the requests for a second app: who gets it, and when a request may go to both.
//!
//! Pure but for [`mirror`]. The choice is made once a request, before any byte of it is sent, from the plan that was
//! read for it; nothing here remembers a client. A client's place is a point on a line of 2^64, made by a hash with
//! avalanche from the rollout's salt and the client's key, and a share is everything below a threshold. So whoever is in
//! at 5 % is in at 10 %, all replicas with one salt agree, and another salt takes other clients.
//!
//! An app that is not well gets nothing at once, whatever cookie the client carries. Where neither is well, requests go
//! to the stable one. A client that forges its key or its cookie chooses its own arm, and nobody else's.
//!
//! It does not know who sets the shares, what a release is, or how requests are sent.

mod bucket;
mod counter;
pub(super) mod crossing;
pub(super) mod mirror;
mod share;

use std::net::IpAddr;
use std::time::Duration;

pub(super) use crate::proxy::split::bucket::{Bucket, COOKIE, Scheme, may_set_cookie, set_cookie};
pub(super) use crate::proxy::split::counter::Counter;
pub(super) use crate::proxy::split::crossing::{Body, Failure, may_fall_back, may_rescue, should_mirror};
pub use crate::proxy::split::share::Share;

use crate::proxy::plan::{Arm, Phase};

/// A second app beside the stable one, and who gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// The second app.
    pub candidate: Arm,
    /// How much of the requests, or of the clients where the choice is sticky, it gets.
    pub share: Share,
    /// How a request's app is chosen.
    pub choice: Choice,
    /// Drawn for each rollout: with another one, other clients are the first. All replicas must have the same.
    pub salt: u64,
    /// Whether the candidate may get anything. `false` moves everybody to the stable app with their next request.
    pub is_candidate_well: bool,
    /// A GET for a hashed asset that the chosen app answers with 404 is asked of the other one.
    pub assets_fall_back: bool,
    /// A safe request without a body that the candidate fails is answered by the stable app.
    pub rescue: bool,
    /// Copies of requests that the stable app answers are sent to the candidate, whose replies are dropped.
    pub mirror: Option<Mirror>,
}

impl Split {
    /// Whether any request of a client may be sent to the candidate.
    fn is_open(&self) -> bool {
        self.is_candidate_well && self.candidate.phase == Phase::Serving && self.share != Share::NONE
    }
}

/// How a request's app is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Each request for itself. Exact in requests; a page and its assets may come from different releases.
    Random,
    /// By the client's key: a client stays where it is while the share only rises.
    Sticky(Key),
    /// By a cookie of our own, for apps whose clients carry no usable key. The first request goes by the client's
    /// address and agent, as all that come before the cookie is known, and so do those of clients that take no cookies.
    Cookie {
        /// How long the cookie is kept; no longer than the rollout lasts.
        max_age: Duration,
    },
}

/// What tells one client from another. Where it is missing or empty: our own cookie, where the client has one, else the
/// client's address with its `User-Agent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// The first line of this field. The name is in lower case.
    Header(String),
    /// The app's own cookie of this name.
    Cookie(String),
    /// None but the fall-back.
    Address,
}

/// A copy of a share of the requests, for an app that is to be tried without harm to anybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// How much of what could be mirrored is.
    pub share: Share,
    /// A request with a longer body is not mirrored; nor is one whose length is not known beforehand.
    pub body_max: usize,
    /// Whether the copy keeps `Cookie` and `Authorization`.
    pub with_credentials: bool,
}

impl Mirror {
    /// The usual [`Mirror::body_max`].
    pub const BODY_MAX: usize = 64 * 1024;
}

/// One of the two apps of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ArmId {
    /// The app that serves.
    Stable,
    /// The one beside it.
    Candidate,
}

impl ArmId {
    /// The other one.
    pub(super) fn other(self) -> Self {
        match self {
            Self::Stable => Self::Candidate,
            Self::Candidate => Self::Stable,
        }
    }
}

/// What the choice looks at. Nothing is looked up that the choice does not need.
pub(super) struct Facts<'a> {
    /// The first line of a field; the name is in lower case.
    pub(super) field: &'a dyn Fn(&str) -> Option<&'a [u8]>,
    /// A cookie's value.
    pub(super) cookie: &'a dyn Fn(&str) -> Option<&'a [u8]>,
    /// The other end of the client's connection; looked at where no edge tells the client's address.
    pub(super) peer: IpAddr,
}

/// The app for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) arm: ArmId,
    /// The reply should set this cookie, whichever app was chosen, if [`may_set_cookie`]: where only the candidate's
    /// replies set one, the cookie-less would be drawn again and again, and end in the candidate.
    pub(super) bucket: Option<Bucket>,
}

/// Chooses the app for a request. Nothing and everything are exact, and cost no look at the request.
pub(super) fn choose(split: &Split, facts: &Facts<'_>, counter: &Counter) -> Chosen {
    let chosen = |is_in, bucket| Chosen { arm: if is_in { ArmId::Candidate } else { ArmId::Stable }, bucket };
    if !split.is_open() {
        return chosen(false, None);
    }
    if split.share == Share::ALL {
        return chosen(true, None);
    }
    match &split.choice {
        Choice::Random => chosen(counter.takes(split.share), None),
        Choice::Sticky(key) => {
            let point = named(key, facts).map(|name| share::point(split.salt, name));
            chosen(
                split.share.holds(point.unwrap_or_else(|| known_bucket(split, facts).point(split.salt))),
                None,
            )
        }
        Choice::Cookie { .. } => {
            let carried = Bucket::carried(facts);
            let bucket = carried.unwrap_or_else(|| Bucket::of_client(split.salt, facts));
            let is_in = split.share.holds(bucket.point(split.salt));
            chosen(is_in, carried.is_none().then_some(bucket))
        }
    }
}

fn named<'a>(key: &Key, facts: &Facts<'a>) -> Option<&'a [u8]> {
    let value = match key {
        Key::Header(name) => (facts.field)(name),
        Key::Cookie(name) => (facts.cookie)(name),
        Key::Address => None,
    };
    value.filter(|value| !value.is_empty())
}

fn known_bucket(split: &Split, facts: &Facts<'_>) -> Bucket {
    Bucket::carried(facts).unwrap_or_else(|| Bucket::of_client(split.salt, facts))
}

#[cfg(test)]
mod tests;
