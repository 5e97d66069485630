//! The contract of the data path, seen from outside: raw bytes to the real binary, and from a scripted app behind it.
//!
//! Every case is data, and runs against outrigger, nginx and HAProxy alike. Outrigger must do as promised in each of
//! them; what the other two do is only noted. The table of `docs/PROXY.md` is what these tests measured:
//! `CONTRACT_PEERS=write` writes it anew, `CONTRACT_PEERS=off` leaves the other two out. `CONTRACT_ONLY=A07` runs the
//! cases whose ids begin so.
#![expect(clippy::unwrap_used, reason = "a case's scripted app and client fail by panicking")]

#[path = "contract/app.rs"]
mod app;
#[path = "contract/bodies.rs"]
mod bodies;
#[path = "contract/case.rs"]
mod case;
#[path = "contract/chunks.rs"]
mod chunks;
#[path = "contract/client.rs"]
mod client;
#[path = "contract/fields.rs"]
mod fields;
#[path = "contract/heads.rs"]
mod heads;
#[path = "contract/interim.rs"]
mod interim;
#[path = "contract/judge.rs"]
mod judge;
#[path = "contract/lengths.rs"]
mod lengths;
#[path = "contract/limits.rs"]
mod limits;
#[path = "contract/observed.rs"]
mod observed;
#[path = "contract/pool.rs"]
mod pool;
#[path = "contract/replies.rs"]
mod replies;
#[path = "contract/subject.rs"]
mod subject;
#[path = "contract/table.rs"]
mod table;
#[path = "contract/tunnels.rs"]
mod tunnels;
#[path = "contract/wire.rs"]
mod wire;

use std::collections::BTreeSet;
use std::sync::Mutex;

use case::Case;
use subject::Kind;
use table::Measured;

/// Cases that run side by side, each with a proxy of its own: they wait more than they work, with the peers most of all.
const SIDE_BY_SIDE: usize = 8;
const PEERS_SIDE_BY_SIDE: usize = 16;

/// All cases, in the order of the table.
fn cases() -> Vec<&'static Case> {
    let parts = [
        lengths::CASES,
        chunks::CASES,
        heads::CASES,
        replies::CASES,
        fields::CASES,
        bodies::CASES,
        interim::CASES,
        tunnels::CASES,
        pool::CASES,
        limits::CASES,
        observed::CASES,
    ];
    let only = variable("CONTRACT_ONLY").unwrap_or_default();
    let mut all: Vec<&Case> = parts.iter().copied().flatten().filter(|c| c.id.starts_with(&only)).collect();
    // By block; within a block as they stand.
    all.sort_by_key(|case| case.id.split('.').next());
    all
}

#[expect(clippy::disallowed_methods, reason = "tests have no configuration: the environment is theirs")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn measure(cases: &[&'static Case], kind: Kind) -> Measured {
    let threads = if kind == Kind::Outrigger { SIDE_BY_SIDE } else { PEERS_SIDE_BY_SIDE };
    let left = Mutex::new(cases.iter());
    let measured = Mutex::new(Measured::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let next = left.lock().expect("no holder of this lock panics").next();
                    let Some(case) = next else { break };
                    let verdict = judge::run(case, kind);
                    measured.lock().expect("no holder of this lock panics").insert(case.id, verdict);
                }
            });
        }
    });
    measured.into_inner().expect("no holder of this lock panics")
}

/// Runs a group against outrigger: each case as promised, and as the table says.
fn hold(group: char) {
    let cases: Vec<&Case> = cases().into_iter().filter(|case| case.group() == group).collect();
    let measured = measure(&cases, Kind::Outrigger);
    let mut faults = Vec::new();
    for case in &cases {
        let verdict = &measured[case.id];
        if !verdict.is_good() {
            faults.push(format!(
                "{} ({}): {}\n    {}",
                case.id,
                case.name,
                verdict.word,
                verdict.faults.join("\n    ")
            ));
        }
    }
    assert!(
        faults.is_empty(),
        "{} of {} are not as promised:\n{}",
        faults.len(),
        cases.len(),
        faults.join("\n")
    );
    if variable("CONTRACT_PEERS").as_deref() != Some("write") {
        let differences = table::differences(&cases, Kind::Outrigger, &measured);
        assert!(
            differences.is_empty(),
            "docs/PROXY.md is not what was measured:\n{}",
            differences.join("\n")
        );
    }
}

#[test]
fn framing_is_as_promised() {
    hold('A');
}

#[test]
fn fields_and_targets_are_as_promised() {
    hold('B');
}

#[test]
fn bodies_interim_replies_and_tunnels_are_as_promised() {
    hold('C');
}

#[test]
fn the_pool_and_the_limits_are_as_promised() {
    hold('E');
}

#[test]
fn what_is_counted_is_as_promised() {
    hold('H');
}

fn peers(cases: &[&'static Case], kind: Kind) -> Measured {
    let shared: Vec<&Case> = cases.iter().copied().filter(|case| !case.own).collect();
    measure(&shared, kind)
}

/// The table's column of one peer, where it is installed in the version that the table names.
fn compare(kind: Kind) {
    if variable("CONTRACT_PEERS").is_some() {
        eprintln!("SKIPPED: {kind:?} is not compared, for CONTRACT_PEERS is set");
        return;
    }
    match subject::version(kind) {
        Some(version) if table::names_version(kind, &version) => {
            let cases = cases();
            let measured = peers(&cases, kind);
            let other = |case: &&Case| !table::differences(&[*case], kind, &measured).is_empty();
            let others: Vec<&Case> = cases.into_iter().filter(other).collect();
            // Nobody here can mend a peer: what it does otherwise only once, on a busy machine, says nothing.
            let differences = table::differences(&others, kind, &peers(&others, kind));
            assert!(
                differences.is_empty(),
                "docs/PROXY.md is not what was measured:\n{}",
                differences.join("\n")
            );
        }
        Some(version) => eprintln!("SKIPPED: {kind:?} {version} is not the version of the table"),
        None => eprintln!("SKIPPED: {kind:?} is not installed; scripts/test installs it"),
    }
}

#[test]
fn nginx_does_what_the_table_says() {
    compare(Kind::Nginx);
}

#[test]
fn haproxy_does_what_the_table_says() {
    compare(Kind::Haproxy);
}

#[test]
fn the_table_has_every_case_once_and_no_other() {
    let mut ids = BTreeSet::new();
    for case in cases() {
        assert!(ids.insert(case.id.to_owned()), "{} stands twice", case.id);
    }
    if variable("CONTRACT_PEERS").as_deref() == Some("write") {
        write();
    }
    let rows: BTreeSet<String> = table::rows().into_keys().collect();
    if variable("CONTRACT_ONLY").is_none() {
        assert_eq!(rows, ids);
    }
}

fn write() {
    let cases = cases();
    let versions =
        [Kind::Nginx, Kind::Haproxy].map(|kind| subject::version(kind).expect("both are installed"));
    let ours = measure(&cases, Kind::Outrigger);
    let (nginx, haproxy) = (peers(&cases, Kind::Nginx), peers(&cases, Kind::Haproxy));
    table::write(&cases, [&ours, &nginx, &haproxy], [&versions[0], &versions[1]]);
}
