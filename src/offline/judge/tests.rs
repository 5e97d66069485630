//! Recordings as text: what each field becomes, each fault by its message, and that nothing panics.

use std::time::Duration;

use proptest::prelude::{any, prop, prop_oneof, proptest};
use proptest::strategy::{Just, Strategy as _};

use crate::engine::policy::Policy;
use crate::engine::tick::Tick;
use crate::engine::window::Latencies;
use crate::offline::judge::fault::Faults;
use crate::offline::judge::rounds::{Recorded, Recording};
use crate::offline::judge::watched::{Inputs, Judging};
use crate::offline::judge::{LINE_BYTES_MAX, read};

fn recorded(text: &str) -> Recording {
    let mut faults = Faults::default();
    let recording = read("x", text.as_bytes(), &mut faults);
    assert_eq!(faults.to_string(), "");
    recording.expect("without a fault there is a recording")
}

fn faults(text: &[u8]) -> String {
    let mut faults = Faults::default();
    assert!(read("x", text, &mut faults).is_none(), "{}", String::from_utf8_lossy(text));
    faults.to_string()
}

#[track_caller]
fn check_fault(line: &str, parts: &[&str]) {
    let told = faults(format!("{{\"t\":5,\"requests\":1,\"errors\":0}}\n\n{line}\n").as_bytes());
    assert!(told.starts_with("x:3: ") && told.lines().count() == 1, "{told}");
    for part in parts {
        assert!(told.contains(part), "{told:?} does not say {part:?}");
    }
}

fn only(recording: &Recording) -> &Tick {
    let [Recorded { replicas, .. }] = recording.rounds.as_slice() else { panic!("{recording:?}") };
    let [(_, tick)] = replicas.as_slice() else { panic!("{recording:?}") };
    tick
}

/// By the Python implementation, `hdrhistogram` 0.10: 480 of 8 ms, 30 of 21 ms, 2 of 1.5 s.
const PYTHON: &str = "HISTFAAAACp4nJNpmSzMwMDAxQABzFCaEURcm7yEwf4DRGC+/QH2uaI2a5NYAJZCCDc=";

#[test]
fn each_field_has_its_place() {
    let line = [
        r#"{"t":12.5,"replica":"a","requests":10,"errors":2,"latency_us":[[20,1],[10.2,2],[10,0]],"crashes":1,"#,
        r#""arrived":12,"answered":9,"in_flight":3,"overdue":1,"statuses":{"404":2,"418":1},"route":null,"#,
        r#""resources":{"cpu_millicores":250,"memory_bytes":1e6,"descriptors":null},"#,
        r#""probes":{"pg":{"ok":4,"failed":1,"latency_us":[[900,4]],"load":7}}}"#,
    ];
    let recording = recorded(&line.concat());
    let tick = only(&recording);
    assert_eq!((tick.judged, tick.failed, tick.ended, tick.crashes), (10, 2, 10, 1));
    assert_eq!((tick.arrived, tick.answered, tick.waiting, tick.overdue), (12, 9, 3, 1));
    assert_eq!(tick.latencies.pairs(), [(11, 2), (20, 1)]);
    assert_eq!((tick.routed, tick.watched), (10, [0, 0, 0, 2, 0, 0, 0]));
    let used = tick.resources;
    assert_eq!(
        (used.cpu_millicores, used.memory_bytes, used.descriptors),
        (Some(250), Some(1_000_000), None)
    );
    let probe = &tick.probes[0];
    assert_eq!((&*probe.name, probe.ok, probe.failed, probe.load), ("pg", 4, 1, Some(7)));
    assert_eq!(probe.latencies.pairs(), [(900, 4)]);
    assert_eq!(
        (recording.tick, tick.from.as_millis(), tick.to.as_millis()),
        (Duration::from_secs(5), 7_500, 12_500)
    );
}

#[test]
fn what_is_left_out_has_its_default() {
    let recording = recorded(r#"{"t":5,"requests":7,"errors":1}"#);
    let tick = only(&recording);
    assert_eq!((tick.arrived, tick.answered, tick.waiting, tick.overdue, tick.routed), (7, 7, 0, 0, 0));
    assert!(!tick.stalled && tick.latencies.count() == 0 && tick.probes.is_empty() && tick.routes.is_empty());
    assert_eq!(&*recording.rounds[0].replicas[0].0, "self");
    assert!(only(&recorded(r#"{"t":5,"requests":7,"errors":1,"stalled":true}"#)).stalled);
}

#[test]
fn a_histogram_of_another_implementation_is_read() {
    let want = Latencies::new(vec![(8_003, 480), (21_007, 30), (1_500_159, 2)]);
    let line = |text: &str| format!(r#"{{"t":5,"requests":512,"errors":0,"latency":"{text}"}}"#);
    assert_eq!(only(&recorded(&line(PYTHON))).latencies, want);
    assert_eq!(only(&recorded(&line(PYTHON.trim_end_matches('=')))).latencies, want);
}

#[test]
fn parts_add_up_unless_the_whole_is_given() {
    let parts = concat!(
        r#"{"t":5,"route":"GET /b","requests":4,"errors":1,"latency_us":[[10,4]],"statuses":{"401":1}}"#,
        "\n",
        r#"{"t":5,"route":"GET /a","requests":6,"errors":0,"latency_us":[[20,6]]}"#,
        "\n",
        r#"{"t":5,"route":"_other","requests":5,"errors":0}"#,
        "\n",
    );
    let summed = recorded(parts);
    let tick = only(&summed);
    assert_eq!((tick.judged, tick.failed, tick.latencies.count()), (15, 1, 10));
    assert_eq!((tick.routed, tick.watched[1]), (10, 1), "what has no route of its own is not routed");
    let routes: Vec<_> = tick.routes.iter().map(|r| (&*r.route, r.judged, r.failed)).collect();
    assert_eq!(routes, [("GET /a", 6, 0), ("GET /b", 4, 1)]);
    let whole = recorded(&format!("{parts}{}", r#"{"t":5,"requests":20,"errors":3}"#));
    let tick = only(&whole);
    assert_eq!((tick.judged, tick.failed, tick.latencies.count(), tick.routed), (20, 3, 10, 10));
}

#[test]
fn lines_of_one_t_are_one_round_in_any_order_of_replicas() {
    let line =
        |t: f64, replica: &str| format!(r#"{{"t":{t},"replica":"{replica}","requests":1,"errors":0}}"#);
    let text = [line(2.5, "b"), line(5.0, "b"), line(2.5, "a"), line(5.0, "a")].join("\r\n");
    let recording = recorded(&text);
    assert_eq!(recording.tick, Duration::from_millis(2_500));
    let shape: Vec<_> =
        recording.rounds.iter().map(|r| (r.millis, r.replicas.len(), &*r.replicas[0].0)).collect();
    assert_eq!(shape, [(2_500, 2, "a"), (5_000, 2, "a")]);
}

#[test]
fn a_value_that_cannot_be_is_named_with_what_would_be_right() {
    let valid = r#""t":10,"requests":5,"errors":0"#;
    check_fault("{\"t\":10,", &["not JSON", "column"]);
    check_fault("[1]", &["expected an object"]);
    check_fault(&format!("{{{valid}}} x"), &["not JSON", "trailing"]);
    check_fault(r#"{"t":10,"requests":5,"erors":0}"#, &["no field `erors`", "errors"]);
    check_fault(&format!(r#"{{{valid},"t":11}}"#), &["`t`: stands there twice"]);
    check_fault(r#"{"t":10,"requests":5}"#, &["`errors` is missing; give"]);
    check_fault(r#"{"t":10,"errors":5}"#, &["`requests` is missing; give"]);
    check_fault(r#"{"requests":5,"errors":0}"#, &["`t` is missing; give the end"]);
    check_fault(r#"{"t":"5","requests":5,"errors":0}"#, &["`t`: ", "; expected a number of seconds"]);
    check_fault(r#"{"t":-5,"requests":5,"errors":0}"#, &["`t`: ", "-5"]);
    check_fault(r#"{"t":1,"requests":5,"errors":0}"#, &["`t` is 1 after 5", "sort the lines"]);
    check_fault(r#"{"t":10,"requests":-5,"errors":0}"#, &["`requests`: ", "a whole number from 0"]);
    check_fault(r#"{"t":10,"requests":1.5,"errors":0}"#, &["`requests`: ", "1.5"]);
    check_fault(r#"{"t":10,"requests":1e9,"errors":0}"#, &["`requests`: ", "100000000"]);
    check_fault(r#"{"t":10,"requests":5,"errors":6}"#, &["`errors` is 6 of 5 requests"]);
    check_fault(&format!(r#"{{{valid},"replica":""}}"#), &["`replica`: ", "a name of 1 to 256"]);
    check_fault(&format!(r#"{{{valid},"route":7}}"#), &["`route`: ", "a name"]);
    check_fault(&format!(r#"{{{valid},"in_flight":1,"overdue":2}}"#), &["`overdue` is 2 of 1"]);
    check_fault(&format!(r#"{{{valid},"statuses":{{"500":1}}}}"#), &["`statuses`: ", "500", "`errors`"]);
    check_fault(&format!(r#"{{{valid},"statuses":{{"404":6}}}}"#), &["`statuses` add up to 6 of 5"]);
    check_fault(&format!(r#"{{{valid},"resources":{{"cpu":1}}}}"#), &["`resources`: ", "`cpu_millicores`"]);
    check_fault(
        &format!(r#"{{{valid},"probes":{{"pg":{{"ok":1}}}}}}"#),
        &["`probes`: ", "missing field `failed`"],
    );
    check_fault(
        r#"{"t":5,"requests":5,"errors":0}"#,
        &["a second line without a route", "line 1", "name the replicas"],
    );
    check_fault(r#"{"t":5.2,"replica":"b","requests":5,"errors":0}"#, &["less than a second", "the same t"]);
    check_fault(r#"{"t":5000,"requests":5,"errors":0}"#, &["4995 seconds", "1 to 300 seconds"]);
}

#[test]
fn latencies_that_cannot_be_are_named_with_what_would_be_right() {
    let valid = r#""t":10,"requests":5,"errors":0"#;
    let both = format!(r#"{{{valid},"latency":"{PYTHON}","latency_us":[]}}"#);
    check_fault(&both, &["both given; give one"]);
    check_fault(&format!(r#"{{{valid},"latency":"%"}}"#), &["`latency`: it is not base64"]);
    check_fault(&format!(r#"{{{valid},"latency":"{}"}}"#, &PYTHON[..40]), &["`latency`: it "]);
    check_fault(&format!(r#"{{{valid},"latency":"AAAAAAAA"}}"#), &["version 2; encode it as V2"]);
    check_fault(&format!(r#"{{{valid},"latency_us":[[1]]}}"#), &["`latency_us`: ", "a pair of microseconds"]);
    check_fault(&format!(r#"{{{valid},"latency_us":[[1,2,3]]}}"#), &["`latency_us`: ", "a pair"]);
    check_fault(
        &format!(r#"{{{valid},"latency_us":[[-1,2]]}}"#),
        &["`latency_us`: ", "microseconds, 0 or more"],
    );
    check_fault(&format!(r#"{{{valid},"latency_us":{{}}}}"#), &["`latency_us`: ", "a list of pairs"]);
    let many = vec!["[1,1]"; 65_537].join(",");
    check_fault(&format!(r#"{{{valid},"latency_us":[{many}]}}"#), &["more than 65536 pairs"]);
    check_fault(
        &format!(r#"{{{valid},"latency_us":[[1,100000000],[2,1]]}}"#),
        &["counts more than 100000000"],
    );
}

#[test]
fn all_faults_are_told_and_many_are_counted() {
    let told = faults(&b"{\n".repeat(25));
    assert_eq!(told.lines().count(), 21);
    assert!(told.starts_with("x:1: not JSON") && told.ends_with("\nand 5 more"), "{told}");
}

#[test]
fn bounds_are_faults_and_a_long_line_is_skipped() {
    let long = "x".repeat(3 * LINE_BYTES_MAX);
    let told = faults(format!("{long}\n{{}}\n").as_bytes());
    let lines: Vec<_> = told.lines().collect();
    assert!(lines[0].starts_with("x:1: the line is longer than 1 MiB"), "{told}");
    assert!(lines[1].starts_with("x:2: `t` is missing") && lines.len() == 4, "{told}");
    let named = |field: &str, n: usize| -> String {
        (0..n).map(|i| format!("{{\"t\":5,\"{field}\":\"n{i}\",\"requests\":1,\"errors\":0}}\n")).collect()
    };
    assert_eq!(recorded(&named("replica", 100)).rounds[0].replicas.len(), 100);
    assert!(
        faults(named("replica", 101).as_bytes())
            .contains("x:101: `replica` is the 101th one; give at most 100")
    );
    assert_eq!(only(&recorded(&named("route", 200))).routes.len(), 200);
    assert!(faults(named("route", 201).as_bytes()).contains("give at most 200"));
}

/// Text that is nearly a line.
fn nearly() -> impl proptest::strategy::Strategy<Value = String> {
    let value = prop_oneof![
        any::<u64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_map(|n| n.to_string()),
        (0..400_u32).prop_map(|n| n.to_string()),
        Just("[[10,3],[20,1]]".to_owned()),
        Just("{\"pg\":{\"ok\":1,\"failed\":3}}".to_owned()),
        Just("{\"404\":1}".to_owned()),
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just(format!("{PYTHON:?}")),
    ];
    let field = prop_oneof![
        Just("route"),
        Just("latency"),
        Just("latency_us"),
        Just("crashes"),
        Just("probes"),
        Just("statuses"),
        Just("in_flight"),
        Just("replica"),
        Just("x")
    ];
    (0..2_000_u32, 0..100_u32, 0..50_u32, prop::collection::vec((field, value), 0..3)).prop_map(
        |(t, n, k, more)| {
            let more: String = more.iter().map(|(field, value)| format!(",\"{field}\":{value}")).collect();
            format!("{{\"t\":{t},\"requests\":{n},\"errors\":{k}{more}}}\n")
        },
    )
}

proptest! {
    #[test]
    fn any_bytes_end_in_a_recording_or_in_faults(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut faults = Faults::default();
        assert_eq!(read("x", &bytes[..], &mut faults).is_none(), !faults.is_empty());
    }

    #[test]
    fn what_was_read_can_be_judged(lines in prop::collection::vec(nearly(), 1..20)) {
        // Each line by itself, so that most recordings are whole; then together those that are.
        let whole = |line: &&String| read("x", line.as_bytes(), &mut Faults::default()).is_some();
        let mut lines: Vec<&String> = lines.iter().filter(whole).collect();
        lines.sort_by_key(|line| line[5..].split(',').next().and_then(|t| t.parse::<u32>().ok()));
        let text: String = lines.into_iter().map(String::as_str).collect();
        let mut faults = Faults::default();
        let Some(recording) = read("x", text.as_bytes(), &mut faults) else { return Ok(()) };
        let Some(inputs) = Inputs::new(recording.clone(), ("x", recording), None, &mut faults) else { return Ok(()) };
        let policy = Policy { baseline_requests_min: 1, ..Policy::default() };
        let ticks = inputs.ticks();
        let mut judging = Judging::begin(inputs, policy);
        assert_eq!(judging.by_ref().count(), ticks);
        assert!(judging.summary().is_some());
    }
}
