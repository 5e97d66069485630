//! What the texts say, in full.

use serde_json::{Value, json};

use super::{history, now, record, status};

fn decided() -> Value {
    json!({
        "id": "0mhab3k2q1a2b01", "at": "2025-11-22T03:14:08.250Z", "at_ms": 1_763_781_248_250_u64,
        "release": "v2", "kind": "decided", "decision": "roll_back", "target": "v1",
        "reasons": [{"reason": "degraded"}, {"reason": "on_trial"}, {"reason": "mode_enforce"},
                    {"reason": "last_known_good"}],
        "verdict": {"verdict": "degraded", "breach": "errors", "since": "2025-11-22T03:14:05.000Z"},
        "evidence": [
            {"stream": "errors", "baseline": 0.001, "limit": 0.0043, "p0": 0.0043, "requests": 4210, "bad": 412,
             "recent_share": 0.0982, "recent_value": 0.0982, "ln_requests": 41.2, "ln_requests_limit": 12.9,
             "ln_ticks": 7.5, "ln_ticks_limit": 6.2},
            {"stream": "latency_p50", "baseline": 12_000.0, "limit": 19_000.0, "p0": 0.5, "requests": 4210, "bad": 9,
             "recent_share": 0.01, "recent_value": 12_500.0, "ln_requests": 0.0, "ln_requests_limit": 12.9,
             "ln_ticks": "-inf", "ln_ticks_limit": 6.2}],
        "baseline": {"release": "v1", "from": "2025-11-20T00:00:00.000Z", "to": "2025-11-22T03:00:00.000Z",
                     "requests": 120_000, "error_rate": 0.001, "p50_us": 12_000, "p90_us": 40_000, "p99_us": 90_000},
        "ready_at": "2025-11-22T03:09:58.000Z",
        "diagnosis": {"diagnosis": "deployment", "ground": "nothing_else", "probe": null},
        "policy": {"error_ratio": 2.0, "error_floor": 0.003, "latency_ratio": 1.5},
        "progress": {"progress": "succeeded", "at": "2025-11-22T03:15:00.000Z", "detail": "deployment 7 is live"}
    })
}

#[test]
fn a_rollback_reads_well_to_someone_who_was_asleep() {
    let expected = "\
Record 0mhab3k2q1a2b01, 2025-11-22T03:14:08Z, release v2

What happened
  Release v2 failed more of its requests than its baseline allows, since 2025-11-22T03:14:05Z.
  Decided at 2025-11-22T03:14:08Z, 4m 10s after the release became ready: to roll back to v1.

What it was weighed against
  release v1, 120,000 requests, 0.10 % errors, p50 12 ms, p90 40 ms, p99 90 ms
  (2025-11-20T00:00:00Z to 2025-11-22T03:00:00Z)

Who is to blame
  the release: it was worse as a whole, and nothing else was

By how much
  STREAM          LAST MIN  ALLOWED  BASELINE  TIMES  REQUESTS  TICKS
  errors             9.8 %   0.43 %    0.10 %  22.8x     100 %  100 %
  median latency     12 ms    19 ms     12 ms   0.7x       0 %    0 %
  (TIMES is how often the last minute's figure is what is allowed. REQUESTS and TICKS are how
  much of the evidence that \"degraded\" takes there is, by request and by tick: both must be
  complete, for latency over its streams together.)
  errors: 412 bad of 4,210 weighed since judging began
  median latency: 9 bad of 4,210 weighed since judging began

What counts as bad
  - errors: more than 0.43 % counts, which is 0.13 %, the baseline's figure with its uncertainty,
    and 0.30 % of room; the baseline's own figure is 0.10 %
  - median latency: slower than 19 ms counts, which is 1.5 times 13 ms, the baseline's figure with
    its uncertainty; the baseline's own figure is 12 ms

Why this decision
  - the release is degraded
  - it is still on trial: its watch is not over
  - the mode is enforce: the agent may act
  - the target is the last release that was known good

What was done
  v1 was put back; it was seen live at 2025-11-22T03:15:00Z.
  It was said: deployment 7 is live

What to do next
  Nothing at once. Find out what is wrong with v2 before it is deployed again; see `outrigger
  status` for whether the service has recovered.
";
    assert_eq!(record(&decided()), expected);
}

fn held(reasons: Value) -> Value {
    let mut record = decided();
    record["decision"] = json!("hold");
    record["reasons"] = reasons;
    record["progress"] = json!({"progress": "nothing_to_do"});
    record
}

#[test]
fn what_was_not_done_says_why_and_what_helps() {
    let pause =
        json!({"by": "ana", "reason": "migration", "since": "2025-11-22T03:00:00.000Z", "until": null});
    let text = record(&held(json!([
        {"reason": "mode_recommend"}, {"reason": "paused", "pause": pause},
        {"reason": "cooling_down", "until": "2025-11-22T04:00:00.000Z"}, {"reason": "from_the_future"}
    ])));
    for part in [
        "to hold: nothing was done.",
        "- the mode is recommend: a person acts, not the agent\n",
        "- ana paused acting until someone resumes it: migration\n",
        "- the rest after the last act lasts until 2025-11-22T04:00:00Z\n",
        "- from_the_future (not known to this version)\n",
        "Nothing: the release was left in place.",
        "If the service is still ill, put v1 back by hand.",
        "`outrigger resume`",
    ] {
        assert!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
}

#[test]
fn a_failed_rollback_calls_for_a_person() {
    for progress in ["failed", "interrupted"] {
        let mut failed = decided();
        failed["progress"] =
            json!({"progress": progress, "at": "2025-11-22T03:15:00.000Z", "reason": "exit code 2"});
        let text = record(&failed);
        assert!(text.contains("Act now") && text.contains("exit code 2"), "{text}");
        assert!(history(&[failed]).contains("a person must act"));
    }
}

#[test]
fn a_history_is_aligned() {
    let at = "2025-11-22T03:14:08.250Z";
    let records = [
        json!({"id": "0a", "at": at, "release": "v2", "kind": "started", "known": false}),
        json!({"id": "0b", "at": at, "release": "v2-long", "kind": "exited", "code": null, "signal": 9}),
        json!({"id": "0c", "at": at, "release": "v2", "kind": "verdict_changed",
               "from": {"verdict": "undecided", "because": "gathering"},
               "to": {"verdict": "degraded", "breach": "catastrophe_hang", "since": at}}),
        held(json!([{"reason": "degraded"}, {"reason": "no_target"}])),
        json!({"id": "0d", "at": at, "release": "v2", "kind": "diagnosed", "whose": {"diagnosis": "dependency",
               "probe": "postgres", "since": at, "until": "2025-11-22T03:17:00Z", "hold_ended": false}}),
        json!({"id": "0e", "at": at, "release": "v2", "kind": "watch_passed", "requests": 4_000, "by": "proof"}),
    ];
    let expected = "\
TIME                  RECORD           RELEASE  WHAT
2025-11-22T03:14:08Z  0a               v2       the agent started beside a release that was new to it
2025-11-22T03:14:08Z  0b               v2-long  the app was ended by signal 9
2025-11-22T03:14:08Z  0c               v2       the verdict went from undecided (gathering) to degraded (catastrophe hang)
2025-11-22T03:14:08Z  0mhab3k2q1a2b01  v2       degraded, and nothing was done (no target)
2025-11-22T03:14:08Z  0d               v2       the diagnosis is dependency (postgres)
2025-11-22T03:14:08Z  0e               v2       the watch passed over 4,000 requests, by proof; the release is known good
";
    assert_eq!(history(&records), expected);
    assert_eq!(history(&[]), "Nothing has happened yet.\n");
}

#[test]
fn nothing_in_the_json_is_relied_on() {
    let mut seen = 0;
    for broken in [json!(null), json!(7), json!([]), json!("x"), json!({}), json!({"kind": 3})] {
        assert!(!record(&broken).is_empty() && !status(&broken).is_empty());
        assert!(!history(std::slice::from_ref(&broken)).is_empty());
    }
    // Each field of a decision in turn is missing, null, or of another type.
    for key in decided().as_object().unwrap().keys() {
        for other in [json!(null), json!(1), json!("x"), json!([1, "x", {}]), json!({"a": []})] {
            let mut broken = decided();
            broken[key] = other;
            assert!(!record(&broken).is_empty());
            assert!(!history(&[broken]).is_empty());
            seen += 1;
        }
    }
    assert!(seen > 50);
}

#[test]
fn a_status_says_what_is_so() {
    let snapshot = json!({
        "service": {"name": "shop", "environment": "production", "replica": "r1"}, "uptime_seconds": 3_700,
        "release": "v2", "standing": "on_trial", "mode": "enforce", "platform": "command",
        "verdict": {"label": "undecided", "breach": null, "since": null, "why": "Gathering evidence.", "next": "If it degrades: v1 is put back."},
        "evidence": [], "baseline": null, "target": "v1", "cooldown_until": null,
        "watch": {"ends_at": "2025-11-22T03:25:00.000Z", "judged_seconds": 250.0, "judged_requests": 4_210, "passed": false},
        "pause": {"by": "ana", "reason": "migration", "until": null},
        "last_decision": {"id": "0a", "at": "2025-11-22T03:00:00.000Z", "decision": "hold", "target": null, "progress": "nothing_to_do"},
        "warnings": ["the drain time is 0"]
    });
    let expected = "\
service    shop in production, replica r1, agent up 1h 1m
release    v2 (on trial)
verdict    undecided. Gathering evidence.
watch      ends 2025-11-22T03:25:00Z, judged for 4m 10s, 4,210 requests judged
mode       enforce, platform command; PAUSED by ana until resumed: migration
next       If it degrades: v1 is put back.
target     v1
baseline   none
decision   2025-11-22T03:00:00Z hold: nothing to do; `outrigger explain 0a` says why
warning    the drain time is 0
";
    assert_eq!(status(&snapshot), expected);
    let watcher = json!({"app": {"phase": "ready", "upstream": "", "detail": "a watcher has no app"}});
    assert!(status(&watcher).contains("app        none: this is a watcher\n"), "{}", status(&watcher));
}

/// A snapshot with a stream of each kind.
fn snapshot() -> Value {
    let stream = |stream: &str, group: &str, figures: [f64; 3], evidence: f64| {
        json!({"stream": stream, "group": group, "route": null, "baseline": figures[0], "limit": figures[1], "p0": 0.01,
               "requests": 4_210, "bad": 12, "recent_share": 0.012, "recent_value": figures[2],
               "ln_requests": 12.0 * evidence, "ln_requests_limit": 12.0, "ln_ticks": 8.0 * evidence, "ln_ticks_limit": 8.0})
    };
    let mut route = stream("route_p95", "routes", [80_000.0, 120_000.0, 0.0], 0.4);
    route["route"] = json!("GET /api/v2/customers/{id}/orders/{order}");
    route["recent_value"] = json!(null);
    let mut crashes = stream("crashes", "resources", [0.0, 0.002_777, 0.0], 0.0);
    crashes["ln_ticks"] = json!(null);
    crashes["ln_ticks_limit"] = json!(null);
    let mut p99 = stream("latency_p99", "all", [498_000.0, 812_000.0, 930_000.0], 0.6);
    p99["guard"] = json!(
        "Slower than 812 ms counts, which is 1.5 times 541 ms, the baseline's 99th percentile with its \
                          uncertainty; the baseline's own figure is 498 ms. 1.0 % of requests may be that slow."
    );
    json!({
        "release": "v2", "score": 0.31, "latency_progress": 0.58, "worse_dependencies": ["postgres"],
        "verdict": {"label": "degraded", "breach": "errors", "since": "2025-11-22T03:14:05.000Z",
                    "why": "9.8 % of requests failed in the last minute: 23 times the 0.43 % allowed, 98 times the baseline's 0.10 %.",
                    "changes": "It ends after 12 good ticks of 5 s in a row that also show the streams to be within their limits.",
                    "next": "Degraded: held until 2025-11-22T03:17:05Z, because postgres is worse, too."},
        "diagnosis": {"label": "dependency", "why": "postgres is to blame: it is worse since 2025-11-22T03:14:00Z, too, and the \
                      release does not ask more of it than the baseline did."},
        "outlook": {"says": "At 12 requests/s a share of 2.1 % failures or more would typically be found within two minutes; \
                    twice the allowed share (0.86 %) takes about 35s."},
        "baseline": {"release": "v1", "requests": 120_000, "error_rate": 0.001, "p50_us": 12_000, "p99_us": 498_000},
        "watch": {"judged_requests": 4_210},
        "evidence": [stream("errors", "all", [0.001, 0.0043, 0.0982], 1.0), p99,
                     stream("status_404", "statuses", [0.02, 0.07, 0.021], 0.0), crashes,
                     stream("memory", "resources", [268_435_456.0, 536_870_912.0, 301_989_888.0], 0.02), route],
        "policy": {"error_ratio": 2.0, "error_floor": 0.003, "latency_ratio": 1.5}
    })
}

#[test]
fn the_verdict_of_this_moment_is_explained_within_a_hundred_columns() {
    let text = now(&snapshot());
    let expected = "\
Release v2: degraded (errors), since 2025-11-22T03:14:05Z, health score 0.31

Why
  9.8 % of requests failed in the last minute: 23 times the 0.43 % allowed, 98 times the
  baseline's 0.10 %.

Who is to blame
  postgres is to blame: it is worse since 2025-11-22T03:14:00Z, too, and the release does not ask
  more of it than the baseline did.
  Worse than it used to be, by evidence of its own: postgres.

What it is weighed against
  release v1, 120,000 requests, 0.10 % errors, p50 12 ms, p99 498 ms
  4,210 requests of this release were judged

How each stream stands
  STREAM                                  LAST MIN  ALLOWED  BASELINE  TIMES  REQUESTS  TICKS
  errors                                     9.8 %   0.43 %    0.10 %  22.8x     100 %  100 %
  latency at 99 %                           930 ms   812 ms    498 ms   1.1x      60 %   60 %
  answers 404                                2.1 %    7.0 %     2.0 %   0.3x       0 %    0 %
  crashes                                   0.00 %   0.28 %    0.00 %   0.0x       0 %      -
  memory                                   288 MiB  512 MiB   256 MiB   0.6x       2 %    2 %
  95 % of GET /api/v.../orders/{order}  1.2 % slow   120 ms     80 ms      -      40 %   40 %
  all latency together                                                            58 %
  (TIMES is how often the last minute's figure is what is allowed. REQUESTS and TICKS are how
  much of the evidence that \"degraded\" takes there is, by request and by tick: both must be
  complete, for latency over its streams together.)

What counts as bad
  - errors: more than 0.43 % counts, which is 0.13 %, the baseline's figure with its uncertainty,
    and 0.30 % of room; the baseline's own figure is 0.10 %
  - latency at 99 %: Slower than 812 ms counts, which is 1.5 times 541 ms, the baseline's 99th
    percentile with its uncertainty; the baseline's own figure is 498 ms. 1.0 % of requests may be
    that slow.
  - 95 % of GET /api/v.../orders/{order}: slower than 120 ms counts, which is 1.5 times 80 ms, the
    baseline's figure with its uncertainty; the baseline's own figure is 80 ms

What would change it
  It ends after 12 good ticks of 5 s in a row that also show the streams to be within their
  limits.

How long a decision needs
  At 12 requests/s a share of 2.1 % failures or more would typically be found within two minutes;
  twice the allowed share (0.86 %) takes about 35s.

What is done, or would be
  Degraded: held until 2025-11-22T03:17:05Z, because postgres is worse, too.
";
    assert_eq!(text, expected);
    for line in text.lines().chain(status(&snapshot()).lines().filter(|line| line.starts_with(' '))) {
        assert!(line.chars().count() <= 100, "{line}");
    }
}

#[test]
fn a_status_shows_the_streams_that_matter_and_leaves_the_others_to_explain() {
    let text = status(&snapshot());
    for part in
        ["whose      postgres is to blame", "score      0.31", "errors  ", "of GET /api", "outlook    At 12"]
    {
        assert!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
    assert!(!text.contains("answers 404") && !text.contains("memory"), "{text}");
}

#[test]
fn a_held_decision_names_what_is_to_blame() {
    let mut record_ = held(json!([{"reason": "holding", "until": "2025-11-22T03:17:05Z"}]));
    record_["diagnosis"] = json!({"diagnosis": "dependency", "probe": "postgres", "since": "2025-11-22T03:14:00Z",
                                  "until": "2025-11-22T03:17:05Z", "hold_ended": false});
    record_["verdict"] = json!({"verdict": "degraded", "breach": "status", "status": 404});
    record_["evidence"] = json!([{"stream": {"status": 404}, "recent_share": 0.3, "recent_value": 0.3, "limit": 0.07,
        "baseline": 0.02, "ln_requests": 30.0, "ln_requests_limit": 9.0, "ln_ticks": 9.5, "ln_ticks_limit": 9.0}]);
    let text = record(&record_);
    for part in [
        "Release v2 answered 404 more often than its baseline allows.",
        "postgres: it was worse since 2025-11-22T03:14:00Z, too;",
        "answers 404",
        "- a dependency is worse, too: the release is not blamed until 2025-11-22T03:17:05Z",
        "Wait for the end of the hold",
    ] {
        assert!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
    assert!(history(&[record_]).contains("nothing was done (holding)"));
}

#[test]
fn nothing_in_a_snapshot_is_relied_on() {
    for key in snapshot().as_object().unwrap().keys() {
        for other in [json!(null), json!(1), json!("x"), json!([1, "x", {}]), json!({"a": []})] {
            let mut broken = snapshot();
            broken[key] = other;
            assert!(!now(&broken).is_empty() && !status(&broken).is_empty());
        }
    }
}
