//! Facts as bytes: what of a tick has no column of its own, what all replicas saw in a slot, how the app ended, and the check
//! that guards a whole row.

use std::borrow::Cow;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::engine::evidence::{FleetRound, Slot};
use crate::engine::history::{Fact, KeptFact};
use crate::engine::record::Exit;
use crate::engine::release::{RecordId, Release};
use crate::engine::route::GROUPS_MAX;
use crate::engine::tick::{PROBES_MAX, ProbeTick, REPLICAS_MAX, Resources, RouteTick, Tick};
use crate::engine::time::Time;
use crate::engine::window::WATCHED_STATUSES;
use crate::pack::{Damaged, Packer, Unpacker, unsqueezed};

/// The most bytes of a tick's wide part before it was squeezed; longer is damage. All routes and probes at their longest,
/// each with the latencies of a very busy service, come to a tenth.
const TICK_BYTES_MAX: usize = 4 << 20;
/// The most bytes of a round before it was squeezed; longer is damage. A hundred replicas, each with all routes and as many
/// latencies as a very busy service has, come to two thirds.
const ROUND_BYTES_MAX: usize = 64 << 20;
/// The form in which rounds are written. Another is damage, as a kind that is not known.
const ROUND_FORM: u64 = 1;
/// Routes read of a tick. Names may change within it, so it can hold more of them than there are groups.
const ROUTES_MAX: usize = GROUPS_MAX * 8;

/// A fact's kind in the store.
pub(in crate::store) const fn kind(fact: &Fact) -> &'static str {
    match fact {
        Fact::Tick(_) => "tick",
        Fact::Round(_) => "round",
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
        Fact::Round(round) => round_to_bytes(round),
        Fact::Ready | Fact::Restarted => Vec::new(),
    }
}

/// The tick whose figures stand in the columns of a fact's row: of a round the sums over its replicas, of what is no
/// evidence an empty one.
pub(in crate::store) fn columns(at: Time, fact: &Fact) -> Cow<'_, Tick> {
    match fact {
        Fact::Tick(tick) => Cow::Borrowed(tick.as_ref()),
        Fact::Round(round) => Cow::Owned(sums(at, round)),
        Fact::Ready | Fact::Exited { .. } | Fact::Restarted => Cow::Owned(Tick::starting(at)),
    }
}

/// Replicas that stalled are left out; a round is stalled when all of it is. Latencies stand with the replicas only. Columns
/// hold numbers below 2^63.
fn sums(at: Time, round: &FleetRound) -> Tick {
    let live = || round.candidate.iter().map(|(_, tick)| tick).filter(|tick| !tick.stalled);
    let sum = |figure: fn(&Tick) -> u64| live().map(figure).fold(0, u64::saturating_add).min(i64::MAX as u64);
    Tick {
        from: live().map(|tick| tick.from).min().unwrap_or(at),
        to: live().map(|tick| tick.to).max().unwrap_or(at),
        judged: sum(|tick| tick.judged),
        failed: sum(|tick| tick.failed),
        ended: sum(|tick| tick.ended),
        arrived: sum(|tick| tick.arrived),
        answered: sum(|tick| tick.answered),
        waiting: sum(|tick| tick.waiting),
        overdue: sum(|tick| tick.overdue),
        stalled: live().next().is_none(),
        ..Tick::default()
    }
}

/// A fact of any kind but a tick, whose figures have columns.
pub(in crate::store) fn event_from_bytes(kind: &str, more: &[u8]) -> Result<Fact, Damaged> {
    let mut unpacker = Unpacker(more);
    let fact = match kind {
        "round" => return round_from_bytes(more).map(|round| Fact::Round(Box::new(round))),
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
    put_wide(&mut packer, tick);
    packer.squeezed()
}

fn put_wide(packer: &mut Packer, tick: &Tick) {
    let Tick { routed, watched, routes, crashes, resources, probes, .. } = tick;
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
}

/// Fills in what has no column.
pub(in crate::store) fn wide_from_bytes(bytes: &[u8], tick: &mut Tick) -> Result<(), Damaged> {
    if bytes.is_empty() {
        return Ok(());
    }
    let plain = unsqueezed(bytes, TICK_BYTES_MAX)?;
    let mut unpacker = Unpacker(&plain);
    take_wide(&mut unpacker, tick)?;
    unpacker.end()
}

fn take_wide(unpacker: &mut Unpacker<'_>, tick: &mut Tick) -> Result<(), Damaged> {
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
    Ok(())
}

/// The figures of a tick that have columns where it stands alone, and then the others.
fn put_whole(packer: &mut Packer, tick: &Tick) {
    let counts =
        [tick.judged, tick.failed, tick.ended, tick.arrived, tick.answered, tick.waiting, tick.overdue];
    packer.number(tick.from.as_millis());
    packer.number(tick.to.as_millis());
    counts.into_iter().for_each(|n| packer.number(n));
    packer.number(u64::from(tick.stalled));
    packer.latencies(&tick.latencies);
    put_wide(packer, tick);
}

fn take_whole(unpacker: &mut Unpacker<'_>) -> Result<Tick, Damaged> {
    let mut tick = Tick {
        from: Time::from_millis(unpacker.number()?),
        to: Time::from_millis(unpacker.number()?),
        judged: unpacker.number()?,
        failed: unpacker.number()?,
        ended: unpacker.number()?,
        arrived: unpacker.number()?,
        answered: unpacker.number()?,
        waiting: unpacker.number()?,
        overdue: unpacker.number()?,
        stalled: unpacker.flag()?,
        latencies: unpacker.latencies()?,
        ..Tick::default()
    };
    take_wide(unpacker, &mut tick)?;
    Ok(tick)
}

fn round_to_bytes(round: &FleetRound) -> Vec<u8> {
    let mut packer = Packer::default();
    packer.number(ROUND_FORM);
    packer.number(round.slot.0);
    packer.maybe(round.age.map(|age| age.as_secs()));
    packer.number(round.age.map_or(0, |age| age.subsec_nanos().into()));
    packer.list(&round.candidate, |packer, (replica, tick)| {
        packer.text(replica);
        put_whole(packer, tick);
    });
    packer.list(round.control.as_slice(), put_whole);
    packer.squeezed()
}

fn round_from_bytes(bytes: &[u8]) -> Result<FleetRound, Damaged> {
    let plain = unsqueezed(bytes, ROUND_BYTES_MAX)?;
    let mut unpacker = Unpacker(&plain);
    if unpacker.number()? != ROUND_FORM {
        return Err(Damaged("an unknown form of round"));
    }
    let slot = Slot(unpacker.number()?);
    let (secs, nanos) = (unpacker.maybe()?, unpacker.number()?);
    let nanos = u32::try_from(nanos).ok().filter(|&nanos| nanos < 1_000_000_000);
    let nanos = nanos.ok_or(Damaged("a number too large"))?;
    let candidate = unpacker.list(REPLICAS_MAX, |unpacker| {
        let replica = unpacker.text()?.into();
        Ok((replica, take_whole(unpacker)?))
    })?;
    let control = unpacker.list(1, take_whole)?.pop();
    unpacker.end()?;
    Ok(FleetRound { slot, candidate, control, age: secs.map(|secs| Duration::new(secs, nanos)) })
}

/// A whole fact beside its watch's id.
pub(super) fn put_kept(packer: &mut Packer, kept: &KeptFact) {
    packer.number(kept.seq.into());
    packer.number(kept.at.as_millis());
    packer.text(kept.release.as_str());
    packer.text(kind(&kept.fact));
    match &kept.fact {
        Fact::Tick(tick) => put_whole(packer, tick),
        Fact::Round(_) | Fact::Ready | Fact::Exited { .. } | Fact::Restarted => {
            packer.bytes(&more_to_bytes(&kept.fact));
        }
    }
}

/// The bytes that [`put_kept`] takes for it.
pub(in crate::store) fn room(kept: &KeptFact) -> usize {
    let mut packer = Packer::default();
    put_kept(&mut packer, kept);
    packer.plain().len()
}

pub(super) fn take_kept(unpacker: &mut Unpacker<'_>, watch: &RecordId) -> Result<KeptFact, Damaged> {
    let seq = u32::try_from(unpacker.number()?).map_err(|_| Damaged("a number too large"))?;
    let at = Time::from_millis(unpacker.number()?);
    let release = Release::new(unpacker.text()?).ok_or(Damaged("not a release"))?;
    let fact = match unpacker.text()? {
        "tick" => Fact::Tick(Box::new(take_whole(unpacker)?)),
        kind => event_from_bytes(kind, unpacker.bytes()?)?,
    };
    Ok(KeptFact { watch: watch.clone(), seq, at, release, fact })
}

/// The beginning of the SHA-256 over all that a row of a fact says; what columns say of a round follows from its bytes. A watch is judged again to the bit, or not at all.
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
