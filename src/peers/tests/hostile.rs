//! Who has no key, and who repeats, cuts and exaggerates.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::Secret;
use crate::engine::peer::{Audience, Message, Peer};
use crate::peers::Event;
use crate::peers::envelope::{HANDSHAKE, Keys, Open, Seal, VERSION_HIGHEST};
use crate::peers::link::{FRAME_BEFORE_MAX, FRAME_MAX};
use crate::peers::tests::{Agent, KEY, PATIENCE, SCOPE, Start, agent, hello, peer};
use crate::peers::wire::{self, Frame, Introduction, Opening};

/// An agent made by hand, to say what no agent does.
struct Hand {
    stream: TcpStream,
    seal: Seal,
    open: Open,
    me: Peer,
}

impl Hand {
    async fn reach(agent: &Agent, key: &str) -> Self {
        let keys = || Keys::new(&[Secret::new(key.to_owned())], SCOPE).unwrap();
        let me = peer("hand", 77);
        let stream = TcpStream::connect(agent.at).await.unwrap();
        Self { stream, seal: Seal::new(keys(), me.clone()), open: Open::new(keys(), me.boot), me }
    }

    async fn write(&mut self, sealed: &[u8]) {
        let framed = [&(sealed.len() as u32).to_be_bytes()[..], sealed].concat();
        // The other side may have closed it already.
        let _ = self.stream.write_all(&framed).await;
    }

    async fn read(&mut self) -> Option<Vec<u8>> {
        let read = async {
            let length = self.stream.read_u32().await.ok()?;
            let mut bytes = vec![0; length as usize];
            self.stream.read_exact(&mut bytes).await.ok()?;
            Some(bytes)
        };
        timeout(PATIENCE, read).await.expect("it answers or closes")
    }

    /// Shakes hands; what was sealed on the way.
    async fn shake(&mut self, to: &Agent) -> Vec<Vec<u8>> {
        let opening = Opening { lowest: 1, highest: VERSION_HIGHEST, nonce: 5, echo: 0 };
        let first = self.seal.seal(None, &wire::write(&Frame::Hello(opening)));
        self.write(&first).await;
        let bytes = self.read().await.expect("it answers");
        let Ok(Frame::Welcome(theirs)) = wire::read(self.open.open(&bytes).unwrap().body) else { panic!() };
        assert_eq!(theirs.echo, 5);
        let confirm = wire::write(&Frame::Confirm { echo: theirs.nonce });
        let confirm = self.seal.seal_as(HANDSHAKE, Some(to.me.boot), &confirm);
        self.write(&confirm).await;
        vec![first, confirm]
    }

    fn sealed(&mut self, to: &Agent, frame: &Frame) -> Vec<u8> {
        self.seal.seal(Some(to.me.boot), &wire::write(frame))
    }

    async fn introduce(&mut self, to: &Agent) -> Vec<u8> {
        let introduction =
            Introduction { hello: hello(self.me.clone()), version: "9".to_owned(), listens: Vec::new() };
        let sealed = self.sealed(to, &Frame::Introduction(Box::new(introduction)));
        self.write(&sealed).await;
        sealed
    }

    async fn is_closed(&mut self) {
        while self.read().await.is_some() {}
    }
}

fn message(of: u64) -> Frame {
    Frame::Message(Message::Seen(vec![crate::engine::evidence::Seen {
        of: peer("x", of),
        newest: crate::engine::evidence::Slot(of),
        have: 1,
    }]))
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let waited = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, waited).await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test]
async fn who_has_another_key_is_refused_and_told_nothing() {
    let agent = agent("a", 1, &[]).await;
    let mut hand = Hand::reach(&agent, "another key of sixteen").await;
    let opening = Opening { lowest: 1, highest: 1, nonce: 5, echo: 0 };
    let first = hand.seal.seal(None, &wire::write(&Frame::Hello(opening)));
    hand.write(&first).await;
    assert_eq!(hand.read().await, None, "not a byte");
    until("it is counted", || agent.refused("key") == 1).await;
    // Two agents, each of which dials the other.
    let start = Start {
        keys: &["another key of sixteen"],
        addresses: vec![agent.at.to_string()],
        ..Start::default()
    };
    let other = start.run("b", 2).await;
    until("it is counted", || agent.refused("key") >= 2).await;
    assert!(agent.peers.view().peers.is_empty() && other.peers.view().peers.is_empty());
}

#[tokio::test]
async fn what_was_recorded_is_refused_on_the_same_connection_and_on_another() {
    let mut agent = agent("a", 1, &[]).await;
    let mut hand = Hand::reach(&agent, KEY).await;
    let mut recorded = hand.shake(&agent).await;
    recorded.push(hand.introduce(&agent).await);
    agent.met(&hand.me).await;
    let said = hand.sealed(&agent, &message(1));
    hand.write(&said).await;
    hand.write(&said).await;
    let next = hand.sealed(&agent, &message(2));
    hand.write(&next).await;
    for n in [1, 2] {
        let Event::Said { from, message: it } = agent.next().await else { panic!() };
        assert_eq!((from, Frame::Message(it)), (hand.me.clone(), message(n)));
    }
    assert_eq!(agent.refused("replay"), 1);
    recorded.extend([said, next]);
    let mut thief = Hand::reach(&agent, KEY).await;
    for bytes in recorded {
        thief.write(&bytes).await;
    }
    let answer = thief.read().await.expect("a hello is answered");
    let opened = hand.open.open(&answer).unwrap();
    assert!(matches!(wire::read(opened.body), Ok(Frame::Welcome(_))), "and no more than that is told");
    assert_eq!(thief.read().await, None);
    until("it is counted", || agent.refused("replay") == 2).await;
    assert_eq!(agent.peers.view().peers.len(), 1);
}

#[tokio::test]
async fn versions_that_do_not_overlap_are_refused_and_counted_on_both_sides() {
    let old = agent("old", 1, &[]).await;
    let addresses = vec![old.at.to_string()];
    let newer =
        Start { versions: (2, 3), addresses: addresses.clone(), ..Start::default() }.run("new", 2).await;
    until("both count it", || old.refused("version") > 0 && newer.refused("version") > 0).await;
    let mut both = Start { versions: (1, 3), addresses, ..Start::default() }.run("both", 3).await;
    both.met(&old.me).await;
    let mut old = old;
    old.met(&both.me).await;
}

#[tokio::test]
async fn what_is_unknown_or_damaged_is_passed_over() {
    let mut agent = agent("a", 1, &[]).await;
    let mut hand = Hand::reach(&agent, KEY).await;
    hand.shake(&agent).await;
    hand.introduce(&agent).await;
    agent.met(&hand.me).await;
    for frame in [Frame::Unknown(200), message(1)] {
        let sealed = hand.sealed(&agent, &frame);
        hand.write(&sealed).await;
    }
    let damaged = hand.seal.seal(Some(agent.me.boot), &[5, 1, 2, 3]);
    hand.write(&damaged).await;
    let last = hand.sealed(&agent, &message(2));
    hand.write(&last).await;
    for n in [1, 2] {
        let Event::Said { message: it, .. } = agent.next().await else { panic!() };
        assert_eq!(Frame::Message(it), message(n));
    }
    assert_eq!((agent.peers.view().skipped, agent.refused("malformed")), (1, 1));
}

#[tokio::test]
async fn who_was_not_met_is_not_listened_to_and_must_be_who_it_says() {
    let mut agent = agent("a", 1, &[]).await;
    let mut hand = Hand::reach(&agent, KEY).await;
    hand.shake(&agent).await;
    let early = hand.sealed(&agent, &message(1));
    hand.write(&early).await;
    let introduction =
        Introduction { hello: hello(peer("somebody", 4)), version: String::new(), listens: Vec::new() };
    let other = hand.sealed(&agent, &Frame::Introduction(Box::new(introduction)));
    hand.write(&other).await;
    hand.introduce(&agent).await;
    let Event::Met(hello) = agent.next().await else { panic!() };
    assert_eq!(hello.peer, hand.me);
    assert_eq!(agent.refused("malformed"), 1);
}

#[tokio::test]
async fn frames_that_are_too_long_end_the_connection() {
    let mut agent = agent("a", 1, &[]).await;
    let mut stranger = TcpStream::connect(agent.at).await.unwrap();
    stranger.write_all(&(FRAME_BEFORE_MAX as u32 + 1).to_be_bytes()).await.unwrap();
    assert_eq!(stranger.read(&mut [0; 9]).await.unwrap_or(0), 0);
    until("it is counted", || agent.refused("too_long") == 1).await;
    let mut hand = Hand::reach(&agent, KEY).await;
    hand.shake(&agent).await;
    hand.introduce(&agent).await;
    agent.met(&hand.me).await;
    hand.stream.write_all(&(FRAME_MAX as u32 + 1).to_be_bytes()).await.unwrap();
    hand.is_closed().await;
    agent.left(&hand.me).await;
    assert_eq!(agent.refused("too_long"), 2);
}

#[tokio::test]
async fn who_says_nothing_is_dropped() {
    let mut agent = agent("a", 1, &[]).await;
    let mut silent = TcpStream::connect(agent.at).await.unwrap();
    let closed = timeout(PATIENCE, silent.read(&mut [0; 9])).await.expect("it is closed");
    assert_eq!(closed.unwrap_or(0), 0);
    // And after the handshake: no sign of life.
    let mut hand = Hand::reach(&agent, KEY).await;
    hand.shake(&agent).await;
    hand.introduce(&agent).await;
    agent.met(&hand.me).await;
    agent.left(&hand.me).await;
}

#[tokio::test]
async fn names_lead_to_peers_and_an_agent_passes_itself_over() {
    let mut first = agent("a", 1, &[]).await;
    let port = first.at.port();
    let start = Start { name: Some("localhost".to_owned()), port, ..Start::default() };
    let mut second = start.run("b", 2).await;
    second.met(&first.me).await;
    first.met(&second.me).await;
    first.peers.tell(Audience::All, Message::Seen(Vec::new()));
    let Event::Said { from, .. } = second.next().await else { panic!() };
    assert_eq!(from, first.me);
    // One that is told its own address only.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap();
    let start = Start { addresses: vec![own.to_string(), first.at.to_string()], ..Start::default() };
    let mut third = start.run_on(listener, peer("c", 3)).await;
    third.met(&first.me).await;
    let view = third.peers.view();
    assert!(view.peers.iter().all(|it| it.hello.peer != third.me) && !view.unmet.contains(&own));
}
