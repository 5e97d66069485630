//! Metrics in Prometheus' text format: a rendering of the totals and the snapshot at the moment of the scrape.
//!
//! Nothing is counted here. So a metric can never disagree with the API, and a scrape costs what one page costs.

use std::collections::{BTreeMap, BTreeSet};

use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder as _, TextEncoder};

use crate::admin::alert_metrics;
use crate::admin::host_metrics;
use crate::admin::live::Phase;
use crate::admin::probe_metrics;
use crate::admin::routes::ROUTE_BUCKETS_US;
use crate::admin::shared::{Published, Shared};
use crate::admin::streams;
use crate::admin::totals::{BUCKETS_US, Totals};
use crate::engine::diagnosis::Diagnosis;
use crate::engine::snapshot::Snapshot;
use crate::engine::window::{SPREAD_BOUNDS_US, Spread, WATCHED_STATUSES};

/// The media type that scrapers expect.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The verdicts' names, each a series that is 0 or 1.
const VERDICTS: [&str; 4] = ["healthy", "degraded", "undecided", "not_judgeable"];

/// The diagnoses' names and the want of one, each a series that is 0 or 1.
const DIAGNOSES: [&str; 7] = ["none", "deployment", "replica", "dependency", "shared", "network", "observer"];

/// The names of the watched statuses.
const STATUS_LABELS: [&str; WATCHED_STATUSES.len()] = ["400", "401", "403", "404", "409", "422", "429"];

/// All metrics as text.
pub(super) fn render(shared: &Shared) -> String {
    let mut families = shared.with_totals(counted);
    if let Some(published) = shared.published() {
        let age_ms = shared.clock.now().since(published.at).as_millis();
        families.extend(seen(&published));
        families.push(gauge(
            "outrigger_snapshot_age_seconds",
            "Age of what these metrics show; one snapshot a second is made.",
            vec![(vec![], age_ms as f64 / 1e3)],
        ));
    }
    families.extend(shared.alerts.get().into_iter().flat_map(|count| alert_metrics::families(&count())));
    families.retain(|family| !family.get_metric().is_empty());
    families.sort_by(|a, b| a.name().cmp(b.name()));
    let mut text = Vec::new();
    TextEncoder::new()
        .encode(&families, &mut text)
        .expect("each family has a name and a metric, and memory takes all");
    String::from_utf8(text).expect("names and labels are UTF-8")
}

fn counted(totals: &Totals) -> Vec<MetricFamily> {
    let requests = totals.requests().iter().map(|(&(method, status, outcome), &count)| {
        let labels =
            vec![("method", method.label()), ("status", status.label()), ("outcome", outcome.label())];
        (labels, count as f64)
    });
    let decisions = totals.decisions().iter().map(|(&(decision, progress), &count)| {
        (vec![("decision", decision), ("progress", progress)], count as f64)
    });
    let mut families = vec![
        counter(
            "outrigger_requests_total",
            "Requests that ended, by how and by whose fault.",
            requests.collect(),
        ),
        counter(
            "outrigger_decisions_total",
            "Decisions of this run that came this far; one that goes on is counted at each step.",
            decisions.collect(),
        ),
        latency(totals),
    ];
    families.extend(of_the_way(totals));
    families.extend(by_route(totals));
    families
}

fn latency(totals: &Totals) -> MetricFamily {
    let counted = totals.buckets();
    let cumulative = BUCKETS_US.into_iter().zip(counted.counts).collect();
    let metric = histogram(cumulative, counted.count, counted.sum_seconds);
    family(
        "outrigger_request_latency_seconds",
        "The app's thinking time: from the request fully sent to the reply's head.",
        MetricType::HISTOGRAM,
        vec![metric],
    )
}

/// What is measured beside the app's thinking time.
fn of_the_way(totals: &Totals) -> Vec<MetricFamily> {
    let sums = totals.sums();
    let spread = |name, help, spread: &Spread| {
        let cumulative = cumulative(&SPREAD_BOUNDS_US, &spread.counts);
        let metric = histogram(cumulative, spread.count(), spread.sum_us as f64 / 1e6);
        family(name, help, MetricType::HISTOGRAM, vec![metric])
    };
    let count = |name, help, count: u64| counter(name, help, vec![(vec![], count as f64)]);
    vec![
        spread(
            "outrigger_request_duration_seconds",
            "From a request's first byte to its reply's last; without streams, tunnels and clients that left.",
            &sums.total,
        ),
        spread(
            "outrigger_upstream_wait_seconds",
            "How long a connection to the app was waited for: pool, connect, hold while it starts.",
            &sums.reached,
        ),
        count("outrigger_retries_total", "Requests that were sent to the app a second time.", sums.retried),
        count("outrigger_health_checks_total", "Health checks; they are in no other figure.", sums.health),
        count(
            "outrigger_route_unassigned_total",
            "Requests that are in no route's figures because a second had too many.",
            sums.unrouted,
        ),
        gauge(
            "outrigger_worker_lag_seconds",
            "By how much a worker of the data path was late at most in the last second.",
            vec![(vec![], sums.lag_us as f64 / 1e6)],
        ),
    ]
}

/// At most 200 routes with at most 21 series each: 4,200 in all.
fn by_route(totals: &Totals) -> Vec<MetricFamily> {
    let (mut ended, mut failed, mut refused, mut latencies) = (vec![], vec![], vec![], vec![]);
    for (method, route, kept) in totals.routes().iter() {
        let labels = || vec![("method", method.label()), ("route", route)];
        ended.push((labels(), kept.ended as f64));
        failed.push((labels(), kept.failed as f64));
        for (status, count) in STATUS_LABELS.into_iter().zip(kept.watched).filter(|&(_, count)| count > 0) {
            refused.push(([labels(), vec![("status", status)]].concat(), count as f64));
        }
        let cumulative = cumulative(&ROUTE_BUCKETS_US, &kept.buckets);
        let metric = histogram(cumulative, kept.buckets.iter().sum(), kept.sum_us as f64 / 1e6);
        latencies.push(labelled(metric, labels()));
    }
    vec![
        counter("outrigger_route_observations_total", "Requests that ended, by route.", ended),
        counter(
            "outrigger_route_failures_total",
            "Requests that failed by the app's fault, by route.",
            failed,
        ),
        counter(
            "outrigger_route_client_errors_total",
            "The app's answers with a status that a broken release makes in storms, by route.",
            refused,
        ),
        family(
            "outrigger_route_latency_seconds",
            "The app's thinking time by route, within 1 %.",
            MetricType::HISTOGRAM,
            latencies,
        ),
    ]
}

pub(super) fn cumulative(bounds_us: &[u64], counts: &[u64]) -> Vec<(u64, u64)> {
    let mut below = 0;
    let sums = counts.iter().map(|count| {
        below += count;
        below
    });
    bounds_us.iter().copied().zip(sums).collect()
}

/// `cumulative`: how many are not above each bound, in microseconds.
pub(super) fn histogram(cumulative: Vec<(u64, u64)>, count: u64, sum_seconds: f64) -> Metric {
    let bucket = |(bound_us, count): (u64, u64)| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(bound_us as f64 / 1e6);
        bucket.set_cumulative_count(count);
        bucket
    };
    let mut histogram = Histogram::default();
    histogram.set_bucket(cumulative.into_iter().map(bucket).collect());
    histogram.set_sample_count(count);
    histogram.set_sample_sum(sum_seconds);
    let mut metric = Metric::default();
    metric.set_histogram(histogram);
    metric
}

fn seen(published: &Published) -> Vec<MetricFamily> {
    let mut families = of_app(published);
    families.extend(of_engine(published));
    families.extend(of_store(published));
    families.extend(probe_metrics::families(&published.live));
    families.extend(crate::admin::peers::families(&published.live));
    families.extend(published.live.host.iter().flat_map(|host| host_metrics::families(host)));
    families
}

fn of_app(published: &Published) -> Vec<MetricFamily> {
    let live = &published.live;
    let phases =
        Phase::ALL.iter().map(|p| (vec![("phase", p.label())], flag(*p == live.app.phase))).collect();
    vec![
        gauge("outrigger_app_phase", "1 for the phase that the app is in.", phases),
        counter(
            "outrigger_app_restarts_total",
            "How often the app was started again.",
            vec![(vec![], live.app.restarts as f64)],
        ),
        gauge(
            "outrigger_build_info",
            "Outrigger's own version.",
            vec![(vec![("version", live.service.version)], 1.0)],
        ),
        gauge(
            "outrigger_release_info",
            "The release that is running and what is thought of it.",
            vec![(
                vec![("release", live.engine.release.as_str()), ("standing", live.engine.standing.label())],
                1.0,
            )],
        ),
        gauge(
            "outrigger_requests_in_flight",
            "Requests open when the last second was sealed.",
            vec![(vec![], published.in_flight as f64)],
        ),
        gauge(
            "process_start_time_seconds",
            "When the agent started, in seconds since the Unix epoch.",
            vec![(vec![], live.started.as_millis() as f64 / 1e3)],
        ),
    ]
}

fn of_engine(published: &Published) -> Vec<MetricFamily> {
    let engine = &published.live.engine;
    let verdicts =
        VERDICTS.iter().map(|&v| (vec![("verdict", v)], flag(v == engine.verdict.label()))).collect();
    let cooling = engine.cooldown_until.is_some_and(|until| until > published.at);
    let mut families = vec![
        gauge("outrigger_verdict", "1 for the verdict on the release that is running.", verdicts),
        gauge(
            "outrigger_stream_evidence_ratio",
            "Evidence against the release as a share of its limit; `latency` is its streams taken together, a route's \
             stream the farthest of all routes.",
            evidence(engine),
        ),
        gauge(
            "outrigger_paused",
            "1 while a person has paused acting.",
            vec![(vec![], flag(engine.pause.is_some()))],
        ),
        gauge(
            "outrigger_deployments_locked",
            "1 while deployments are locked.",
            vec![(vec![], flag(engine.lock.is_some()))],
        ),
        gauge(
            "outrigger_rollback_ready",
            "1 when a rollback would be possible, 0 when something stands in its way; absent where nobody can tell.",
            engine.readiness.iter().map(|readiness| (vec![], flag(readiness.is_ready()))).collect(),
        ),
        gauge("outrigger_cooling_down", "1 during the rest after an act.", vec![(vec![], flag(cooling))]),
        gauge(
            "outrigger_baseline_requests",
            "Judged requests of the baseline; 0 without one.",
            vec![(vec![], engine.baseline.as_ref().map_or(0.0, |b| b.requests as f64))],
        ),
    ];
    families.extend(of_diagnosis(engine));
    if let Some(watch) = &engine.watch {
        let value = |v: f64| vec![(vec![], v)];
        families.extend([
            gauge(
                "outrigger_watch_judged_seconds",
                "How long the release has been judged.",
                value(watch.judged_for.as_secs_f64()),
            ),
            gauge(
                "outrigger_watch_judged_requests",
                "Requests judged in its watch.",
                value(watch.judged_requests as f64),
            ),
            gauge("outrigger_watch_passed", "1 when its watch has passed.", value(flag(watch.passed))),
        ]);
    }
    families
}

/// One series a kind of stream, never one a route: at most 20.
fn evidence(engine: &Snapshot) -> Samples<'_> {
    let mut farthest = BTreeMap::new();
    for stream in &engine.evidence {
        let kept: &mut f64 = farthest.entry(stream.name.label()).or_default();
        *kept = kept.max(streams::progress(stream));
    }
    if !farthest.is_empty() {
        farthest.insert("latency", engine.latency_progress);
    }
    farthest.into_iter().map(|(name, share)| (vec![("stream", name)], share)).collect()
}

fn of_diagnosis(engine: &Snapshot) -> [MetricFamily; 3] {
    let said = engine.diagnosis.as_ref().map_or("none", Diagnosis::label);
    let diagnoses = DIAGNOSES.iter().map(|&d| (vec![("diagnosis", d)], flag(d == said))).collect();
    // All that are known, so that a series does not begin with the trouble; the engine bounds their number.
    let baseline = engine.baseline.iter().flat_map(|b| &b.probes);
    let known = baseline.chain(&engine.own.probes).map(|(name, _)| name).chain(&engine.worse_dependencies);
    let known: BTreeSet<&str> = known.map(|name| &**name).collect();
    let is_worse = |name: &str| engine.worse_dependencies.iter().any(|worse| **worse == *name);
    let worse = known.into_iter().map(|name| (vec![("dependency", name)], flag(is_worse(name))));
    [
        gauge(
            "outrigger_health_score",
            "The release's health, 1 (as good as its baseline) to 0; absent where there is nothing to compare with.",
            engine.score.map(|score| (vec![], score)).into_iter().collect(),
        ),
        gauge("outrigger_diagnosis", "1 for whose fault it is that the release looks bad.", diagnoses),
        gauge(
            "outrigger_dependency_worse",
            "1 while a dependency is worse than it used to be, by evidence of its own.",
            worse.collect(),
        ),
    ]
}

fn of_store(published: &Published) -> Vec<MetricFamily> {
    let store = &published.live.store;
    let value = |v: u64| vec![(vec![], v as f64)];
    vec![
        gauge(
            "outrigger_store_durable",
            "1 when what is written survives a restart.",
            value(store.durable.into()),
        ),
        gauge("outrigger_store_size_bytes", "Size of the store.", value(store.size_bytes)),
        counter("outrigger_store_writes_total", "Writes that were carried out.", value(store.written)),
        counter(
            "outrigger_store_dropped_total",
            "Writes dropped because the queue was full.",
            value(store.dropped),
        ),
        counter("outrigger_store_failed_total", "Writes that failed.", value(store.failed)),
    ]
}

pub(super) type Samples<'a> = Vec<(Vec<(&'static str, &'a str)>, f64)>;

pub(super) fn gauge(name: &str, help: &str, samples: Samples<'_>) -> MetricFamily {
    let metrics = samples.into_iter().map(|(labels, value)| {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        let mut metric = Metric::default();
        metric.set_gauge(gauge);
        labelled(metric, labels)
    });
    family(name, help, MetricType::GAUGE, metrics.collect())
}

pub(super) fn counter(name: &str, help: &str, samples: Samples<'_>) -> MetricFamily {
    let metrics = samples.into_iter().map(|(labels, value)| {
        let mut counter = Counter::default();
        counter.set_value(value);
        let mut metric = Metric::default();
        metric.set_counter(counter);
        labelled(metric, labels)
    });
    family(name, help, MetricType::COUNTER, metrics.collect())
}

pub(super) fn labelled(mut metric: Metric, labels: Vec<(&'static str, &str)>) -> Metric {
    let pair = |(name, value): (&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value.to_owned());
        pair
    };
    metric.set_label(labels.into_iter().map(pair).collect());
    metric
}

pub(super) fn family(name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

pub(super) fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}
