//! The rules one by one.

mod properties;

use std::time::Duration;

use super::voter::KEYS_MAX;
use super::*;
use crate::engine::peer::Boot;

pub(super) fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

pub(super) fn peer(replica: &str, boot: u64) -> Peer {
    Peer { replica: replica.into(), boot: Boot(boot) }
}

pub(super) fn key(name: &str) -> Key {
    Key { deployment: Deployment::new(name).unwrap() }
}

pub(super) fn motion(rank: u32) -> Motion {
    Motion { key: key("d"), target: Release::new("good").unwrap(), policy: 1, baseline: 2, rank }
}

pub(super) const fn roster(replicas: u32, down: u32) -> Roster {
    Roster { version: 0, replicas, watcher: false, down }
}

pub(super) fn ask(from: &Peer, epoch: u64) -> Ask {
    let Motion { key, target, policy, baseline, .. } = motion(0);
    Ask { key, epoch, target, candidate: from.clone(), roster: 0, policy, baseline }
}

/// Beats from `from` to `to`, four times a second, and collects what is said with its second.
pub(super) fn run(ballot: &mut Ballot, from: u64, to: u64) -> Vec<(u64, Out)> {
    let beats = (from * 4 + 1)..=(to * 4);
    beats
        .flat_map(|q| ballot.beat(Duration::from_millis(q * 250)).into_iter().map(move |o| (q / 4, o)))
        .collect()
}

/// An agent `a` that has run for so long and known its roster from the start.
pub(super) fn aged(until: u64, roster: &Roster) -> Ballot {
    let mut ballot = Ballot::new(peer("a", 1), limits());
    ballot.roster(Duration::ZERO, roster);
    ballot.beat(Duration::ZERO);
    run(&mut ballot, 0, until);
    ballot
}

pub(super) fn reply(ask: &Ask, voter: &Peer, opinion: Opinion) -> Answer {
    let (key, candidate) = (ask.key.clone(), ask.candidate.clone());
    Answer { key, epoch: ask.epoch, candidate, voter: voter.clone(), opinion, seen: ask.epoch }
}

/// A lock of 26 s, which is easier to count by.
fn limits() -> Limits {
    Limits { drift: Duration::from_secs(1), ..Limits::default() }
}

fn asks(said: &[(u64, Out)]) -> Vec<Ask> {
    said.iter()
        .filter_map(|(_, out)| if let Out::Ask(ask) = out { Some(ask.clone()) } else { None })
        .collect()
}

/// Stands at `now` and gives back what it asks.
fn standing(ballot: &mut Ballot, now: u64, roster: Roster) -> Ask {
    ballot.stand(secs(now), motion(0), roster, true);
    let said = ballot.beat(secs(now));
    let [Out::Ask(ask)] = said.as_slice() else { panic!("{said:?}") };
    ask.clone()
}

fn certificate(outs: &[Out]) -> Certificate {
    let [Out::Elected(certificate)] = outs else { panic!("{outs:?}") };
    certificate.clone()
}

#[test]
fn one_yes_beside_its_own_elects_it_among_three_once() {
    let three = roster(3, 0);
    let mut a = aged(40, &three);
    let ask = standing(&mut a, 40, three);
    let outs = a.answered(secs(41), &reply(&ask, &peer("b", 1), Opinion::Yes));
    let proof = certificate(&outs);
    assert_eq!(proof.voters, [peer("a", 1), peer("b", 1)]);
    assert_eq!((proof.began, proof.expires), (secs(40), secs(50)));
    assert!(a.answered(secs(41), &reply(&ask, &peer("c", 1), Opinion::Yes)).is_empty());
    assert!(a.may_call(secs(41), &proof));
}

#[test]
fn a_certificate_ends_with_its_lease() {
    let three = roster(3, 0);
    let mut a = aged(40, &three);
    let ask = standing(&mut a, 40, three);
    let proof = certificate(&a.answered(secs(41), &reply(&ask, &peer("b", 1), Opinion::Yes)));
    run(&mut a, 41, 49);
    assert!(a.may_call(Duration::from_millis(49_999), &proof));
    assert!(!a.may_call(secs(50), &proof));
    let said = run(&mut a, 49, 80);
    assert!(!asks(&said).is_empty(), "it stands again when its own grant has run out: {said:?}");
    assert!(!a.may_call(secs(80), &proof));
}

#[test]
fn an_order_is_given_once() {
    let three = roster(3, 0);
    let mut a = aged(40, &three);
    let ask = standing(&mut a, 40, three);
    let proof = certificate(&a.answered(secs(41), &reply(&ask, &peer("b", 1), Opinion::Yes)));
    a.called(secs(42), &key("d"));
    assert!(!a.may_call(secs(42), &proof));
    a.stand(secs(42), motion(0), three, true);
    assert_eq!(run(&mut a, 42, 100), []);
}

#[test]
fn who_called_keeps_its_own_lock_whatever_it_stands_for_next() {
    let three = roster(3, 0);
    let mut a = aged(40, &three);
    let ask_ = standing(&mut a, 40, three);
    certificate(&a.answered(secs(41), &reply(&ask_, &peer("b", 1), Opinion::Yes)));
    run(&mut a, 41, 49);
    a.called(secs(49), &key("d"));
    a.withdraw(secs(49));
    a.stand(secs(49), motion(0), three, true);
    let said = run(&mut a, 49, 74);
    assert_eq!(said, [], "49 s and the lock of 26 s are not over");
    let other = a.asked(secs(74), &ask(&peer("b", 1), 9), Opinion::Yes, &three);
    assert_eq!(other.opinion, Opinion::No(Objection::Granted));
    assert!(!asks(&run(&mut a, 74, 76)).is_empty());
}

#[test]
fn whoever_started_a_short_while_ago_neither_grants_nor_stands() {
    let three = roster(3, 0);
    let mut a = aged(25, &three);
    let answer = a.asked(secs(25), &ask(&peer("b", 1), 1), Opinion::Yes, &three);
    assert_eq!(answer.opinion, Opinion::Abstain(Abstention::Quiet));
    a.stand(secs(25), motion(0), three, true);
    assert_eq!(a.beat(secs(25)), []);
    let said = run(&mut a, 25, 26);
    assert!(matches!(said.as_slice(), [(26, Out::Ask(_))]), "{said:?}");
}

#[test]
fn whoever_stood_still_neither_grants_nor_stands_nor_calls() {
    let three = roster(3, 0);
    let mut a = aged(40, &three);
    let asked = standing(&mut a, 40, three);
    let proof = certificate(&a.answered(secs(41), &reply(&asked, &peer("b", 1), Opinion::Yes)));
    assert!(a.may_call(secs(43), &proof));
    assert!(!a.may_call(Duration::from_millis(43_001), &proof), "before it has even noticed");
    a.beat(secs(44));
    assert!(!a.may_call(secs(44), &proof));
    run(&mut a, 44, 73);
    let answer = a.asked(secs(73), &ask(&peer("b", 1), 9), Opinion::Yes, &three);
    assert_eq!(answer.opinion, Opinion::Abstain(Abstention::Tilt));
    a.stand(secs(73), motion(0), three, true);
    assert!(asks(&run(&mut a, 73, 74)).len() == 1, "tilted until 74 s");
}

#[test]
fn a_grant_binds_until_the_call_must_have_landed() {
    let three = roster(3, 0);
    let mut a = aged(40, &three);
    let (b, c) = (peer("b", 1), peer("c", 1));
    assert_eq!(a.asked(secs(40), &ask(&b, 1), Opinion::Yes, &three).opinion, Opinion::Yes);
    run(&mut a, 40, 65);
    let denied = a.asked(secs(65), &ask(&c, 2), Opinion::Yes, &three);
    assert_eq!((denied.opinion, denied.seen), (Opinion::No(Objection::Granted), 1));
    assert_eq!(a.asked(secs(66), &ask(&c, 2), Opinion::Yes, &three).opinion, Opinion::Yes);
}

#[test]
fn a_grant_is_one_starts_and_not_the_replicas() {
    let three = roster(3, 0);
    let mut a = aged(40, &three);
    assert_eq!(a.asked(secs(40), &ask(&peer("b", 1), 1), Opinion::Yes, &three).opinion, Opinion::Yes);
    let again = a.asked(secs(41), &ask(&peer("b", 2), 2), Opinion::Yes, &three);
    assert_eq!(again.opinion, Opinion::No(Objection::Granted));
}

#[test]
fn a_yes_said_again_binds_again_for_the_whole_time() {
    let three = roster(3, 0);
    let mut a = aged(40, &three);
    let (b, c) = (peer("b", 1), peer("c", 1));
    let first = a.asked(secs(40), &ask(&b, 1), Opinion::Yes, &three);
    assert_eq!(a.asked(secs(40), &ask(&b, 1), Opinion::Yes, &three), first);
    assert_eq!(a.asked(secs(42), &ask(&c, 7), Opinion::Yes, &three).opinion, Opinion::No(Objection::Granted));
    // Somebody else's epoch does not make a lost answer unrepeatable.
    assert_eq!(a.asked(secs(44), &ask(&b, 1), Opinion::Yes, &three).opinion, Opinion::Yes);
    run(&mut a, 44, 69);
    assert_eq!(a.asked(secs(69), &ask(&c, 8), Opinion::Yes, &three).opinion, Opinion::No(Objection::Granted));
    run(&mut a, 69, 70);
    assert_eq!(a.asked(secs(70), &ask(&c, 8), Opinion::Yes, &three).opinion, Opinion::Yes);
    run(&mut a, 70, 96);
    let stale = a.asked(secs(96), &ask(&b, 1), Opinion::Yes, &three);
    assert_eq!((stale.opinion, stale.seen), (Opinion::No(Objection::Stale), 8));
}

#[test]
fn another_roster_is_refused() {
    let three = roster(3, 0);
    let mut a = aged(40, &three);
    let foreign = Ask { roster: 8, ..ask(&peer("b", 1), 1) };
    assert_eq!(
        a.asked(secs(40), &foreign, Opinion::Yes, &three).opinion,
        Opinion::No(Objection::OtherRoster)
    );
}

#[test]
fn who_does_not_agree_promises_nothing() {
    let three = roster(3, 0);
    let mut a = aged(40, &three);
    for opinion in [Opinion::No(Objection::NotDegraded), Opinion::Abstain(Abstention::NoVote)] {
        assert_eq!(a.asked(secs(40), &ask(&peer("b", 1), 1), opinion, &three).opinion, opinion);
    }
    assert_eq!(a.asked(secs(40), &ask(&peer("c", 1), 1), Opinion::Yes, &three).opinion, Opinion::Yes);
}

#[test]
fn nobody_stands_by_an_electorate_that_is_new_to_it() {
    let mut a = aged(40, &roster(3, 0));
    let five = Roster { version: 2, ..roster(5, 0) };
    a.roster(secs(40), &five);
    a.stand(secs(41), motion(0), five, true);
    assert_eq!(run(&mut a, 41, 65), []);
    assert!(!asks(&run(&mut a, 65, 66)).is_empty());
}

#[test]
fn a_new_electorate_voids_a_certificate() {
    let three = roster(3, 0);
    let mut a = aged(40, &three);
    let ask = standing(&mut a, 40, three);
    let proof = certificate(&a.answered(secs(41), &reply(&ask, &peer("b", 1), Opinion::Yes)));
    a.roster(secs(42), &Roster { version: 2, ..roster(5, 0) });
    assert!(!a.may_call(secs(42), &proof));
}

#[test]
fn who_is_down_is_missed_once_its_own_grants_have_run_out() {
    let mut a = aged(40, &roster(2, 0));
    let two = roster(2, 1);
    let ask = standing(&mut a, 40, two);
    assert_eq!((ask.epoch, ask.roster), (1, 0));
    let mut said = Vec::new();
    for now in 41..80 {
        said.extend(run(&mut a, now - 1, now));
        a.stand(secs(now), motion(0), two, true);
    }
    let elected: Vec<u64> =
        said.iter().filter(|(_, o)| matches!(o, Out::Elected(_))).map(|(at, _)| *at).collect();
    assert_eq!(elected.len(), 1, "{said:?}");
    assert!(elected[0] >= 66, "down since 40 s, and a grant binds for 26 s: {elected:?}");
}

#[test]
fn a_certificate_ends_when_one_that_it_counted_as_down_is_back() {
    let mut a = aged(40, &roster(2, 0));
    a.roster(secs(40), &roster(2, 1));
    run(&mut a, 40, 66);
    a.stand(secs(66), motion(0), roster(2, 1), true);
    let proof = certificate(&a.beat(secs(66)));
    assert_eq!(proof.roster.down, 1);
    assert!(a.may_call(secs(66), &proof));
    a.stand(secs(67), motion(0), roster(2, 0), true);
    assert!(!a.may_call(secs(67), &proof));
}

#[test]
fn the_dead_elect_nobody_whom_the_living_might_contradict() {
    let mut a = aged(40, &roster(3, 1));
    let ask = standing(&mut a, 40, roster(3, 1));
    assert_eq!(a.view(secs(40)).standing.map(|s| s.needed), Some(2));
    let proof = certificate(&a.answered(secs(41), &reply(&ask, &peer("b", 1), Opinion::Yes)));
    assert_eq!(proof.voters.len(), 2);
}

#[test]
fn neither_an_abstention_nor_silence_nor_a_no_is_a_yes() {
    let three = roster(3, 0);
    let mut a = aged(40, &three);
    let ask = standing(&mut a, 40, three);
    assert_eq!(a.answered(secs(40), &reply(&ask, &peer("b", 1), Opinion::Abstain(Abstention::Quiet))), []);
    assert_eq!(a.answered(secs(40), &reply(&ask, &peer("c", 1), Opinion::No(Objection::Granted))), []);
    let said = run(&mut a, 40, 49);
    assert_eq!(asks(&said).len(), said.len(), "{said:?}");
    assert!(said.len() >= 17, "each half second: {}", said.len());
}

#[test]
fn a_replica_has_one_vote_however_often_it_starts() {
    let five = roster(5, 0);
    let mut a = aged(40, &five);
    let ask = standing(&mut a, 40, five);
    for boot in 1..5 {
        assert_eq!(a.answered(secs(40), &reply(&ask, &peer("b", boot), Opinion::Yes)), []);
    }
    // Its own ghost neither adds to its vote nor takes it away.
    assert_eq!(a.answered(secs(40), &reply(&ask, &peer("a", 7), Opinion::Yes)), []);
    assert_eq!(a.answered(secs(40), &reply(&ask, &peer("a", 7), Opinion::No(Objection::Paused))), []);
    certificate(&a.answered(secs(40), &reply(&ask, &peer("c", 1), Opinion::Yes)));
}

#[test]
fn an_answer_to_somebody_or_something_else_does_not_count() {
    let three = roster(3, 0);
    let mut a = aged(40, &three);
    let ask_ = standing(&mut a, 40, three);
    let b = peer("b", 1);
    let yes = reply(&ask_, &b, Opinion::Yes);
    for wrong in [
        Answer { epoch: 2, ..yes.clone() },
        Answer { candidate: peer("a", 9), ..yes.clone() },
        Answer { key: key("e"), ..yes.clone() },
    ] {
        assert_eq!(a.answered(secs(40), &wrong), []);
    }
    certificate(&a.answered(secs(40), &yes));
}

#[test]
fn more_voters_than_votes_elect_nobody() {
    let two = Roster { watcher: false, ..roster(2, 0) };
    let mut a = aged(40, &two);
    let ask = standing(&mut a, 40, two);
    assert_eq!(a.answered(secs(40), &reply(&ask, &peer("c", 1), Opinion::No(Objection::NotDegraded))), []);
    assert_eq!(a.answered(secs(40), &reply(&ask, &peer("b", 1), Opinion::Yes)), []);
}

#[test]
fn a_candidate_without_a_vote_needs_a_majority_of_others() {
    let two = roster(2, 0);
    let mut w = aged(40, &two);
    w.stand(secs(40), motion(0), two, false);
    let said = w.beat(secs(40));
    let [Out::Ask(ask)] = said.as_slice() else { panic!("{said:?}") };
    assert_eq!(w.answered(secs(40), &reply(ask, &peer("b", 1), Opinion::Yes)), []);
    let proof = certificate(&w.answered(secs(40), &reply(ask, &peer("c", 1), Opinion::Yes)));
    assert_eq!(proof.voters, [peer("b", 1), peer("c", 1)]);
}

#[test]
fn it_tries_so_often_and_then_says_that_a_person_must_act() {
    let three = roster(3, 0);
    let mut a = aged(40, &three);
    a.stand(secs(40), motion(0), three, true);
    let said = run(&mut a, 40, 400);
    let epochs: std::collections::BTreeSet<u64> = asks(&said).iter().map(|ask| ask.epoch).collect();
    assert_eq!(epochs.len(), 5);
    let gave_up: Vec<_> = said.iter().filter(|(_, out)| *out == Out::GaveUp { yes: 1 }).collect();
    assert_eq!(gave_up.len(), 1);
    a.stand(secs(400), motion(0), three, true);
    assert_eq!(run(&mut a, 400, 410), [], "the same motion is not tried again");
    a.withdraw(secs(410));
    a.stand(secs(410), motion(0), three, true);
    assert!(!run(&mut a, 410, 411).is_empty());
}

#[test]
fn a_higher_epoch_that_a_voter_saw_is_outbid_next_time() {
    let three = roster(3, 0);
    let mut a = aged(40, &three);
    let ask = standing(&mut a, 40, three);
    let stale = Answer { seen: 41, ..reply(&ask, &peer("b", 1), Opinion::No(Objection::Stale)) };
    assert_eq!(a.answered(secs(40), &stale), []);
    let said = run(&mut a, 40, 75);
    assert_eq!(asks(&said).last().map(|ask| ask.epoch), Some(42));
}

#[test]
fn the_next_rank_begins_later() {
    let three = roster(3, 0);
    let mut a = aged(40, &three);
    a.stand(secs(40), motion(2), three, true);
    let said = run(&mut a, 40, 44);
    assert_eq!(said.first().map(|(at, _)| *at), Some(44));
}

#[test]
fn ranks_are_a_permutation_that_all_agree_on() {
    let peers: Vec<Peer> = (1..6).map(|n| peer(&format!("r{n}"), n * 7)).collect();
    let mut reversed = peers.clone();
    reversed.reverse();
    let mut ranks: Vec<u32> = peers.iter().map(|me| rank(me, &peers, &key("d"))).collect();
    assert_eq!(ranks, peers.iter().map(|me| rank(me, &reversed, &key("d"))).collect::<Vec<_>>());
    let other: Vec<u32> = peers.iter().map(|me| rank(me, &peers, &key("e"))).collect();
    assert_ne!(ranks, other, "it is not always the same one's turn");
    ranks.sort_unstable();
    assert_eq!(ranks, [0, 1, 2, 3, 4]);
}

#[test]
fn memory_is_bounded_and_what_binds_is_not_forgotten() {
    let three = roster(3, 0);
    let mut a = aged(40, &three);
    let b = peer("b", 1);
    let of = |n: usize| Ask { key: key(&format!("d{n}")), ..ask(&b, 1) };
    for n in 0..KEYS_MAX {
        assert_eq!(a.asked(secs(40), &of(n), Opinion::Yes, &three).opinion, Opinion::Yes);
    }
    assert_eq!(a.asked(secs(41), &of(99), Opinion::Yes, &three).opinion, Opinion::No(Objection::Granted));
    let first = Ask { candidate: peer("c", 1), epoch: 2, ..of(0) };
    assert_eq!(a.asked(secs(41), &first, Opinion::Yes, &three).opinion, Opinion::No(Objection::Granted));
    run(&mut a, 41, 66);
    assert_eq!(a.asked(secs(66), &of(99), Opinion::Yes, &three).opinion, Opinion::Yes);
}
