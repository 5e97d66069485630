//! Locks, what an act consisted of, what it led to, and whether one would be possible, in words.

use serde_json::Value;

use crate::cli::explain::figures::{clean, text_or, time};

/// A lock, from a record or a snapshot.
pub(super) fn locked(lock: &Value) -> String {
    let until = match lock.get("until") {
        None | Some(Value::Null) => "until unlocked".to_owned(),
        until => format!("until {}", time(until)),
    };
    let (by, why) = (text_or(lock, "by", "someone"), text_or(lock, "reason", "no reason given"));
    format!("{by} locked deployments {until}: {why}")
}

/// What a rollback led to.
pub(super) fn verified(record: &Value) -> String {
    let from = text_or(record, "from", "the release before");
    let detail = text_or(record, "detail", "");
    let detail = if detail.is_empty() { detail } else { format!(": {detail}") };
    let outcome = match record.get("outcome").and_then(Value::as_str) {
        Some("recovered") => "the service recovered".to_owned(),
        Some("no_change") => "nothing changed, so the deployment was not the cause".to_owned(),
        Some("worse") => "it is WORSE than before".to_owned(),
        Some("unclear") => "it cannot be told what it led to".to_owned(),
        Some(other) => format!("{} (not known to this version)", clean(other)),
        None => "it is not known what it led to".to_owned(),
    };
    format!("after the rollback of {from} {outcome}{detail}")
}

/// Whether a rollback would be possible.
pub(super) fn readied(of: &Value) -> String {
    let target = of.get("target").and_then(Value::as_str).map(|target| format!(" ({})", clean(target)));
    let warnings = list(of, "warnings");
    let warnings = if warnings.is_empty() { warnings } else { format!("; beware: {warnings}") };
    if of.get("ready").and_then(Value::as_bool) == Some(false) {
        return format!("a rollback would FAIL now: {}{warnings}", list(of, "faults"));
    }
    format!("a rollback would be possible now{}{warnings}", target.unwrap_or_default())
}

fn list(of: &Value, key: &str) -> String {
    let list = of.get(key).and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(clean).collect::<Vec<_>>().join("; ")
}

/// The steps of a decision's act, one a line, in their order. A line never changes once it is there.
pub(in crate::cli) fn lines(record: &Value) -> Vec<String> {
    let steps = record.get("steps").and_then(Value::as_array).into_iter().flatten();
    steps.map(|step| format!("{}  {}", time(step.get("at")), line(step))).collect()
}

fn line(step: &Value) -> String {
    let what = match step.get("step").and_then(Value::as_str) {
        Some("cancel_queued") => "cancel what is queued or being built".to_owned(),
        Some("stop_auto_deploy") => "stop the platform from deploying by itself".to_owned(),
        Some("read") => "read once more what is live, and choose the deployment".to_owned(),
        Some("call") => "call the platform".to_owned(),
        Some("find") => "find the new deployment".to_owned(),
        Some(other) => clean(other).replace('_', " "),
        None => "a step that this version cannot read".to_owned(),
    };
    let said = |key: &str| {
        let said = text_or(step, key, "");
        if said.is_empty() { said } else { format!(": {said}") }
    };
    match step.get("outcome").and_then(Value::as_str) {
        Some("begun") => format!("{what}: begun"),
        Some("done") => format!("{what}: done{}", said("detail")),
        Some("failed") => format!("{what}: FAILED{}", said("reason")),
        Some(other) => format!("{what}: {}", clean(other)),
        None => what,
    }
}

/// The reasons that came with rollbacks by hand, budgets and schemas.
pub(super) fn reason(name: &str, reason: &Value) -> Option<String> {
    Some(match name {
        "budget_spent" => format!(
            "{} rollbacks were made of late, and the budget (rollback.an_hour, rollback.a_day) allows the next one at {}",
            reason
                .get("acts")
                .and_then(Value::as_u64)
                .map_or_else(|| "so many".to_owned(), |acts| acts.to_string()),
            time(reason.get("until"))
        ),
        "schema_moved" => format!(
            "the schema that probe {} sees was {} when the target ran and is {} now, so the target may not work with it",
            text_or(reason, "probe", "(unknown)"),
            text_or(reason, "was", "(unknown)"),
            text_or(reason, "is", "(unknown)")
        ),
        "all_down" => {
            let down = reason.get("down").and_then(Value::as_u64);
            let down = down.map_or_else(|| "all".to_owned(), |down| format!("all {down}"));
            format!(
                "the platform reports {down} replicas of the release down, and none of their agents is met: nobody is left to vote"
            )
        }
        "asked_by" => {
            format!(
                "{} asked for it: {}",
                text_or(reason, "by", "someone"),
                text_or(reason, "why", "no reason given")
            )
        }
        _ => return None,
    })
}

/// What to do where one of them stood in the way.
pub(super) fn advice(name: &str) -> Option<&'static str> {
    match name {
        "budget_spent" => Some(
            "Several rollbacks in a row say that going back does not help: look first, then use `outrigger rollback`.",
        ),
        "schema_moved" => Some(
            "Go forward: deploy a repair. If you know that the target works with the new schema, use `outrigger \
             rollback`, or set rollback.ignore_schema.",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::lines;
    use crate::cli::explain::{history, record};

    fn head(kind: &str) -> serde_json::Value {
        json!({ "id": "0abc", "at": "2026-11-23T03:14:08.250Z", "release": "v1", "kind": kind })
    }

    fn with(kind: &str, more: serde_json::Value) -> serde_json::Value {
        let mut record = head(kind);
        let all = record.as_object_mut().unwrap();
        all.extend(more.as_object().unwrap().clone());
        record
    }

    #[test]
    fn locks_outcomes_and_readiness_have_words() {
        for (kind, more, words) in [
            (
                "locked",
                json!({"by": "ana", "reason": "freeze", "until": null}),
                "ana locked deployments until unlocked: freeze",
            ),
            ("unlocked", json!({"by": "ana"}), "ana unlocked deployments"),
            (
                "verified",
                json!({"decision": "0xyz", "from": "v2", "outcome": "no_change", "detail": "v1 is degraded too"}),
                "after the rollback of v2 nothing changed, so the deployment was not the cause: v1 is degraded too",
            ),
            (
                "readied",
                json!({"ready": false, "faults": ["the token was refused"], "warnings": [], "target": null}),
                "a rollback would FAIL now: the token was refused",
            ),
            (
                "readied",
                json!({"ready": true, "faults": [], "warnings": ["auto-deploy is on"], "target": "d-1"}),
                "a rollback would be possible now (d-1); beware: auto-deploy is on",
            ),
        ] {
            let record_of = with(kind, more);
            assert!(history(std::slice::from_ref(&record_of)).contains(words), "{words}");
            let full = record(&record_of);
            assert!(full.lines().count() >= 3, "{full}");
        }
        assert!(record(&with("verified", json!({"outcome": "worse"}))).contains("Act now"));
    }

    #[test]
    fn the_steps_of_an_act_are_told_in_their_order() {
        let steps = json!([
            {"at": "2026-11-23T03:14:08.250Z", "step": "cancel_queued", "outcome": "begun"},
            {"at": "2026-11-23T03:14:09.250Z", "step": "cancel_queued", "outcome": "done", "detail": "none was"},
            {"at": "2026-11-23T03:14:10.250Z", "step": "call", "outcome": "failed", "reason": "429"},
            {"at": "2026-11-23T03:14:11.250Z", "step": "from_the_future", "outcome": "done", "detail": ""}]);
        let lines = lines(&json!({ "steps": steps }));
        assert_eq!(lines[0], "2026-11-23T03:14:08Z  cancel what is queued or being built: begun");
        assert_eq!(lines[1], "2026-11-23T03:14:09Z  cancel what is queued or being built: done: none was");
        assert_eq!(lines[2], "2026-11-23T03:14:10Z  call the platform: FAILED: 429");
        assert_eq!(lines[3], "2026-11-23T03:14:11Z  from the future: done");
    }

    #[test]
    fn what_kept_a_rollback_back_has_words_and_an_advice() {
        for (reason, words, advice) in [
            (
                json!({"reason": "budget_spent", "acts": 2, "until": "2026-11-23T04:14:08.250Z"}),
                "2 rollbacks were made of late",
                "look first",
            ),
            (
                json!({"reason": "schema_moved", "probe": "postgres", "was": "41", "is": "42"}),
                "was 41 when the target ran and is 42 now",
                "Go forward",
            ),
        ] {
            let more = json!({"decision": "hold", "target": "v1", "reasons": [reason], "verdict": {},
                "progress": {"progress": "nothing_to_do"}});
            let record_of = with("decided", more);
            let text = record(&record_of).split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(text.contains(words) && text.contains(advice), "{text}");
            assert!(history(&[record_of]).contains("nothing was done ("));
        }
        let asked = json!({"decision": "roll_back", "target": "v1", "verdict": {"verdict": "healthy"},
            "reasons": [{"reason": "all_down", "down": 3}, {"reason": "asked_by", "by": "ana", "why": "checkout fails"}],
            "steps": [{"at": "2026-11-23T03:14:10.250Z", "step": "call", "outcome": "done", "detail": "true"}],
            "progress": {"progress": "succeeded"}});
        let text = record(&with("decided", asked));
        assert!(
            text.contains("ana asked for it: checkout fails") && text.contains("call the platform: done"),
            "{text}"
        );
        assert!(text.contains("all 3 replicas of the release down"), "{text}");
        assert!(!text.contains("degraded"), "{text}");
    }
}
