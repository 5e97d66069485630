//! What an agent granted, and which epochs it has seen.
//!
//! It owns the rule that grants never overlap. It does not know whether the voter agrees: that is asked before.

use std::time::Duration;

use crate::engine::ballot::{Ask, Key, Objection};
use crate::engine::peer::Peer;

/// Decisions that an agent remembers. At the bound the one that was touched least recently and binds nobody is forgotten
/// (epochs only save messages; what must not be forgotten is a grant that binds). If all bind, a new one is refused.
pub(super) const KEYS_MAX: usize = 16;

/// The voter's memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Votes {
    /// The one that was touched last comes last.
    keys: Vec<Voted>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Voted {
    key: Key,
    /// The highest epoch.
    seen: u64,
    grant: Option<Grant>,
}

/// A promise to nobody else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Grant {
    /// What was granted, to whom.
    pub(super) ask: Ask,
    /// Until when it binds.
    pub(super) until: Duration,
    /// An order was given on it, by this very agent.
    pub(super) called: bool,
}

impl Votes {
    /// Grants that have run out are forgotten.
    pub(super) fn forget(&mut self, now: Duration) {
        for voted in &mut self.keys {
            voted.grant.take_if(|grant| now >= grant.until);
        }
    }

    /// The highest epoch of this key that was granted or heard of; zero before the first.
    pub(super) fn seen(&self, key: &Key) -> u64 {
        self.find(key).map_or(0, |voted| voted.seen)
    }

    /// The grant that binds now.
    pub(super) fn binding(&self, now: Duration, key: &Key) -> Option<&Grant> {
        self.find(key).and_then(|voted| voted.binding(now))
    }

    /// The grant that binds longest, of all keys.
    pub(super) fn longest(&self, now: Duration) -> Option<&Grant> {
        self.keys.iter().filter_map(|voted| voted.binding(now)).max_by_key(|grant| grant.until)
    }

    /// Somebody says that there was such an epoch.
    pub(super) fn raise(&mut self, now: Duration, key: &Key, epoch: u64) {
        if let Some(voted) = self.room(now, key) {
            voted.seen = voted.seen.max(epoch);
        }
    }

    /// Promises nobody else anything for so long, if that is still free to promise.
    pub(super) fn grant(&mut self, now: Duration, ask: &Ask, lock: Duration) -> Result<(), Objection> {
        let voted = self.room(now, &ask.key).ok_or(Objection::Granted)?;
        let stale = ask.epoch < voted.seen;
        let until = now + lock;
        match &mut voted.grant {
            // Said before; the answer may have been lost, or it stands again. The time counts from now on: it may begin
            // a call as late as if it had been asked only now.
            Some(grant) if now < grant.until && grant.ask.candidate == ask.candidate => {
                if ask.epoch < grant.ask.epoch {
                    return Err(Objection::Stale);
                }
                grant.ask = ask.clone();
                grant.until = grant.until.max(until);
            }
            Some(grant) if now < grant.until => return Err(Objection::Granted),
            Some(_) | None if stale => return Err(Objection::Stale),
            free => *free = Some(Grant { ask: ask.clone(), until, called: false }),
        }
        voted.seen = voted.seen.max(ask.epoch);
        Ok(())
    }

    /// An order was given on what this agent had granted itself: it is bound for so long from now.
    pub(super) fn call(&mut self, now: Duration, key: &Key, own: &Peer, lock: Duration) {
        let grant =
            self.keys.iter_mut().find(|voted| voted.key == *key).and_then(|voted| voted.grant.as_mut());
        if let Some(grant) = grant.filter(|grant| grant.ask.candidate == *own) {
            grant.until = grant.until.max(now + lock);
            grant.called = true;
        }
    }

    fn find(&self, key: &Key) -> Option<&Voted> {
        self.keys.iter().find(|voted| voted.key == *key)
    }

    /// The place of this key; `None` when all places bind.
    fn room(&mut self, now: Duration, key: &Key) -> Option<&mut Voted> {
        let place = self.keys.iter().position(|voted| voted.key == *key);
        let voted = match place {
            Some(place) => self.keys.remove(place),
            None if self.keys.len() < KEYS_MAX => Voted { key: key.clone(), seen: 0, grant: None },
            None => {
                self.keys.remove(self.keys.iter().position(|voted| voted.binding(now).is_none())?);
                Voted { key: key.clone(), seen: 0, grant: None }
            }
        };
        self.keys.push(voted);
        self.keys.last_mut()
    }
}

impl Voted {
    fn binding(&self, now: Duration) -> Option<&Grant> {
        self.grant.as_ref().filter(|grant| now < grant.until)
    }
}
