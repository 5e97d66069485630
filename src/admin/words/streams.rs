//! The streams in plain words: what each looks at, how it stands, and how its guard band was made. Operators think in
//! ratios ("1.5 times as slow"), so each limit is told as the ratio that it came from and as the figure that it became.

use crate::admin::streams::recent_value;
use crate::admin::words::figures::{duration, figure, percent, times};
use crate::engine::policy::Policy;
use crate::engine::tick::TICK;
use crate::engine::verdict::{StreamEvidence, StreamName};

/// Beyond this ratio a comparison says no more than "far more".
const TIMES_MAX: f64 = 1_000.0;

/// What a stream is called in a sentence.
pub(super) fn name(of: &StreamEvidence) -> String {
    let route = of.route.as_deref().unwrap_or("a route");
    match of.name {
        StreamName::Errors => "errors".to_owned(),
        StreamName::LatencyP50 => "median latency".to_owned(),
        StreamName::LatencyP90 => "90th percentile of latency".to_owned(),
        StreamName::LatencyP95 => "95th percentile of latency".to_owned(),
        StreamName::LatencyP99 => "99th percentile of latency".to_owned(),
        StreamName::RouteErrors => format!("errors of {route}"),
        StreamName::RouteP50 => format!("median latency of {route}"),
        StreamName::RouteP95 => format!("95th percentile of the latency of {route}"),
        StreamName::Status(status) => format!("answers with {status}"),
        StreamName::Crashes => "crashes".to_owned(),
        StreamName::Cpu => "processor time".to_owned(),
        StreamName::Memory => "memory".to_owned(),
        StreamName::Descriptors => "open file descriptors".to_owned(),
    }
}

/// The policy's ratio for a stream.
pub(in crate::admin) const fn ratio(name: StreamName, policy: &Policy) -> f64 {
    match name {
        StreamName::Errors | StreamName::RouteErrors | StreamName::Crashes => policy.error_ratio,
        StreamName::LatencyP50
        | StreamName::LatencyP90
        | StreamName::LatencyP95
        | StreamName::LatencyP99
        | StreamName::RouteP50
        | StreamName::RouteP95 => policy.latency_ratio,
        StreamName::Status(_) => policy.status_ratio,
        StreamName::Cpu | StreamName::Memory | StreamName::Descriptors => policy.resource_ratio,
    }
}

/// How a stream stands, against what: "1.5 % of requests failed in the last minute: 3 times the 0.50 % allowed …".
pub(super) fn stands(of: &StreamEvidence) -> String {
    let route = of.route.as_deref().unwrap_or("a route");
    let told = |value: f64| figure(of.name.unit(), value);
    let value = recent_value(of);
    let Some(now) = value else {
        return match of.recent_share {
            Some(share) => format!(
                "{} of the requests to {route} took longer than {} in the last minute; {} may.",
                percent(share),
                told(of.limit),
                percent(of.p0)
            ),
            None => format!("Nothing was seen of the {} in the last minute.", name(of)),
        };
    };
    let figure_now = told(now);
    let fact = match of.name {
        StreamName::Errors => format!("{figure_now} of requests failed in the last minute"),
        StreamName::RouteErrors => {
            format!("{figure_now} of the requests to {route} failed in the last minute")
        }
        StreamName::Status(status) => {
            format!("{figure_now} of requests were answered with {status} in the last minute")
        }
        StreamName::Crashes => format!("The app crashed in {figure_now} of the last minute's ticks"),
        StreamName::Memory => format!("{figure_now} of memory were held in the last minute"),
        StreamName::Cpu => format!("{figure_now} were used in the last minute"),
        StreamName::Descriptors => format!("{figure_now} file descriptors were open in the last minute"),
        StreamName::LatencyP50
        | StreamName::LatencyP90
        | StreamName::LatencyP95
        | StreamName::LatencyP99
        | StreamName::RouteP50
        | StreamName::RouteP95 => format!("The {} was {figure_now} in the last minute", name(of)),
    };
    format!("{fact}{}", against(now, of))
}

fn against(now: f64, of: &StreamEvidence) -> String {
    let told = |value: f64| figure(of.name.unit(), value);
    if now <= of.limit {
        return format!("; {} are allowed, the baseline's figure is {}.", told(of.limit), told(of.baseline));
    }
    let beyond = format!(": {} times the {} allowed", times(now / of.limit), told(of.limit));
    let multiple = now / of.baseline;
    if multiple < TIMES_MAX {
        format!("{beyond}, {} times the baseline's {}.", times(multiple), told(of.baseline))
    } else {
        format!("{beyond}; the baseline's figure is {}.", told(of.baseline))
    }
}

/// What counts as bad, and how the policy's ratio became that figure.
pub(in crate::admin) fn guard(of: &StreamEvidence, policy: &Policy) -> String {
    let (ratio, told) = (ratio(of.name, policy), |value: f64| figure(of.name.unit(), value));
    let (limit, own) = (told(of.limit), told(of.baseline));
    match of.name {
        StreamName::LatencyP50
        | StreamName::LatencyP90
        | StreamName::LatencyP95
        | StreamName::LatencyP99
        | StreamName::RouteP50
        | StreamName::RouteP95 => format!(
            "Slower than {limit} counts, which is {} times {}, the baseline's {} with its uncertainty; the baseline's own \
             figure is {own}. {} of requests may be that slow.",
            times_exact(ratio),
            told(of.limit / ratio),
            quantile(of.name),
            percent(of.p0)
        ),
        StreamName::Errors | StreamName::RouteErrors => share_guard("failing", of, ratio, policy.error_floor),
        StreamName::Status(status) => {
            share_guard(&format!("answered with {status}"), of, ratio, policy.status_floor)
        }
        StreamName::Crashes => format!(
            "Crashes in more than {limit} of ticks of 5 s count, about one in {}; the baseline's own figure is {own}.",
            duration(TICK.div_f64(of.p0.clamp(1e-6, 1.0)))
        ),
        StreamName::Cpu | StreamName::Memory | StreamName::Descriptors => resource_guard(of, ratio),
    }
}

fn share_guard(what: &str, of: &StreamEvidence, ratio: f64, floor: f64) -> String {
    let (limit, own) = (percent(of.limit), percent(of.baseline));
    // The limit is the larger of two: a multiple of the baseline's upper limit, or that and a floor.
    let upper = (of.limit / ratio).min(of.limit - floor).max(0.0);
    let by = if upper * ratio >= upper + floor {
        format!("{} times {}, the baseline's share with its uncertainty", times_exact(ratio), percent(upper))
    } else {
        format!(
            "{}, the baseline's share with its uncertainty, and {} of room, the least that is given ({} times would be less)",
            percent(upper),
            percent(floor),
            times_exact(ratio)
        )
    };
    format!("More than {limit} {what} counts, which is {by}; the baseline's own figure is {own}.")
}

fn resource_guard(of: &StreamEvidence, ratio: f64) -> String {
    let told = |value: f64| figure(of.name.unit(), value);
    let multiple = of.limit / of.baseline;
    let by = if multiple <= ratio * 1.001 {
        format!("{} times {}, the upper end of what the baseline used", times_exact(ratio), told(of.baseline))
    } else {
        let room = told(of.limit - of.baseline);
        format!(
            "{}, the upper end of what the baseline used, and {room} of room, the least that is given",
            told(of.baseline)
        )
    };
    format!(
        "Minutes above {} count, which is {by}; with more requests to answer, more is allowed. {} of minutes may be \
         above it.",
        told(of.limit),
        percent(of.p0)
    )
}

const fn quantile(name: StreamName) -> &'static str {
    match name {
        StreamName::LatencyP50 | StreamName::RouteP50 => "median",
        StreamName::LatencyP90 => "90th percentile",
        StreamName::LatencyP95 | StreamName::RouteP95 => "95th percentile",
        StreamName::LatencyP99 => "99th percentile",
        StreamName::Errors
        | StreamName::RouteErrors
        | StreamName::Status(_)
        | StreamName::Crashes
        | StreamName::Cpu
        | StreamName::Memory
        | StreamName::Descriptors => "figure",
    }
}

/// A ratio as the operator wrote it.
fn times_exact(ratio: f64) -> String {
    let text = format!("{ratio:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::tests::fixture;

    fn told(name: StreamName, say: impl Fn(&StreamEvidence, &Policy) -> String) -> String {
        let engine = fixture::live().engine;
        say(engine.evidence.iter().find(|s| s.name == name).unwrap(), &engine.policy)
    }

    #[test]
    fn a_ratio_is_told_with_the_figure_that_it_became() {
        assert_eq!(
            told(StreamName::LatencyP99, guard),
            "Slower than 180 ms counts, which is 1.5 times 120 ms, the baseline's 99th percentile with its uncertainty; \
             the baseline's own figure is 120 ms. 1.0 % of requests may be that slow."
        );
        assert_eq!(
            told(StreamName::Errors, guard),
            "More than 0.50 % failing counts, which is 0.20 %, the baseline's share with its uncertainty, and 0.30 % of \
             room, the least that is given (2 times would be less); the baseline's own figure is 0.10 %."
        );
        assert_eq!(
            told(StreamName::Memory, guard),
            "Minutes above 512 MiB count, which is 2 times 256 MiB, the upper end of what the baseline used; with more \
             requests to answer, more is allowed. 10 % of minutes may be above it."
        );
        assert_eq!(
            told(StreamName::Crashes, guard),
            "Crashes in more than 0.28 % of ticks of 5 s count, about one in 30m; the baseline's own figure is 0 %."
        );
        let wide = |of: &StreamEvidence, policy: &Policy| {
            guard(&StreamEvidence { limit: 0.08, p0: 0.08, baseline: 0.03, ..of.clone() }, policy)
        };
        assert_eq!(
            told(StreamName::Errors, wide),
            "More than 8.0 % failing counts, which is 2 times 4.0 %, the baseline's share with its uncertainty; the \
             baseline's own figure is 3.0 %."
        );
    }

    #[test]
    fn how_a_stream_stands_is_told_by_how_much_and_against_what() {
        let say = |of: &StreamEvidence, _: &Policy| stands(of);
        assert_eq!(
            told(StreamName::RouteErrors, say),
            "4.0 % of the requests to GET /users/{id} failed in the last minute: 2.5 times the 1.6 % allowed, 20 times \
             the baseline's 0.20 %."
        );
        assert_eq!(
            told(StreamName::Status(404), say),
            "2.1 % of requests were answered with 404 in the last minute; 7.0 % are allowed, the baseline's figure is \
             2.0 %."
        );
        assert_eq!(
            told(StreamName::RouteP95, say),
            "1.2 % of the requests to GET /users/{id} took longer than 120 ms in the last minute; 5.0 % may."
        );
    }
}
