//! A small world: one agent of v1, which learns; three of v2 that take over what it knows; clients of each.

use std::time::Duration;

use outrigger::clock::Clock;
use outrigger::stage::load::Load;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::broadcast;
use tokio::time::timeout;

use crate::agent::{Agent, Part, WAIT, eventually};
use crate::land::Land;
use crate::names::{Answers, Names};
use crate::platform::{Knock, Platform};

/// Requests a second to each agent.
const RATE: f64 = 50.0;
/// Replicas of the release on trial.
pub(crate) const REPLICAS: usize = 3;
/// Longer than a lease, the longest call and what clocks may differ by, together.
pub(crate) const LONG: Duration = Duration::from_secs(25);

/// The world. Agents go before the namespaces that they live in.
pub(crate) struct Scene {
    pub(crate) agents: Vec<Agent>,
    loads: Vec<Load>,
    pub(crate) names: Names,
    pub(crate) platform: Platform,
    knocks: broadcast::Receiver<Knock>,
    peer_key: String,
    dir: TempDir,
    land: Land,
}

impl Scene {
    /// Three agents of v2, whose app behaves so, with v1's baseline from the network.
    pub(crate) async fn open(behave: &'static str) -> Self {
        let land = Land::open();
        let names = Names::open(land.host()).await;
        let platform = Platform::open(land.host());
        let knocks = platform.knocks();
        let peer_key = format!("{:032x}", fastrand::u128(..));
        let dir = tempfile::tempdir().unwrap();
        let mut scene =
            Self { agents: Vec::new(), loads: Vec::new(), names, platform, knocks, peer_key, dir, land };
        scene.platform.live("d1", "v1");
        let first = scene.agent("r1-d1", "d1", "v1", "good", 1).await;
        scene.agents.push(first);
        scene.all_are_named();
        scene.load(0);
        scene.agents[0].shows("v1 is known good", |status| status["standing"] == "known_good").await;
        for number in 1..=REPLICAS {
            let name = format!("r{number}-d2");
            let agent = scene.agent(&name, "d2", "v2", behave, REPLICAS).await;
            scene.agents.push(agent);
        }
        scene.all_are_named();
        for agent in &scene.agents[1..] {
            let held =
                |status: &Value| status["app"]["phase"] == "ready" && status["baseline"]["release"] == "v1";
            agent.shows("it holds v1's baseline", held).await;
        }
        scene.platform.live("d2", "v2");
        // The former generation goes, and with it all that was not handed over.
        let mut former = scene.agents.remove(0);
        former.kill().await;
        scene.loads.remove(0).stop().await;
        scene.all_are_named();
        (0..REPLICAS).for_each(|index| scene.load(index));
        scene
    }

    async fn agent(
        &mut self,
        name: &str,
        deployment: &'static str,
        release: &'static str,
        behave: &'static str,
        replicas: usize,
    ) -> Agent {
        let dir = self.dir.path().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        let platform = self.platform.door(name).await;
        let peer_key = self.peer_key.clone();
        let name = name.to_owned();
        let part = Part { name, deployment, release, behave, replicas, peer_key, platform, dir };
        Agent::start(part, self.land.place())
    }

    fn load(&mut self, index: usize) {
        let seed = self.loads.len() as u64 + 1;
        self.loads.push(Load::start(self.agents[index].public(), RATE, seed, Clock::start()));
    }

    /// The name service knows all agents.
    pub(crate) fn all_are_named(&self) {
        let addresses = self.agents.iter().map(|agent| agent.place.address).collect();
        self.names.answer(Answers { addresses, after: Duration::ZERO });
    }

    /// The next knock at the platform that is wanted.
    pub(crate) async fn knock<T>(&mut self, what: &str, wanted: impl Fn(&Knock) -> Option<T>) -> T {
        let found = timeout(WAIT, async {
            loop {
                if let Some(found) = wanted(&self.knocks.recv().await.unwrap()) {
                    return found;
                }
            }
        });
        found.await.unwrap_or_else(|_| panic!("waited {WAIT:?} in vain: {what}"))
    }

    /// Whoever came so far is of no interest.
    pub(crate) fn forget_knocks(&mut self) {
        self.knocks = self.platform.knocks();
    }

    /// The next order, and who gave it.
    pub(crate) async fn order(&mut self) -> String {
        self.knock("an order to roll back", |knock| match knock {
            Knock::Ordered { agent, .. } => Some(agent.clone()),
            Knock::Read { .. } => None,
        })
        .await
    }

    /// The agent of that name.
    pub(crate) fn named(&mut self, name: &str) -> &mut Agent {
        self.agents.iter_mut().find(|agent| agent.part.name == name).unwrap()
    }

    /// The platform brings up what was ordered, whose agent takes over from those of v2 that run on beside it, and sees the
    /// rollback through. Exactly one was ordered, and nobody orders another.
    pub(crate) async fn ends_with_one_rollback(&mut self) {
        let orders = &self.platform;
        eventually("an order", async || (!orders.orders().is_empty()).then_some(())).await;
        let restored = self.agent("r1-d3", "d3", "v1", "good", 1).await;
        self.agents.push(restored);
        self.all_are_named();
        self.load(self.agents.len() - 1);
        // Whether the one who ordered it saw its end, or the restored did: the restored remembers it.
        let restored = &self.agents[REPLICAS];
        let done = |record: &Value| record["progress"]["progress"] == "succeeded";
        eventually("the restored knows that the rollback has succeeded", async || {
            restored.history().await?.iter().any(done).then_some(())
        })
        .await;
        self.nothing_more_is_ordered().await;
    }

    /// For longer than anybody keeps to what was granted, no second order comes.
    pub(crate) async fn nothing_more_is_ordered(&mut self) {
        self.forget_knocks();
        let again = timeout(LONG, self.order()).await;
        assert!(again.is_err(), "ordered again: {again:?}");
        let orders = self.platform.orders();
        assert_eq!(orders.len(), 1, "{orders:?}");
        assert_eq!(orders[0].1, "v1");
    }

    /// Ends everything.
    pub(crate) async fn close(mut self) {
        for load in self.loads.drain(..) {
            load.stop().await;
        }
        for agent in &mut self.agents {
            agent.wake();
            agent.kill().await;
        }
        for agent in &self.agents {
            assert!(!agent.log().contains("panicked at"), "{}: {}", agent.part.name, agent.log());
        }
    }
}
