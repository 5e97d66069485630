//! What the texts say, in full.

use serde_json::{Value, json};

use super::{history, record, status};

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
        "ready_at": "2025-11-22T03:09:58.000Z", "policy": {},
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
  release v1, 120,000 requests, 0.10 % errors, p50 12 ms, p90 40 ms, p99 90 ms (2025-11-20T00:00:00Z to 2025-11-22T03:00:00Z)

By how much
  errors: 9.8 % in the last minute, 412 of 4,210 requests since judging began
    baseline 0.10 %, allowed 0.43 %
    evidence e^41.2 by request against e^12.9 needed and e^7.5 by tick against e^6.2 needed
  median latency: 12 ms in the last minute (1.0 % of requests over the limit), 9 of 4,210 requests since judging began
    baseline 12 ms, allowed 19 ms
    evidence none by request against e^12.9 needed and none by tick against e^6.2 needed
  (Evidence grows while a release does worse than allowed. It decides when it is enough by request and by tick.)

Why this decision
  - the release is degraded
  - it is still on trial: its watch is not over
  - the mode is enforce: the agent may act
  - the target is the last release that was known good

What was done
  v1 was put back; it was seen live at 2025-11-22T03:15:00Z.
  It was said: deployment 7 is live

What to do next
  Nothing at once. Find out what is wrong with v2 before it is deployed again; see `outrigger status` for whether the service has recovered.
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
    ];
    let expected = "\
TIME                  RECORD           RELEASE  WHAT
2025-11-22T03:14:08Z  0a               v2       the agent started beside a release that was new to it
2025-11-22T03:14:08Z  0b               v2-long  the app was ended by signal 9
2025-11-22T03:14:08Z  0c               v2       the verdict went from undecided (gathering) to degraded (catastrophe hang)
2025-11-22T03:14:08Z  0mhab3k2q1a2b01  v2       degraded, and nothing was done (no target)
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
}
