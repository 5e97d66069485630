//! A release that took all its agents with it: the watcher that is left acts by what the platform says, and only then.

use std::time::Duration;

use outrigger::engine::ballot::{Limits, Roster};
use outrigger::engine::fleet::FleetSetup;
use outrigger::engine::memory::{Memory, OpenDecision, Standing};
use outrigger::engine::peer::{Boot, Deployment, Hello, Peer, PeerEvent, PeerInput, Role};
use outrigger::engine::policy::{Mode, Policy};
use outrigger::engine::record::{Acted, Decided, Decision, Order, Pause, Progress, Reason, Record, Sight};
use outrigger::engine::time::Time;
use outrigger::engine::{Effect, Engine, Identity, Input};

use crate::play::START;
use crate::world::{EPOCH, enforcing, release, v1_known_good};

/// The longest that a call may take: what was ordered is another agent's for at least so long.
const CALL: Duration = Duration::from_secs(180);

fn deployment(name: &str) -> Deployment {
    Deployment::new(name).expect("it is a name")
}

fn peer(name: &str) -> Peer {
    Peer { replica: name.into(), boot: Boot(1) }
}

fn roster() -> Roster {
    Roster { version: 0, replicas: 3, watcher: true, down: 0 }
}

/// A store in which `v1` is known good.
fn memory() -> Memory {
    v1_known_good(3, &enforcing(), Duration::from_secs(20 * 60)).memory
}

/// One agent, what it remembers, and what it did.
struct Watcher {
    now: Time,
    booted: Time,
    engine: Engine,
    memory: Memory,
    records: Vec<Record>,
    orders: Vec<Order>,
}

impl Watcher {
    fn start(role: Role, may_call: bool, policy: &Policy, memory: Memory) -> Self {
        let now = EPOCH + START;
        let own = if role == Role::Watcher { "none-met" } else { "v2" };
        let identity = Identity { release: release(own), boot: 1 };
        let (engine, effects) = Engine::start(now, identity, policy.clone(), memory.clone());
        let mut watcher = Self { now, booted: now, engine, memory, records: Vec::new(), orders: Vec::new() };
        watcher.perform(effects);
        let setup = FleetSetup {
            me: peer("w"),
            role,
            deployment: deployment(if role == Role::Watcher { "none-met" } else { "d2" }),
            created: None,
            booted: now,
            may_call,
            rehearses: false,
            roster: roster(),
            limits: Limits { call: CALL, ..Limits::default() },
        };
        let effects = watcher.engine.join(now, setup);
        watcher.perform(effects);
        watcher
    }

    /// It has met the one agent of `v2`, which is gone again.
    fn bereft(policy: &Policy, memory: Memory) -> Self {
        let mut watcher = Self::start(Role::Watcher, true, policy, memory);
        watcher.meets_and_loses(policy);
        watcher
    }

    fn meets(&mut self, policy: &Policy) {
        let hello = Hello {
            peer: peer("r1"),
            role: Role::Replica,
            deployment: deployment("d2"),
            created: None,
            release: release("v2"),
            booted: self.booted,
            generation_booted: self.booted,
            has_been_open: true,
            is_ready: true,
            is_leaving: false,
            mode: policy.mode,
            policy: 0,
            baseline: 0,
            may_call: false,
            roster: roster(),
        };
        self.tell(PeerEvent::Met(Box::new(hello)));
    }

    fn meets_and_loses(&mut self, policy: &Policy) {
        self.meets(policy);
        self.wait(60);
        self.tell(PeerEvent::Left(peer("r1")));
    }

    fn tell(&mut self, event: PeerEvent) {
        let uptime = self.now.since(self.booted);
        self.step(Input::Peer(Box::new(PeerInput { uptime, event })));
    }

    fn step(&mut self, input: Input) {
        let effects = self.engine.step(self.now, input);
        self.perform(effects);
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Record(record) => self.records.push(record),
                Effect::RollBack(order) => self.orders.push(order),
                Effect::Follow(hello) => {
                    let memory = Box::new(self.memory.clone());
                    self.step(Input::Following { hello, memory });
                }
                Effect::AskPlatform { .. }
                | Effect::AskMemory(_)
                | Effect::Tell { .. }
                | Effect::Introduce(_)
                | Effect::KeepWatch(_)
                | Effect::KeepFact(_)
                | Effect::KeepBaseline(_)
                | Effect::KeepRelease(_)
                | Effect::KeepPause(_)
                | Effect::SetSlowMark(_) => {}
            }
        }
    }

    fn wait(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now = self.now + Duration::from_secs(1);
            self.tell(PeerEvent::Beat);
        }
    }

    /// The platform says how the replicas are, and time passes.
    fn sees(&mut self, live: &str, up: u32, down: u32, then: u64) {
        self.step(Input::PlatformSaw(Sight { deployment: deployment(live), up, down }));
        self.wait(then);
    }

    fn decided(&self) -> Vec<&Decided> {
        self.records.iter().filter_map(|record| record.what.decided()).collect()
    }
}

#[test]
fn a_watcher_that_is_left_alone_puts_the_former_release_back_once() {
    let mut w = Watcher::bereft(&enforcing(), memory());
    w.sees("d2", 0, 3, 24);
    w.sees("d2", 0, 3, 1);
    assert!(w.orders.is_empty(), "both were said too close together");
    for _ in 0..20 {
        w.sees("d2", 0, 3, 30);
    }
    let [order] = w.orders.as_slice() else { panic!("{:?}", w.records) };
    assert_eq!((&order.from, &order.to), (&release("v2"), &release("v1")));
    let decided = w.decided();
    assert_eq!(decided[0].decision, Decision::RollBack);
    assert_eq!(decided[0].reasons[0], Reason::AllDown { down: 3 });
    assert!(
        !decided[0].reasons.iter().any(|it| matches!(it, Reason::Degraded | Reason::Blamed)),
        "{decided:?}"
    );
    assert!(decided[0].certificate.is_none(), "nobody voted");
}

#[test]
fn one_replica_that_is_up_in_between_begins_the_wait_anew() {
    let mut w = Watcher::bereft(&enforcing(), memory());
    w.sees("d2", 0, 3, 20);
    w.sees("d2", 1, 2, 20);
    w.sees("d2", 0, 3, 24);
    w.sees("d2", 0, 3, 0);
    assert!(w.orders.is_empty(), "{:?}", w.records);
}

#[test]
fn an_agent_that_is_met_in_between_or_a_long_silence_begins_the_wait_anew() {
    let mut w = Watcher::bereft(&enforcing(), memory());
    w.sees("d2", 0, 3, 10);
    w.meets_and_loses(&enforcing());
    w.sees("d2", 0, 3, 6 * 60);
    w.sees("d2", 0, 3, 10);
    assert!(w.orders.is_empty(), "{:?}", w.records);
    w.sees("d2", 0, 3, 20);
    w.sees("d2", 0, 3, 0);
    assert_eq!(w.orders.len(), 1);
}

#[test]
fn what_is_not_certain_is_left_alone() {
    let never = |what: &str, mut w: Watcher, live: &str, up: u32, down: u32| {
        for _ in 0..6 {
            w.sees(live, up, down, 30);
        }
        assert!(w.orders.is_empty(), "{what}: {:?}", w.records);
    };
    let policy = enforcing();
    never("a replica that is up", Watcher::bereft(&policy, memory()), "d2", 1, 2);
    never(
        "no replica at all, as of a deployment that sleeps",
        Watcher::bereft(&policy, memory()),
        "d2",
        0,
        0,
    );
    never("another deployment is live", Watcher::bereft(&policy, memory()), "d3", 0, 3);
    let mut met = Watcher::bereft(&policy, memory());
    met.meets(&policy);
    never("an agent of the deployment is met", met, "d2", 0, 3);
    never("nobody was ever met", Watcher::start(Role::Watcher, true, &policy, memory()), "d2", 0, 3);
    never("a replica's agent", Watcher::start(Role::Replica, true, &policy, memory()), "d2", 0, 3);
    let mut poor = Watcher::start(Role::Watcher, false, &policy, memory());
    poor.meets_and_loses(&policy);
    never("a watcher without a token", poor, "d2", 0, 3);
    let mut first = memory();
    first.releases.clear();
    first.baselines.clear();
    never("nothing to put back", Watcher::bereft(&policy, first), "d2", 0, 3);
}

#[test]
fn what_another_agent_has_ordered_is_not_ordered_again() {
    let mut w = Watcher::bereft(&enforcing(), memory());
    w.sees("d2", 0, 3, 30);
    w.sees("d2", 0, 3, 1);
    let given = w.orders.len();
    let order = &w.orders[0];
    let decided = w.decided()[0].clone();
    let open = OpenDecision { id: order.record.clone(), at: order.at, from: release("v2"), decided };
    let mut heir = Watcher::bereft(&enforcing(), Memory { open: Some(open), ..memory() });
    heir.sees("d2", 0, 3, 10);
    heir.sees("d2", 0, 3, 10);
    heir.sees("d2", 0, 3, 10);
    heir.sees("d2", 0, 3, 0);
    assert_eq!((given, heir.orders.len()), (1, 0), "{:?}", heir.records);
    // Whoever gave it is dead, and it can have no effect any more: that is decided anew.
    heir.wait(CALL.as_secs());
    heir.sees("d2", 0, 3, 30);
    heir.sees("d2", 0, 3, 0);
    assert_eq!(heir.orders.len(), 1, "{:?}", heir.records);
}

#[test]
fn what_was_refused_three_times_is_tried_four_times_an_hour() {
    let mut w = Watcher::bereft(&enforcing(), memory());
    for _ in 0..120 {
        w.sees("d2", 0, 3, 30);
        let given: Vec<_> = w.orders.iter().map(|order| order.record.clone()).collect();
        if let Some(record) =
            given.last().filter(|_| w.decided().last().unwrap().progress == Progress::Intended)
        {
            let acted = Acted::Refused { reason: "no image".to_owned() };
            w.step(Input::Acted { record: record.clone(), acted });
        }
    }
    assert!((5..=8).contains(&w.orders.len()), "{}", w.orders.len());
}

#[test]
fn what_the_release_found_itself_counts_where_no_probe_has_answered() {
    let mut memory = memory();
    for known in &mut memory.releases {
        known.schemas.insert("postgres".into(), "41".into());
    }
    let mut own = memory.releases[0].clone();
    (own.release, own.standing) = (release("v2"), Standing::OnTrial);
    own.schemas.insert("postgres".into(), "42".into());
    memory.releases.push(own);
    let mut w = Watcher::bereft(&enforcing(), memory);
    w.sees("d2", 0, 3, 30);
    w.sees("d2", 0, 3, 0);
    assert!(w.orders.is_empty(), "{:?}", w.records);
    let moved = |reason: &Reason| matches!(reason, Reason::SchemaMoved { .. });
    assert!(w.decided()[0].reasons.iter().any(moved), "{:?}", w.decided());
}

#[test]
fn obstacles_hold_it_like_any_act() {
    let by = "ana".to_owned();
    let pause = Pause { by, reason: "a migration".to_owned(), since: EPOCH, until: None };
    let held = |what: &str, policy: Policy, memory: Memory| {
        let mut w = Watcher::bereft(&policy, memory);
        w.sees("d2", 0, 3, 30);
        w.sees("d2", 0, 3, 30);
        w.sees("d2", 0, 3, 0);
        assert!(w.orders.is_empty(), "{what}: {:?}", w.records);
        let said: Vec<Decision> = w.decided().iter().map(|decided| decided.decision).collect();
        assert_eq!(said, [Decision::Hold], "{what}: said, and once: {:?}", w.records);
        assert_eq!(w.decided()[0].reasons[0], Reason::AllDown { down: 3 });
    };
    held("paused by a person", enforcing(), Memory { pause: Some(pause), ..memory() });
    held("it may only watch", Policy { mode: Mode::Observe, ..enforcing() }, memory());
    let acts = vec![EPOCH + START - Duration::from_secs(60); 9];
    held("the budget is spent", enforcing(), Memory { acts, ..memory() });
}
