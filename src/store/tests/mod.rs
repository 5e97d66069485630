//! The store as its callers see it, on real files.

mod kill;
mod limits;
mod opening;
mod outbox;
mod rounds;
mod watches;
mod writing;

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use crate::config;
use crate::engine::baseline::Baseline;
use crate::engine::history::{Fact, KeptFact};
use crate::engine::policy::Policy;
use crate::engine::record::{Decided, Decision, Happening, Pause, Progress, Reason, Record};
use crate::engine::release::{RecordId, Release};
use crate::engine::tick::Tick;
use crate::engine::time::Time;
use crate::engine::verdict::{Breach, Verdict};
use crate::engine::window::Latencies;
use crate::store::{self, DATABASE_FILE, Store, Write};

/// Room for all that any test writes: on a busy machine a child that is to be killed writes thousands of records first.
pub(super) fn settings(dir: &Path) -> config::Store {
    config::Store { dir: dir.to_owned(), dir_is_explicit: true, evidence_max: 20_000, records_max: 1_000_000 }
}

pub(super) fn open(dir: &Path) -> Store {
    store::open(&settings(dir)).unwrap()
}

pub(super) fn release(name: &str) -> Release {
    Release::new(name).unwrap()
}

fn record(ms: u64, boot: u16, what: Happening) -> Record {
    let at = Time::from_millis(1_763_848_800_000 + ms);
    Record { id: RecordId::new(at, boot, 0), at, release: release("v2"), what }
}

fn ready(ms: u64) -> Record {
    record(ms, 0, Happening::Ready)
}

pub(super) fn rollback(ms: u64, progress: Progress) -> Record {
    let since = Time::from_millis(1_763_848_800_000);
    let decided = Decided {
        decision: Decision::RollBack,
        reasons: vec![Reason::Degraded, Reason::LastKnownGood],
        target: Some(release("v1")),
        verdict: Verdict::Degraded { breach: Breach::Errors, since },
        diagnosis: None,
        point: None,
        evidence: Vec::new(),
        baseline: None,
        ready_at: Some(since),
        policy: Policy::default(),
        progress,
        certificate: None,
        steps: Vec::new(),
    };
    record(ms, 0, Happening::Decided(Box::new(decided)))
}

pub(super) fn tick(n: u64, pairs: u64) -> Tick {
    let from = Time::from_millis(1_763_848_800_000 + n * 5000);
    let latencies =
        (0..pairs).map(|i| (2_000 + (n * 7_919 + i * i * 37) % 400_000, 1 + (n + i) % 5)).collect();
    Tick {
        from,
        to: from + Duration::from_secs(5),
        judged: 500,
        failed: n % 3,
        latencies: Latencies::new(latencies),
        ended: 501,
        arrived: 502,
        answered: 500,
        waiting: 3,
        overdue: 1,
        stalled: n % 2 == 1,
        ..Tick::default()
    }
}

pub(super) fn watch_id(name: &str) -> RecordId {
    RecordId::from_stored(&format!("watch-of-{name}"))
}

/// A tick as a fact of the release's only watch; its place is its number.
fn seen(name: &str, n: u64, tick: Tick) -> Write {
    let (watch, at, fact) = (watch_id(name), tick.to, Fact::Tick(Box::new(tick)));
    Write::Fact(Box::new(KeptFact { watch, seq: n as u32, at, release: release(name), fact }))
}

pub(super) fn baseline(name: &str, ticks: u64) -> Baseline {
    let mut baseline = Baseline::empty(release(name), tick(0, 0).from);
    (0..ticks).for_each(|n| baseline.learn(&tick(n, 50), Duration::from_secs(600 + n * 5)));
    baseline
}

fn pause() -> Pause {
    Pause {
        by: "ana".to_owned(),
        reason: "migration".to_owned(),
        since: Time::from_millis(5),
        until: Some(Time::from_millis(9)),
    }
}

fn paused(pause: Option<Pause>) -> Write {
    Write::Pause { pause, at: Time::from_millis(6) }
}

async fn write_all(store: &Store, writes: impl IntoIterator<Item = Write>) {
    for write in writes {
        store.write(write).await.unwrap();
    }
}

/// The database beside the store, for what no caller may do.
pub(super) fn beside(dir: &Path) -> Connection {
    Connection::open(dir.join(DATABASE_FILE)).unwrap()
}
