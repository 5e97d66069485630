//! The evidence of random counts against a second computation: exact rationals in Python, which shares no line with the
//! judge.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use fastrand::Rng;
use outrigger::engine::baseline::Baseline;
use outrigger::engine::policy::Policy;
use outrigger::engine::tick::{Round, TICK, Tick};
use outrigger::engine::time::Time;
use outrigger::engine::verdict::{StreamEvidence, StreamName};
use outrigger::engine::watch::Watch;

use crate::chance::seed;
use crate::history::release;
use crate::service::READY;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/study/exact.py");
const SEQUENCES: u64 = 240;
/// As far as both may differ: in units of the value, or absolutely near zero.
const TOLERANCE: f64 = 1e-9;

/// A tick with nothing in it but counts.
pub(crate) fn counted(from: Time, n: u64, k: u64) -> Tick {
    Tick { from, to: from + TICK, judged: n, failed: k, ended: n, arrived: n, answered: n, ..Tick::default() }
}

/// A history of an hour in which `failed` of 100 requests a tick failed in every so many ticks.
pub(crate) fn counted_history(every: u64, failed: u64) -> Baseline {
    let begin = READY - Duration::from_secs(7200);
    let mut baseline = Baseline::empty(release("v1"), begin);
    for i in 0..720_u64 {
        let from = begin + TICK * i as u32;
        let k = if every > 0 && i % every == 0 { failed } else { 0 };
        baseline.learn(&counted(from, 100, k), Duration::from_secs(7200 + 5 * i));
    }
    baseline
}

/// The evidence about errors.
pub(crate) fn errors_of(watch: &Watch) -> StreamEvidence {
    watch.evidence().into_iter().find(|e| e.name == StreamName::Errors).expect("errors are always judged")
}

/// A watch of random counts: what was weighed, tick by tick, and the evidence at the end.
struct Sequence {
    weighed: Vec<(u64, u64, f64)>,
    ln_requests: f64,
    is_past_watch: bool,
}

fn sequence(run: u64) -> Sequence {
    let mut rng = Rng::with_seed(seed(&[99, run]));
    let baseline = counted_history(rng.u64(0..20), rng.u64(1..30));
    let is_past_watch = run.is_multiple_of(3);
    let mut watch = Watch::begin(READY, release("v2"), Some(baseline), Policy::default());
    if is_past_watch {
        watch = watch.is_past_watch();
    }
    let (busy, bad) = (rng.u64(1..25), rng.f64() * rng.f64() * 0.3);
    let mut weighed = Vec::new();
    let mut seen = 0;
    // The warm-up, which is not weighed, ends after 30 s and 50 requests.
    for i in 0..rng.u32(40..90) {
        let n = rng.u64(0..=busy);
        let k = (0..n).filter(|_| rng.f64() < bad).count() as u64;
        let tick = counted(READY + TICK * i, n, k);
        let now = tick.to;
        watch.see(now, &Round::single(tick));
        let errors = errors_of(&watch);
        if errors.requests > seen {
            assert_eq!(errors.requests - seen, n, "a tick is weighed as a whole or not at all");
            weighed.push((n, k, errors.p0));
            seen = errors.requests;
        }
    }
    Sequence { weighed, ln_requests: errors_of(&watch).ln_requests, is_past_watch }
}

#[test]
fn the_evidence_of_random_counts_equals_that_of_exact_rationals() {
    let all: Vec<Sequence> = (0..SEQUENCES).map(sequence).collect();
    let ticks = Policy::default().watch.as_secs() / TICK.as_secs();
    let mut input = String::new();
    for of in &all {
        let listed: Vec<String> = of.weighed.iter().map(|(n, k, p0)| format!("[{n}, {k}, {p0:?}]")).collect();
        input.push_str(&format!("{{\"watch_ticks\": {ticks}, \"ticks\": [{}]}}\n", listed.join(", ")));
    }
    let Some(output) = python(&input) else { return };
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines.len(), all.len(), "{output}");
    let mut loudest = f64::NEG_INFINITY;
    for (run, (of, line)) in all.iter().zip(lines).enumerate() {
        let both: Vec<f64> = line.split(' ').map(|word| word.parse().expect("it is a number")).collect();
        let want = both[usize::from(of.is_past_watch)];
        let got = of.ln_requests;
        if !want.is_finite() {
            assert!(got == want, "run {run}: {got} for {want}");
            continue;
        }
        assert!((got - want).abs() <= TOLERANCE * want.abs().max(1.0), "run {run}: {got} for {want}");
        loudest = loudest.max(want);
    }
    assert!(loudest > 100.0, "some of the sequences are evidence, the strongest of e^{loudest}");
}

/// What the script says; `None` where there is no Python and that may be.
fn python(input: &str) -> Option<String> {
    let child = Command::new("python3").arg(SCRIPT).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut child) = child else {
        assert!(!must_be_whole(), "python3 is missing: scripts/test installs it");
        eprintln!("SKIPPED: python3 is missing; scripts/test installs it");
        return None;
    };
    let mut stdin = child.stdin.take().expect("it was piped");
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input.as_bytes()).expect("the script reads all of it"));
        let output = child.wait_with_output().expect("the script ends");
        assert!(output.status.success(), "{:?}", output.status);
        Some(String::from_utf8(output.stdout).expect("it writes numbers"))
    })
}

/// Whether what is missing is a failure and no reason to skip.
#[expect(
    clippy::disallowed_methods,
    reason = "a test reads its own switches; there is no configuration here"
)]
fn must_be_whole() -> bool {
    std::env::var_os("CI").is_some()
}
