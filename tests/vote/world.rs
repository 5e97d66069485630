//! A world of few agents in ticks of one second: what can happen in it, one small step at a time.
//!
//! The agents are the real [`Ballot`]. The world owns what is not theirs: time, crashes, what gets lost, the platform. It
//! also knows how to leave out one ingredient of the vote, so that a search shows what the ingredient is for.

use std::sync::Arc;
use std::time::Duration;

use outrigger::engine::ballot::{
    Abstention, Answer, Ask, Ballot, Certificate, Key, Limits, Motion, Objection, Opinion, Out, Roster,
};
use outrigger::engine::peer::{Boot, Deployment, Peer};
use outrigger::engine::release::Release;

use crate::seconds;

/// What is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Without {
    /// Nothing: the vote as it is.
    Nothing,
    /// The look at the platform between election and call.
    Reread,
    /// The look at who votes now, at the same moment.
    RosterReread,
    /// A lock's wait with a new roster, or with one more that is down.
    Settling,
    /// Voters that refuse another roster's version.
    RosterCheck,
    /// Grants to one start: they are to the replica.
    Boots,
    /// A restarted agent's silence.
    Quiet,
    /// Grants that bind.
    Lock,
    /// A grant's time from now on when it is said again.
    Renewal,
    /// The end of the right to call.
    Expiry,
    /// A majority of the living: who is down says yes.
    LivingMajority,
}

/// The bounds of a search.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) without: Without,
    pub(crate) agents: usize,
    /// The last one stands and has no vote; no other stands.
    pub(crate) watcher: bool,
    pub(crate) limits: Limits,
    /// Replicas by the roster's version; agents begin with version 0.
    pub(crate) rosters: Vec<u32>,
    /// The platform scales to the next roster at some time; the agents that it starts then.
    pub(crate) started: Vec<usize>,
    /// A call lands before so many ticks after the end of its lease.
    pub(crate) landing: u64,
    /// The platform shows a call at the latest so many ticks after it landed.
    pub(crate) lag: u64,
    /// Ticks that clocks lose or gain, together.
    pub(crate) slips: u8,
    pub(crate) restarts: u8,
    /// Agents that fall and stay down, which the platform says.
    pub(crate) crashes: u8,
    /// Answers may come late, and twice.
    pub(crate) mail: bool,
    pub(crate) ticks: u64,
    /// Elections of each agent.
    pub(crate) elections: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) tick: u64,
    pub(crate) agents: Vec<Arc<Agent>>,
    pub(crate) calls: Vec<Call>,
    /// When they landed.
    pub(crate) landed: Vec<u64>,
    pub(crate) mail: Vec<Answer>,
    /// The platform's roster.
    pub(crate) version: usize,
    pub(crate) slips: u8,
    pub(crate) restarts: u8,
    pub(crate) crashes: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Agent {
    pub(crate) ballot: Ballot,
    pub(crate) name: Boot,
    pub(crate) boot: u64,
    pub(crate) uptime: u64,
    pub(crate) is_up: bool,
    pub(crate) elections: u8,
    pub(crate) knows: usize,
    pub(crate) is_asking: bool,
    pub(crate) elected: Option<(Certificate, bool)>,
}

/// An order on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Call {
    /// It lands before this tick.
    pub(crate) before: u64,
    pub(crate) by: usize,
}

impl World {
    /// Three agents, one restart, two elections each.
    pub(crate) fn new(without: Without) -> Self {
        let limits = Limits {
            lease: seconds(1),
            call: seconds(1),
            drift: Duration::ZERO,
            stagger: Duration::ZERO,
            gap: seconds(1000),
            tilt: Duration::ZERO,
            attempts: 9,
        };
        Self {
            without,
            agents: 3,
            watcher: false,
            limits,
            rosters: vec![3],
            started: Vec::new(),
            landing: 1,
            lag: 0,
            slips: 0,
            restarts: 1,
            crashes: 0,
            mail: false,
            ticks: 6,
            elections: 2,
        }
    }

    pub(crate) fn lock(&self) -> u64 {
        self.limits.lock().as_secs()
    }

    pub(crate) fn begin(&self) -> State {
        let agent = |i| Agent { is_up: !self.started.contains(&i), ..self.agent(i, 0, self.lock(), 0) };
        let agents = (0..self.agents).map(|i| Arc::new(agent(i))).collect();
        State {
            tick: self.lock(),
            agents,
            calls: Vec::new(),
            landed: Vec::new(),
            mail: Vec::new(),
            version: 0,
            slips: 0,
            restarts: 0,
            crashes: 0,
        }
    }

    /// One that started so many ticks ago, and has known its roster since.
    fn agent(&self, i: usize, boot: u64, uptime: u64, knows: usize) -> Agent {
        let named = if self.without == Without::Boots { 0 } else { boot };
        let name = Boot(named * 16 + i as u64);
        let me = Peer { replica: format!("r{i}").into(), boot: name };
        let mut ballot = Ballot::new(me, self.limits);
        ballot.roster(Duration::ZERO, &self.roster(knows, 0));
        ballot.beat(seconds(uptime));
        Agent {
            ballot,
            name,
            boot,
            uptime,
            is_up: true,
            elections: 0,
            knows,
            is_asking: false,
            elected: None,
        }
    }

    fn roster(&self, knows: usize, down: u32) -> Roster {
        let replicas = self.rosters[knows];
        if self.without == Without::LivingMajority && down > 0 {
            // As many living votes are enough as a majority of all lacks beside the dead.
            let lacks = (replicas / 2 + 1).saturating_sub(down).max(1);
            return Roster { version: knows as u64, replicas: 2 * lacks - 1, watcher: false, down: 0 };
        }
        Roster { version: knows as u64, replicas, watcher: false, down }
    }

    /// As it knows the roster itself. Where the roster never changes all are, and a roster that is too small is a fault
    /// to search.
    fn is_member(&self, state: &State, i: usize) -> bool {
        self.rosters.len() == 1 || (i as u32) < self.rosters[state.agents[i].knows]
    }

    pub(crate) fn roster_of(&self, state: &State, i: usize) -> Roster {
        self.roster(state.agents[i].knows, u32::from(state.crashes))
    }

    pub(crate) fn stands(&self, state: &State, i: usize) -> bool {
        let agent = &state.agents[i];
        let may = !self.watcher || i + 1 == self.agents;
        // All are alike before the first stands: it may as well be the first one.
        let alike = self.rosters.len() == 1 && self.crashes == 0 && !self.watcher && self.slips == 0;
        let first = state.agents.iter().all(|agent| agent.elections == 0 && agent.boot == 0);
        may && self.is_member(state, i)
            && (!alike || !first || i == 0)
            && agent.is_up
            && !agent.is_asking
            && agent.elected.is_none()
            && agent.elections < self.elections
    }

    pub(crate) fn stand(&self, state: &mut State, i: usize) -> bool {
        let roster = self.roster_of(state, i);
        let has_vote = !(self.watcher && i + 1 == self.agents);
        let agent = Arc::make_mut(&mut state.agents[i]);
        let now = seconds(agent.uptime);
        if self.without == Without::Settling && agent.elections == 0 {
            // As if it had always known. (It had granted nothing yet, or this hides it; a counter-example is searched.)
            let had = agent.ballot.view(now).granted.is_some();
            if !had {
                let (boot, knows) = (agent.boot, agent.knows);
                *agent = self.agent(i, boot, 0, knows);
                agent.ballot.roster(Duration::ZERO, &roster);
                agent.uptime = now.as_secs();
                agent.ballot.roster(now, &roster);
            }
        }
        agent.ballot.stand(now, motion(), roster, has_vote);
        let outs = agent.ballot.beat(now);
        if outs.is_empty() {
            return false;
        }
        agent.elections += 1;
        agent.hear(outs);
        true
    }

    /// `i` asks `j`, who votes; the answer comes, or not.
    pub(crate) fn ask(&self, state: &mut State, i: usize, j: usize, arrives: bool) {
        let now = seconds(state.agents[i].uptime);
        let Some(ask) = state.agents[i].ballot.view(now).standing.and_then(|standing| standing.ask) else {
            return;
        };
        let has_none = (self.watcher && j + 1 == self.agents) || !self.is_member(state, j);
        let opinion = if has_none { Opinion::Abstain(Abstention::NoVote) } else { Opinion::Yes };
        let roster = self.roster_of(state, j);
        let answer = self.vote(Arc::make_mut(&mut state.agents[j]), &ask, opinion, &roster);
        // Of the others only a stale one changes what the candidate does: it bids higher next time.
        let matters = matches!(answer.opinion, Opinion::Yes | Opinion::No(Objection::Stale));
        let arrives = arrives && matters;
        if self.mail {
            if arrives && !state.mail.contains(&answer) {
                state.mail.push(answer);
            }
        } else if arrives {
            Self::answer(state, i, &answer);
        }
    }

    /// A voter's answer, and what it remembers of it.
    fn vote(&self, voter: &mut Agent, ask: &Ask, opinion: Opinion, roster: &Roster) -> Answer {
        let now = seconds(voter.uptime);
        let forgets = match self.without {
            Without::Lock => true,
            Without::Renewal => voter.has_granted(now, &ask.candidate),
            Without::Nothing
            | Without::Reread
            | Without::RosterReread
            | Without::Settling
            | Without::RosterCheck
            | Without::Boots
            | Without::Quiet
            | Without::Expiry
            | Without::LivingMajority => false,
        };
        let overlooks = self.without == Without::RosterCheck;
        let heard = Ask { roster: if overlooks { roster.version } else { ask.roster }, ..ask.clone() };
        if !forgets {
            return voter.ballot.asked(now, &heard, opinion, roster);
        }
        let mut answer = voter.ballot.clone().asked(now, &heard, opinion, roster);
        if self.without == Without::Lock && now >= self.limits.lock() {
            answer.opinion = Opinion::Yes;
        }
        answer
    }

    pub(crate) fn answer(state: &mut State, i: usize, answer: &Answer) {
        let agent = Arc::make_mut(&mut state.agents[i]);
        let outs = agent.ballot.answered(seconds(agent.uptime), answer);
        agent.hear(outs);
    }

    pub(crate) fn read(&self, state: &mut State, i: usize) {
        let shows = self.shows(state);
        let (version, roster) = (state.version, self.roster_of(state, i));
        let agent = Arc::make_mut(&mut state.agents[i]);
        let now = seconds(agent.uptime);
        let changed = version != agent.knows && self.without != Without::RosterReread;
        if self.without != Without::RosterReread
            && !changed
            && !matches!(self.without, Without::LivingMajority)
        {
            agent.ballot.roster(now, &roster);
        }
        if (shows && self.without != Without::Reread) || changed {
            agent.withdraw();
        } else if let Some((_, has_read)) = &mut agent.elected {
            *has_read = true;
        }
    }

    /// The platform shows that it was done.
    pub(crate) fn shows(&self, state: &State) -> bool {
        state.landed.iter().any(|at| self.lag == 0 || at + self.lag < state.tick)
    }

    /// Whoever looks from now on sees it, and nobody has looked before and not yet called.
    pub(crate) fn is_settled(&self, state: &State) -> bool {
        let has_read = |agent: &Arc<Agent>| agent.elected.as_ref().is_some_and(|(_, has_read)| *has_read);
        self.without != Without::Reread
            && self.shows(state)
            && state.calls.is_empty()
            && !state.agents.iter().any(has_read)
    }

    pub(crate) fn may_call(&self, agent: &Agent) -> bool {
        let now = seconds(agent.uptime);
        let asks = |proof: &Certificate| agent.ballot.may_call(now, proof) || self.without == Without::Expiry;
        agent.is_up && agent.elected.as_ref().is_some_and(|(proof, _)| asks(proof))
    }

    pub(crate) fn call(&self, state: &mut State, i: usize) {
        let tick = state.tick;
        let agent = Arc::make_mut(&mut state.agents[i]);
        let Some((proof, _)) = agent.elected.take() else { return };
        let now = seconds(agent.uptime);
        // It may be held up until the lease is over, and then takes its time.
        let left = proof.expires.saturating_sub(now).as_secs().max(1);
        agent.ballot.called(now, &proof.ask.key);
        agent.withdraw();
        state.calls.push(Call { before: tick + left + self.landing, by: i });
        state.calls.sort();
    }

    /// A tick passes; the clock of one agent goes so many ticks on instead.
    pub(crate) fn pass(&self, state: &mut State, odd: Option<(usize, u64)>) {
        state.tick += 1;
        for i in 0..self.agents {
            let roster = self.roster_of(state, i);
            let agent = Arc::make_mut(&mut state.agents[i]);
            if !agent.is_up {
                continue;
            }
            agent.uptime += odd.filter(|(j, _)| *j == i).map_or(1, |(_, ticks)| ticks);
            let now = seconds(agent.uptime);
            agent.ballot.roster(now, &roster);
            let outs = agent.ballot.beat(now);
            agent.hear(outs);
            agent.tidy(self.without == Without::Expiry);
        }
        if let Some((slow, 0)) = odd {
            state.calls.iter_mut().filter(|call| call.by == slow).for_each(|call| call.before += 1);
        }
        let State { agents, mail, .. } = state;
        mail.retain(|answer| agents.iter().any(|agent| self.awaits(agent, answer)));
    }

    /// The answer may still count. A later election is of another epoch, but for whoever forgot it and has the same name.
    pub(crate) fn awaits(&self, agent: &Agent, answer: &Answer) -> bool {
        let asks = agent.is_asking || self.without == Without::Boots;
        asks && agent.is_up && agent.name == answer.candidate.boot
    }

    pub(crate) fn restart(&self, state: &mut State, i: usize) {
        state.restarts += 1;
        let (boot, elections, knows) =
            (state.agents[i].boot + 1, state.agents[i].elections, state.agents[i].knows);
        let uptime = if self.without == Without::Quiet { self.lock() } else { 0 };
        let agent = Agent { elections, ..self.agent(i, boot, uptime, knows) };
        state.agents[i] = Arc::new(agent);
    }

    pub(crate) fn crash(state: &mut State, i: usize) {
        state.crashes += 1;
        let agent = Arc::make_mut(&mut state.agents[i]);
        agent.is_up = false;
        agent.is_asking = false;
        agent.elected = None;
    }

    pub(crate) fn scale(&self, state: &mut State) {
        state.version += 1;
        for i in self.started.clone() {
            state.agents[i] = Arc::new(self.agent(i, 1, 0, state.version));
        }
    }

    pub(crate) fn learn(&self, state: &mut State, i: usize) {
        let version = state.version;
        let agent = Arc::make_mut(&mut state.agents[i]);
        agent.knows = version;
        let roster = self.roster_of(state, i);
        let agent = Arc::make_mut(&mut state.agents[i]);
        agent.ballot.roster(seconds(agent.uptime), &roster);
    }
}

impl Agent {
    fn has_granted(&self, now: Duration, candidate: &Peer) -> bool {
        self.ballot.view(now).granted.is_some_and(|(ask, _)| ask.candidate == *candidate)
    }

    fn hear(&mut self, outs: Vec<Out>) {
        for out in outs {
            match out {
                Out::Ask(_) => self.is_asking = true,
                Out::Elected(proof) => {
                    self.is_asking = false;
                    self.elected = Some((proof, false));
                }
                Out::GaveUp { .. } => self.is_asking = false,
            }
        }
    }

    /// Stands for nothing any more.
    fn withdraw(&mut self) {
        self.is_asking = false;
        self.elected = None;
        self.ballot.withdraw(seconds(self.uptime));
    }

    /// An election that is over: the next is begun by a step of its own.
    fn tidy(&mut self, keeps: bool) {
        let now = seconds(self.uptime);
        let stale = self.elected.as_ref().is_some_and(|(proof, _)| now >= proof.expires);
        let asking = || self.ballot.view(now).standing.is_some_and(|standing| standing.ask.is_some());
        if stale && keeps {
            self.ballot.withdraw(now);
        } else if stale || (self.elected.is_none() && self.is_asking && !asking()) {
            self.withdraw();
        }
    }
}

fn motion() -> Motion {
    let deployment = Deployment::new("d").expect("a name");
    let target = Release::new("t").expect("a name");
    Motion { key: Key { deployment }, target, policy: 0, baseline: 0, rank: 0 }
}
