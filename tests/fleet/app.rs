//! The simulated app and its clients: what one replica's agent observes in a second.

use outrigger::engine::observation::{Method, Outcome, StatusClass};
use outrigger::engine::tick::ProbeTick;
use outrigger::engine::time::Time;
use outrigger::engine::window::{Count, Latencies, Window};

use crate::chance::Chance;

/// How the app behaves for a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// It is as it always was.
    Well,
    /// Two of five requests fail.
    Failing,
    /// Everything takes six times as long.
    Slow,
}

/// A second of one replica.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Second {
    pub(crate) health: Health,
    /// Requests.
    pub(crate) requests: u64,
    /// Its database answers; `None`: it has none that is asked.
    pub(crate) database: Option<bool>,
    /// The agent was not run in time.
    pub(crate) stalled: bool,
}

const FAST_US: u64 = 8_000;
const USUAL_US: u64 = 13_000;
const SLOW_US: u64 = 31_000;

/// What the agent's recorder would hand over.
pub(crate) fn window(chance: &mut Chance, from: Time, to: Time, second: Second) -> Window {
    let arrived = second.requests;
    let failing = if second.health == Health::Failing { 400 } else { 2 };
    let failed = (0..arrived).filter(|_| chance.per_mille(failing)).count() as u64;
    let factor = if second.health == Health::Slow { 6 } else { 1 };
    let slow = (0..arrived).filter(|_| chance.per_mille(40)).count() as u64;
    let usual = ((arrived + chance.below(4)) / 4).min(arrived - slow);
    let latencies = vec![
        (FAST_US * factor, arrived - slow - usual),
        (USUAL_US * factor, usual),
        (SLOW_US * factor, slow),
    ];
    let count = |status, outcome, count| Count { method: Method::Get, status, outcome, count };
    Window {
        from,
        to,
        counts: vec![
            count(StatusClass::Success, Outcome::Answered, arrived - failed),
            count(StatusClass::ServerError, Outcome::AppError, failed),
        ],
        latencies: Latencies::new(latencies),
        arrived,
        answered: arrived,
        stalled: second.stalled,
        probes: second.database.map(probe).into_iter().collect(),
        ..Window::default()
    }
}

fn probe(is_well: bool) -> ProbeTick {
    ProbeTick {
        name: "database".into(),
        ok: u64::from(is_well),
        failed: u64::from(!is_well),
        latencies: Latencies::new(vec![(900, u64::from(is_well))]),
        load: None,
    }
}
