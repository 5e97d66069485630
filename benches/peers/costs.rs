//! The measuring: what each subject does in its turn, and which figures come of it.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::Options;
use crate::counts;
use crate::figures::{Figures, Measure};
use crate::load::{Load, Traffic, quantile_us};
use crate::needs::{self, Cores};
use crate::profile;
use crate::subject::{Counts, Instrument, Running, Starter, Subject};

/// Requests of the two runs whose difference counts, and their kept connections. With more connections a proxy that is
/// slowed down by its instrument finds more to do at each wake-up, and looks cheaper than it is.
const STRACE_REQUESTS: (usize, usize) = (1_000, 11_000);
const CALLGRIND_REQUESTS: (usize, usize) = (2_000, 12_000);
const QUICK_REQUESTS: (usize, usize) = (200, 1_200);
const COUNTED_CONNECTIONS: usize = 4;

/// Before the measured time at the same rate.
const WARM_UP: Duration = Duration::from_secs(1);
const QUICK: Duration = Duration::from_secs(1);
/// Until memory is read: what a start or a burst leaves behind has been tidied up.
const SETTLE: Duration = Duration::from_secs(1);
const FEW_IDLE: usize = 64;

/// How many of the dearest things are shown.
const DEAREST: usize = 3;
/// What includes more of the whole than this is the way to the work, not the work.
const FRAME_SHARE: f64 = 0.6;
/// A function is the same thing as one shown before when it costs nearly as much: the one calls the other.
const SAME_THING: f64 = 0.9;

pub(crate) struct Bench {
    upstream: Running,
    starter: Starter,
    rate: u32,
    time: Duration,
    connections: usize,
    idle: usize,
    quick: bool,
    times: bool,
}

impl Bench {
    pub(crate) async fn start(options: &Options, cores: Cores) -> anyhow::Result<Self> {
        let binary = std::path::absolute(&options.binary)?;
        let starter = Starter { binary, core: cores.proxy, connections_max: needs::connections_max(options) };
        Ok(Self {
            upstream: Running::upstream(&starter).await?,
            starter,
            rate: options.rate,
            time: if options.quick { QUICK } else { Duration::from_secs(options.seconds.into()) },
            connections: options.connections,
            idle: options.idle.max(FEW_IDLE + 1),
            quick: options.quick,
            times: !options.no_times,
        })
    }

    async fn subject(&self, subject: Subject, instrument: Option<Instrument>) -> anyhow::Result<Running> {
        Running::start(&self.starter, subject, self.upstream.address, instrument).await
    }

    /// Each subject's turn at everything.
    pub(crate) async fn round(&self, figures: &mut Figures, round: usize, of: usize) -> anyhow::Result<()> {
        let turn = |what: &str, subject: Subject| {
            eprintln!("peers: round {round} of {of}: {what}: {}", subject.name());
        };
        for traffic in Traffic::ALL {
            if self.times {
                for subject in Subject::ALL {
                    turn("time", subject);
                    self.time(figures, traffic, subject).await?;
                }
                figures.add_latency_over_direct(traffic);
            }
            for subject in Subject::PROXIES {
                turn("system calls", subject);
                let calls = self.system_calls(traffic, subject).await?;
                figures.push(Some(traffic), Measure::SystemCalls, subject, calls.values().sum());
                figures.calls(traffic, subject, calls);
            }
            for subject in Subject::PROXIES {
                turn("instructions", subject);
                match self.instructions(traffic, subject).await {
                    Ok(each) => figures.push(Some(traffic), Measure::Instructions, subject, each),
                    // Not every build of it runs under callgrind; the figure is then missing, and nothing else.
                    Err(error) if subject == Subject::Haproxy => {
                        figures.note(format!("HAProxy has no instructions here: {error:#}"));
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        for subject in Subject::PROXIES {
            turn("memory", subject);
            self.memory(figures, subject).await?;
        }
        Ok(())
    }

    /// CPU time and latency at a constant rate.
    async fn time(&self, figures: &mut Figures, traffic: Traffic, subject: Subject) -> anyhow::Result<()> {
        let proxy = match subject {
            Subject::Direct => None,
            Subject::Outrigger | Subject::Nginx | Subject::Haproxy => {
                Some(self.subject(subject, None).await?)
            }
        };
        let running = proxy.as_ref().unwrap_or(&self.upstream);
        let (to, connections, rate, time) = (running.address, self.connections, self.rate, self.time);
        let mut load = spawn_blocking(move || {
            let mut load = Load::open(to, traffic, connections)?;
            load.at_rate(rate, WARM_UP)?;
            anyhow::Ok(load)
        })
        .await??;
        let before = running.cpu()?;
        let latencies = spawn_blocking(move || load.at_rate(rate, time)).await??;
        let cpu = running.cpu()? - before;
        if subject != Subject::Direct {
            let each = cpu.as_secs_f64() * 1e6 / latencies.len() as f64;
            figures.push(Some(traffic), Measure::Cpu, subject, each);
        }
        figures.push(Some(traffic), Measure::P50, subject, quantile_us(&latencies, 0.5));
        figures.push(Some(traffic), Measure::P99, subject, quantile_us(&latencies, 0.99));
        Ok(())
    }

    /// What an instrument counts from the start of a process over so many requests to its end.
    async fn counted(
        &self,
        subject: Subject,
        instrument: Instrument,
        traffic: Traffic,
        requests: usize,
    ) -> anyhow::Result<Counts> {
        let running = self.subject(subject, Some(instrument)).await?;
        let to = running.address;
        let sent = spawn_blocking(move || {
            Load::open(to, traffic, COUNTED_CONNECTIONS)?.as_fast_as_they_go(requests)
        });
        sent.await??;
        running.ended().await
    }

    /// By name, a request.
    async fn system_calls(
        &self,
        traffic: Traffic,
        subject: Subject,
    ) -> anyhow::Result<BTreeMap<String, f64>> {
        let (few, many) = if self.quick { QUICK_REQUESTS } else { STRACE_REQUESTS };
        let of = async |requests| {
            let counts = self.counted(subject, Instrument::Strace, traffic, requests).await?;
            counts::system_calls(&counts.file)
        };
        let (before, after) = (of(few).await?, of(many).await?);
        Ok(difference(&before, after, many - few))
    }

    async fn instructions(&self, traffic: Traffic, subject: Subject) -> anyhow::Result<f64> {
        let (few, many) = if self.quick { QUICK_REQUESTS } else { CALLGRIND_REQUESTS };
        let of = async |requests| {
            let counts = self.counted(subject, Instrument::Callgrind, traffic, requests).await?;
            counts::instructions(&counts.file)
        };
        Ok((of(many).await? - of(few).await?) / (many - few) as f64)
    }

    async fn memory(&self, figures: &mut Figures, subject: Subject) -> anyhow::Result<()> {
        let running = self.subject(subject, None).await?;
        sleep(SETTLE).await;
        let to = running.address;
        let mut push = |measure, value| figures.push(None, measure, subject, value);
        push(Measure::ResidentIdle, running.resident_kib()? / 1024.0);
        let load = spawn_blocking(move || Load::open(to, Traffic::Small, FEW_IDLE)).await??;
        sleep(SETTLE).await;
        let few = running.resident_kib()?;
        push(Measure::ResidentFew, few / 1024.0);
        let idle = self.idle;
        let grown = spawn_blocking(move || {
            let mut load = load;
            load.grow(to, Traffic::Small, idle)?;
            anyhow::Ok(load)
        });
        let load = grown.await??;
        sleep(SETTLE).await;
        let many = running.resident_kib()?;
        push(Measure::ResidentMany(idle), many / 1024.0);
        push(Measure::PerConnection, (many - few) / (idle - FEW_IDLE) as f64);
        drop(load);
        Ok(())
    }

    /// Of outrigger: name, inclusive instructions a request, share of all.
    pub(crate) async fn dearest(&self) -> anyhow::Result<Vec<(String, f64, f64)>> {
        eprintln!("peers: profile: outrigger");
        let (few, many) = if self.quick { QUICK_REQUESTS } else { CALLGRIND_REQUESTS };
        let of = async |requests| {
            let counts =
                self.counted(Subject::Outrigger, Instrument::Callgrind, Traffic::Small, requests).await?;
            anyhow::Ok((profile::inclusive(&counts.file).await?, counts::instructions(&counts.file)?))
        };
        let ((before, total_before), (after, total_after)) = (of(few).await?, of(many).await?);
        let total = (total_after - total_before) / (many - few) as f64;
        let each = difference(&before, after, many - few);
        let mut functions: Vec<(String, f64)> =
            each.into_iter().filter(|(_, instructions)| *instructions < total * FRAME_SHARE).collect();
        functions.sort_by(|a, b| b.1.total_cmp(&a.1));
        let mut dearest: Vec<(String, f64, f64)> = Vec::new();
        for (name, instructions) in functions {
            if dearest.len() == DEAREST {
                break;
            }
            if dearest.last().is_none_or(|(_, last, _)| instructions < last * SAME_THING) {
                dearest.push((name, instructions, instructions / total));
            }
        }
        Ok(dearest)
    }
}

/// A request's part of what came between two runs.
fn difference(
    before: &BTreeMap<String, f64>,
    after: BTreeMap<String, f64>,
    requests: usize,
) -> BTreeMap<String, f64> {
    let each = |(name, count): (String, f64)| {
        let less = before.get(&name).copied().unwrap_or(0.0);
        (name, (count - less) / requests as f64)
    };
    after.into_iter().map(each).collect()
}
