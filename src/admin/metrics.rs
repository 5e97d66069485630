//! Metrics in Prometheus' text format: a rendering of the totals and the snapshot at the moment of the scrape.
//!
//! Nothing is counted here. So a metric can never disagree with the API, and a scrape costs what one page costs.

use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder as _, TextEncoder};

use crate::admin::live::Phase;
use crate::admin::shared::{Published, Shared};
use crate::admin::totals::{BUCKETS_US, Totals};

/// The media type that scrapers expect.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The verdicts' names, each a series that is 0 or 1.
const VERDICTS: [&str; 4] = ["healthy", "degraded", "undecided", "not_judgeable"];

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
    vec![
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
    ]
}

fn latency(totals: &Totals) -> MetricFamily {
    let counted = totals.buckets();
    let mut buckets = Vec::with_capacity(BUCKETS_US.len());
    for (bound, count) in BUCKETS_US.iter().zip(counted.counts) {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*bound as f64 / 1e6);
        bucket.set_cumulative_count(count);
        buckets.push(bucket);
    }
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets);
    histogram.set_sample_count(counted.count);
    histogram.set_sample_sum(counted.sum_seconds);
    let mut metric = Metric::default();
    metric.set_histogram(histogram);
    family(
        "outrigger_request_latency_seconds",
        "The app's thinking time: from the request fully sent to the reply's head.",
        MetricType::HISTOGRAM,
        vec![metric],
    )
}

fn seen(published: &Published) -> Vec<MetricFamily> {
    let mut families = of_app(published);
    families.extend(of_engine(published));
    families.extend(of_store(published));
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
    let mut evidence: Vec<_> =
        engine.evidence.iter().map(|s| (vec![("stream", s.name.label())], s.progress())).collect();
    if !evidence.is_empty() {
        evidence.push((vec![("stream", "latency")], engine.latency_progress));
    }
    let cooling = engine.cooldown_until.is_some_and(|until| until > published.at);
    let mut families = vec![
        gauge("outrigger_verdict", "1 for the verdict on the release that is running.", verdicts),
        gauge(
            "outrigger_stream_evidence_ratio",
            "Evidence against the release as a share of its limit; `latency` is its streams taken together.",
            evidence,
        ),
        gauge(
            "outrigger_paused",
            "1 while a person has paused acting.",
            vec![(vec![], flag(engine.pause.is_some()))],
        ),
        gauge("outrigger_cooling_down", "1 during the rest after an act.", vec![(vec![], flag(cooling))]),
        gauge(
            "outrigger_baseline_requests",
            "Judged requests of the baseline; 0 without one.",
            vec![(vec![], engine.baseline.as_ref().map_or(0.0, |b| b.requests as f64))],
        ),
    ];
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

type Samples<'a> = Vec<(Vec<(&'static str, &'a str)>, f64)>;

fn gauge(name: &str, help: &str, samples: Samples<'_>) -> MetricFamily {
    let metrics = samples.into_iter().map(|(labels, value)| {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        let mut metric = Metric::default();
        metric.set_gauge(gauge);
        labelled(metric, labels)
    });
    family(name, help, MetricType::GAUGE, metrics.collect())
}

fn counter(name: &str, help: &str, samples: Samples<'_>) -> MetricFamily {
    let metrics = samples.into_iter().map(|(labels, value)| {
        let mut counter = Counter::default();
        counter.set_value(value);
        let mut metric = Metric::default();
        metric.set_counter(counter);
        labelled(metric, labels)
    });
    family(name, help, MetricType::COUNTER, metrics.collect())
}

fn labelled(mut metric: Metric, labels: Vec<(&'static str, &str)>) -> Metric {
    let pair = |(name, value): (&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value.to_owned());
        pair
    };
    metric.set_label(labels.into_iter().map(pair).collect());
    metric
}

fn family(name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}
