//! When an alert is due, when it is tried again, and when several go as one. Pure: the time, the alerts and the draw come
//! from outside.
//!
//! **Of several replicas** all hold an alert and one is to tell it. Each ranks itself among those that it meets, by a digest
//! of the alert's key and the replica's name, so that all agree on the order without a word. The first has its turn at once,
//! the others a step later each, then the first again, and so on; whoever has told says so: then nobody else does. An
//! attempt begins within its replica's turn only, early enough to end within it, whatever the receiver asked for before. A
//! rollback that is about to be ordered is told by the one that orders it.

use std::collections::VecDeque;
use std::time::Duration;

use crate::engine::alert::{Alert, Event, Severity};
use crate::engine::time::Time;

/// So long is a replica's turn at least; longer where a receiver may take longer.
pub const STEP: Duration = Duration::from_secs(10);
/// What lies between the end of an attempt and the next replica's turn: that it was told must get there.
const MARGIN: Duration = Duration::from_secs(2);
/// What each agent records by itself waits so long, for others may record the same.
const SHARED_AFTER: Duration = Duration::from_secs(2);
/// What a peer has recorded is the peer's to tell for so long.
const PEERS_FOR: Duration = Duration::from_secs(20);
/// An alert that was not told after so long is given up.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(24 * 3600);
/// How long is waited after a refusal, after a second one on end, and so on; the one after these is believed.
pub const REFUSAL_WAITS: [Duration; 3] =
    [Duration::from_secs(30), Duration::from_secs(300), Duration::from_secs(900)];
/// The first wait between two attempts; it doubles each time,
const BACKOFF: Duration = Duration::from_secs(1);
/// up to this.
const BACKOFF_MAX: Duration = Duration::from_secs(300);
/// So many alerts below critical are told one by one within an hour; more go as one.
pub const HOURLY: usize = 30;
/// What [`HOURLY`] is about.
const HOUR: Duration = Duration::from_secs(3600);
/// At most so often several go as one.
const SUMMARY_EVERY: Duration = Duration::from_secs(600);

/// An alert that waits.
#[derive(Clone, Debug, PartialEq)]
pub struct Waiting {
    /// It.
    pub alert: Alert,
    /// This agent recorded what it tells of.
    pub own: bool,
    /// When it began to wait here.
    pub queued: Time,
    /// How often it was tried.
    pub attempts: u32,
    /// How often on end it was refused, as far as this process knows.
    pub refusals: u32,
    /// When it may be tried again, where it was tried or put off.
    pub next: Time,
}

/// Who could tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// This replica.
    pub me: String,
    /// The others that are met; `None`: there are none to meet.
    pub others: Option<Vec<String>>,
}

/// What is to be done now.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// This one is to be told.
    Tell(usize),
    /// These are to be told as one.
    Together(Vec<usize>),
    /// This one is to be given up.
    GiveUp(usize),
    /// Nothing, until then; `None`: until another one waits.
    Wait(Option<Time>),
}

/// What was told of late on one channel.
#[derive(Clone, Debug)]
pub struct Book {
    /// How long an attempt takes at most.
    takes: Duration,
    told: VecDeque<Time>,
    together: Option<Time>,
    quiet_until: Time,
}

/// One replica's turns.
struct Turns {
    first: Time,
    /// From when to when an attempt may begin.
    lasts: Duration,
    /// From one to the next.
    round: Duration,
}

impl Turns {
    /// The first time from `at` on that lies in one.
    fn at_or_after(&self, at: Time) -> Time {
        if at <= self.first {
            return self.first;
        }
        let round = millis(self.round).max(1);
        let into = millis(at.since(self.first)) % round;
        if into <= millis(self.lasts) { at } else { at + Duration::from_millis(round - into) }
    }
}

impl Book {
    /// A book of nothing, where an attempt takes so long at most.
    pub const fn new(takes: Duration) -> Self {
        Self { takes, told: VecDeque::new(), together: None, quiet_until: Time::from_millis(0) }
    }

    /// One was told.
    pub fn told(&mut self, at: Time, severity: Severity) {
        if severity < Severity::Critical {
            self.told.push_back(at);
            if self.told.len() > HOURLY {
                self.told.pop_front();
            }
        }
    }

    /// Several were told as one.
    pub fn told_together(&mut self, at: Time) {
        self.together = Some(at);
    }

    /// The receiver asked for rest.
    pub fn rest(&mut self, until: Time) {
        self.quiet_until = self.quiet_until.max(until);
    }

    /// What is to be done with what waits; what comes first there is told first.
    pub fn next(&self, now: Time, waiting: &[Waiting], members: &Members) -> Next {
        // Whoever was away for a day tries once all the same.
        let is_old = |it: &Waiting| it.attempts > 0 && now.since(it.queued) >= GIVE_UP_AFTER;
        if let Some(old) = waiting.iter().position(is_old) {
            return Next::GiveUp(old);
        }
        let turns: Vec<Time> = waiting.iter().map(|it| self.due(now, it, members)).collect();
        let is_critical = |at: usize| waiting[at].alert.severity == Severity::Critical;
        let due: Vec<usize> = (0..waiting.len()).filter(|&at| turns[at] <= now).collect();
        if let Some(&first) = due.iter().find(|at| is_critical(**at)) {
            return Next::Tell(first);
        }
        let later = turns.iter().copied().filter(|at| *at > now).min();
        let Some(full_until) = self.full_until(now) else {
            return due.first().map_or(Next::Wait(later), |&first| Next::Tell(first));
        };
        // As one go all that have had their turn, whose turn it is now or not.
        let has_come = |at: &usize| self.due(Time::default(), &waiting[*at], members) <= now;
        let ripe: Vec<usize> = (0..waiting.len()).filter(|&at| !is_critical(at)).filter(has_come).collect();
        let mut again = full_until;
        if ripe.len() > 1 {
            let together_at = self.together_at(now, members);
            if together_at <= now {
                return Next::Together(ripe);
            }
            again = again.min(together_at);
        }
        Next::Wait(Some(later.map_or(again, |later| later.min(again))))
    }

    /// When several may go as one. Each replica has its turns for that by the clock, for they hold different ones back.
    fn together_at(&self, now: Time, members: &Members) -> Time {
        let at = self.together.map_or(now, |at| at + SUMMARY_EVERY).max(now).max(self.quiet_until);
        let Some(others) = &members.others else { return at };
        self.turns("summary", Time::default(), &members.me, others).at_or_after(at)
    }

    /// The first time from `at` on when this replica may tell it.
    fn due(&self, at: Time, it: &Waiting, members: &Members) -> Time {
        let at = at.max(it.queued).max(it.next).max(self.quiet_until);
        let Some(others) = &members.others else { return at };
        let peers_from = it.queued + PEERS_FOR.max(self.step());
        let is_mine = it.own && it.alert.event == Event::RollbackTriggered;
        if is_mine && at + self.takes + MARGIN <= peers_from {
            return at;
        }
        let at = if it.own { at } else { at.max(peers_from) };
        self.turns(&it.alert.key, it.queued + SHARED_AFTER, &members.me, others).at_or_after(at)
    }

    fn turns(&self, key: &str, begin: Time, me: &str, others: &[String]) -> Turns {
        let first = begin + self.step() * rank(key, me, others);
        let count = others.iter().filter(|other| *other != me).count();
        let round = self.step() * u32::try_from(count + 1).unwrap_or(u32::MAX);
        let lasts = if count == 0 { round } else { self.step().saturating_sub(self.takes + MARGIN) };
        Turns { first, lasts, round }
    }

    /// From one replica's turn to the next one's.
    fn step(&self) -> Duration {
        STEP.max(self.takes + MARGIN * 2)
    }

    /// Until when no more are told one by one.
    fn full_until(&self, now: Time) -> Option<Time> {
        let oldest = self.told.front().filter(|_| self.told.len() >= HOURLY)?;
        let until = *oldest + HOUR;
        (until > now).then_some(until)
    }
}

/// This replica's place among all, from 0.
fn rank(key: &str, me: &str, others: &[String]) -> u32 {
    let mine = (digest(key, me), me);
    let before = others.iter().filter(|other| *other != me && (digest(key, other), other.as_str()) < mine);
    u32::try_from(before.count()).unwrap_or(u32::MAX)
}

/// FNV-1a with a last mixing (that of MurmurHash3): the names differ in their last letters mostly.
fn digest(key: &str, replica: &str) -> u64 {
    let bytes = key.bytes().chain([0xff]).chain(replica.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}

/// How long to wait after this many attempts; `draw`, from 0 to 1, keeps replicas from trying in step.
pub fn backoff(attempts: u32, draw: f64) -> Duration {
    let whole = BACKOFF.saturating_mul(2_u32.saturating_pow(attempts.min(16))).min(BACKOFF_MAX);
    whole.mul_f64(0.5 + draw.clamp(0.0, 1.0) / 2.0)
}

/// How long to wait after so many refusals on end; `None`: it is refused for good.
pub fn after_refusals(refusals: u32) -> Option<Duration> {
    REFUSAL_WAITS.get(usize::try_from(refusals).ok()?.saturating_sub(1)).copied()
}

fn millis(of: Duration) -> u64 {
    u64::try_from(of.as_millis()).unwrap_or(u64::MAX)
}
