//! Agents in one process, over loopback.

mod envelopes;
mod hostile;
mod meeting;
mod written;

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::{self, Secret};
use crate::engine::ballot::Roster;
use crate::engine::peer::{Boot, Deployment, Hello, Peer, Role};
use crate::engine::policy::Mode;
use crate::engine::release::Release;
use crate::engine::time::Time;
use crate::peers::envelope::{VERSION_HIGHEST, VERSION_LOWEST};
use crate::peers::{Event, Peers, start_speaking};

/// Long enough on a machine that does much else.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
pub(super) const KEY: &str = "correct horse battery staple";
pub(super) const SCOPE: &str = "project/production/shop";

pub(super) fn peer(replica: &str, boot: u64) -> Peer {
    Peer { replica: replica.into(), boot: Boot(boot) }
}

pub(super) fn hello(peer: Peer) -> Hello {
    Hello {
        booted: Time::from_millis(1_000 + peer.boot.0 % (1 << 40)),
        peer,
        role: Role::Replica,
        deployment: Deployment::new("d-1").unwrap(),
        created: Some(Time::from_millis(7)),
        release: Release::new("v1").unwrap(),
        generation_booted: Time::from_millis(5),
        has_been_open: true,
        is_ready: false,
        is_leaving: false,
        mode: Mode::Enforce,
        policy: u64::MAX,
        baseline: 1 << 63,
        may_call: false,
        roster: Roster { version: u64::MAX - 1, replicas: 3, watcher: true, down: 1 },
    }
}

pub(super) struct Agent {
    pub(super) peers: Peers,
    pub(super) events: mpsc::Receiver<Event>,
    pub(super) at: SocketAddr,
    pub(super) me: Peer,
    pub(super) shutdown: CancellationToken,
}

/// How an agent is started where it differs from others.
pub(super) struct Start<'a> {
    pub(super) keys: &'a [&'a str],
    pub(super) scope: &'a str,
    pub(super) addresses: Vec<String>,
    pub(super) name: Option<String>,
    pub(super) port: u16,
    pub(super) versions: (u8, u8),
}

impl Default for Start<'_> {
    fn default() -> Self {
        Self {
            keys: &[KEY],
            scope: SCOPE,
            addresses: Vec::new(),
            name: None,
            port: 0,
            versions: (VERSION_LOWEST, VERSION_HIGHEST),
        }
    }
}

impl Start<'_> {
    pub(super) async fn run(&self, replica: &str, boot: u64) -> Agent {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.run_on(listener, peer(replica, boot)).await
    }

    pub(super) async fn run_on(&self, listener: TcpListener, me: Peer) -> Agent {
        let config = config::Peers {
            call: Duration::from_secs(15),
            keys: self.keys.iter().map(|key| Secret::new((*key).to_owned())).collect(),
            name: self.name.clone(),
            addresses: self.addresses.clone(),
            port: self.port,
            refresh: Duration::from_millis(500),
            handover: Duration::ZERO,
            scope: self.scope.to_owned(),
        };
        let at = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let hello = hello(me.clone());
        let (peers, events) =
            start_speaking(&config, listener, hello, Clock::start(), shutdown.clone(), self.versions);
        Agent { peers, events, at, me, shutdown }
    }
}

pub(super) async fn agent(replica: &str, boot: u64, addresses: &[SocketAddr]) -> Agent {
    let addresses = addresses.iter().map(ToString::to_string).collect();
    Start { addresses, ..Start::default() }.run(replica, boot).await
}

impl Agent {
    pub(super) async fn next(&mut self) -> Event {
        timeout(PATIENCE, self.events.recv()).await.expect("something happens").expect("the limb runs")
    }

    /// Passes over other events.
    pub(super) async fn met(&mut self, who: &Peer) -> Hello {
        loop {
            if let Event::Met(hello) = self.next().await
                && hello.peer == *who
            {
                return *hello;
            }
        }
    }

    pub(super) async fn left(&mut self, who: &Peer) {
        loop {
            if let Event::Left(peer) = self.next().await
                && peer == *who
            {
                return;
            }
        }
    }

    pub(super) fn refused(&self, why: &str) -> u64 {
        self.peers.view().refused.iter().find(|(label, _)| *label == why).unwrap().1
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}
