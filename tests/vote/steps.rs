//! The world as stateright searches it: which steps are possible, and what must hold.

use stateright::{Model, Property};

use crate::world::{State, World};

/// What must always hold.
pub(crate) const ONE: &str = "at most one call, landed or on its way";
/// What must be reachable, or the search proves nothing.
pub(crate) const ACTS: &str = "a call lands";

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    Tick,
    /// The clock of this agent stands still for the tick.
    Slow(usize),
    /// It goes on by two.
    Fast(usize),
    Restart(usize),
    Crash(usize),
    Scale,
    Learn(usize),
    Stand(usize),
    /// Who asks whom, and whether the answer arrives.
    Ask(usize, usize, bool),
    /// An answer that was on its way.
    Answer(usize),
    Read(usize),
    Call(usize),
    Land(usize),
}

impl World {
    fn of_agent(&self, state: &State, i: usize, steps: &mut Vec<Step>) {
        let agent = &state.agents[i];
        if !agent.is_up {
            return;
        }
        if state.restarts < self.restarts {
            steps.push(Step::Restart(i));
        }
        if state.crashes < self.crashes {
            steps.push(Step::Crash(i));
        }
        if agent.knows < state.version {
            steps.push(Step::Learn(i));
        }
        if self.stands(state, i) {
            steps.push(Step::Stand(i));
        }
        if agent.is_asking {
            let others = (0..self.agents).filter(|&j| j != i && state.agents[j].is_up);
            steps.extend(others.flat_map(|j| [Step::Ask(i, j, true), Step::Ask(i, j, false)]));
        }
        if let Some((_, has_read)) = &agent.elected
            && self.may_call(agent)
        {
            steps.push(if *has_read { Step::Call(i) } else { Step::Read(i) });
        }
    }
}

impl Model for World {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![self.begin()]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        if state.landed.len() + state.calls.len() > 1 || self.is_settled(state) {
            return;
        }
        steps.extend((0..state.calls.len()).map(Step::Land));
        for i in 0..self.agents {
            self.of_agent(state, i, steps);
        }
        for (k, answer) in state.mail.iter().enumerate() {
            if state.agents.iter().any(|agent| agent.is_asking && agent.boot == answer.candidate.boot.0 / 16)
            {
                steps.push(Step::Answer(k));
            }
        }
        if state.version + 1 < self.rosters.len() {
            steps.push(Step::Scale);
        }
        if state.tick < self.lock() + self.ticks
            && state.calls.iter().all(|call| call.before > state.tick + 1)
        {
            steps.push(Step::Tick);
            if state.slips < self.slips {
                steps.extend((0..self.agents).flat_map(|i| [Step::Slow(i), Step::Fast(i)]));
            }
        }
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = last.clone();
        match step {
            Step::Tick => self.pass(&mut state, None),
            Step::Slow(i) => {
                state.slips += 1;
                self.pass(&mut state, Some((i, 0)));
            }
            Step::Fast(i) => {
                state.slips += 1;
                self.pass(&mut state, Some((i, 2)));
            }
            Step::Restart(i) => self.restart(&mut state, i),
            Step::Crash(i) => Self::crash(&mut state, i),
            Step::Scale => self.scale(&mut state),
            Step::Learn(i) => self.learn(&mut state, i),
            Step::Stand(i) => {
                if !self.stand(&mut state, i) {
                    return None;
                }
            }
            Step::Ask(i, j, arrives) => self.ask(&mut state, i, j, arrives),
            Step::Answer(k) => {
                let answer = state.mail[k].clone();
                let i = usize::try_from(answer.candidate.boot.0 % 16).ok()?;
                Self::answer(&mut state, i, &answer);
            }
            Step::Read(i) => self.read(&mut state, i),
            Step::Call(i) => self.call(&mut state, i),
            Step::Land(k) => {
                state.calls.remove(k);
                state.landed.push(state.tick);
            }
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONE, |_, state: &State| state.landed.len() + state.calls.len() < 2),
            Property::sometimes(ACTS, |_, state: &State| !state.landed.is_empty()),
        ]
    }
}
