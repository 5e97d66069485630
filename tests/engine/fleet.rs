//! Several engines of one deployment, in step and with nothing lost between them: what they see together, who acts, and
//! what a newcomer takes over. Losses, delays and deaths are the fleet simulation's.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use outrigger::engine::ballot::{Limits, Roster};
use outrigger::engine::fleet::FleetSetup;
use outrigger::engine::history::OpenWatch;
use outrigger::engine::memory::Memory;
use outrigger::engine::peer::{Audience, Boot, Deployment, Hello, Peer, PeerEvent, PeerInput, Role};
use outrigger::engine::policy::Policy;
use outrigger::engine::record::{Acted, Decision, Happening, Live, Lock, Pause, Progress, Reason};
use outrigger::engine::release::RecordId;
use outrigger::engine::time::Time;
use outrigger::engine::verdict::Verdict;
use outrigger::engine::{Effect, Engine, Identity, Input};

use crate::world::{EPOCH, HEALTHY, Kept, Load, World, derive, enforcing, release, v1_known_good};

const BEATS: u64 = 4;

fn peer(i: usize) -> Peer {
    Peer { replica: format!("r{i}").into(), boot: Boot(i as u64 + 1) }
}

/// Engines beside replicas of `v2`, each with traffic of its own.
struct Fleet {
    worlds: Vec<World>,
    names: Vec<Peer>,
    booted: Vec<Time>,
    orders: Vec<(usize, RecordId)>,
    asked_memory: Vec<(usize, Peer)>,
    asked_platform: Vec<(usize, RecordId)>,
    on_the_way: VecDeque<(usize, PeerEvent)>,
    hellos: BTreeMap<usize, Hello>,
    live: &'static str,
    /// So many of the first may call the platform.
    callers: usize,
}

impl Fleet {
    fn start(n: usize, kept: &Kept, policy: &Policy) -> Self {
        Self::start_with(n, n, kept, policy)
    }

    fn start_with(n: usize, callers: usize, kept: &Kept, policy: &Policy) -> Self {
        let mut fleet = Self {
            worlds: Vec::new(),
            names: Vec::new(),
            booted: Vec::new(),
            orders: Vec::new(),
            asked_memory: Vec::new(),
            asked_platform: Vec::new(),
            on_the_way: VecDeque::new(),
            hellos: BTreeMap::new(),
            live: "v2",
            callers,
        };
        (0..n).for_each(|i| fleet.add(i, n, kept.memory.clone(), policy));
        fleet
    }

    fn add(&mut self, i: usize, of: usize, memory: Memory, policy: &Policy) {
        let now = self.worlds.first().map_or(EPOCH + Duration::from_secs(3600), |w| w.now);
        let mut world = World::start(77 + i as u64, now, "v2", policy.clone(), Kept::default());
        let identity = Identity { release: release("v2"), boot: i as u16 };
        let (engine, effects) = Engine::start(now, identity, policy.clone(), memory);
        world.engine = engine;
        self.worlds.push(world);
        self.names.push(peer(i));
        self.booted.push(now);
        let at = self.worlds.len() - 1;
        self.perform(at, effects);
        let roster = Roster { version: 0, replicas: of as u32, watcher: false, down: 0 };
        let setup = FleetSetup {
            me: peer(i),
            role: Role::Replica,
            deployment: Deployment::new("d2").expect("it is a name"),
            created: None,
            booted: now,
            may_call: i < self.callers,
            rehearses: false,
            roster,
            limits: Limits::default(),
        };
        let effects = self.worlds[at].engine.join(now, setup);
        self.perform(at, effects);
        self.step(at, Input::BecameReady);
    }

    fn step(&mut self, at: usize, input: Input) {
        let now = self.worlds[at].now;
        let effects = self.worlds[at].engine.step(now, input);
        self.perform(at, effects);
    }

    fn tell(&mut self, at: usize, event: PeerEvent) {
        let uptime = self.worlds[at].now.since(self.booted[at]);
        self.step(at, Input::Peer(Box::new(PeerInput { uptime, event })));
    }

    fn perform(&mut self, from: usize, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Tell { to, message } => {
                    for i in self.others(from) {
                        if matches!(&to, Audience::One(peer) if *peer != self.names[i]) {
                            continue;
                        }
                        let said =
                            PeerEvent::Said { from: self.names[from].clone(), message: message.clone() };
                        self.on_the_way.push_back((i, said));
                    }
                }
                Effect::Introduce(hello) => {
                    let others = self.others(from);
                    self.on_the_way.extend(others.map(|i| (i, PeerEvent::Met(hello.clone()))));
                    self.hellos.insert(from, *hello);
                }
                Effect::RollBack(order) => self.orders.push((from, order.record)),
                Effect::AskPlatform { record, .. } => self.asked_platform.push((from, record)),
                Effect::AskMemory(peer) => self.asked_memory.push((from, peer)),
                Effect::Record(record) => self.worlds[from].kept.records.push(record),
                Effect::KeepWatch(start) => {
                    self.worlds[from].kept.memory.watch =
                        Some(Box::new(OpenWatch { start: *start, facts: Vec::new() }));
                }
                Effect::KeepFact(fact) => {
                    let watch = self.worlds[from].kept.memory.watch.as_mut();
                    watch.expect("a watch was begun").facts.push(*fact);
                }
                Effect::Follow(_)
                | Effect::KeepBaseline(_)
                | Effect::KeepRelease(_)
                | Effect::KeepPause(_)
                | Effect::SetSlowMark(_) => {}
            }
        }
    }

    fn others(&self, from: usize) -> impl Iterator<Item = usize> + use<> {
        (0..self.worlds.len()).filter(move |&i| i != from)
    }

    fn deliver(&mut self) {
        while let Some((to, event)) = self.on_the_way.pop_front() {
            self.tell(to, event);
        }
        for (from, record) in std::mem::take(&mut self.asked_platform) {
            let live = Live::Release(release(self.live));
            self.step(from, Input::PlatformAnswered { record, live });
        }
        if !self.on_the_way.is_empty() {
            self.deliver();
        }
    }

    /// A second at a time, all together.
    fn run(&mut self, seconds: u64, load: impl Fn(usize) -> Load) {
        for _ in 0..seconds {
            for at in 0..self.worlds.len() {
                let window = self.worlds[at].second(load(at));
                self.step(at, Input::Sealed(window));
            }
            self.deliver();
            for _ in 0..BEATS {
                (0..self.worlds.len()).for_each(|at| self.tell(at, PeerEvent::Beat));
                self.deliver();
            }
        }
    }

    fn verdicts(&self) -> Vec<Verdict> {
        self.worlds.iter().map(|w| w.engine.snapshot(w.now).verdict).collect()
    }

    fn reasons(&self, at: usize) -> Vec<(Decision, Vec<Reason>)> {
        let records = self.worlds[at].kept.records.iter();
        records.filter_map(|r| r.what.decided()).map(|d| (d.decision, d.reasons.clone())).collect()
    }
}

const PART: Load = Load { rps: 30, ..HEALTHY };
const BAD: Load = Load { errors: 0.5, ..PART };

fn known() -> (Kept, Policy) {
    let policy = Policy { replicas: 3, watch: Duration::from_secs(120), ..enforcing() };
    let alone = Policy { replicas: 1, ..policy.clone() };
    (v1_known_good(7, &alone, Duration::from_secs(900)), policy)
}

#[test]
fn three_agents_hold_one_verdict_and_one_of_them_acts() {
    let (kept, policy) = known();
    let mut fleet = Fleet::start(3, &kept, &policy);
    fleet.run(90, |_| PART);
    assert!(fleet.orders.is_empty());
    let evidence = |fleet: &Fleet, at: usize| fleet.worlds[at].engine.snapshot(fleet.worlds[at].now).evidence;
    assert_eq!(evidence(&fleet, 0), evidence(&fleet, 1));
    assert_eq!(evidence(&fleet, 0), evidence(&fleet, 2));
    fleet.run(40, |_| BAD);
    assert!(fleet.verdicts().iter().all(|v| matches!(v, Verdict::Degraded { .. })), "{:?}", fleet.verdicts());
    let reasons: Vec<_> = (0..3).map(|at| fleet.reasons(at)).collect();
    assert_eq!(fleet.orders.len(), 1, "{reasons:?}");
    let (who, _) = fleet.orders[0];
    let elected = Reason::Elected { yes: 3, down: 0, needed: 2 };
    let by = &reasons[who].last().unwrap().1;
    assert!(by.contains(&elected) || by.contains(&Reason::Elected { yes: 2, down: 0, needed: 2 }), "{by:?}");
}

#[test]
fn one_ill_replica_is_that_replicas_trouble() {
    let (kept, policy) = known();
    let mut fleet = Fleet::start(3, &kept, &policy);
    fleet.run(90, |_| PART);
    fleet.run(60, |at| if at == 1 { BAD } else { PART });
    let reasons = fleet.reasons(0);
    assert!(fleet.orders.is_empty(), "{reasons:?}");
    assert!(reasons.iter().any(|(_, reasons)| reasons.contains(&Reason::NotBlamed)), "{reasons:?}");
}

#[test]
fn an_order_that_was_refused_is_given_again_by_another_election() {
    let (kept, policy) = known();
    let mut fleet = Fleet::start_with(3, 1, &kept, &policy);
    fleet.run(90, |_| PART);
    fleet.run(40, |_| BAD);
    let [(who, record)] = fleet.orders.clone().try_into().expect("it is ordered once");
    assert_eq!(who, 0);
    let refused = Acted::Refused { reason: "an incident".to_owned() };
    fleet.step(who, Input::Acted { record: record.clone(), acted: refused });
    fleet.run(180, |_| BAD);
    assert_eq!(fleet.orders.len(), 2, "{:?}", fleet.reasons(0));
    assert_ne!(fleet.orders[1].1, record);
}

#[test]
fn the_end_of_a_lock_and_of_a_pause_is_no_word_against_what_is_set_anew() {
    let (kept, policy) = known();
    let mut fleet = Fleet::start(3, &kept, &policy);
    let now = fleet.worlds[0].now;
    let (since, until) = (now, Some(now + Duration::from_secs(30)));
    let (by, reason) = ("ana".to_owned(), "a migration".to_owned());
    let lock = Lock { by: by.clone(), reason: reason.clone(), since, until };
    fleet.step(0, Input::Locked(lock));
    fleet.step(0, Input::Paused(Pause { by, reason, since, until }));
    fleet.run(40, |_| PART);
    let snapshot = fleet.worlds[0].engine.snapshot(fleet.worlds[0].now);
    assert_eq!((snapshot.lock, snapshot.pause), (None, None), "both are over");
    let ended = |what: &Happening| matches!(what, Happening::Unlocked { .. } | Happening::Resumed { .. });
    let said = fleet.worlds[0].kept.records.iter().filter(|record| ended(&record.what)).count();
    assert_eq!(said, 0, "an agent that was cut off would lift what others have set meanwhile");
}

#[test]
fn who_knows_that_another_rolls_back_calls_for_a_person_only_when_that_one_is_gone() {
    let (kept, policy) = known();
    let mut fleet = Fleet::start_with(3, 1, &kept, &policy);
    fleet.run(90, |_| PART);
    fleet.run(40, |_| BAD);
    let [(who, record)] = fleet.orders.clone().try_into().expect("it is ordered once");
    assert_eq!(who, 0, "the only one that may call");
    let of = &fleet.worlds[0].kept;
    let mut known = derive(of.memory.clone(), &of.records);
    let open = known.open.as_mut().filter(|open| open.id == record).expect("it is under way");
    open.decided.progress = Progress::Accepted { detail: "it is on its way".to_owned() };
    for at in 1..3 {
        fleet.step(at, Input::Inherited(Box::new(known.clone())));
    }
    fleet.run(120, |_| BAD);
    let held = |fleet: &Fleet, at| {
        let said = fleet.reasons(at).into_iter();
        said.filter(|(_, r)| r.contains(&Reason::ActedBefore { record: record.clone() })).count()
    };
    assert_eq!([held(&fleet, 1), held(&fleet, 2)], [0, 0]);
    // Nobody else may call.
    for at in 1..3 {
        fleet.tell(at, PeerEvent::Left(peer(0)));
    }
    fleet.run(10, |_| BAD);
    assert_eq!([held(&fleet, 1), held(&fleet, 2)], [1, 1]);
}

#[test]
fn what_is_no_longer_live_is_not_rolled_back() {
    let (kept, policy) = known();
    let mut fleet = Fleet::start(3, &kept, &policy);
    fleet.live = "v1";
    fleet.run(90, |_| PART);
    fleet.run(40, |_| BAD);
    assert!(fleet.orders.is_empty());
    let v1 = release("v1");
    let held =
        |at| fleet.reasons(at).iter().any(|(_, r)| r.contains(&Reason::NoLongerLive { live: v1.clone() }));
    assert!((0..3).any(held));
}

#[test]
fn a_newcomer_takes_the_watch_over_and_holds_the_same_evidence() {
    let (kept, policy) = known();
    let mut fleet = Fleet::start(2, &kept, &policy);
    fleet.run(90, |_| PART);
    // Its shares of the newest slots come from the others' ledgers.
    fleet.add(2, 3, kept.memory.clone(), &policy);
    let hellos: Vec<Hello> = fleet.hellos.values().cloned().collect();
    hellos
        .into_iter()
        .filter(|hello| hello.peer != peer(2))
        .for_each(|h| fleet.tell(2, PeerEvent::Met(h.into())));
    let asked: Vec<Peer> =
        fleet.asked_memory.iter().filter(|(by, _)| *by == 2).map(|(_, p)| p.clone()).collect();
    assert!(asked.contains(&peer(0)), "{asked:?}");
    let mut memory = kept.memory.clone();
    memory.watch = fleet.worlds[0].kept.memory.watch.clone();
    fleet.step(2, Input::Inherited(Box::new(memory)));
    fleet.run(2, |_| PART);
    let of = |at: usize| fleet.worlds[at].engine.snapshot(fleet.worlds[at].now);
    assert_eq!(of(0).evidence, of(2).evidence);
    assert!(of(2).watch.unwrap().judged_for > Duration::from_secs(30), "{:?}", of(2).watch);
}

#[test]
fn a_pause_that_came_from_a_peer_stops_the_vote() {
    let (mut kept, policy) = known();
    let mut fleet = Fleet::start(3, &kept, &policy);
    fleet.run(90, |_| PART);
    let pause = Pause { by: "ann".into(), reason: "sale".into(), since: fleet.worlds[0].now, until: None };
    kept.memory.pause = Some(pause);
    for at in 0..2 {
        fleet.step(at, Input::Inherited(Box::new(kept.memory.clone())));
    }
    fleet.run(40, |_| BAD);
    assert!(fleet.orders.is_empty(), "two of three know of the pause: {:?}", fleet.orders);
    assert!(fleet.reasons(0).iter().any(|(_, r)| r.iter().any(|r| matches!(r, Reason::Paused(_)))));
}
