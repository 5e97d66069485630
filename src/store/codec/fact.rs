//! Facts as bytes: what of a tick has no column of its own, how the app ended, and the check that guards a whole row.

use sha2::{Digest as _, Sha256};

use crate::engine::history::{Fact, KeptFact};
use crate::engine::record::Exit;
use crate::engine::route::GROUPS_MAX;
use crate::engine::tick::{PROBES_MAX, ProbeTick, Resources, RouteTick, Tick};
use crate::engine::window::WATCHED_STATUSES;
use crate::store::codec::Damaged;
use crate::store::codec::pack::{Packer, Unpacker, unsqueezed};

/// The most bytes of a tick's wide part before it was squeezed; longer is damage. All routes and probes at their longest,
/// each with the latencies of a very busy service, come to a tenth.
const TICK_BYTES_MAX: usize = 4 << 20;
/// Routes read of a tick. Names may change within it, so it can hold more of them than there are groups.
const ROUTES_MAX: usize = GROUPS_MAX * 8;

/// A fact's kind in the store.
pub(in crate::store) const fn kind(fact: &Fact) -> &'static str {
    match fact {
        Fact::Tick(_) => "tick",
        Fact::Ready => "ready",
        Fact::Exited { .. } => "exited",
        Fact::Restarted => "restarted",
    }
}

/// What a fact says beyond its columns.
pub(in crate::store) fn more_to_bytes(fact: &Fact) -> Vec<u8> {
    match fact {
        Fact::Tick(tick) => wide_to_bytes(tick),
        Fact::Exited { exit, is_loop } => {
            let mut packer = Packer::default();
            packer.number(u64::from(*is_loop));
            packer.maybe(exit.code.map(sign_last));
            packer.maybe(exit.signal.map(sign_last));
            packer.plain()
        }
        Fact::Ready | Fact::Restarted => Vec::new(),
    }
}

/// A fact of a kind that is no tick.
pub(in crate::store) fn event_from_bytes(kind: &str, more: &[u8]) -> Result<Fact, Damaged> {
    let mut unpacker = Unpacker(more);
    let fact = match kind {
        "ready" => Fact::Ready,
        "restarted" => Fact::Restarted,
        "exited" => {
            let is_loop = unpacker.flag()?;
            let code = unpacker.maybe()?.map(sign_first).transpose()?;
            let signal = unpacker.maybe()?.map(sign_first).transpose()?;
            Fact::Exited { exit: Exit { code, signal }, is_loop }
        }
        _ => return Err(Damaged("an unknown kind of fact")),
    };
    unpacker.end()?;
    Ok(fact)
}

/// Small numbers of either sign in few bytes.
const fn sign_last(n: i32) -> u64 {
    ((n << 1) ^ (n >> 31)) as u32 as u64
}

fn sign_first(n: u64) -> Result<i32, Damaged> {
    let n = u32::try_from(n).map_err(|_| Damaged("a number too large"))?;
    Ok((n >> 1) as i32 ^ -((n & 1) as i32))
}

/// What of a tick has no column: what was seen by route, by status, of the app and of its dependencies. A tick that saw
/// none of it has no bytes.
pub(in crate::store) fn wide_to_bytes(tick: &Tick) -> Vec<u8> {
    let Tick { routed, watched, routes, crashes, resources, probes, .. } = tick;
    let is_bare = *routed == 0 && *watched == <[u64; WATCHED_STATUSES.len()]>::default() && *crashes == 0;
    if is_bare && routes.is_empty() && probes.is_empty() && *resources == Resources::default() {
        return Vec::new();
    }
    let mut packer = Packer::default();
    packer.number(*routed);
    watched.iter().for_each(|&n| packer.number(n));
    packer.number(*crashes);
    packer.maybe(resources.cpu_millicores);
    packer.maybe(resources.memory_bytes);
    packer.maybe(resources.descriptors);
    packer.list(routes, |packer, route| {
        packer.text(&route.route);
        packer.number(route.ended);
        packer.number(route.judged);
        packer.number(route.failed);
        packer.latencies(&route.latencies);
    });
    packer.list(probes, |packer, probe| {
        packer.text(&probe.name);
        packer.number(probe.ok);
        packer.number(probe.failed);
        packer.latencies(&probe.latencies);
        packer.maybe(probe.load);
    });
    packer.squeezed()
}

/// Fills in what has no column.
pub(in crate::store) fn wide_from_bytes(bytes: &[u8], tick: &mut Tick) -> Result<(), Damaged> {
    if bytes.is_empty() {
        return Ok(());
    }
    let plain = unsqueezed(bytes, TICK_BYTES_MAX)?;
    let mut unpacker = Unpacker(&plain);
    tick.routed = unpacker.number()?;
    for n in &mut tick.watched {
        *n = unpacker.number()?;
    }
    tick.crashes = unpacker.number()?;
    tick.resources = Resources {
        cpu_millicores: unpacker.maybe()?,
        memory_bytes: unpacker.maybe()?,
        descriptors: unpacker.maybe()?,
    };
    tick.routes = unpacker.list(ROUTES_MAX, |unpacker| {
        Ok(RouteTick {
            route: unpacker.text()?.into(),
            ended: unpacker.number()?,
            judged: unpacker.number()?,
            failed: unpacker.number()?,
            latencies: unpacker.latencies()?,
        })
    })?;
    tick.probes = unpacker.list(PROBES_MAX, |unpacker| {
        Ok(ProbeTick {
            name: unpacker.text()?.into(),
            ok: unpacker.number()?,
            failed: unpacker.number()?,
            latencies: unpacker.latencies()?,
            load: unpacker.maybe()?,
        })
    })?;
    unpacker.end()
}

/// The beginning of the SHA-256 over all that a row of a fact says: a watch is judged again to the bit, or not at all.
pub(in crate::store) fn check(kept: &KeptFact, latencies: &[u8], more: &[u8]) -> [u8; 8] {
    let mut hash = Sha256::new();
    let mut put = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    for text in [kept.watch.as_str(), kept.release.as_str(), kind(&kept.fact)] {
        put(text.as_bytes());
    }
    let numbers = |numbers: &[u64]| numbers.iter().flat_map(|n| n.to_be_bytes()).collect::<Vec<u8>>();
    put(&numbers(&[kept.seq.into(), kept.at.as_millis()]));
    if let Fact::Tick(t) = &kept.fact {
        let times = [t.from.as_millis(), t.to.as_millis()];
        let counts = [t.judged, t.failed, t.ended, t.arrived, t.answered, t.waiting, t.overdue];
        put(&numbers(&times));
        put(&numbers(&counts));
        put(&[u8::from(t.stalled)]);
    }
    put(latencies);
    put(more);
    hash.finalize().first_chunk::<8>().copied().expect("a SHA-256 has 32 bytes")
}
