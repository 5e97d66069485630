//! What the app uses: processor, memory, file descriptors.
//!
//! Such figures hang together from tick to tick, so neither requests nor ticks are independent witnesses. They are gathered
//! into minutes, a minute is bad when its mean is beyond a wide limit, and a healthy minute is taken to be bad with a
//! chance of one in ten. It takes some five bad minutes to speak; a leak has that time.
//!
//! The limit is a multiple of the baseline's own upper end, and at least a floor above it, so that small apps may grow a
//! little. Where more is asked of the app than of the baseline, the limit grows in proportion.

use crate::engine::baseline::{Baseline, Usage};
use crate::engine::judge::stream::{Horizon, Null, Sample, Share, Stream};
use crate::engine::policy::Policy;
use crate::engine::tick::{Resources, TICK, Tick};
use crate::engine::verdict::{StreamEvidence, StreamName};
use crate::engine::window::Latencies;

/// Ticks in a minute.
const MINUTE_TICKS: u64 = 60 / TICK.as_secs();
/// The chance that a healthy minute is beyond the limit.
const MINUTE_NULL: f64 = 0.1;
/// Samples that a baseline must hold.
const SAMPLES_MIN: u64 = 60;
/// The baseline's upper end is this quantile of its samples.
const UPPER: f64 = 0.99;

/// One of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Cpu,
    Memory,
    Descriptors,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Cpu, Self::Memory, Self::Descriptors];

    const fn name(self) -> StreamName {
        match self {
            Self::Cpu => StreamName::Cpu,
            Self::Memory => StreamName::Memory,
            Self::Descriptors => StreamName::Descriptors,
        }
    }

    /// By how much the limit is above the baseline at least: a tenth of a processor, 64 MiB, 100 descriptors.
    const fn floor(self) -> u64 {
        match self {
            Self::Cpu => 100,
            Self::Memory => 64 << 20,
            Self::Descriptors => 100,
        }
    }

    const fn samples(self, usage: &Usage) -> &Latencies {
        match self {
            Self::Cpu => &usage.cpu_millicores,
            Self::Memory => &usage.memory_bytes,
            Self::Descriptors => &usage.descriptors,
        }
    }

    const fn value(self, of: &Resources) -> Option<u64> {
        match self {
            Self::Cpu => of.cpu_millicores,
            Self::Memory => of.memory_bytes,
            Self::Descriptors => of.descriptors,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Meter {
    kind: Kind,
    stream: Stream,
    /// Of the minute that is gathered.
    sum: u64,
    samples: u64,
}

/// The resource streams.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Meters {
    meters: Vec<Meter>,
    ticks: u64,
    judged: u64,
    usual_rate: f64,
}

impl Meters {
    pub(crate) fn new(baseline: &Baseline, policy: &Policy) -> Self {
        if !policy.judge_resources {
            return Self::default();
        }
        let meters = Kind::ALL.into_iter().filter_map(|kind| {
            let samples = kind.samples(&baseline.usage);
            let upper = samples.quantile(UPPER).filter(|_| samples.count() >= SAMPLES_MIN)?;
            let limit = (policy.resource_ratio * upper as f64).max((upper + kind.floor()) as f64);
            let null = Null {
                name: kind.name(),
                route: None,
                baseline: upper as f64,
                limit,
                p0: MINUTE_NULL,
                usual: 0.0,
                usual_ticks: 0.0,
                is_clumped: false,
            };
            Some(Meter { kind, stream: Stream::new(null), sum: 0, samples: 0 })
        });
        let usual_rate = baseline.mean_judged();
        Self { meters: meters.collect(), ticks: 0, judged: 0, usual_rate }
    }

    /// Adds the samples of a tick of so many replicas; at the end of a minute they are weighed.
    pub(crate) fn weigh(&mut self, tick: &Tick, replicas: usize) {
        self.ticks += 1;
        // What is used is what one replica uses, so what is asked is what one replica is asked.
        self.judged += tick.judged / replicas.max(1) as u64;
        for meter in &mut self.meters {
            if let Some(value) = meter.kind.value(&tick.resources) {
                meter.sum = meter.sum.saturating_add(value);
                meter.samples += 1;
            }
        }
        if self.ticks < MINUTE_TICKS {
            return;
        }
        let busier = self.judged as f64 / self.ticks as f64 / self.usual_rate.max(1e-9);
        let allowed = if self.usual_rate > 0.0 { busier.max(1.0) } else { 1.0 };
        for meter in &mut self.meters {
            if let Some(mean) = meter.sum.checked_div(meter.samples) {
                let is_bad = mean as f64 > meter.stream.null().limit * allowed;
                let of = Share { n: 1, k: u64::from(is_bad) };
                meter.stream.weigh(&Sample { of, value: Some(mean as f64), ..Sample::default() }, 1.0);
            }
            (meter.sum, meter.samples) = (0, 0);
        }
        (self.ticks, self.judged) = (0, 0);
    }

    /// Whether a replica's tick alone is beyond a limit.
    pub(crate) fn is_hungry(&self, tick: &Tick) -> bool {
        let busier = (tick.judged as f64 / self.usual_rate.max(1e-9)).max(1.0);
        let allowed = if self.usual_rate > 0.0 { busier } else { 1.0 };
        self.meters.iter().any(|meter| {
            let value = meter.kind.value(&tick.resources);
            value.is_some_and(|value| value as f64 > meter.stream.null().limit * allowed)
        })
    }

    /// The stream that has passed its limit, if one has. Minutes are the only level.
    pub(crate) fn breach(&self, horizon: Horizon, ln_limit: f64) -> Option<StreamName> {
        let passed = self.meters.iter().find(|meter| meter.stream.ln_requests(horizon) >= ln_limit)?;
        Some(passed.kind.name())
    }

    /// The streams, and how far they have come.
    pub(crate) fn progress(&self, horizon: Horizon, ln_limit: f64) -> impl Iterator<Item = (&Stream, f64)> {
        let streams = self.meters.iter().map(|meter| &meter.stream);
        streams.map(move |stream| (stream, stream.progress_of_one_level(horizon, ln_limit)))
    }

    pub(crate) fn evidence(&self, horizon: Horizon, ln_limit: f64) -> impl Iterator<Item = StreamEvidence> {
        self.meters.iter().map(move |meter| meter.stream.evidence_of_one_level(horizon, ln_limit))
    }
}
