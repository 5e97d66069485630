//! Recorded watches judged again: on one thread, on several, in pieces, from copies; the same verdicts and the same evidence,
//! to the bit.

use std::sync::Arc;

use outrigger::engine::policy::Policy;
use outrigger::engine::tick::{Round, TICK};
use outrigger::engine::verdict::StreamEvidence;
use outrigger::engine::watch::{Judgement, Watch};

use crate::cases::{Case, faults, healthy};
use crate::chance::seed;
use crate::effects::{Effect, Reach};
use crate::history::{History, release};
use crate::run::{Histories, Scale, parallel, setup};
use crate::service::{READY, Service};
use crate::shape::Shape;

const WATCHES: u64 = 1000;
const TICKS: u32 = 36;
const SCALE: Scale = Scale { starts: 1, hours: 0.5, rivals: false };

/// A watch as a record holds it.
struct Recorded {
    history: Arc<History>,
    rounds: Vec<Round>,
}

fn record(run: u64, cases: &[Case], histories: &Histories) -> Recorded {
    let case = &cases[run as usize % cases.len()];
    let rate = [1.0, 5.0, 20.0][run as usize % 3];
    let mut of = setup(case.shape, rate, case.replicas, 3);
    let history = histories.of(&setup(Shape::Even, rate, 1, 3), Shape::Even, &[], SCALE);
    if run.is_multiple_of(5) {
        of.weight = Some(0.5);
    }
    let mut effects = [case.habits.clone(), case.news.clone()].concat();
    if run.is_multiple_of(2) {
        let all = faults();
        let fault = all[(run / 2) as usize % all.len()];
        effects.push(Effect::new(fault.what, Reach::Candidate).from(60.0));
    }
    let mut service = Service::new(of, effects, seed(&[1000, run]), READY);
    Recorded { history, rounds: (0..TICKS).map(|_| service.next().1).collect() }
}

/// All that was said of it, to the bit: floats are compared as they are stored.
#[derive(Debug, PartialEq)]
struct Said {
    judgements: Vec<Judgement>,
    scores: Vec<Option<u64>>,
    evidence: Vec<StreamEvidence>,
    bits: Vec<[u64; 4]>,
}

fn begin(of: &Recorded) -> Watch {
    Watch::begin(READY, release("v2"), Some(of.history.baseline.clone()), Policy::default())
}

fn said(judgements: Vec<Judgement>, watch: &Watch) -> Said {
    let evidence = watch.evidence();
    let bits = |e: &StreamEvidence| [e.ln_requests, e.ln_ticks, e.p0, e.limit].map(f64::to_bits);
    Said {
        scores: judgements.iter().map(|j| j.score.map(f64::to_bits)).collect(),
        judgements,
        bits: evidence.iter().map(bits).collect(),
        evidence,
    }
}

fn replay(of: &Recorded) -> Said {
    let mut watch = begin(of);
    let see = |(i, round): (usize, &Round)| watch.see(READY + TICK * (i as u32 + 1), round);
    let judgements = of.rounds.iter().enumerate().map(see).collect();
    said(judgements, &watch)
}

/// The same from a copy made at every tick, as if it were taken up again each time.
fn replay_in_pieces(of: &Recorded) -> Said {
    let mut watch = begin(of);
    let mut judgements = Vec::new();
    for (i, round) in of.rounds.clone().into_iter().enumerate() {
        let mut taken_up = watch.clone();
        drop(watch);
        judgements.push(taken_up.see(READY + TICK * (i as u32 + 1), &round));
        watch = taken_up;
    }
    said(judgements, &watch)
}

#[test]
fn a_thousand_recorded_watches_are_judged_alike_on_one_thread_and_on_four() {
    let (cases, histories) = (healthy(), Histories::default());
    let runs: Vec<u64> = (0..WATCHES).collect();
    let all = parallel(&runs, |&run| record(run, &cases, &histories));
    let alone: Vec<Said> = all.iter().map(replay).collect();
    let mut together: Vec<Option<Said>> = (0..all.len()).map(|_| None).collect();
    std::thread::scope(|scope| {
        for (part, (records, slots)) in all.chunks(250).zip(together.chunks_mut(250)).enumerate() {
            scope.spawn(move || {
                for (record, slot) in records.iter().zip(slots) {
                    // On half of the threads in pieces.
                    *slot = Some(if part % 2 == 0 { replay(record) } else { replay_in_pieces(record) });
                }
            });
        }
    });
    let degraded = alone.iter().filter(|s| s.judgements.iter().any(Judgement::blames_release)).count();
    assert!((50..950).contains(&degraded), "the records are of both kinds: {degraded} were blamed");
    for (run, (one, four)) in alone.iter().zip(&together).enumerate() {
        assert_eq!(Some(one), four.as_ref(), "record {run}");
    }
}
