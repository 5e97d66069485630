//! Lines of one t as ticks: the parts of a replica put together, and the length of a tick.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::route::OTHER;
use crate::engine::tick::{Round, RouteTick, TICK, Tick};
use crate::engine::time::Time;
use crate::engine::window::Latencies;
use crate::offline::judge::fault::Faults;
use crate::offline::judge::recording::{Entry, seconds};

/// The shortest and the longest tick, in milliseconds; others are a fault.
const TICK_MILLIS: (u64, u64) = (1_000, 300_000);

/// A recording: what each replica saw, t by t.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// How long a tick is: the least step of t.
    pub tick: Duration,
    /// Ascending by t.
    pub(super) rounds: Vec<Recorded>,
}

/// What all replicas saw in one tick. Its ticks' times are counted from t = 0.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Recorded {
    /// t in milliseconds.
    pub(super) millis: u64,
    pub(super) replicas: Vec<(Arc<str>, Tick)>,
}

impl Recorded {
    /// All replicas together, its times moved to where t = 0 is `origin`.
    pub(super) fn pooled(&self, origin: Time) -> Tick {
        let mut tick = Round { candidate: self.replicas.clone(), control: None }.pooled();
        place(&mut tick, origin);
        tick
    }
}

/// Moves a tick to where t = 0 is `origin`.
pub(super) fn place(tick: &mut Tick, origin: Time) {
    let moved = |time: Time| origin + Duration::from_millis(time.as_millis());
    (tick.from, tick.to) = (moved(tick.from), moved(tick.to));
}

/// The lines of a recording as ticks; `None` with a fault.
pub(super) fn of(name: &str, mut entries: Vec<Entry>, faults: &mut Faults) -> Option<Recording> {
    // Lines of one replica and t stay in their order, and a line of the whole comes before its routes.
    entries.sort_by(|a, b| {
        let t = a.line.millis.cmp(&b.line.millis);
        t.then_with(|| a.replica.cmp(&b.replica)).then_with(|| a.route.cmp(&b.route))
    });
    let tick = tick_length(name, &entries, faults);
    repeats(name, &entries, faults);
    let knows_statuses = entries.iter().any(|entry| entry.line.statuses.is_some());
    let mut rounds: Vec<Recorded> = Vec::new();
    for same in entries.chunk_by(|a, b| a.line.millis == b.line.millis) {
        let replicas = same.chunk_by(|a, b| a.replica == b.replica);
        let told = |lines: &[Entry]| (lines[0].replica.clone(), ticked(lines, tick, knows_statuses));
        rounds.push(Recorded { millis: same[0].line.millis, replicas: replicas.map(told).collect() });
    }
    faults.is_empty().then_some(Recording { tick, rounds })
}

/// The least step of t.
fn tick_length(name: &str, entries: &[Entry], faults: &mut Faults) -> Duration {
    let steps =
        entries.windows(2).map(|pair| (pair[1].line.millis - pair[0].line.millis, &pair[0], &pair[1]));
    let Some((step, one, next)) = steps.filter(|&(step, ..)| step > 0).min_by_key(|&(step, ..)| step) else {
        return TICK;
    };
    let (least, most) = TICK_MILLIS;
    if step < least {
        let (t, before) = (seconds(next.line.millis), seconds(one.line.millis));
        let text = format!(
            "`t` is {t}, less than a second after the {before} of line {}; give all lines of a tick the same t, the \
             tick's end",
            one.number
        );
        faults.line(name, next.number, &text);
    }
    if step > most {
        let text = format!(
            "no two ticks are closer than {} seconds; a tick is 1 to 300 seconds long, and t is in seconds",
            seconds(step)
        );
        faults.line(name, next.number, &text);
    }
    Duration::from_millis(step)
}

/// Two lines that both say what happened in the same tick.
fn repeats(name: &str, sorted: &[Entry], faults: &mut Faults) {
    for pair in sorted.windows(2) {
        let [one, next] = pair else { continue };
        if (one.line.millis, &one.replica, &one.route) != (next.line.millis, &next.replica, &next.route) {
            continue;
        }
        let of =
            next.route.as_ref().map_or_else(|| "without a route".to_owned(), |route| format!("of {route:?}"));
        let (t, replica) = (seconds(next.line.millis), &next.replica);
        let text = format!(
            "a second line {of} at t = {t} of replica {replica:?}, after line {}; give one, or name the replicas",
            one.number
        );
        faults.line(name, next.number, &text);
    }
}

/// One replica's lines of one t: the first without a route where there is one, the others with one.
fn ticked(lines: &[Entry], length: Duration, knows_statuses: bool) -> Tick {
    let (whole, parts) = match lines.split_first() {
        Some((whole, parts)) if whole.route.is_none() => (Some(whole), parts),
        _ => (None, lines),
    };
    let to = Time::from_millis(lines[0].line.millis);
    let mut tick = Tick { from: to - length, to, ..Tick::default() };
    for entry in whole.map_or(parts, std::slice::from_ref) {
        add(&mut tick, entry);
    }
    if whole.is_some_and(|whole| whole.line.latencies.is_none()) {
        parts.iter().filter_map(|part| part.line.latencies.as_ref()).for_each(|l| tick.latencies.merge(l));
    }
    for part in parts.iter().filter(|_| whole.is_some()) {
        tick.stalled |= part.line.stalled;
        let (resources, probes) = (part.line.resources, part.line.probes.clone());
        tick.pool(&Tick { resources, probes, ..nothing(&tick) });
    }
    let counted = match whole {
        Some(whole) if whole.line.statuses.is_some() || parts.is_empty() => std::slice::from_ref(whole),
        _ => parts,
    };
    if knows_statuses {
        counted.iter().for_each(|entry| add_statuses(&mut tick, entry));
    }
    tick.routes = parts.iter().filter_map(route).collect();
    tick
}

/// A tick of the same time in which nothing happened.
fn nothing(tick: &Tick) -> Tick {
    Tick { from: tick.from, to: tick.to, ..Tick::default() }
}

fn add(tick: &mut Tick, entry: &Entry) {
    let line = &entry.line;
    let stalled = tick.stalled | line.stalled;
    let of = Tick {
        judged: line.requests,
        failed: line.errors,
        latencies: line.latencies.clone().unwrap_or_default(),
        ended: line.requests,
        arrived: line.arrived.unwrap_or(line.requests),
        answered: line.answered.unwrap_or(line.requests),
        waiting: line.in_flight,
        overdue: line.overdue,
        crashes: line.crashes,
        resources: line.resources,
        probes: line.probes.clone(),
        ..nothing(tick)
    };
    tick.pool(&of);
    tick.stalled = stalled;
}

fn add_statuses(tick: &mut Tick, entry: &Entry) {
    if entry.route.as_deref() == Some(OTHER) {
        return;
    }
    tick.routed += entry.line.requests;
    if let Some(statuses) = entry.line.statuses {
        for (sum, count) in tick.watched.iter_mut().zip(statuses.watched) {
            *sum += count;
        }
    }
}

/// A route's share; what has no route of its own is no evidence.
fn route(entry: &Entry) -> Option<RouteTick> {
    let route = entry.route.clone().filter(|route| **route != *OTHER)?;
    let latencies: Latencies = entry.line.latencies.clone().unwrap_or_default();
    Some(RouteTick {
        route,
        ended: entry.line.requests,
        judged: entry.line.requests,
        failed: entry.line.errors,
        latencies,
    })
}
