//! Agents that break a rule, to see that the invariant that names it can fail.

use std::sync::Arc;

use outrigger::engine::ballot::{Answer, Objection, Opinion};
use outrigger::engine::evidence::Share;
use outrigger::engine::peer::Message;

use crate::agent::AgentId;
use crate::world::World;

/// What a broken agent does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// Voters say yes to everybody, whatever they granted.
    YesToAll,
    /// It takes an abstention for a yes.
    AbstentionIsYes,
    /// It takes a refusal for a yes.
    NoIsYes,
    /// It calls when its lease is over.
    NoLease,
    /// It says yes to everything and takes the platform's answer for granted.
    NoReread,
    /// It grants and calls right after its start.
    NoQuiet,
    /// It does not notice that it stood still.
    NoTilt,
    /// It is told of a pause and goes on.
    DeafToPause,
    /// It counts twice what others saw.
    DoubleCount,
}

impl World {
    /// What a broken agent makes of what it hears.
    pub(crate) fn mutated(&mut self, id: AgentId, message: Message) -> Option<Message> {
        let Some(mutation) = self.mutation else { return Some(message) };
        Some(match (mutation, message) {
            (Mutation::AbstentionIsYes, Message::Answer(answer)) => Message::Answer(match answer.opinion {
                Opinion::Abstain(_) => Answer { opinion: Opinion::Yes, ..answer },
                Opinion::Yes | Opinion::No(_) => answer,
            }),
            (Mutation::NoIsYes, Message::Answer(answer)) => Message::Answer(match answer.opinion {
                Opinion::No(_) => Answer { opinion: Opinion::Yes, ..answer },
                Opinion::Yes | Opinion::Abstain(_) => answer,
            }),
            (Mutation::DoubleCount, Message::Share(share)) if id.is_multiple_of(2) => {
                let mut tick = share.tick.clone();
                tick.judged *= 2;
                Message::Share(Arc::new(Share { tick, ..Share::clone(&share) }))
            }
            (_, message) => message,
        })
    }

    /// What a broken agent says.
    pub(crate) fn mutated_out(&mut self, _id: AgentId, message: Message) -> Option<Message> {
        Some(match (self.mutation, message) {
            (Some(Mutation::NoReread), Message::Answer(answer)) => {
                Message::Answer(Answer { opinion: Opinion::Yes, ..answer })
            }
            (Some(Mutation::YesToAll), Message::Answer(answer)) => Message::Answer(match answer.opinion {
                Opinion::No(Objection::Granted | Objection::Stale) => {
                    Answer { opinion: Opinion::Yes, ..answer }
                }
                Opinion::Yes | Opinion::No(_) | Opinion::Abstain(_) => answer,
            }),
            (_, message) => message,
        })
    }
}
