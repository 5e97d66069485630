//! What happens to a fleet: all of it drawn from the seed before the fleet starts.

use crate::chance::Chance;
use crate::network::Weather;

/// Which kinds of trouble a fleet meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Theme {
    /// None: only releases, good and bad.
    Quiet,
    /// The network: partitions, loss, delay.
    Network,
    /// Agents die and start again, and freeze.
    Deaths,
    /// The platform: late, stale, unreadable, refusing; rosters that change.
    Platform,
    /// People, disks, clocks, dependencies, keys and versions.
    Surroundings,
    /// All of these at once.
    Everything,
}

/// What the second release is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Illness {
    None,
    Failing,
    Slow,
    /// Only one of its replicas fails.
    OneReplica,
    /// It fails, and so does the database, at the same time.
    Database,
}

/// When something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// So long after the beginning.
    At(u64),
    /// So long after an agent first asks for votes.
    AfterAsk(u64),
    /// So long after an agent that was elected asks the platform what is live.
    AfterElected(u64),
    /// So long after a call is begun.
    AfterCall(u64),
}

/// To whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whom {
    /// Any agent that lives.
    Any(u64),
    /// Any agent beside the release that was deployed last.
    Accused(u64),
    /// Who asked for votes last.
    Asker,
    /// Who called last.
    Caller,
}

/// How an agent's disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DiskMood {
    /// What is written is durable at once.
    Well,
    /// It takes so long.
    Slow(u64),
    /// Nothing can be written.
    Full,
}

/// How the platform is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mood {
    /// What is live cannot be read.
    pub(crate) unreadable: bool,
    /// Calls are refused.
    pub(crate) refuses: bool,
    /// Answers to calls get lost, of a thousand.
    pub(crate) lost_replies: u64,
    /// A call has its effect so late at most,
    pub(crate) lands: u64,
    /// and who reads sees that so much later at most. Together no more than the longest call.
    pub(crate) lag: u64,
}

pub(crate) const WELL: Mood =
    Mood { unreadable: false, refuses: false, lost_replies: 0, lands: 2_000, lag: 0 };

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Some hosts are cut off: the bits of `side` name them, in both directions or one.
    Cut { side: u64, out: bool, into: bool, lasts: u64 },
    /// Whoever it is, is cut off alone.
    CutOff { whom: Whom, out: bool, into: bool, lasts: u64 },
    /// The network gets bad.
    Weather { weather: Weather, lasts: u64 },
    /// An agent dies with its app and starts again.
    Crash { whom: Whom, back: Option<u64> },
    /// An agent dies in the midst of its next effects, after so many of them.
    CrashWithin { whom: Whom, effects: u64, back: Option<u64> },
    /// Whoever has written down an intent next dies before its order, or right after it.
    CrashAtOrder { after: bool, back: Option<u64> },
    /// An agent's process is stopped and goes on.
    Freeze { whom: Whom, lasts: u64 },
    /// The app ends; the agent lives.
    AppEnds { whom: Whom },
    /// A disk.
    Disk { whom: Whom, mood: DiskMood, lasts: u64 },
    /// The platform.
    Platform { mood: Mood, lasts: u64 },
    /// A person deploys another release.
    Deploy { is_bad: bool },
    /// The number of replicas changes.
    Scale { to: u32 },
    /// A person pauses acting, by one agent.
    Pause { whom: Whom, lasts: u64 },
    /// The database is down.
    Database { lasts: u64 },
}

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) theme: Theme,
    pub(crate) replicas: u32,
    pub(crate) watcher: bool,
    /// Only the watcher holds the platform's token; without one the first replica alone does.
    pub(crate) one_token: bool,
    pub(crate) illness: Illness,
    /// From the second release's being ready to the illness.
    pub(crate) onset: u64,
    /// The platform says who may vote; otherwise the configuration does.
    pub(crate) rosters: bool,
    /// Disks outlive agents.
    pub(crate) volumes: bool,
    /// How long a former deployment runs on.
    pub(crate) overlap: u64,
    /// How long it may take to end.
    pub(crate) drain: u64,
    pub(crate) deploy_at: u64,
    /// The fastest and slowest clock differ from the true one by so many millionths.
    pub(crate) rates: u64,
    /// Wall clocks differ by so many milliseconds from the true one.
    pub(crate) offsets: u64,
    /// This replica has another key.
    pub(crate) stranger: Option<usize>,
    /// This replica runs a version that writes another protocol.
    pub(crate) foreigner: Option<usize>,
    pub(crate) faults: Vec<(When, Fault)>,
    /// From here on nothing new befalls the fleet.
    pub(crate) calm_from: u64,
    pub(crate) end: u64,
}

/// What clocks may differ by, in millionths: the two slowest parts of the lock together make less than its drift.
pub(crate) const RATES_WITHIN: u64 = 15_000;
/// And what no promise about time covers.
const RATES_BEYOND: u64 = 250_000;

/// How long after the end of all trouble a bad release must be gone: see `invariants`.
pub(crate) const CALM: u64 = 165_000;

impl Plan {
    pub(crate) fn draw(theme: Theme, seed: u64) -> Self {
        let mut c = Chance::new(seed.wrapping_mul(31).wrapping_add(theme as u64));
        let replicas = [1, 2, 2, 3, 3, 3, 3, 4, 5, 5][c.below(10) as usize];
        let illness = match c.below(20) {
            0..=2 => Illness::None,
            3 if replicas > 2 => Illness::OneReplica,
            4..=6 => Illness::Slow,
            _ => Illness::Failing,
        };
        let deploy_at = c.between(4_000, 9_000);
        let calm_from = match theme {
            Theme::Quiet => deploy_at,
            Theme::Network | Theme::Deaths | Theme::Platform | Theme::Surroundings | Theme::Everything => {
                c.between(55_000, 85_000)
            }
        };
        let watcher = c.per_mille(350);
        let mut plan = Self {
            seed,
            theme,
            replicas,
            watcher,
            one_token: c.per_mille(200),
            illness,
            onset: c.between(0, 25_000),
            rosters: false,
            volumes: c.per_mille(250),
            overlap: c.between(0, 1) * c.between(500, 6_000),
            drain: c.between(0, 1) * c.between(100, 4_000),
            deploy_at,
            rates: c.below(RATES_WITHIN),
            offsets: c.between(0, 150),
            stranger: None,
            foreigner: None,
            faults: Vec::new(),
            calm_from,
            end: calm_from + CALM,
        };
        if theme != Theme::Quiet {
            plan.trouble(&mut c);
        }
        plan
    }

    fn trouble(&mut self, c: &mut Chance) {
        let all = self.theme == Theme::Everything;
        let count = if all { c.between(3, 9) } else { c.between(1, 5) };
        self.rosters = matches!(self.theme, Theme::Platform | Theme::Everything) && c.per_mille(500);
        if matches!(self.theme, Theme::Surroundings) || all && c.per_mille(150) {
            self.surround(c);
        }
        for _ in 0..count {
            let theme = match self.theme {
                Theme::Everything => {
                    [Theme::Network, Theme::Deaths, Theme::Platform, Theme::Surroundings][c.below(4) as usize]
                }
                Theme::Quiet | Theme::Network | Theme::Deaths | Theme::Platform | Theme::Surroundings => {
                    self.theme
                }
            };
            let when = self.when(c);
            let fault = match theme {
                Theme::Network => network(c),
                Theme::Deaths => death(c),
                Theme::Platform => self.platform(c),
                Theme::Quiet | Theme::Surroundings | Theme::Everything => surroundings(c),
            };
            self.faults.push((when, fault));
        }
    }

    fn surround(&mut self, c: &mut Chance) {
        match c.below(8) {
            0 => self.rates = RATES_BEYOND,
            1 => self.offsets = c.between(1_000, 20_000),
            2 => self.stranger = Some(c.below(u64::from(self.replicas)) as usize),
            3 => self.foreigner = Some(c.below(u64::from(self.replicas)) as usize),
            4 => self.illness = Illness::Database,
            _ => {}
        }
    }

    fn when(&self, c: &mut Chance) -> When {
        match c.below(10) {
            0..=3 => When::At(c.between(self.deploy_at / 2, self.calm_from)),
            4..=6 => When::AfterAsk([c.below(60), c.below(4_000), c.below(30_000)][c.below(3) as usize]),
            7 => When::AfterElected(c.below(1_500)),
            _ => When::AfterCall([c.below(60), c.below(3_000), c.below(16_000)][c.below(3) as usize]),
        }
    }

    fn platform(&self, c: &mut Chance) -> Fault {
        match c.below(10) {
            0 | 1 => Fault::Deploy { is_bad: c.per_mille(600) },
            2 | 3 if self.rosters => Fault::Scale { to: c.between(1, 6) as u32 },
            4 => Fault::Platform { mood: Mood { unreadable: true, ..WELL }, lasts: c.between(2_000, 40_000) },
            5 => Fault::Platform { mood: Mood { refuses: true, ..WELL }, lasts: c.between(2_000, 40_000) },
            _ => {
                let lag = c.below(6_000);
                let mood = Mood {
                    unreadable: false,
                    refuses: false,
                    lost_replies: c.below(1_000),
                    lands: 14_500 - lag,
                    lag,
                };
                Fault::Platform { mood, lasts: c.between(30_000, 90_000) }
            }
        }
    }
}

fn whom(c: &mut Chance) -> Whom {
    match c.below(6) {
        0 => Whom::Any(c.next()),
        1..=3 => Whom::Accused(c.next()),
        4 => Whom::Asker,
        _ => Whom::Caller,
    }
}

fn network(c: &mut Chance) -> Fault {
    let (out, into) = [(true, true), (true, true), (true, false), (false, true)][c.below(4) as usize];
    let lasts = [c.between(1_000, 12_000), c.between(5_000, 60_000)][c.below(2) as usize];
    match c.below(6) {
        0 | 1 => Fault::Cut { side: c.next(), out, into, lasts },
        2 | 3 => Fault::CutOff { whom: whom(c), out, into, lasts },
        _ => {
            let weather = Weather {
                loss: c.below(400),
                twice: c.below(400),
                delay: [c.between(20, 500), c.between(100, 6_000)][c.below(2) as usize],
                late: c.below(80),
            };
            Fault::Weather { weather, lasts }
        }
    }
}

fn death(c: &mut Chance) -> Fault {
    let back = (!c.per_mille(150)).then(|| c.between(300, 8_000));
    match c.below(8) {
        0..=2 => Fault::Crash { whom: whom(c), back },
        3 | 4 => Fault::CrashWithin { whom: whom(c), effects: c.below(12), back },
        5 => Fault::CrashAtOrder { after: c.per_mille(500), back },
        6 => Fault::Freeze { whom: whom(c), lasts: c.between(500, 6_000) },
        _ => Fault::Freeze { whom: whom(c), lasts: c.between(2_500, 40_000) },
    }
}

fn surroundings(c: &mut Chance) -> Fault {
    match c.below(8) {
        0 => Fault::Pause { whom: whom(c), lasts: c.between(20_000, 60_000) },
        1 => Fault::AppEnds { whom: whom(c) },
        2 | 3 => Fault::Disk {
            whom: whom(c),
            mood: DiskMood::Slow(c.between(100, 6_000)),
            lasts: c.between(5_000, 60_000),
        },
        4 => Fault::Disk { whom: whom(c), mood: DiskMood::Full, lasts: c.between(5_000, 60_000) },
        5 => Fault::Database { lasts: c.between(20_000, 60_000) },
        6 => Fault::Freeze { whom: whom(c), lasts: c.between(1_000, 4_000) },
        _ => Fault::Crash { whom: whom(c), back: Some(c.between(300, 4_000)) },
    }
}
