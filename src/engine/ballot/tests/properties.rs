//! What holds whatever comes: one agent under random calls, beside a bookkeeper that knows only what was said.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use proptest::{collection, prop_assert, prop_assert_eq};

use super::{aged, ask, key, limits, motion, peer, reply};
use crate::engine::ballot::{Abstention, Ask, Ballot, Objection, Opinion, Out, Roster};
use crate::engine::peer::Peer;

#[derive(Clone, Debug)]
enum Op {
    Beat(u64),
    /// By one of three replicas in one of two starts.
    Asked(u8, u64, Opinion),
    Stand(u32),
    Withdraw,
    /// To the current ask, or to the epoch before it.
    Answered(u8, Opinion, bool),
    Called,
}

fn opinions() -> impl Strategy<Value = Opinion> {
    prop_oneof![
        4 => proptest::strategy::Just(Opinion::Yes),
        1 => proptest::strategy::Just(Opinion::No(Objection::NotDegraded)),
        1 => proptest::strategy::Just(Opinion::Abstain(Abstention::WarmingUp)),
        1 => proptest::strategy::Just(Opinion::Abstain(Abstention::NoVote)),
    ]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        8 => (1_u64..1900).prop_map(Op::Beat),
        // Many beats in one, or nothing ever runs out.
        3 => (20_u64..60).prop_map(|beats| Op::Beat(beats * 10_000)),
        6 => (0_u8..6, 1_u64..9, opinions()).prop_map(|(who, epoch, how)| Op::Asked(who, epoch, how)),
        4 => (0_u32..3).prop_map(Op::Stand),
        1 => proptest::strategy::Just(Op::Withdraw),
        6 => (0_u8..6, opinions(), any::<bool>()).prop_map(|(who, how, old)| Op::Answered(who, how, old)),
        1 => proptest::strategy::Just(Op::Called),
    ];
    collection::vec(op, 1..60)
}

/// What was promised, and who said yes to what.
struct Books {
    ballot: Ballot,
    now: Duration,
    roster: Roster,
    promised: BTreeMap<Peer, Duration>,
    asking: Option<Ask>,
    yes: BTreeMap<String, Opinion>,
}

#[derive(Default)]
struct Seen {
    granted: Cell<u32>,
    denied: Cell<u32>,
    elected: Cell<u32>,
}

fn count(cell: &Cell<u32>) {
    cell.set(cell.get() + 1);
}

fn other(who: u8) -> Peer {
    peer(["b", "c", "d"][usize::from(who / 2)], u64::from(who % 2) + 1)
}

impl Books {
    /// Nobody else is promised anything at this time.
    fn promise(&mut self, to: &Peer) -> Result<(), TestCaseError> {
        let broken = self.promised.iter().find(|(peer, until)| *peer != to && **until > self.now);
        prop_assert!(broken.is_none(), "{to:?} at {:?} beside {broken:?}", self.now);
        self.promised.insert(to.clone(), self.now + limits().lock());
        Ok(())
    }

    fn hear(&mut self, outs: Vec<Out>, seen: &Seen) -> Result<(), TestCaseError> {
        for out in outs {
            match out {
                Out::Ask(ask) => self.stands(&ask)?,
                Out::Elected(proof) => {
                    count(&seen.elected);
                    self.stands(&proof.ask)?;
                    for voter in proof.voters.iter().filter(|voter| **voter != peer("a", 1)) {
                        prop_assert_eq!(self.yes.get(&*voter.replica), Some(&Opinion::Yes));
                    }
                    let yes = u32::try_from(proof.voters.len()).unwrap();
                    prop_assert!(yes >= 1 && yes + proof.roster.down >= self.roster.majority());
                    prop_assert!(yes * 2 + proof.roster.down > self.roster.votes());
                    prop_assert!(proof.roster.down <= self.roster.down);
                    prop_assert!(self.now < proof.expires);
                }
                Out::GaveUp { .. } => {}
            }
        }
        Ok(())
    }

    fn stands(&mut self, ask: &Ask) -> Result<(), TestCaseError> {
        if self.asking.as_ref() != Some(ask) {
            prop_assert!(self.asking.as_ref().is_none_or(|last| last.epoch < ask.epoch));
            self.promise(&peer("a", 1))?;
            self.asking = Some(ask.clone());
            self.yes.clear();
        }
        Ok(())
    }

    fn pass(&mut self, ms: u64, seen: &Seen) -> Result<(), TestCaseError> {
        let end = self.now + Duration::from_millis(if ms >= 200_000 { ms / 10 } else { ms });
        while self.now < end {
            self.now = end.min(self.now + Duration::from_millis(if ms >= 200_000 { 500 } else { ms }));
            let outs = self.ballot.beat(self.now);
            self.hear(outs, seen)?;
        }
        Ok(())
    }

    fn apply(&mut self, op: Op, seen: &Seen) -> Result<(), TestCaseError> {
        match op {
            Op::Beat(ms) => self.pass(ms, seen)?,
            Op::Asked(who, epoch, opinion) => {
                let asked = ask(&other(who), epoch);
                let answer = self.ballot.asked(self.now, &asked, opinion, &self.roster);
                let again = self.ballot.asked(self.now, &asked, opinion, &self.roster);
                prop_assert_eq!(&answer, &again);
                if answer.opinion == Opinion::Yes {
                    prop_assert_eq!(opinion, Opinion::Yes);
                    count(&seen.granted);
                    self.promise(&other(who))?;
                }
                if answer.opinion == Opinion::No(Objection::Granted) {
                    count(&seen.denied);
                }
            }
            Op::Stand(down) => {
                self.roster.down = down;
                self.ballot.stand(self.now, motion(0), self.roster, true);
            }
            Op::Withdraw => self.ballot.withdraw(self.now),
            Op::Answered(who, opinion, old) => {
                let Some(mut asking) = self.asking.clone() else { return Ok(()) };
                if old {
                    asking.epoch -= 1;
                } else {
                    self.yes.insert(other(who).replica.to_string(), opinion);
                }
                let outs = self.ballot.answered(self.now, &reply(&asking, &other(who), opinion));
                self.hear(outs, seen)?;
            }
            Op::Called => self.ballot.called(self.now, &key("d")),
        }
        Ok(())
    }
}

#[test]
fn grants_never_overlap_and_only_a_majority_elects() {
    let seen = Seen::default();
    let mut runner = TestRunner::new(Config { cases: 2_000, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&ops(), |ops| {
        let roster = Roster { version: 0, replicas: 4, watcher: false, down: 0 };
        let ballot = aged(30, &roster);
        let (promised, yes) = (BTreeMap::new(), BTreeMap::new());
        let mut books = Books { ballot, now: Duration::from_secs(30), roster, promised, asking: None, yes };
        ops.into_iter().try_for_each(|op| books.apply(op, &seen))
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    let looked = (seen.granted.get(), seen.denied.get(), seen.elected.get());
    assert!(looked.0 > 500 && looked.1 > 500 && looked.2 > 50, "{looked:?}");
}
