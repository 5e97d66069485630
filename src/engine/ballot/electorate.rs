//! Who may vote, and since when that is known.
//!
//! It owns one rule: an electorate counts only when it has been the same for as long as a grant binds. Whoever was elected
//! by another one has called by then, and the call has landed, so that the look at the platform before the next call shows
//! it. A replica that is down counts as down only after the same time: what it granted before it fell binds until then. It
//! does not know who is reachable.

use std::time::Duration;

use crate::engine::ballot::Roster;

/// The roster as an agent knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Electorate {
    known: Option<Known>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Known {
    roster: Roster,
    /// Since when it is the same but for those that are down.
    since: Duration,
    /// So many have been down all the time that a grant binds.
    fallen: u32,
    /// At least so many, since when; more than `fallen`.
    falling: Option<(u32, Duration)>,
}

impl Electorate {
    /// What is said of it now.
    pub(super) fn note(&mut self, now: Duration, roster: &Roster, lock: Duration) {
        match &mut self.known {
            Some(known) if known.roster.is_same_but_for_down(roster) => known.note(now, roster.down, lock),
            None | Some(_) => {
                // From the configuration it is the same since the start of every agent; from the platform nobody knows.
                let fixed = self.known.is_none() && roster.version == 0;
                let since = if fixed { Duration::ZERO } else { now };
                let falling = (roster.down > 0).then_some((roster.down, now));
                self.known = Some(Known { roster: *roster, since, fallen: 0, falling });
            }
        }
    }

    /// From when an agent may stand by this roster; `None` when another one is known.
    pub(super) fn settled(&self, roster: &Roster, lock: Duration) -> Option<Duration> {
        let known = self.known.as_ref().filter(|known| known.roster.is_same_but_for_down(roster))?;
        Some(known.since + lock)
    }

    /// How many count as down.
    pub(super) fn fallen(&self) -> u32 {
        self.known.as_ref().map_or(0, |known| known.fallen)
    }
}

impl Known {
    fn note(&mut self, now: Duration, down: u32, lock: Duration) {
        self.roster.down = down;
        self.fallen = self.fallen.min(down);
        if down <= self.fallen {
            self.falling = None;
            return;
        }
        let (least, since) = self.falling.map_or((down, now), |(least, since)| (least.min(down), since));
        if now < since + lock {
            self.falling = Some((least, since));
        } else {
            self.fallen = least;
            self.falling = (down > least).then_some((down, now));
        }
    }
}
