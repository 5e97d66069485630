//! From evidence to a finding: has a limit been passed, and is it the release's, one replica's, or everybody's trouble?

use std::sync::Arc;

use crate::engine::judge::rest::{Blame, Part};
use crate::engine::judge::stream::{Share, Stream};
use crate::engine::judge::{ERRORS_SHARE, Judge};
use crate::engine::policy::Policy;
use crate::engine::verdict::{Breach, StreamName};

/// What the streams say together.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Finding {
    /// No limit was passed.
    Nothing,
    /// One was, but not whose trouble it is.
    Unclear,
    /// One was, but the stable release beside suffers as well, or nearly; `worse_than_its_past` if that one is itself
    /// beyond the limit.
    Shared { worse_than_its_past: bool },
    /// One was; `by` names the replica that carries it alone.
    Breach { breach: Breach, by: Option<Arc<str>> },
}

impl Finding {
    pub(crate) fn from_blame(breach: Breach, blame: Blame) -> Self {
        match blame {
            Blame::All => Self::Breach { breach, by: None },
            Blame::One(replica) => Self::Breach { breach, by: Some(replica) },
            Blame::Unclear => Self::Unclear,
        }
    }

    /// The weightier of two: what is certain before what is not, the release's trouble before a replica's.
    pub(crate) fn or(self, other: impl FnOnce() -> Self) -> Self {
        let weight = |finding: &Self| match finding {
            Self::Nothing => 0,
            Self::Unclear => 1,
            Self::Shared { .. } => 2,
            Self::Breach { by: Some(_), .. } => 3,
            Self::Breach { by: None, .. } => 4,
        };
        if weight(&self) == 4 {
            return self;
        }
        let other = other();
        if weight(&other) > weight(&self) { other } else { self }
    }
}

impl Judge {
    /// What the evidence amounts to now.
    pub(crate) fn finding(&self, policy: &Policy) -> Finding {
        self.find_errors(policy)
            .or(|| self.find_latency(policy))
            .or(|| self.find_routes(policy))
            .or(|| self.find_statuses(policy))
            .or(|| self.find_crashes(policy))
            .or(|| self.find_resources(policy))
    }

    fn shared(&self, stream: &Stream) -> Option<Finding> {
        let is_ours = stream.is_attributed(self.horizon);
        (!is_ours).then(|| Finding::Shared { worse_than_its_past: stream.is_shared(self.horizon) })
    }

    fn find_errors(&self, policy: &Policy) -> Finding {
        let limits = self.limits(policy, ERRORS_SHARE);
        if !self.errors.reaches(self.horizon, limits) {
            return Finding::Nothing;
        }
        if let Some(shared) = self.shared(&self.errors) {
            return shared;
        }
        let passes = |errors: &Stream, _: &[Stream]| errors.reaches(self.horizon, limits);
        let blame = self.rests.blame(passes, |e, l| self.rest_progress(e, l, policy));
        Finding::from_blame(Breach::Errors, blame)
    }

    fn find_latency(&self, policy: &Policy) -> Finding {
        let limits = self.latency_limits(policy);
        let own = self.latencies.iter().map(|(at, stream)| (*at, stream));
        let (requests, ticks) = self.ln_latency(own);
        let loud = |s: &Stream| s.ln_requests(self.horizon);
        let loudest = self.latencies.iter().max_by(|(_, a), (_, b)| loud(a).total_cmp(&loud(b)));
        let Some((_, loudest)) = loudest else { return Finding::Nothing };
        let persists =
            ticks >= limits.ticks || loudest.has_control() && loudest.persists(self.horizon, limits.ticks);
        if requests < limits.requests || !persists {
            return Finding::Nothing;
        }
        if let Some(shared) = self.shared(loudest) {
            return shared;
        }
        let passes = |_: &Stream, slow: &[Stream]| {
            let (requests, ticks) = self.ln_latency(self.at_places(slow));
            requests >= limits.requests && ticks >= limits.ticks
        };
        let blame = self.rests.blame(passes, |e, l| self.rest_progress(e, l, policy));
        Finding::from_blame(Breach::Latency(loudest.null().name), blame)
    }

    fn at_places<'a>(&'a self, of: &'a [Stream]) -> impl Iterator<Item = (usize, &'a Stream)> {
        self.latencies.iter().map(|&(at, _)| at).zip(of)
    }

    /// How far the streams of all replicas but one have come, from 0 to 1.
    fn rest_progress(&self, errors: &Stream, slow: &[Stream], policy: &Policy) -> f64 {
        let of_errors = errors.ln_requests(self.horizon);
        let limits = self.limits(policy, ERRORS_SHARE);
        let of_errors = limits.progress(of_errors, errors.ln_ticks(self.horizon));
        if slow.is_empty() {
            return of_errors;
        }
        let (requests, ticks) = self.ln_latency(self.at_places(slow));
        of_errors.max(self.latency_limits(policy).progress(requests, ticks))
    }

    fn find_routes(&self, policy: &Policy) -> Finding {
        let mut found = Finding::Nothing;
        for (stream, share) in self.routes.reached(self.horizon, self.routes_limits(policy)) {
            let null = stream.null();
            let breach = Breach::Route { stream: null.name, route: null.route.clone().unwrap_or_default() };
            let own = self.shared(stream).unwrap_or_else(|| {
                let blame = self.rests.blame_share(null.p0, |part: &Part| share.of(&part.routes));
                Finding::from_blame(breach, blame)
            });
            found = found.or(|| own);
        }
        found
    }

    fn find_statuses(&self, policy: &Policy) -> Finding {
        let limits = self.statuses_limits(policy);
        let mut found = Finding::Nothing;
        for (at, stream) in self.statuses.iter().filter(|(_, s)| s.reaches(self.horizon, limits)) {
            let StreamName::Status(status) = stream.null().name else { continue };
            let own = self.shared(stream).unwrap_or_else(|| {
                let of = |part: &Part| Share { n: part.counts.routed, k: part.counts.watched[*at] };
                Finding::from_blame(Breach::Status(status), self.rests.blame_share(stream.null().p0, of))
            });
            found = found.or(|| own);
        }
        found
    }

    fn find_crashes(&self, policy: &Policy) -> Finding {
        if self.crashes.ln_requests(self.crashes_horizon()) < self.crashes_limit(policy) {
            return Finding::Nothing;
        }
        Finding::from_blame(Breach::Crashes, self.rests.blame_crashes())
    }

    fn find_resources(&self, policy: &Policy) -> Finding {
        let Some(stream) = self.meters.breach(self.horizon, self.resources_limit(policy)) else {
            return Finding::Nothing;
        };
        Finding::from_blame(Breach::Resource(stream), self.rests.blame_hunger())
    }
}
