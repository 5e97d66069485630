//! Baselines as bytes: the wide part beside the columns, a whole one as watches hold it, and the digest of all of it.

use sha2::{Digest as _, Sha256};

use crate::engine::baseline::{AGE_ENDS_S, Baseline, HOURS, ProbeBaseline, RouteBaseline, Slice, Usage};
use crate::engine::release::Release;
use crate::engine::route::GROUPS_MAX;
use crate::engine::tick::PROBES_MAX;
use crate::engine::time::Time;
use crate::pack::{Damaged, Packer, Unpacker, unsqueezed};
use crate::store::codec::{histogram_from_bytes, histogram_to_bytes};

/// The most bytes of a wide part before it was squeezed; longer is damage. One that holds all routes, all probes and all
/// hours of a very busy service comes to a quarter.
const WIDE_BYTES_MAX: usize = 8 << 20;
/// The most shares of failed requests that ticks are counted by: there are some 1,100.
const SHARES_MAX: usize = 4096;

/// What of a baseline has no column.
pub(in crate::store) fn wide_to_bytes(baseline: &Baseline) -> Vec<u8> {
    let mut packer = Packer::default();
    baseline.tick_quantiles.iter().for_each(|of| packer.latencies(of));
    packer.number(baseline.routed);
    baseline.watched.iter().for_each(|&n| packer.number(n));
    packer.number(baseline.all_ticks);
    packer.number(baseline.crashed_ticks);
    packer.list(&baseline.ages, put_slice);
    packer.list(&baseline.hours, |packer, (hour, slice)| {
        packer.number((*hour).into());
        put_slice(packer, slice);
    });
    packer.list(&baseline.routes, |packer, route| {
        packer.text(&route.route);
        for n in [route.judged, route.failed, route.ticks, route.ill_ticks, route.last.as_millis()] {
            packer.number(n);
        }
        packer.latencies(&route.latencies);
    });
    packer.list(&baseline.probes, |packer, probe| {
        packer.text(&probe.name);
        packer.number(probe.ok);
        packer.number(probe.failed);
        packer.latencies(&probe.latencies);
        packer.latencies(&probe.load);
    });
    put_usage(&mut packer, &baseline.usage);
    packer.squeezed()
}

/// Fills in what has no column.
pub(in crate::store) fn wide_from_bytes(bytes: &[u8], baseline: &mut Baseline) -> Result<(), Damaged> {
    let plain = unsqueezed(bytes, WIDE_BYTES_MAX)?;
    let mut unpacker = Unpacker(&plain);
    for of in &mut baseline.tick_quantiles {
        *of = unpacker.latencies()?;
    }
    baseline.routed = unpacker.number()?;
    for n in &mut baseline.watched {
        *n = unpacker.number()?;
    }
    baseline.all_ticks = unpacker.number()?;
    baseline.crashed_ticks = unpacker.number()?;
    let ages = unpacker.list(AGE_ENDS_S.len() + 1, take_slice)?;
    if ages.len() != AGE_ENDS_S.len() + 1 {
        return Err(Damaged("too few ages"));
    }
    baseline.ages = ages;
    baseline.hours = unpacker.list(HOURS, |unpacker| {
        let hour = u8::try_from(unpacker.number()?).ok().filter(|&hour| usize::from(hour) < HOURS);
        Ok((hour.ok_or(Damaged("no hour of the week"))?, take_slice(unpacker)?))
    })?;
    baseline.routes = unpacker.list(GROUPS_MAX, |unpacker| {
        Ok(RouteBaseline {
            route: unpacker.text()?.into(),
            judged: unpacker.number()?,
            failed: unpacker.number()?,
            ticks: unpacker.number()?,
            ill_ticks: unpacker.number()?,
            last: Time::from_millis(unpacker.number()?),
            latencies: unpacker.latencies()?,
        })
    })?;
    baseline.probes = unpacker.list(PROBES_MAX, |unpacker| {
        Ok(ProbeBaseline {
            name: unpacker.text()?.into(),
            ok: unpacker.number()?,
            failed: unpacker.number()?,
            latencies: unpacker.latencies()?,
            load: unpacker.latencies()?,
        })
    })?;
    baseline.usage = take_usage(&mut unpacker)?;
    unpacker.end()
}

fn put_slice(packer: &mut Packer, slice: &Slice) {
    packer.number(slice.judged);
    packer.number(slice.failed);
    packer.latencies(&slice.latencies);
    put_usage(packer, &slice.usage);
}

fn take_slice(unpacker: &mut Unpacker<'_>) -> Result<Slice, Damaged> {
    Ok(Slice {
        judged: unpacker.number()?,
        failed: unpacker.number()?,
        latencies: unpacker.latencies()?,
        usage: take_usage(unpacker)?,
    })
}

fn put_usage(packer: &mut Packer, usage: &Usage) {
    packer.latencies(&usage.cpu_millicores);
    packer.latencies(&usage.memory_bytes);
    packer.latencies(&usage.descriptors);
}

fn take_usage(unpacker: &mut Unpacker<'_>) -> Result<Usage, Damaged> {
    Ok(Usage {
        cpu_millicores: unpacker.latencies()?,
        memory_bytes: unpacker.latencies()?,
        descriptors: unpacker.latencies()?,
    })
}

/// A whole baseline, as a watch holds it.
pub(in crate::store) fn to_bytes(baseline: &Baseline) -> Vec<u8> {
    let mut packer = Packer::default();
    packer.text(baseline.release.as_str());
    for n in [baseline.from.as_millis(), baseline.to.as_millis(), baseline.judged, baseline.failed] {
        packer.number(n);
    }
    packer.list(&baseline.ticks_by_failed_ppm, |packer, &(ppm, ticks)| {
        packer.number(ppm.into());
        packer.number(ticks);
    });
    packer.bytes(&histogram_to_bytes(&baseline.latency));
    packer.bytes(&wide_to_bytes(baseline));
    packer.plain()
}

/// Only for bytes whose digest was right, as with the histogram in them.
pub(in crate::store) fn from_bytes(bytes: &[u8]) -> Result<Baseline, Damaged> {
    let mut unpacker = Unpacker(bytes);
    let release = Release::new(unpacker.text()?).ok_or(Damaged("not a release"))?;
    let mut baseline = Baseline::empty(release, Time::from_millis(unpacker.number()?));
    baseline.to = Time::from_millis(unpacker.number()?);
    baseline.judged = unpacker.number()?;
    baseline.failed = unpacker.number()?;
    baseline.ticks_by_failed_ppm = unpacker.list(SHARES_MAX, |unpacker| {
        let ppm = u32::try_from(unpacker.number()?).map_err(|_| Damaged("a number too large"))?;
        Ok((ppm, unpacker.number()?))
    })?;
    baseline.latency = histogram_from_bytes(unpacker.bytes()?)?;
    wide_from_bytes(unpacker.bytes()?, &mut baseline)?;
    unpacker.end()?;
    Ok(baseline)
}

/// The digest of a baseline as this agent writes it.
pub(in crate::store) fn digest_of(baseline: &Baseline) -> [u8; 32] {
    digest(baseline, &histogram_to_bytes(&baseline.latency), Some(&wide_to_bytes(baseline)))
}

/// The SHA-256 over everything that a baseline says, its latencies and its wide part in their stored form. Rows of agents
/// that knew no wide part have none, and a digest without it.
pub(in crate::store) fn digest(baseline: &Baseline, latency: &[u8], wide: Option<&[u8]>) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut put = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    put(baseline.release.as_str().as_bytes());
    for n in [baseline.from.as_millis(), baseline.to.as_millis(), baseline.judged, baseline.failed] {
        put(&n.to_be_bytes());
    }
    for &(ppm, ticks) in &baseline.ticks_by_failed_ppm {
        put(&ppm.to_be_bytes());
        put(&ticks.to_be_bytes());
    }
    put(latency);
    if let Some(wide) = wide {
        put(wide);
    }
    hash.finalize().into()
}
