//! Meeting, telling, parting.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::engine::ballot::{Answer, Key, Opinion};
use crate::engine::evidence::{Share, Slot};
use crate::engine::peer::{Audience, Deployment, Message, Peer};
use crate::engine::tick::Tick;
use crate::peers::tests::{Agent, PATIENCE, agent, hello, peer};
use crate::peers::{Event, Item};

fn share(of: &Peer, slot: u64) -> Message {
    let tick = Tick { judged: slot, ..Tick::default() };
    let deployment = Deployment::new("d-1").unwrap();
    let age = Some(Duration::from_nanos(1_234_567_891));
    Message::Share(Arc::new(Share { of: of.clone(), deployment, slot: Slot(slot), age, tick }))
}

async fn pair() -> (Agent, Agent) {
    let mut a = agent("a", 1, &[]).await;
    let mut b = agent("b", 2, &[a.at]).await;
    a.met(&b.me).await;
    b.met(&a.me).await;
    (a, b)
}

#[tokio::test]
async fn two_agents_meet_and_tell_one_another() {
    let mut a = agent("a", 1, &[]).await;
    let mut b = agent("b", 2, &[a.at]).await;
    assert_eq!(a.met(&b.me).await, hello(b.me.clone()));
    assert_eq!(b.met(&a.me).await, hello(a.me.clone()));
    let told = share(&a.me, 3);
    a.peers.tell(Audience::All, told.clone());
    let Event::Said { from, message } = b.next().await else { panic!() };
    assert_eq!((from, message), (a.me.clone(), told));
    let answer = Message::Answer(Answer {
        key: Key { deployment: Deployment::new("d-1").unwrap() },
        epoch: 4,
        candidate: a.me.clone(),
        voter: b.me.clone(),
        opinion: Opinion::Yes,
        seen: 4,
    });
    b.peers.tell(Audience::One(a.me.clone()), answer.clone());
    let Event::Said { from, message } = a.next().await else { panic!() };
    assert_eq!((from, message), (b.me.clone(), answer));
    // Not known here: nobody is told.
    b.peers.tell(Audience::One(peer("a", 99)), share(&b.me, 1));
    b.peers.tell(Audience::All, share(&b.me, 2));
    let Event::Said { message, .. } = a.next().await else { panic!() };
    assert_eq!(message, share(&b.me, 2));
    let view = a.peers.view();
    assert_eq!(view.address, Some(a.at));
    assert_eq!(view.peers.len(), 1);
    assert_eq!(view.peers[0].version, env!("CARGO_PKG_VERSION"));
    assert_eq!(b.peers.view().dropped, 1);
    assert!(view.sent_bytes > 0 && view.received_bytes > 0 && view.refused.iter().all(|(_, n)| *n == 0));
}

#[tokio::test]
async fn memory_is_asked_for_and_handed_over_in_pieces_and_in_order() {
    let (mut a, mut b) = pair().await;
    b.peers.ask_memory(a.me.clone());
    let Event::AskedMemory { by } = a.next().await else { panic!() };
    assert_eq!(by, b.me);
    let mut chance = fastrand::Rng::with_seed(1);
    let noise = |length: usize, chance: &mut fastrand::Rng| {
        let bytes = std::iter::repeat_with(|| chance.u8(..)).take(length).collect();
        Item { kind: "fact".to_owned(), bytes }
    };
    let mut items: Vec<Item> = (0..300).map(|n| noise(n * 40, &mut chance)).collect();
    items.push(noise(crate::peers::ITEM_BYTES_MAX, &mut chance));
    items.push(noise(3, &mut chance));
    let mut sent = items.clone();
    sent.insert(7, noise(crate::peers::ITEM_BYTES_MAX + 1, &mut chance));
    a.peers.hand_over(Audience::One(by), sent, true);
    let (mut received, mut frames) = (Vec::new(), 0);
    loop {
        let Event::Items { from, items, last } = b.next().await else { panic!() };
        assert_eq!(from, a.me);
        received.extend(items);
        frames += 1;
        if last {
            break;
        }
    }
    assert!(frames > 4, "{frames}");
    assert!(received == items, "they differ");
}

#[tokio::test]
async fn who_starts_again_is_somebody_else() {
    let mut a = agent("a", 1, &[]).await;
    let mut b = agent("b", 2, &[a.at]).await;
    a.met(&b.me).await;
    b.met(&a.me).await;
    let old = b.me.clone();
    // Without a word: the old one is still connected when the new one comes.
    let mut new = agent("b", 3, &[a.at]).await;
    a.left(&old).await;
    a.met(&new.me).await;
    new.met(&a.me).await;
    let view = a.peers.view();
    assert_eq!(view.peers.iter().map(|it| it.hello.peer.clone()).collect::<Vec<_>>(), [new.me.clone()]);
}

#[tokio::test]
async fn who_ends_is_told_to_have_left_after_its_last_word() {
    let (mut a, b) = pair().await;
    for slot in 0..20 {
        b.peers.tell(Audience::All, share(&b.me, slot));
    }
    let mut leaving = hello(b.me.clone());
    leaving.is_leaving = true;
    b.peers.introduce(leaving.clone());
    b.shutdown.cancel();
    for slot in 0..20 {
        let event = a.next().await;
        if let Event::Met(hello) = event {
            // Votes and hellos go before evidence.
            assert_eq!(*hello, leaving);
            continue;
        }
        let Event::Said { message, .. } = event else { panic!("{slot}: {event:?}") };
        let Message::Share(share) = message else { panic!() };
        assert!(share.slot.0 < 20);
    }
    a.left(&b.me).await;
}

/// Each agent is listened to until all have met all.
async fn all_meet(count: u64) {
    let mut agents = vec![agent("r-0", 1_000, &[]).await];
    let seed = agents[0].at;
    for n in 1..count {
        agents.push(agent(&format!("r-{n}"), 1_000 + n, &[seed]).await);
    }
    let all: BTreeSet<Peer> = agents.iter().map(|it| it.me.clone()).collect();
    let (full, mut done) = mpsc::channel(agents.len());
    let mut tasks = JoinSet::new();
    for mut agent in agents {
        let (full, mut missing) = (full.clone(), all.clone());
        missing.remove(&agent.me);
        tasks.spawn(async move {
            let mut was_full = false;
            while let Some(event) = agent.events.recv().await {
                match event {
                    Event::Met(hello) => missing.remove(&hello.peer),
                    Event::Left(peer) => missing.insert(peer),
                    Event::Said { .. } | Event::AskedMemory { .. } | Event::Items { .. } => false,
                };
                if missing.is_empty() && !was_full {
                    was_full = true;
                    full.send(()).await.unwrap();
                }
            }
        });
    }
    for n in 0..count {
        timeout(PATIENCE, done.recv()).await.unwrap_or_else(|_| panic!("only {n} have met all"));
    }
}

#[tokio::test]
async fn agents_that_know_one_address_all_meet() {
    all_meet(8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forty_agents_meet_one_another() {
    all_meet(40).await;
}
