//! A fleet in virtual time: one queue of events, ordered by time and then by number; nothing reads a clock.

#[path = "world/life.rs"]
mod life;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use outrigger::config::Secret;
use outrigger::engine::peer::Role;
use outrigger::engine::policy::{Mode, Policy};
use outrigger::peers::envelope::Keys;

use crate::agent::{Agent, AgentId, Work};
use crate::app::{Health, Second};
use crate::chance::Chance;
use crate::counts::{Counts, Seen};
use crate::disk::Disk;
use crate::invariants::Witness;
use crate::mutation::Mutation;
use crate::network::{Cut, Host, Network, Weather};
use crate::plan::{DiskMood, Fault, Illness, Mood, Plan, When};
use crate::platform::{DeploymentId, Platform};

/// Everything that can happen.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a simulation may copy")]
pub(crate) enum Event {
    /// Something reaches an agent.
    Work(AgentId, Work),
    /// An agent's timers; they go on by themselves.
    BeatTimer(AgentId),
    SealTimer(AgentId),
    /// Who can hear whom is looked at.
    Links,
    /// An agent starts at a host.
    Boot(Host),
    /// A deployment takes over.
    Live(DeploymentId),
    /// A deployment's agents are told to end,
    Drain(DeploymentId),
    /// and are ended.
    Kill(DeploymentId),
    /// The platform is read for an agent.
    Read(AgentId, outrigger::engine::release::RecordId),
    /// A call has its effect,
    Land(usize),
    /// and that can be read.
    Shown(DeploymentId),
    /// An agent reads who may vote.
    PollRoster(AgentId),
    Written(AgentId),
    Fault(Fault),
    /// A fault is over.
    Over(Over),
    Deploy {
        is_bad: bool,
    },
    /// All trouble ends.
    Calm,
}

/// What is over.
#[derive(Debug)]
pub(crate) enum Over {
    Cut(u64),
    Weather(Weather),
    Freeze(AgentId),
    Disk(AgentId),
    Platform(Mood),
    Pause(AgentId),
    Database,
}

/// A place where agents start.
pub(crate) struct Place {
    pub(crate) name: Arc<str>,
    pub(crate) role: Role,
    pub(crate) deployment: DeploymentId,
    /// Who is there now.
    pub(crate) agent: Option<AgentId>,
    /// What outlives agents, if anything does.
    pub(crate) disk: Option<Disk>,
    pub(crate) may_call: bool,
    /// The key that its agents have.
    pub(crate) has_other_key: bool,
    pub(crate) is_foreign: bool,
    pub(crate) is_gone: bool,
    /// Its wall clock's and its clock's deviation.
    pub(crate) offset: i64,
    pub(crate) fast: i64,
}

pub(crate) struct World {
    pub(crate) now: u64,
    number: u64,
    queue: BTreeMap<(u64, u64), Event>,
    pub(crate) plan: Plan,
    pub(crate) chance: Chance,
    pub(crate) places: Vec<Place>,
    pub(crate) agents: Vec<Agent>,
    pub(crate) network: Network,
    pub(crate) platform: Platform,
    pub(crate) witness: Witness,
    pub(crate) counts: Counts,
    pub(crate) mutation: Option<Mutation>,
    pub(crate) database_is_down: bool,
    pub(crate) last_asker: Option<AgentId>,
    pub(crate) last_caller: Option<AgentId>,
    pub(crate) cut_ids: u64,
    /// The next one to give an order dies: after it or before, and is back after so long.
    pub(crate) dies_at_order: Option<(bool, Option<u64>)>,
    armed: Vec<(When, Fault)>,
    lines: VecDeque<String>,
    keep_all: bool,
}

/// Lines of what happened that are kept for the case of a violation.
const LINES: usize = 40;
const LINKS_EVERY: u64 = 500;
const REQUESTS: u64 = 18;

/// Everything that a release and a baseline need to be judged within a minute.
pub(crate) fn policy(replicas: u32) -> Policy {
    Policy {
        mode: Mode::Enforce,
        watch: Duration::from_secs(600),
        warm_up: Duration::from_secs(10),
        warm_up_requests: 20,
        known_good_requests: 300,
        judge_routes: false,
        judge_statuses: false,
        judge_resources: false,
        hold: Duration::from_secs(40),
        cooldown: COOLDOWN,
        verify: Duration::from_secs(60),
        replicas,
        ..Policy::default()
    }
}

/// The rest after an act.
pub(crate) const COOLDOWN: Duration = Duration::from_secs(90);

impl World {
    pub(crate) fn new(plan: Plan, keep_all: bool) -> Self {
        let mut world = Self {
            now: 0,
            number: 0,
            queue: BTreeMap::new(),
            chance: Chance::new(plan.seed ^ 0xf1ee_7000),
            places: Vec::new(),
            agents: Vec::new(),
            network: Network::new(),
            platform: Platform::new(),
            witness: Witness::new(&plan),
            counts: Counts::default(),
            mutation: None,
            database_is_down: false,
            last_asker: None,
            last_caller: None,
            cut_ids: 0,
            dies_at_order: None,
            armed: Vec::new(),
            lines: VecDeque::new(),
            keep_all,
            plan,
        };
        world.set_up();
        world
    }

    fn set_up(&mut self) {
        let first = self.deploy("v1", false, false, self.plan.replicas);
        if self.plan.watcher {
            let offset = self.offset();
            let fast = self.fast();
            self.places.push(Place {
                name: "watcher".into(),
                role: Role::Watcher,
                deployment: first,
                agent: None,
                disk: Some(KNOWN_GOOD.clone()),
                may_call: true,
                has_other_key: false,
                is_foreign: false,
                is_gone: false,
                offset,
                fast,
            });
            self.at(1, Event::Boot(self.places.len() - 1));
        }
        self.at(LINKS_EVERY, Event::Links);
        self.at(self.plan.calm_from, Event::Calm);
        self.at(self.plan.deploy_at, Event::Deploy { is_bad: self.plan.illness != Illness::None });
        for (when, fault) in self.plan.faults.clone() {
            match when {
                When::At(at) => self.at(at, Event::Fault(fault)),
                When::AfterAsk(_) | When::AfterElected(_) | When::AfterCall(_) => {
                    self.armed.push((when, fault));
                }
            }
        }
    }

    /// Something happens later.
    pub(crate) fn at(&mut self, at: u64, event: Event) {
        self.number += 1;
        self.queue.insert((at.max(self.now), self.number), event);
    }

    pub(crate) fn after(&mut self, delay: u64, event: Event) {
        self.at(self.now + delay, event);
    }

    /// Faults that wait for something that has happened now.
    pub(crate) fn trigger(&mut self, is_it: fn(When) -> Option<u64>) {
        if self.now >= self.plan.calm_from {
            return;
        }
        let armed = std::mem::take(&mut self.armed);
        for (when, fault) in armed {
            match is_it(when) {
                Some(delay) if self.now + delay < self.plan.calm_from => {
                    self.after(delay, Event::Fault(fault))
                }
                Some(_) | None => self.armed.push((when, fault)),
            }
        }
    }

    /// Runs to its end, or to the first violation.
    pub(crate) fn run(&mut self) {
        while let Some(((at, _), event)) = self.queue.pop_first() {
            if at > self.plan.end || self.is_settled() {
                break;
            }
            self.now = at;
            self.happen(event);
            self.note_rosters();
            if self.witness.violation.is_some() {
                return;
            }
        }
        self.end();
    }

    /// There is nothing more to be seen: all trouble is over, what was to be done was done long ago.
    fn is_settled(&self) -> bool {
        let last = self.platform.calls.iter().filter_map(|call| call.landed).max();
        let is_open = self.platform.calls.iter().any(|call| call.takes_effect && call.landed.is_none());
        let well = self.now >= self.plan.calm_from + 45_000;
        match last {
            Some(landed) => well && !is_open && self.now >= landed + 70_000,
            None => self.now >= self.plan.calm_from + 90_000 && !self.is_bad_live(),
        }
    }

    pub(crate) fn is_bad_live(&self) -> bool {
        self.platform.deployments.iter().any(|each| each.is_bad && each.live_at.is_some() && !each.is_over)
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Work(agent, work) => self.give(agent, work),
            Event::BeatTimer(agent) => self.beat_timer(agent),
            Event::SealTimer(agent) => self.seal_timer(agent),
            Event::Links => {
                self.look_at_links();
                self.after(LINKS_EVERY, Event::Links);
            }
            Event::Boot(host) => self.boot(host),
            Event::Live(deployment) => self.live(deployment),
            Event::Drain(deployment) => self.drain(deployment),
            Event::Kill(deployment) => self.kill_deployment(deployment),
            Event::Read(agent, record) => self.read_platform(agent, record),
            Event::Land(call) => self.land(call),
            Event::Shown(deployment) => {
                self.platform.shown = self.platform.shown.max(deployment);
                self.say(|w| format!("platform shows {}", w.platform.deployments[deployment].name));
            }
            Event::PollRoster(agent) => self.poll_roster(agent),
            Event::Written(agent) => self.written(agent),
            Event::Fault(fault) => self.befall(fault),
            Event::Over(over) => self.over(over),
            Event::Calm => self.calm(),
            Event::Deploy { is_bad } => {
                let name = format!("v{}", self.platform.deployments.len() + 1);
                self.deploy(&name, is_bad, false, self.plan.replicas);
            }
        }
    }

    /// A line of the story.
    pub(crate) fn say(&mut self, line: impl FnOnce(&Self) -> String) {
        let line = format!("{:>8.3} {}", self.now as f64 / 1000.0, line(self));
        if self.keep_all {
            println!("{line}");
        }
        if self.lines.len() >= LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    pub(crate) fn story(&self) -> String {
        self.lines.iter().map(|line| format!("  {line}\n")).collect()
    }

    /// What an agent's app does in this second.
    pub(crate) fn second(&mut self, id: AgentId, stalled: bool) -> Second {
        let agent = &self.agents[id];
        let of = &self.platform.deployments[agent.deployment];
        let index = of.hosts.iter().position(|&host| host == agent.host).unwrap_or_default();
        let is_ill = match (agent.ready_at, of.live_at) {
            (Some(_), Some(live)) if of.is_bad => self.now >= live + self.plan.onset,
            _ => false,
        };
        let health = match self.plan.illness {
            _ if !is_ill && !self.database_is_down => Health::Well,
            Illness::Slow => Health::Slow,
            Illness::OneReplica if index != 0 => Health::Well,
            Illness::None | Illness::Failing | Illness::OneReplica | Illness::Database => Health::Failing,
        };
        let is_serving = agent.ready_at.is_some() && of.live_at.is_some();
        let share = REQUESTS / of.hosts.len().max(1) as u64;
        let requests = if is_serving { share + self.chance.below(3) } else { 0 };
        let down = self.database_is_down || is_ill && self.plan.illness == Illness::Database;
        Second { health, requests, database: Some(!down), stalled }
    }

    pub(crate) fn cut(&mut self, side: impl IntoIterator<Item = Host>, out: bool, into: bool, lasts: u64) {
        self.cut_ids += 1;
        let id = self.cut_ids;
        self.network.cuts.push(Cut { id, side: side.into_iter().collect(), out, into });
        self.after(lasts, Event::Over(Over::Cut(id)));
        if self.witness.is_voting() {
            self.counts.see(Seen::CutDuringVote);
        }
    }

    pub(crate) fn mend_disk(&mut self, id: AgentId) {
        self.agents[id].disk_mood = DiskMood::Well;
    }
}

/// The fleet's key, and another one.
static KEYS: LazyLock<(Keys, Keys)> = LazyLock::new(|| (keys("the fleet's"), keys("a stranger's")));

fn keys(secret: &str) -> Keys {
    Keys::new(&[Secret::new(secret.to_owned())], "project environment service").expect("there is one")
}

/// What every agent of the first release remembers: it is known good.
pub(crate) static KNOWN_GOOD: LazyLock<Disk> = LazyLock::new(crate::past::known_good);
