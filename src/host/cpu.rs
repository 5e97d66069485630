//! The container's processor time, and how often its quota stopped it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{SysconfVar, sysconf};

use crate::engine::host::{Cpu, LimitedBy};
use crate::host::files::{Root, keyed, number, pressure, rest};
use crate::host::groups::{Group, Groups, Version};

/// More processors than this are nonsense.
const PROCESSORS_MAX: u64 = 1 << 16;

/// What was read last, to compare with.
#[derive(Debug, Default)]
pub(super) struct CpuMeter {
    last: Option<Reading>,
}

/// Counters at one moment.
#[derive(Debug)]
struct Reading {
    at: Duration,
    /// Whose they are; `None`: the machine's.
    level: Option<PathBuf>,
    used_us: Option<u64>,
    throttling: Option<Throttling>,
}

/// What a quota did.
#[derive(Clone, Copy, Debug)]
struct Throttling {
    periods: u64,
    throttled: u64,
    /// Of all processors together.
    throttled_us: u64,
}

impl CpuMeter {
    pub(super) fn read(&mut self, root: &Root, groups: &Groups, now: Duration) -> Cpu {
        let group = groups.cpu.as_ref();
        let quota = group.and_then(|group| {
            group
                .tightest(|level| quota(root, group.version, level))
                .map(|(level, quota)| (group, level, quota))
        });
        let (limit_millicores, limited_by) = limit(quota.map(|(_, _, quota)| quota), processors(root));
        let reading = match quota {
            Some((group, level, _)) => limited(root, groups, group, level, now),
            None => unlimited(root, groups, now),
        };
        let mut cpu = self.last.as_ref().map(|last| since(last, &reading)).unwrap_or_default();
        self.last = Some(reading);
        cpu.limit_millicores = limit_millicores;
        cpu.limited_by = limited_by;
        cpu.pressure = group
            .filter(|group| group.version == Version::Two)
            .and_then(|group| root.text(group.own().join("cpu.pressure")))
            .or_else(|| root.text("/proc/pressure/cpu"))
            .and_then(|text| pressure(&text));
        cpu
    }
}

/// What happened between two readings of the same group.
fn since(last: &Reading, now: &Reading) -> Cpu {
    let elapsed = now.at.checked_sub(last.at).filter(|elapsed| !elapsed.is_zero());
    let Some(elapsed_us) = elapsed.map(|elapsed| elapsed.as_micros() as f64) else { return Cpu::default() };
    if last.level != now.level {
        return Cpu::default();
    }
    let used = last.used_us.zip(now.used_us).and_then(|(last, now)| now.checked_sub(last));
    let throttled = last.throttling.zip(now.throttling).and_then(|(last, now)| {
        let periods = now.periods.checked_sub(last.periods)?;
        let throttled = now.throttled.checked_sub(last.throttled)?;
        let us = now.throttled_us.checked_sub(last.throttled_us)?;
        // No period goes by while nobody runs.
        let of_periods = if periods == 0 { 0.0 } else { (throttled as f64 / periods as f64).min(1.0) };
        // Each processor counts its own time, so for several together it is too much; but the container was stopped in no
        // more than these periods.
        Some((of_periods, (us as f64 / elapsed_us).min(of_periods)))
    });
    Cpu {
        used_millicores: used.map(|us| (1000.0 * us as f64 / elapsed_us).round() as u64),
        throttled_periods: throttled.map(|(of_periods, _)| of_periods),
        throttled_time: throttled.map(|(_, of_time)| of_time),
        ..Cpu::default()
    }
}

/// In thousandths of a processor.
fn quota(root: &Root, version: Version, level: &Path) -> Option<u64> {
    let file = |name| root.text(level.join(name));
    let (quota, period) = match version {
        Version::One => (number(&file("cpu.cfs_quota_us")?)?, number(&file("cpu.cfs_period_us")?)?),
        Version::Two => {
            let text = file("cpu.max")?;
            let mut fields = text.split_ascii_whitespace();
            (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?)
        }
    };
    let millicores = u128::from(quota) * 1000 / u128::from(period).max(1);
    u64::try_from(millicores).ok().filter(|&limit| period > 0 && (1..PROCESSORS_MAX * 1000).contains(&limit))
}

fn limit(quota: Option<u64>, processors: Option<u64>) -> (Option<u64>, Option<LimitedBy>) {
    let machine = processors.map(|count| count * 1000);
    match (quota, machine) {
        (Some(quota), machine) if machine.is_none_or(|machine| quota < machine) => {
            (Some(quota), Some(LimitedBy::Container))
        }
        (_, machine) => (machine, machine.map(|_| LimitedBy::Machine)),
    }
}

/// How many processors we may run on: of those that we are allowed, the ones that are there.
fn processors(root: &Root) -> Option<u64> {
    let status = root.text("/proc/self/status");
    let allowed = status.as_deref().and_then(|text| ranges(rest(text, "Cpus_allowed_list")?));
    let online = root.text("/sys/devices/system/cpu/online").and_then(|text| ranges(text.trim()));
    let both = match (allowed, online) {
        (Some(allowed), Some(online)) => {
            let common = |a: &(u64, u64), b: &(u64, u64)| (a.1.min(b.1) + 1).saturating_sub(a.0.max(b.0));
            allowed.iter().flat_map(|a| online.iter().map(move |b| common(a, b))).sum()
        }
        (Some(one), None) | (None, Some(one)) => one.iter().map(|(first, last)| last - first + 1).sum(),
        (None, None) => return None,
    };
    Some(both).filter(|count| (1..=PROCESSORS_MAX).contains(count))
}

/// Ranges such as `0-3,8`.
fn ranges(text: &str) -> Option<Vec<(u64, u64)>> {
    let range = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        (first <= last && last < PROCESSORS_MAX).then_some((first, last))
    };
    text.split(',').map(range).collect()
}

/// Of the level that has the quota.
fn limited(root: &Root, groups: &Groups, group: &Group, level: &Path, now: Duration) -> Reading {
    let stat = root.text(level.join("cpu.stat")).unwrap_or_default();
    let (used_us, throttled_us) = match group.version {
        Version::Two => (keyed(&stat, "usage_usec"), keyed(&stat, "throttled_usec")),
        Version::One => (
            groups.cpuacct.as_ref().and_then(|other| accounted(root, other.beside(group, level))),
            keyed(&stat, "throttled_time").map(|ns| ns / 1000),
        ),
    };
    let throttling = || {
        Some(Throttling {
            periods: keyed(&stat, "nr_periods")?,
            throttled: keyed(&stat, "nr_throttled")?,
            throttled_us: throttled_us?,
        })
    };
    Reading { at: now, level: Some(level.to_owned()), used_us, throttling: throttling() }
}

/// Of our own group; where it tells nothing, of the machine.
fn unlimited(root: &Root, groups: &Groups, now: Duration) -> Reading {
    let own = match (&groups.cpu, &groups.cpuacct) {
        (_, Some(group)) if group.version == Version::One => {
            accounted(root, group.own()).map(|used| (group, used))
        }
        (Some(group), _) if group.version == Version::Two => root
            .text(group.own().join("cpu.stat"))
            .and_then(|stat| keyed(&stat, "usage_usec"))
            .map(|used| (group, used)),
        (_, _) => None,
    };
    match own {
        Some((group, used)) => {
            Reading { at: now, level: Some(group.own().to_owned()), used_us: Some(used), throttling: None }
        }
        None => Reading { at: now, level: None, used_us: machine(root), throttling: None },
    }
}

fn accounted(root: &Root, level: &Path) -> Option<u64> {
    Some(number(&root.text(level.join("cpuacct.usage"))?)? / 1000)
}

/// Processor time of the whole machine: `cpu  user nice system idle iowait irq softirq …`; a guest's is within the user's.
fn machine(root: &Root) -> Option<u64> {
    let text = root.text("/proc/stat")?;
    let fields: Vec<u64> =
        rest(&text, "cpu")?.split_ascii_whitespace().map_while(|field| field.parse().ok()).collect();
    let ticks = [0, 1, 2, 5, 6].into_iter().try_fold(0, |sum: u64, at| sum.checked_add(*fields.get(at)?))?;
    in_micros(ticks)
}

/// Clock ticks in microseconds.
pub(super) fn in_micros(ticks: u64) -> Option<u64> {
    let a_second = sysconf(SysconfVar::CLK_TCK).ok()??;
    let a_second = u64::try_from(a_second).ok().filter(|&ticks| ticks > 0)?;
    u64::try_from(u128::from(ticks) * 1_000_000 / u128::from(a_second)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(at_s: u64, used_us: u64, periods: u64, throttled: u64, throttled_us: u64) -> Reading {
        let throttling = Some(Throttling { periods, throttled, throttled_us });
        Reading { at: Duration::from_secs(at_s), level: None, used_us: Some(used_us), throttling }
    }

    #[test]
    fn throttled_time_is_no_more_than_the_throttled_periods() {
        let cpu = since(&reading(5, 1_000_000, 100, 10, 0), &reading(10, 3_500_000, 150, 35, 1_000_000));
        assert_eq!(cpu.used_millicores, Some(500));
        assert_eq!((cpu.throttled_periods, cpu.throttled_time), (Some(0.5), Some(0.2)));
        // Eight processors that were stopped at once count the time eight times.
        let cpu = since(&reading(5, 0, 0, 0, 0), &reading(10, 0, 50, 20, 16_000_000));
        assert_eq!((cpu.throttled_periods, cpu.throttled_time), (Some(0.4), Some(0.4)));
        let idle = since(&reading(5, 0, 50, 20, 7), &reading(10, 0, 50, 20, 7));
        assert_eq!((idle.throttled_periods, idle.throttled_time), (Some(0.0), Some(0.0)));
    }

    #[test]
    fn counters_that_went_back_or_are_anothers_say_nothing() {
        let last = reading(5, 1000, 100, 10, 50);
        assert_eq!(since(&last, &reading(10, 900, 20, 1, 5)), Cpu::default());
        assert_eq!(since(&last, &reading(5, 2000, 100, 10, 50)), Cpu::default(), "no time went by");
        let other = Reading { level: Some("/other".into()), ..reading(10, 2000, 200, 20, 60) };
        assert_eq!(since(&last, &other), Cpu::default());
    }

    #[test]
    fn ranges_of_processors_are_read() {
        assert_eq!(ranges("0-3,8"), Some(vec![(0, 3), (8, 8)]));
        for text in ["", "a", "3-1", "0-99999999999999999999", "0-", "1,", "0-18446744073709551615"] {
            assert_eq!(ranges(text), None, "{text}");
        }
    }

    #[test]
    fn the_quota_counts_only_below_what_the_machine_has() {
        assert_eq!(limit(Some(500), Some(2)), (Some(500), Some(LimitedBy::Container)));
        assert_eq!(limit(Some(4000), Some(2)), (Some(2000), Some(LimitedBy::Machine)));
        assert_eq!(limit(Some(4000), None), (Some(4000), Some(LimitedBy::Container)));
        assert_eq!(limit(None, None), (None, None));
    }
}
