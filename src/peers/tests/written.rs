//! The written form: what is written is read again, and any bytes end in a value or an error.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use proptest::collection::{btree_map, vec};
use proptest::prelude::{BoxedStrategy, Just, Strategy, any, prop_oneof, proptest};

use crate::engine::ballot::{Abstention, Answer, Ask, Key, Objection, Opinion};
use crate::engine::evidence::{Seen, Share, Slot};
use crate::engine::peer::{Deployment, Message, Peer};
use crate::engine::release::Release;
use crate::engine::tick::{ProbeTick, RouteTick, Tick};
use crate::engine::time::Time;
use crate::engine::window::Latencies;
use crate::peers::Item;
use crate::peers::tests::{hello, peer};
use crate::peers::wire::{self, Frame, Introduction, Opening};

fn peers() -> impl Strategy<Value = Peer> {
    ("[a-zé0-9 -]{1,100}", any::<u64>()).prop_map(|(replica, boot)| peer(&replica, boot))
}

fn latencies() -> impl Strategy<Value = Latencies> {
    vec((any::<u64>(), 1..1_000_000_u64), 0..40).prop_map(Latencies::new)
}

type Figures = (Latencies, u64, u64, Option<u64>);

fn named() -> impl Strategy<Value = BTreeMap<String, Figures>> {
    let figure = 0..1_u64 << 48;
    btree_map("[A-Z]{3} /[a-zé{}]{0,80}", (latencies(), figure.clone(), figure, any::<Option<u32>>()), 0..9)
        .prop_map(|map| {
            let figures = |(l, a, b, c): (Latencies, u64, u64, Option<u32>)| (l, a, b, c.map(u64::from));
            map.into_iter().map(|(name, it)| (name, figures(it))).collect()
        })
}

fn shares() -> impl Strategy<Value = Share> {
    let tick = (named(), named(), latencies(), vec(0..1_u64 << 48, 8), any::<bool>()).prop_map(
        |(routes, probes, latencies, n, stalled)| {
            let mut tick = Tick::starting(Time::from_millis(n[0]));
            tick.to = Time::from_millis(n[1]);
            (tick.judged, tick.failed, tick.ended, tick.arrived) = (n[2], n[3], n[4], n[5]);
            (tick.crashes, tick.watched[1], tick.routed) = (n[6], n[7], n[0]);
            (tick.waiting, tick.overdue, tick.answered) = (n[1], n[2], n[3]);
            (tick.stalled, tick.latencies, tick.resources.memory_bytes) = (stalled, latencies, Some(n[4]));
            let route = |(name, (latencies, ended, judged, _)): (String, Figures)| RouteTick {
                route: name.into(),
                ended,
                judged,
                failed: judged / 3,
                latencies,
            };
            let probe = |(name, (latencies, ok, failed, load)): (String, Figures)| ProbeTick {
                name: name.into(),
                ok,
                failed,
                latencies,
                load,
            };
            tick.routes = routes.into_iter().map(route).collect();
            tick.probes = probes.into_iter().map(probe).collect();
            tick
        },
    );
    (peers(), "[!-~]{1,128}", 0..1_u64 << 48, any::<Option<u64>>(), tick).prop_map(
        |(of, deployment, slot, age, tick)| Share {
            of,
            deployment: Deployment::new(&deployment).unwrap(),
            slot: Slot(slot),
            age: age.map(Duration::from_nanos),
            tick,
        },
    )
}

const OPINIONS: [Opinion; 19] = [
    Opinion::Yes,
    Opinion::No(Objection::NotDegraded),
    Opinion::No(Objection::NotBlamed),
    Opinion::No(Objection::Target),
    Opinion::No(Objection::NotCurrent),
    Opinion::No(Objection::Paused),
    Opinion::No(Objection::ActedBefore),
    Opinion::No(Objection::Mode),
    Opinion::No(Objection::Policy),
    Opinion::No(Objection::OtherPolicy),
    Opinion::No(Objection::OtherBaseline),
    Opinion::No(Objection::OtherRoster),
    Opinion::No(Objection::Granted),
    Opinion::No(Objection::Stale),
    Opinion::Abstain(Abstention::Quiet),
    Opinion::Abstain(Abstention::Tilt),
    Opinion::Abstain(Abstention::NoVote),
    Opinion::Abstain(Abstention::WarmingUp),
    Opinion::Abstain(Abstention::NotDurable),
];

fn messages() -> BoxedStrategy<Message> {
    let key = |name: &str| Key { deployment: Deployment::new(name).unwrap() };
    let seen = (peers(), 0..1_u64 << 48, any::<u16>()).prop_map(|(of, newest, have)| Seen {
        of,
        newest: Slot(newest),
        have,
    });
    let ask = ("[!-~]{1,128}", 0..1_u64 << 48, peers(), any::<[u64; 3]>()).prop_map(
        move |(name, epoch, candidate, n)| Ask {
            key: key(&name),
            epoch,
            target: Release::new(&name).unwrap(),
            candidate,
            roster: n[0],
            policy: n[1],
            baseline: n[2],
        },
    );
    let answer = ("[!-~]{1,128}", 0..1_u64 << 48, peers(), peers(), 0..OPINIONS.len()).prop_map(
        move |(name, epoch, candidate, voter, opinion)| Answer {
            key: key(&name),
            epoch,
            candidate,
            voter,
            opinion: OPINIONS[opinion],
            seen: epoch / 2,
        },
    );
    prop_oneof![
        shares().prop_map(|share| Message::Share(Arc::new(share))),
        vec(seen, 0..20).prop_map(Message::Seen),
        ask.prop_map(Message::Ask),
        answer.prop_map(Message::Answer),
    ]
    .boxed()
}

fn frames() -> BoxedStrategy<Frame> {
    let opening = any::<(u8, u8, u64, u64)>().prop_map(|(lowest, highest, nonce, echo)| Opening {
        lowest,
        highest,
        nonce,
        echo,
    });
    let address = any::<([u8; 4], u16)>().prop_map(|(ip, port)| SocketAddr::from((ip, port.max(1))));
    let introduction = (peers(), vec(address.clone(), 0..8), "[!-~]{0,64}")
        .prop_map(|(peer, listens, version)| Introduction { hello: hello(peer), version, listens });
    let item = ("[a-z]{1,32}", vec(any::<u8>(), 0..100)).prop_map(|(kind, bytes)| Item { kind, bytes });
    prop_oneof![
        opening.clone().prop_map(Frame::Hello),
        opening.prop_map(Frame::Welcome),
        any::<u64>().prop_map(|echo| Frame::Confirm { echo }),
        introduction.prop_map(|it| Frame::Introduction(Box::new(it))),
        messages().prop_map(Frame::Message),
        Just(Frame::AskMemory),
        (vec(item, 0..9), any::<bool>()).prop_map(|(items, last)| Frame::Items { items, last }),
        vec(address, 0..20).prop_map(Frame::Addresses),
        any::<u64>().prop_map(Frame::Ping),
        any::<u64>().prop_map(Frame::Pong),
        (14_u8..).prop_map(Frame::Unknown),
    ]
    .boxed()
}

proptest! {
    #[test]
    fn every_frame_comes_back(frame in frames()) {
        assert_eq!(wire::read(&wire::write(&frame)), Ok(frame));
    }

    #[test]
    fn any_bytes_end_in_a_value_or_an_error(kind in 0_u8..16, bytes in vec(any::<u8>(), 0..300)) {
        let _ = wire::read(&[&[kind], bytes.as_slice()].concat());
        // As they are, not squeezed.
        let _ = wire::read(&[&[kind, 0], bytes.as_slice()].concat());
    }

    #[test]
    fn a_frame_that_was_changed_ends_in_a_value_or_an_error(frame in frames(), at in any::<usize>(), with: u8) {
        let mut bytes = wire::write(&frame);
        let at = at % bytes.len();
        bytes[at] = with;
        let _ = wire::read(&bytes);
        let _ = wire::read(&bytes[..at]);
    }
}

#[test]
fn what_a_newer_agent_adds_is_passed_over() {
    let ask = br#"{"deployment":"d","epoch":3,"target":"v1","candidate":{"replica":"a","boot":"00000000000000ff","zone":1},"roster":"0","policy":"ffffffffffffffff","baseline":"1","why":{"new":[1]}}"#;
    let Ok(Some(Message::Ask(ask))) = wire::decode(&[&[7], ask.as_slice()].concat()) else { panic!() };
    assert_eq!((ask.candidate, ask.policy, ask.epoch), (peer("a", 255), u64::MAX, 3));
    let answer = |why: &str| {
        let text = format!(
            r#"{{"deployment":"d","epoch":3,"candidate":{{"replica":"a","boot":"1"}},"voter":{{"replica":"b","boot":"2"}},"opinion":{why},"seen":3}}"#
        );
        wire::decode(&[&[8], text.as_bytes()].concat())
    };
    let opinion = |why| match answer(why) {
        Ok(Some(Message::Answer(answer))) => Some(answer.opinion),
        _ => None,
    };
    assert_eq!(opinion(r#""no","why":"a newer reason""#), Some(Opinion::No(Objection::Policy)));
    assert_eq!(opinion(r#""abstain","why":"a newer one""#), Some(Opinion::Abstain(Abstention::NoVote)));
    assert_eq!(opinion(r#""perhaps""#), None);
    assert_eq!(wire::decode(&[200, 1, 2]), Ok(None), "a kind that is unknown");
}

#[test]
fn figures_that_would_overflow_sums_are_damage() {
    let share = |judged| {
        let of = peer("a", 1);
        let deployment = Deployment::new("d").unwrap();
        let tick = Tick { judged, ..Tick::default() };
        let share = Share { of, deployment, slot: Slot(1), age: None, tick };
        wire::decode(&wire::encode(&Message::Share(Arc::new(share))))
    };
    assert!(share(1 << 48).is_ok() && share((1 << 48) + 1).is_err());
}

/// Figures of a service at 100 requests a second and replica, on ten routes.
#[test]
fn a_share_of_a_busy_replica_takes_a_few_hundred_bytes() {
    let mut chance = fastrand::Rng::with_seed(7);
    let mut latencies = |count: usize, digits: u64| {
        let one = |chance: &mut fastrand::Rng| {
            let us = (8_000.0 * (-chance.f64().ln()) + 900.0) as u64;
            (us / digits * digits, 1)
        };
        Latencies::new(std::iter::repeat_with(|| one(&mut chance)).take(count).collect())
    };
    let mut tick = Tick::starting(Time::from_millis(1_763_848_800_123));
    tick.to = tick.from + Duration::from_secs(5);
    (tick.judged, tick.failed, tick.ended, tick.arrived, tick.answered) = (500, 2, 500, 501, 500);
    tick.latencies = latencies(500, 16);
    tick.routes = (0..10)
        .map(|n| RouteTick {
            route: format!("GET /orders/{{id}}/part-{n}").into(),
            ended: 50,
            judged: 50,
            failed: 0,
            latencies: latencies(50, 128),
        })
        .collect();
    let (of, deployment) =
        (peer("0f6c1a9e7b1d4d3c", 1 << 63), Deployment::new("d3c9f0e2-b7f3-a5c6").unwrap());
    let share = Share { of, deployment, slot: Slot(352_769_760), age: Some(Duration::from_secs(77)), tick };
    let length = wire::encode(&Message::Share(Arc::new(share))).len();
    eprintln!("{length} bytes");
    assert!((500..3_000).contains(&length), "{length} bytes");
}
