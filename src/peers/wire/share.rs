//! What a replica saw in one slot, packed: an exact copy, so that all agents judge by the same figures.

use std::time::Duration;

use crate::engine::evidence::{Share, Slot};
use crate::engine::route::GROUPS_MAX;
use crate::engine::tick::{PROBES_MAX, ProbeTick, Resources, RouteTick, Tick};
use crate::engine::time::Time;
use crate::engine::window::Latencies;
use crate::pack::{Damaged, Packer, Unpacker, unsqueezed};
use crate::peers::wire::document::figure;
use crate::peers::wire::hello;

/// The most bytes of a share before it is squeezed; longer is damage. All routes and probes at their longest, each with the
/// latencies of a very busy service, come to less than half.
pub(in crate::peers) const SHARE_BYTES_MAX: usize = 1 << 20;
/// Routes read of a tick. Names may change within it, so it can hold more of them than there are groups.
const ROUTES_MAX: usize = GROUPS_MAX * 8;

pub(super) fn to_bytes(share: &Share) -> Vec<u8> {
    let mut packer = Packer::default();
    packer.text(&share.of.replica);
    packer.number(share.of.boot.0);
    packer.text(share.deployment.as_str());
    packer.number(share.slot.0);
    // To the nanosecond: whoever saw it and whoever reads it must not differ.
    packer.maybe(share.age.map(|age| u64::try_from(age.as_nanos()).unwrap_or(u64::MAX)));
    put_tick(&mut packer, &share.tick);
    packer.squeezed()
}

fn put_tick(packer: &mut Packer, tick: &Tick) {
    let Tick { from, to, judged, failed, ended, arrived, answered, waiting, overdue, .. } = tick;
    packer.number(from.as_millis());
    packer.number(to.as_millis());
    for n in [judged, failed, ended, arrived, answered, waiting, overdue] {
        packer.number(*n);
    }
    packer.number(tick.stalled.into());
    packer.latencies(&tick.latencies);
    packer.number(tick.routed);
    tick.watched.iter().for_each(|&n| packer.number(n));
    packer.number(tick.crashes);
    packer.maybe(tick.resources.cpu_millicores);
    packer.maybe(tick.resources.memory_bytes);
    packer.maybe(tick.resources.descriptors);
    packer.list(&tick.routes, |packer, route| {
        packer.text(&route.route);
        [route.ended, route.judged, route.failed].into_iter().for_each(|n| packer.number(n));
        packer.latencies(&route.latencies);
    });
    packer.list(&tick.probes, |packer, probe| {
        packer.text(&probe.name);
        packer.number(probe.ok);
        packer.number(probe.failed);
        packer.latencies(&probe.latencies);
        packer.maybe(probe.load);
    });
}

/// Behind what is read there may be what a newer agent adds.
pub(super) fn from_bytes(bytes: &[u8]) -> Result<Share, Damaged> {
    let plain = unsqueezed(bytes, SHARE_BYTES_MAX)?;
    let mut unpacker = Unpacker(&plain);
    let replica = unpacker.text()?;
    let of = hello::peer(replica, unpacker.number()?)?;
    let deployment = hello::deployment(unpacker.text()?)?;
    let slot = Slot(take(&mut unpacker)?);
    let age = unpacker.maybe()?.map(Duration::from_nanos);
    Ok(Share { of, deployment, slot, age, tick: take_tick(&mut unpacker)? })
}

fn take(unpacker: &mut Unpacker<'_>) -> Result<u64, Damaged> {
    figure(unpacker.number()?)
}

fn take_maybe(unpacker: &mut Unpacker<'_>) -> Result<Option<u64>, Damaged> {
    unpacker.maybe()?.map(figure).transpose()
}

fn take_latencies(unpacker: &mut Unpacker<'_>) -> Result<Latencies, Damaged> {
    let latencies = unpacker.latencies()?;
    figure(latencies.count())?;
    Ok(latencies)
}

fn take_tick(unpacker: &mut Unpacker<'_>) -> Result<Tick, Damaged> {
    let mut tick = Tick::starting(Time::from_millis(take(unpacker)?));
    tick.to = Time::from_millis(take(unpacker)?);
    let Tick { judged, failed, ended, arrived, answered, waiting, overdue, .. } = &mut tick;
    for n in [judged, failed, ended, arrived, answered, waiting, overdue] {
        *n = take(unpacker)?;
    }
    tick.stalled = unpacker.flag()?;
    tick.latencies = take_latencies(unpacker)?;
    tick.routed = take(unpacker)?;
    for n in &mut tick.watched {
        *n = take(unpacker)?;
    }
    tick.crashes = take(unpacker)?;
    tick.resources = Resources {
        cpu_millicores: take_maybe(unpacker)?,
        memory_bytes: take_maybe(unpacker)?,
        descriptors: take_maybe(unpacker)?,
    };
    tick.routes = unpacker.list(ROUTES_MAX, |unpacker| {
        Ok(RouteTick {
            route: unpacker.text()?.into(),
            ended: take(unpacker)?,
            judged: take(unpacker)?,
            failed: take(unpacker)?,
            latencies: take_latencies(unpacker)?,
        })
    })?;
    tick.probes = unpacker.list(PROBES_MAX, |unpacker| {
        Ok(ProbeTick {
            name: unpacker.text()?.into(),
            ok: take(unpacker)?,
            failed: take(unpacker)?,
            latencies: take_latencies(unpacker)?,
            load: take_maybe(unpacker)?,
        })
    })?;
    // They are looked up by halves.
    let ascends = tick.routes.is_sorted_by(|a, b| a.route < b.route)
        && tick.probes.is_sorted_by(|a, b| a.name < b.name);
    if ascends { Ok(tick) } else { Err(Damaged("names out of order")) }
}
