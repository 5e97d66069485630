//! The table, the chart and the words, as they are printed.

use crate::place::Place;

/// Twenty ticks; from the thirteenth on half of all requests fail.
fn outage() -> String {
    let line = |t: u64| {
        let errors = if t <= 60 { 0 } else { 200 };
        format!("{{\"t\":{t},\"requests\":400,\"errors\":{errors},\"latency_us\":[[8000,390],[30000,10]]}}\n")
    };
    (1..=20).map(|tick| line(tick * 5)).collect()
}

#[test]
fn an_outage_reads_like_this() {
    let base: String = (1..=720)
        .map(|tick| {
            let (t, errors) = (tick * 5, u64::from(tick % 3 == 0));
            format!(
                "{{\"t\":{t},\"requests\":400,\"errors\":{errors},\"latency_us\":[[8000,390],[30000,10]]}}\n"
            )
        })
        .collect();
    let place = Place::with(&[("base", &base), ("new", &outage())]);
    let ended = place.judge(&["--baseline", "base", "--candidate", "new"], "");
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    assert_eq!(ended.out, include_str!("outage.txt"));
}
