//! What surrounds an engine: its loop, and how its effects are performed. As `agent::control` does it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use outrigger::engine::peer::{Audience, Hello, Message, PeerEvent};
use outrigger::engine::record::{Acted, Exit, Happening, Live, Order, Record};
use outrigger::engine::release::{RecordId, Release};
use outrigger::engine::{Effect, Input};
use outrigger::peers::wire;

use crate::agent::{AgentId, Work, Writing, lost};
use crate::app;
use crate::counts::Seen;
use crate::disk::Disk;
use crate::mutation::Mutation;
use crate::plan::{DiskMood, When};
use crate::platform::Call;
use crate::world::{Event, World};

/// A write that takes longer counts as lost, although it may become durable later.
const WRITE_MAX: u64 = 4_000;
/// A seal that comes so much too late says that the agent was stalled.
const STALL: u64 = 500;
/// Whoever calls is told after this that nothing is known.
const CALL_TIMEOUT: u64 = 15_000;

impl World {
    /// Something reaches an agent's loop.
    pub(crate) fn give(&mut self, id: AgentId, work: Work) {
        let agent = &mut self.agents[id];
        if !agent.alive {
            return;
        }
        if agent.is_held() {
            let is_timer = |work: &Work| matches!(work, Work::Beat | Work::Seal);
            let twice = |a: &Work, b: &Work| std::mem::discriminant(a) == std::mem::discriminant(b);
            if !(is_timer(&work) && agent.backlog.iter().any(|waits| twice(waits, &work))) {
                agent.backlog.push_back(work);
            }
            return;
        }
        self.take(id, work);
    }

    /// What came while it was held up: its sources are read in the loop's order.
    pub(crate) fn resume(&mut self, id: AgentId) {
        let mut backlog: Vec<Work> = std::mem::take(&mut self.agents[id].backlog).into();
        backlog.sort_by_key(|work| match work {
            Work::Ready | Work::AppEnded => 0,
            Work::Seal => 1,
            Work::Beat => 2,
            Work::Input(_) => 3,
            Work::Met(_)
            | Work::Left(_)
            | Work::Sealed(_)
            | Work::Roster(_)
            | Work::AskedMemory(_)
            | Work::Memory(_) => 4,
        });
        for work in backlog {
            self.give(id, work);
        }
    }

    fn take(&mut self, id: AgentId, work: Work) {
        let now = self.now;
        self.witness.runs(id, &mut self.agents[id], now);
        let uptime = self.heard_uptime(id);
        let agent = &mut self.agents[id];
        let effects = match work {
            Work::Beat => agent.peer_step(now, uptime, PeerEvent::Beat),
            Work::Seal => return self.seal(id),
            Work::Ready => return self.ready(id),
            Work::AppEnded => {
                agent.ready_at = None;
                agent.step(now, Input::Exited(Exit { code: Some(3), signal: None }))
            }
            Work::Met(hello) => agent.peer_step(now, uptime, PeerEvent::Met(hello)),
            Work::Left(peer) => agent.peer_step(now, uptime, PeerEvent::Left(peer)),
            Work::Sealed(bytes) => {
                let Some((from, message)) = self.unsealed(id, &bytes) else { return };
                let Some(message) = self.mutated(id, message) else { return };
                self.agents[id].peer_step(now, uptime, PeerEvent::Said { from, message })
            }
            Work::Roster(roster) => agent.peer_step(now, uptime, PeerEvent::Roster(roster)),
            Work::Input(input) => return self.heard(id, input),
            Work::AskedMemory(by) => return self.hand_over(id, by),
            Work::Memory(disk) => return self.inherit(id, &disk),
        };
        self.perform(id, effects.into());
    }

    /// What the agent believes that its clock says.
    fn heard_uptime(&mut self, id: AgentId) -> Duration {
        let uptime = self.agents[id].uptime(self.now);
        match self.mutation {
            Some(Mutation::NoQuiet) => uptime + Duration::from_secs(60),
            Some(Mutation::NoTilt) => self.witness.smooth_uptime(id, uptime),
            Some(_) | None => uptime,
        }
    }

    fn heard(&mut self, id: AgentId, input: Input) {
        // How old a lease is counts when the platform answers.
        let (now, uptime) = (self.now, self.heard_uptime(id));
        let effects = self.agents[id].peer_step(now, uptime, PeerEvent::Beat);
        self.perform(id, effects.into());
        if !self.agents[id].alive || self.agents[id].is_held() {
            return;
        }
        match &input {
            Input::PlatformAnswered { live, .. } => {
                self.agents[id].asking = false;
                self.witness.read(id, live, self.now);
            }
            Input::Acted { .. } => self.agents[id].ordering = false,
            Input::Paused(_) => {
                if self.mutation == Some(Mutation::DeafToPause) {
                    self.witness.paused(id, true, self.now);
                    return;
                }
            }
            Input::Sealed(_)
            | Input::BecameReady
            | Input::Exited(_)
            | Input::HealthChanged(_)
            | Input::Resumed { .. }
            | Input::RecordLost { .. }
            | Input::Peer(_)
            | Input::Inherited(_)
            | Input::Stepped { .. }
            | Input::Locked(_)
            | Input::Unlocked { .. }
            | Input::RollBackAsked { .. }
            | Input::Readiness(_)
            | Input::SchemaSeen { .. }
            | Input::PlatformSaw(_)
            | Input::Following { .. } => {}
        }
        let effects = self.agents[id].step(self.now, input);
        self.perform(id, effects.into());
    }

    pub(crate) fn beat_timer(&mut self, id: AgentId) {
        if self.agents[id].alive {
            let next = self.agents[id].clock.lasts(250);
            self.after(next, Event::BeatTimer(id));
            self.give(id, Work::Beat);
        }
    }

    pub(crate) fn seal_timer(&mut self, id: AgentId) {
        if self.agents[id].alive {
            let next = self.agents[id].clock.lasts(1_000);
            self.after(next, Event::SealTimer(id));
            self.give(id, Work::Seal);
        }
    }

    fn seal(&mut self, id: AgentId) {
        let now = self.now;
        let agent = &self.agents[id];
        let is_observer = agent.role == outrigger::engine::peer::Role::Watcher;
        let (from, late) = (agent.sealed, now - agent.sealed > agent.clock.lasts(1_000) + STALL);
        let draining = agent.draining;
        let second = self.second(id, late);
        let agent = &mut self.agents[id];
        agent.sealed = now;
        if draining {
            return;
        }
        let (from, to) = (agent.clock.wall(from), agent.clock.wall(now));
        let mut window = app::window(&mut self.chance, from, to, second);
        if is_observer {
            window = outrigger::engine::window::Window { from, to, ..Default::default() };
        }
        let effects = self.agents[id].step(now, Input::Sealed(window));
        self.perform(id, effects.into());
    }

    fn ready(&mut self, id: AgentId) {
        let now = self.now;
        self.agents[id].ready_at = Some(now);
        let effects = self.agents[id].step(now, Input::BecameReady);
        self.perform(id, effects.into());
    }

    /// Performs effects in order; the agent may die between any two of them.
    pub(crate) fn perform(&mut self, id: AgentId, mut effects: VecDeque<Effect>) {
        while let Some(effect) = effects.pop_front() {
            if self.dies_now(id, &effect) {
                return;
            }
            match effect {
                Effect::Record(record) => {
                    if let Some(Effect::RollBack(_)) = effects.front()
                        && let Some(Effect::RollBack(order)) = effects.pop_front()
                    {
                        return self.intend(id, record, order, effects);
                    }
                    self.note(id, &record);
                }
                Effect::RollBack(order) => self.record_lost(id, order.record),
                Effect::AskPlatform { record, .. } => self.ask_platform(id, record),
                Effect::KeepWatch(start) => self.agents[id].disk.watch = Some((*start, Vec::new())),
                Effect::KeepFact(fact) => {
                    self.witness.fact(id, &fact);
                    self.agents[id].disk.keep_fact(*fact);
                }
                Effect::KeepBaseline(baseline) => {
                    let baselines = &mut self.agents[id].disk.baselines;
                    baselines.insert(baseline.release.clone(), Arc::new(*baseline));
                }
                Effect::KeepRelease(release) => {
                    self.spread(
                        id,
                        Disk {
                            releases: [(release.release.clone(), release.clone())].into(),
                            ..Disk::default()
                        },
                    );
                    self.agents[id].disk.releases.insert(release.release.clone(), release);
                }
                Effect::Follow(hello) => self.follow(id, hello),
                Effect::KeepPause(pause) => {
                    self.witness.paused(id, pause.is_some(), self.now);
                    let at = self.agents[id].clock.wall(self.now);
                    let pause = Some((at, pause));
                    self.spread(id, Disk { pause: pause.clone(), ..Disk::default() });
                    self.agents[id].disk.pause = pause;
                }
                Effect::SetSlowMark(_) => {}
                Effect::Tell { to, message } => self.tell(id, &to, &message),
                Effect::Introduce(hello) => self.introduce(id, hello),
                Effect::AskMemory(peer) => self.ask_memory(id, &peer),
            }
            if self.witness.violation.is_some() {
                return;
            }
        }
    }

    fn dies_now(&mut self, id: AgentId, next: &Effect) -> bool {
        let Some((left, back)) = self.agents[id].dies_after else { return false };
        if left > 0 {
            self.agents[id].dies_after = Some((left - 1, back));
            return false;
        }
        self.counts.see(Seen::Crash);
        if matches!(next, Effect::Tell { message: Message::Ask(_), .. }) {
            self.counts.see(Seen::CrashWhileAsking);
        }
        self.die(id, back);
        true
    }

    /// An intent and its order: the order is given only once the intent is durable.
    fn intend(&mut self, id: AgentId, record: Record, order: Order, rest: VecDeque<Effect>) {
        let takes = match self.agents[id].disk_mood {
            // Longer than any lease, and the agent does not mind.
            _ if self.mutation == Some(Mutation::NoLease) => {
                return self.write_for_ever(id, record, order, rest);
            }
            DiskMood::Well => 0,
            DiskMood::Slow(takes) => takes,
            DiskMood::Full => {
                self.counts.see(Seen::NotRecorded);
                self.record_lost(id, record.id);
                return self.perform(id, rest);
            }
        };
        let in_time = takes <= WRITE_MAX;
        self.agents[id].writing = Some(Writing { record: Box::new(record), order, rest, in_time });
        if takes == 0 {
            self.written(id);
        } else {
            self.counts.see(Seen::SlowWrite);
            self.after(takes.min(WRITE_MAX), Event::Written(id));
        }
    }

    fn write_for_ever(&mut self, id: AgentId, record: Record, order: Order, rest: VecDeque<Effect>) {
        self.agents[id].writing = Some(Writing { record: Box::new(record), order, rest, in_time: true });
        self.after(12_000, Event::Written(id));
    }

    /// The intent is durable, or it took too long.
    pub(crate) fn written(&mut self, id: AgentId) {
        if self.agents[id].frozen {
            return self.after(50, Event::Written(id));
        }
        let Some(Writing { record, order, rest, in_time }) = self.agents[id].writing.take() else { return };
        let now = self.now;
        // Too late means: not known to be durable. It may become so.
        self.agents[id].disk.record(&record);
        self.witness.recorded(id, &record, now);
        self.spread_record(id, &record);
        if let Some((_, back)) = self.dies_at_order.take_if(|(after, _)| !*after) {
            self.counts.see(Seen::CrashAfterIntent);
            return self.die(id, back);
        }
        let uptime = self.heard_uptime(id);
        let agent = &self.agents[id];
        let is_over =
            order.not_after.is_some_and(|until| uptime > until) && self.mutation != Some(Mutation::NoLease);
        if is_over {
            self.counts.see(Seen::LeaseOverBeforeOrder);
        }
        if !in_time || agent.draining {
            self.record_lost(id, order.record);
        } else if is_over {
            let acted = Acted::Refused { reason: "the lease was over".to_owned() };
            self.after(0, Event::Work(id, Work::Input(Input::Acted { record: order.record, acted })));
        } else {
            self.call(id, &order, &record);
        }
        if self.agents[id].alive {
            self.perform(id, rest);
            self.resume(id);
        }
    }

    fn record_lost(&mut self, id: AgentId, record: RecordId) {
        let effects = self.agents[id].step(self.now, lost(record));
        self.perform(id, effects.into());
    }

    fn note(&mut self, id: AgentId, record: &Record) {
        self.witness.recorded(id, record, self.now);
        self.count_record(record);
        if self.agents[id].disk_mood != DiskMood::Full {
            self.agents[id].disk.record(record);
        }
        if let Happening::Decided(decided) = &record.what {
            let (decision, progress) = (decided.decision.label(), decided.progress.label());
            let last = decided.reasons.last().map(|reason| format!("{reason:?}")).unwrap_or_default();
            self.say(|w| format!("{} notes {} {decision} {progress} ({last})", w.name(id), record.id));
            self.spread_record(id, record);
        } else if let Happening::VerdictChanged { to, .. } = &record.what {
            self.say(|w| format!("{} verdict {}", w.name(id), to.label()));
        }
    }

    fn ask_platform(&mut self, id: AgentId, record: RecordId) {
        self.witness.asks_platform(id, self.now);
        self.trigger(|when| if let When::AfterElected(delay) = when { Some(delay) } else { None });
        if std::mem::replace(&mut self.agents[id].asking, true) {
            return;
        }
        let there = self.chance.between(5, 250);
        self.after(there, Event::Read(id, record));
    }

    /// The platform is read, and its answer is on its way.
    pub(crate) fn read_platform(&mut self, id: AgentId, record: RecordId) {
        let live = if self.platform.mood.unreadable {
            self.counts.see(Seen::Unreadable);
            Live::Unread { reason: "the platform does not answer".to_owned() }
        } else {
            let shown = &self.platform.deployments[self.platform.shown];
            Live::Release(Release::new(&shown.release).expect("a well-formed name"))
        };
        let live = match (self.mutation, live) {
            (Some(Mutation::NoReread), _) => Live::Release(self.agents[id].release.clone()),
            (_, live) => live,
        };
        let slow = self.platform.mood.unreadable || self.chance.per_mille(50);
        let back = if slow { self.chance.between(200, 5_000) } else { self.chance.between(5, 250) };
        self.after(back, Event::Work(id, Work::Input(Input::PlatformAnswered { record, live })));
    }

    fn call(&mut self, id: AgentId, order: &Order, record: &Record) {
        let now = self.now;
        self.last_caller = Some(id);
        self.agents[id].ordering = true;
        let mut course = self.platform.course(&mut self.chance);
        if self.mutation == Some(Mutation::NoReread) || self.mutation == Some(Mutation::NoLease) {
            course.lands = course.lands.map(|lands| lands.max(10_000));
        }
        let call = Call {
            by: id,
            accused: self.agents[id].deployment,
            to: order.to.to_string(),
            at: now,
            takes_effect: course.lands.is_some(),
            landed: None,
            unanswered: course.answered.is_none(),
        };
        self.say(|w| format!("{} CALLS {} -> {} {course:?}", w.name(id), order.from, order.to));
        let number = self.platform.calls.len();
        self.platform.calls.push(call);
        self.check_call(id, order, record);
        if let Some(lands) = course.lands {
            self.after(lands, Event::Land(number));
        }
        let acted = match (course.lands, course.answered) {
            (Some(_), Some(_)) => Acted::Accepted { detail: "taken".to_owned() },
            (None, Some(_)) => Acted::Refused { reason: "not now".to_owned() },
            (_, None) => Acted::Unknown { reason: "no answer".to_owned() },
        };
        self.count_call(&course, self.platform.mood.refuses);
        let answered = course.answered.unwrap_or(CALL_TIMEOUT);
        let input = Input::Acted { record: order.record.clone(), acted };
        self.after(answered, Event::Work(id, Work::Input(input)));
        self.trigger(|when| if let When::AfterCall(delay) = when { Some(delay) } else { None });
        if let Some((_, back)) = self.dies_at_order.take_if(|(after, _)| *after) {
            self.counts.see(Seen::CrashAfterCall);
            self.die(id, back);
        }
    }

    /// A call has its effect: another deployment is made.
    pub(crate) fn land(&mut self, number: usize) {
        let now = self.now;
        let call = &mut self.platform.calls[number];
        call.landed = Some(now);
        let (to, late) = (call.to.clone(), now - call.at);
        if late > 5_000 {
            self.counts.see(Seen::LandedLate);
        }
        let replicas = self.plan.replicas;
        let made = self.deploy(&to, false, true, replicas);
        let lag = self.platform.mood.lag;
        let lag = if lag == 0 { 0 } else { self.chance.below(lag) };
        self.after(lag.min(14_900u64.saturating_sub(late)), Event::Shown(made));
        self.check_landed(number);
    }

    fn spread_record(&mut self, id: AgentId, record: &Record) {
        let decisions = [(record.id.clone(), Arc::new(record.clone()))].into();
        self.spread(id, Disk { decisions, ..Disk::default() });
    }

    /// Peers are told of this as it happens.
    fn spread(&mut self, id: AgentId, told: Disk) {
        if self.mutation == Some(Mutation::NoReread) {
            return;
        }
        let told = Arc::new(told);
        let met: Vec<AgentId> = self.agents[id].met.keys().copied().collect();
        for to in met {
            self.send(id, to, Work::Memory(Arc::clone(&told)));
        }
    }

    /// A watcher goes over to another deployment.
    fn follow(&mut self, id: AgentId, hello: Box<Hello>) {
        let memory = Box::new(self.agents[id].disk.memory());
        let named = hello.deployment.as_str();
        if let Some(of) = self.platform.deployments.iter().position(|each| each.name == named) {
            self.agents[id].deployment = of;
        }
        self.after(3, Event::Work(id, Work::Input(Input::Following { hello, memory })));
    }

    fn hand_over(&mut self, id: AgentId, by: AgentId) {
        let disk = Arc::new(self.agents[id].disk.clone());
        self.counts.see(Seen::HandedOver);
        self.send(id, by, Work::Memory(disk));
    }

    fn inherit(&mut self, id: AgentId, disk: &Disk) {
        let agent = &mut self.agents[id];
        if !agent.disk.merge(disk) {
            return;
        }
        let memory = agent.disk.memory();
        self.witness.paused(id, memory.pause.is_some(), self.now);
        let effects = self.agents[id].step(self.now, Input::Inherited(Box::new(memory)));
        self.perform(id, effects.into());
    }

    fn tell(&mut self, id: AgentId, to: &Audience, message: &Message) {
        let Some(message) = self.mutated_out(id, message.clone()) else { return };
        self.note_told(id, &message);
        if !self.agents[id].alive {
            return;
        }
        let whom: Vec<AgentId> = match to {
            Audience::All => self.agents[id].met.keys().copied().collect(),
            Audience::One(peer) => self.agent_of(peer).into_iter().collect(),
        };
        let (body, is_answer) = (wire::encode(&message), matches!(message, Message::Answer(_)));
        for to in whom {
            self.say_to(id, to, &body, is_answer);
        }
        if let Message::Ask(_) = message {
            self.last_asker = Some(id);
            self.trigger(|when| if let When::AfterAsk(delay) = when { Some(delay) } else { None });
        }
    }
}
