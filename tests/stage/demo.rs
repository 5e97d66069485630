//! `outrigger demo` as a person runs it: every scenario ends well, and without the judge none that is bad does.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::process::{outrigger, processes_with};

/// A demo ends by itself within three minutes, the one that has to learn a route within three and a half, and one of several
/// agents within five.
const DEMO_MAX: Duration = Duration::from_secs(300);
/// Half the demo's own rate, for many run at once,
const RATE: &str = "50";
/// but one route must be asked for often enough to be judged by itself.
const ONE_ROUTE_RATE: &str = "200";
/// So many run at once. The others follow as these end.
const AT_ONCE: usize = 6;

/// What a demo that ran to its end left.
pub(crate) struct Played {
    pub(crate) code: Option<i32>,
    pub(crate) events: Vec<Value>,
    pub(crate) errors: String,
}

impl Played {
    pub(crate) fn summary(&self) -> &Value {
        self.events.last().unwrap_or_else(|| panic!("the demo printed nothing: {}", self.errors))
    }

    /// Whether a record's line holds these words.
    fn says(&self, words: &str) -> bool {
        self.events.iter().any(|line| line["text"].as_str().is_some_and(|text| text.contains(words)))
    }

    pub(crate) fn count(&self, event: &str) -> usize {
        self.events.iter().filter(|line| line["event"] == event).count()
    }
}

async fn play(scenario: &'static str, judge: &'static str) -> Played {
    let rate = if scenario == "one-route" && judge == "on" { ONE_ROUTE_RATE } else { RATE };
    play_with(scenario, &["--judge", judge, "--rate", rate]).await
}

/// Plays a scenario to its end, with these arguments besides.
pub(crate) async fn play_with(scenario: &str, arguments: &[&str]) -> Played {
    let dir = tempfile::tempdir().unwrap();
    let kept = dir.path().join("kept").to_str().unwrap().to_owned();
    let words = [&["demo", "--scenario", scenario, "--json", "--keep", &kept], arguments].concat();
    let ran = timeout(DEMO_MAX, outrigger(words).output()).await;
    let ran = ran.unwrap_or_else(|_| panic!("the demo of {scenario} took longer than {DEMO_MAX:?}")).unwrap();
    // The demo itself has ended, so what still names its files was left behind.
    let left = processes_with(&kept);
    assert!(left.is_empty(), "left by the demo of {scenario}: {left:#?}");
    no_panic_in_the_logs(scenario, Path::new(&kept));
    let lines = String::from_utf8(ran.stdout).unwrap();
    let events = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    Played { code: ran.status.code(), events, errors: String::from_utf8_lossy(&ran.stderr).into_owned() }
}

fn no_panic_in_the_logs(scenario: &str, kept: &Path) {
    for entry in std::fs::read_dir(kept).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            no_panic_in_the_logs(scenario, &entry.path());
        }
    }
    let log = std::fs::read_to_string(kept.join("agent.log")).unwrap_or_default();
    let panicked: Vec<&str> = log.lines().filter(|line| line.contains("panicked at")).collect();
    assert!(panicked.is_empty(), "{scenario}, {}: {panicked:#?}", kept.display());
}

fn check_form(scenario: &str, played: &Played) {
    let first = &played.events[0];
    assert_eq!((first["event"].as_str(), first["scenario"].as_str()), (Some("began"), Some(scenario)));
    for line in &played.events {
        assert!(line["t"].is_number() && line["event"].is_string(), "{scenario}: {line}");
    }
    assert_eq!(played.count("summary"), 1, "{scenario}");
    let summary = played.summary();
    assert_eq!(summary["event"], "summary", "{scenario}: the summary is last");
    let names = [
        "scenario",
        "judge",
        "ok",
        "reason",
        "requests",
        "failed",
        "timed_out",
        "failed_share",
        "rollbacks",
        "onset",
        "time_to_verdict",
        "time_to_recovery",
        "took",
    ];
    for name in names {
        assert!(summary.get(name).is_some(), "{scenario}: the summary has no `{name}`: {summary}");
    }
    assert!(summary["requests"].as_u64().unwrap() > 0, "{scenario}: {summary}");
}

fn check_judged(scenario: &str, played: &Played) {
    let summary = played.summary();
    let told = format!("{scenario}: {summary}\n{}", played.errors);
    assert_eq!((played.code, &summary["ok"]), (Some(0), &Value::Bool(true)), "{told}");
    assert_eq!(summary["reason"], Value::Null, "{told}");
    if scenario == "good" {
        assert_eq!((summary["rollbacks"].as_u64(), played.count("rollback_taken")), (Some(0), 0), "{told}");
        assert!(
            summary["time_to_verdict"].is_null() && summary["failed_share"].as_f64() < Some(0.02),
            "{told}"
        );
        return;
    }
    if scenario == "db-down" {
        assert_eq!((summary["rollbacks"].as_u64(), played.count("rollback_taken")), (Some(0), 0), "{told}");
        assert_eq!(summary["diagnosis"], "dependency", "{told}");
        let changes = ["database: ok -> failed", "database: failed -> ok"];
        assert_eq!(changes.map(|change| played.says(change)), [true, true], "{told}");
        return;
    }
    assert_eq!((summary["rollbacks"].as_u64(), played.count("rollback_taken")), (Some(1), 1), "{told}");
    if scenario == "query-storm" {
        let why = summary["why"].as_str().unwrap_or_default();
        assert_eq!(
            (&summary["diagnosis"], why.contains("overloads")),
            (&"deployment".into(), true),
            "{told}"
        );
    }
    let (verdict, recovery) = (summary["time_to_verdict"].as_f64(), summary["time_to_recovery"].as_f64());
    let (verdict, recovery) = (verdict.expect(&told), recovery.expect(&told));
    assert!(0.0 < verdict && verdict <= recovery, "{told}");
    let back = |line: &&Value| line["event"] == "record" && line["decision"] == "roll_back";
    let ends: Vec<&Value> = played.events.iter().filter(back).collect();
    assert_eq!(ends.last().expect(&told)["progress"], "succeeded", "{told}");
    assert!(
        ends.iter().all(|line| line["record"] == ends[0]["record"] && line["target"] == "v1"),
        "{ends:#?}"
    );
    if scenario == "one-route" {
        assert_eq!(ends[0]["breach"], "route_errors GET /checkout", "the route itself tells: {told}");
        assert!(summary["failed_share"].as_f64() < Some(0.02), "{told}");
    }
    if scenario == "crash" {
        let crashes = |lines: &[Value]| {
            lines.iter().filter(|line| line["event"] == "exited" && line["code"] == 3).count()
        };
        let order = played.events.iter().position(|line| line["event"] == "rollback_taken").expect(&told);
        assert!(crashes(&played.events[..order]) <= 3, "it is ordered at the third crash: {told}");
        assert!(crashes(&played.events) >= 3, "it is ordered at the third crash: {told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_scenario_of_the_demo_ends_well_and_without_the_judge_no_bad_one_does() {
    let bad = ["one-route", "db-down", "query-storm", "errors", "slow", "hang", "crash", "tail", "leak"];
    let judged = ["good"].iter().chain(&bad).map(|&scenario| (scenario, true));
    let mut waiting = judged.chain(bad.map(|scenario| (scenario, false)));
    let begin = |demos: &mut JoinSet<_>, (scenario, judged): (&'static str, bool)| {
        let judge = if judged { "on" } else { "off" };
        demos.spawn(async move { (scenario, judged, play(scenario, judge).await) });
    };
    let mut demos = JoinSet::new();
    waiting.by_ref().take(AT_ONCE).for_each(|one| begin(&mut demos, one));
    // Each is said as it ends; a failure ends the test, and with it the others, whose processes go with them.
    while let Some(played) = demos.join_next().await {
        let (scenario, judged, played) = played.unwrap();
        waiting.by_ref().take(1).for_each(|one| begin(&mut demos, one));
        println!("judge {judged}: {}", played.summary());
        check_form(scenario, &played);
        if judged {
            check_judged(scenario, &played);
            continue;
        }
        let summary = played.summary();
        let told = format!("{scenario} without the judge: {summary}\n{}", played.errors);
        assert_eq!(played.code, Some(1), "{told}");
        assert_eq!((&summary["ok"], summary["rollbacks"].as_u64()), (&Value::Bool(false), Some(0)), "{told}");
        assert!(summary["reason"].as_str().is_some_and(|reason| reason.contains("v2")), "{told}");
    }
}
