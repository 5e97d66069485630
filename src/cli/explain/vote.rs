//! The vote in words: who agreed, who did not, and what that kept from being done.

use serde_json::Value;

use crate::cli::explain::figures::{clean, text_or, thousands, whole};

/// A reason that the vote gave, as a sentence; `None` where it gave none of that name.
pub(super) fn reason(name: &str, reason: &Value) -> Option<String> {
    let count = |key: &str| whole(reason, key).map_or_else(|| "?".to_owned(), thousands);
    Some(match name {
        "elected" => {
            let down = whole(reason, "down").filter(|&down| down > 0);
            let down = down.map(|down| format!(", {down} for replicas that the platform reports down"));
            let down = down.unwrap_or_default();
            format!(
                "enough agents agreed: {} votes for it{down}, and {} are enough",
                count("yes"),
                count("needed")
            )
        }
        "not_elected" => {
            format!(
                "too few agents agreed: {} votes for it, and {} are needed",
                count("yes"),
                count("needed")
            )
        }
        "left_to_others" => {
            "this agent may not call the platform, so it votes and leaves the call to another".to_owned()
        }
        "platform_unread" => {
            let why = text_or(reason, "why", "it is not known why");
            format!("the platform could not say what is live, and without that nothing is done: {why}")
        }
        "no_longer_live" => {
            let live = text_or(reason, "live", "another release");
            format!("the platform says that {live} is live by now, so there is nothing to put back")
        }
        "decided_elsewhere" => {
            format!(
                "another agent has decided already ({})",
                text_or(reason, "record", "its record is not known")
            )
        }
        "refused" => format!(
            "the platform refused the order, and nothing was done: {}",
            text_or(reason, "why", "it did not say why")
        ),
        "too_many_voters" => format!(
            "{} agents with a vote are met and there should be {}, so a majority would mean nothing",
            count("met"),
            count("votes")
        ),
        "lease_over" => {
            "the time for which the others had agreed was over before the order could be given".to_owned()
        }
        _ => return None,
    })
}

/// What to do where the vote stood in the way.
pub(super) fn advice(name: &str) -> Option<&'static str> {
    match name {
        "not_elected" => Some(
            "See with `outrigger quorum` which agents can be reached and who may act; the others' own records say why \
             they did not agree.",
        ),
        "left_to_others" => Some(
            "Look at the record of the agent that acts. If no agent has the platform's token, none can: see `outrigger \
             quorum`.",
        ),
        "platform_unread" => Some("See that the platform can be reached and that its token still holds."),
        "no_longer_live" => Some("Nothing, if that release is the one that you want."),
        "decided_elsewhere" => Some("See that agent's record; it says how far the rollback has come."),
        "refused" => Some("The agents vote again, some times. What the platform said is to be mended there."),
        "too_many_voters" => Some(
            "Set `service.replicas` to the number of replicas, and `service.deployment` where the platform names deployments; run one watcher.",
        ),
        "lease_over" => Some(
            "The agents vote again while the release stays degraded. If it recurs, the platform is slow.",
        ),
        _ => None,
    }
}

/// A certificate: who agreed, on what, by which roster.
pub(super) fn agreed(certificate: &Value) -> Vec<String> {
    if !certificate.is_object() {
        return Vec::new();
    }
    let (ask, roster) = (&certificate["ask"], &certificate["roster"]);
    let voters = certificate["voters"].as_array().map_or(&[][..], Vec::as_slice);
    let names: Vec<String> = voters.iter().map(|voter| text_or(voter, "replica", "(unnamed)")).collect();
    let mut first = match votes(roster) {
        Some(votes) => format!("{} of {votes} agreed", names.len()),
        None => format!("{} agreed", names.len()),
    };
    if !names.is_empty() {
        first.push_str(&format!(": {}", names.join(", ")));
    }
    if let Some(down) = whole(roster, "down").filter(|&down| down > 0) {
        first.push_str(&format!("; {down} more that the platform reported down count with them"));
    }
    let caller = text_or(&ask["candidate"], "replica", "an agent that is not known");
    let (deployment, target) = (text_or(ask, "deployment", "?"), text_or(ask, "target", "?"));
    let epoch = whole(ask, "epoch").map(|epoch| format!(", epoch {epoch}")).unwrap_or_default();
    vec![
        first + ".",
        format!("{caller} was let call the platform: deployment {deployment}, back to {target}{epoch}."),
        entitled(roster),
    ]
}

/// The roster in words.
fn entitled(roster: &Value) -> String {
    let replicas = whole(roster, "replicas").map_or_else(|| "?".to_owned(), thousands);
    let watcher = if roster["watcher"].as_bool() == Some(true) { " and a watcher" } else { "" };
    let version = roster["version"].as_str().unwrap_or("");
    let by = if version.trim_start_matches('0').is_empty() {
        "by the configuration".to_owned()
    } else {
        format!("by the platform's list {}", clean(version))
    };
    format!("Who may vote: {replicas} replicas{watcher}, {by}.")
}

/// All votes there are: the watcher's counts where the replicas are even in number.
fn votes(roster: &Value) -> Option<u64> {
    let replicas = whole(roster, "replicas")?;
    let tie = roster["watcher"].as_bool() == Some(true) && replicas.is_multiple_of(2);
    Some(replicas + u64::from(tie))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::cli::explain::{history, record};

    fn decided(reasons: serde_json::Value, certificate: serde_json::Value) -> serde_json::Value {
        json!({
            "id": "0abc", "at": "2025-11-22T03:14:08.250Z", "at_ms": 1_763_781_248_250_u64, "release": "v2",
            "kind": "decided", "decision": "hold", "target": "v1", "reasons": reasons,
            "verdict": {"verdict": "degraded", "breach": "errors", "since": "2025-11-22T03:14:05.000Z"},
            "evidence": [], "baseline": null, "ready_at": null, "policy": {},
            "progress": {"progress": "nothing_to_do"}, "certificate": certificate
        })
    }

    #[test]
    fn an_election_says_who_agreed_and_who_might_have() {
        let certificate = json!({
            "ask": {"deployment": "d-7", "epoch": 3, "target": "v1",
                "candidate": {"replica": "replica-a", "boot": "00"}, "roster": "0000000000000000"},
            "voters": [{"replica": "replica-a", "boot": "00"}, {"replica": "replica-c", "boot": "01"}],
            "roster": {"version": "0000000000000000", "replicas": 3, "watcher": true, "down": 1}});
        let elected = json!([{"reason": "elected", "yes": 2, "down": 1, "needed": 2}]);
        let text = record(&decided(elected, certificate));
        for line in [
            "enough agents agreed: 2 votes for it, 1 for replicas that the platform reports down, and 2 are enough",
            "2 of 3 agreed: replica-a, replica-c; 1 more that the platform reported down count with them.",
            "replica-a was let call the platform: deployment d-7, back to v1, epoch 3.",
            "Who may vote: 3 replicas and a watcher, by the configuration.",
        ] {
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(text.contains(line), "{line} in {text}");
        }
        let text =
            record(&decided(json!([]), json!({"roster": {"replicas": 2, "watcher": true, "version": "0f"}})));
        assert!(text.contains("0 of 3 agreed.") && text.contains("by the platform's list 0f"), "{text}");
    }

    #[test]
    fn each_reason_of_the_vote_has_words_and_an_advice() {
        for (reason, words, advice) in [
            (
                json!({"reason": "not_elected", "yes": 1, "needed": 2}),
                "1 votes for it, and 2 are needed",
                "outrigger quorum",
            ),
            (json!({"reason": "left_to_others"}), "leaves the call to another", "the agent that acts"),
            (
                json!({"reason": "platform_unread", "why": "401"}),
                "nothing is done: 401",
                "its token still holds",
            ),
            (json!({"reason": "no_longer_live", "live": "v3"}), "v3 is live by now", "the one that you want"),
            (json!({"reason": "decided_elsewhere", "record": "0xyz"}), "decided already (0xyz)", "how far"),
            (json!({"reason": "lease_over"}), "was over before the order", "the platform is slow"),
        ] {
            let record_of = decided(json!([reason]), json!(null));
            let text = record(&record_of).split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(text.contains(words) && text.contains(advice), "{reason}: {text}");
            assert!(!text.contains("Who agreed"));
            let name = reason["reason"].as_str().unwrap().replace('_', " ");
            assert!(history(&[record_of]).contains(&format!("nothing was done ({name})")));
        }
    }
}
