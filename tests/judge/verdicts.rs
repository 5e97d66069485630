//! Whole watches: what is said of a healthy release, of several ill ones, and by which exit code.

use serde_json::{Value, json};

use crate::place::Place;
use crate::recorded::{HEALTHY, Service, usual};

const FILES: [&str; 4] = ["--baseline", "base", "--candidate", "new"];

fn summary(baseline: Service, candidate: Service, control: Option<Service>) -> (Vec<Value>, Value) {
    let mut files = vec![("base", baseline.recorded(1)), ("new", candidate.recorded(2))];
    files.extend(control.map(|control| ("stable", control.recorded(3))));
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let arguments = [&FILES[..], &["--json"], if control.is_some() { &["--control", "stable"] } else { &[] }];
    Place::with(&files).judge(&arguments.concat(), "").json()
}

fn half(_: &str, _: u64) -> f64 {
    0.5
}

#[test]
fn a_healthy_release_is_healthy_and_passes_its_watch() {
    let (ticks, summary) = summary(HEALTHY, HEALTHY, None);
    assert_eq!(ticks.len(), 360);
    assert_eq!((&summary["verdict"], &summary["rollback"]), (&json!("healthy"), &json!(false)));
    assert!(summary["passed_at"].as_u64() >= Some(900) && summary["first_degraded"].is_null(), "{summary}");
    assert!(summary["score"].as_f64() > Some(0.5), "{summary}");
}

#[test]
fn half_of_all_requests_failing_is_blamed_on_the_release_within_half_a_minute() {
    let (_, summary) = summary(HEALTHY, Service { errors: half, ..HEALTHY }, None);
    assert_eq!((&summary["verdict"], &summary["diagnosis"]), (&json!("degraded"), &json!("deployment")));
    assert_eq!(summary["rollback"], json!(true));
    assert!(summary["rollback_at"].as_u64() <= Some(30), "{summary}");
}

#[test]
fn a_release_twice_as_slow_is_blamed() {
    let (_, summary) = summary(HEALTHY, Service { slower: 2.0, ..HEALTHY }, None);
    assert_eq!((&summary["rollback"], &summary["diagnosis"]), (&json!(true), &json!("deployment")));
    assert!(summary["breach"].as_str().is_some_and(|breach| breach.starts_with("latency_p")), "{summary}");
}

#[test]
fn a_database_that_fails_is_not_blamed_on_the_release() {
    let well = Service { database: Some(|_| true), ..HEALTHY };
    let errors = |_: &str, t| if t <= 600 { 0.001 } else { 0.3 };
    let (_, summary) = summary(well, Service { errors, database: Some(|t| t <= 600), ..HEALTHY }, None);
    assert_eq!((&summary["verdict"], &summary["diagnosis"]), (&json!("degraded"), &json!("dependency")));
    assert_eq!(
        (&summary["rollback"], &summary["diagnosis_detail"]["probe"]),
        (&json!(false), &json!("postgres"))
    );
    assert!(summary["hold_over_at"].as_u64() > summary["first_degraded"].as_u64(), "{summary}");
}

#[test]
fn one_ill_replica_of_three_is_named() {
    let errors = |replica: &str, t| if replica == "b" { 0.5 } else { usual(replica, t) };
    let (_, summary) = summary(HEALTHY, Service { errors, ..HEALTHY }, None);
    assert_eq!(
        (&summary["diagnosis"], &summary["diagnosis_detail"]["replica"]),
        (&json!("replica"), &json!("b"))
    );
    assert_eq!(summary["rollback"], json!(false));
}

#[test]
fn a_control_that_is_well_confirms_and_one_that_is_ill_acquits() {
    let ill = Service { errors: half, ..HEALTHY };
    let (_, blamed) = summary(HEALTHY, ill, Some(HEALTHY));
    assert_eq!(
        (&blamed["rollback"], &blamed["diagnosis_detail"]["ground"]),
        (&json!(true), &json!("control_is_well"))
    );
    let (ticks, shared) = summary(HEALTHY, ill, Some(ill));
    assert_eq!((&shared["rollback"], &shared["diagnosis"]), (&json!(false), &json!("shared")));
    assert!(ticks.iter().all(|tick| tick["rollback"] == json!(false)));
}

#[test]
fn a_baseline_that_is_small_or_empty_is_no_fault() {
    let candidate = HEALTHY.recorded(2);
    for (baseline, why) in
        [("", "no_baseline"), ("{\"t\":5,\"requests\":100,\"errors\":0}", "baseline_too_small")]
    {
        let place = Place::with(&[("base", baseline), ("new", &candidate)]);
        let (_, summary) = place.judge(&[&FILES[..], &["--json"]].concat(), "").json();
        assert_eq!((&summary["verdict"], &summary["why"]), (&json!("not_judgeable"), &json!(why)));
    }
}

#[test]
fn the_exit_code_tells_only_when_asked() {
    let (base, ill) = (HEALTHY.recorded(1), Service { errors: half, ticks: 24, ..HEALTHY }.recorded(2));
    let place = Place::with(&[("base", &base), ("new", &ill)]);
    let asked = [&FILES[..], &["--exit-code"]].concat();
    assert_eq!(place.judge(&FILES, "").code, 0);
    assert_eq!(place.judge(&asked, "").code, 1);
    let well = Place::with(&[("base", &base), ("new", &base)]);
    assert_eq!(well.judge(&asked, "").code, 0);
    let piped = well.judge(&["--baseline", "base", "--candidate", "-", "--exit-code"], &ill);
    assert_eq!((piped.code, piped.err.as_str()), (1, ""));
}

#[test]
fn the_policy_is_the_files_and_only_its() {
    let (base, ill) = (HEALTHY.recorded(1), Service { errors: half, ticks: 24, ..HEALTHY }.recorded(2));
    let files =
        [("base", base.as_str()), ("new", ill.as_str()), ("outrigger.toml", "[judge]\nenabled = false\n")];
    let place = Place::with(&files);
    let asked = [&FILES[..], &["--json"]].concat();
    assert_eq!(place.judge(&asked, "").json().1["rollback"], json!(true));
    let (_, summary) = place.judge(&[&asked[..], &["--config", "outrigger.toml"]].concat(), "").json();
    assert_eq!(summary["why"], json!("switched_off"));
}
