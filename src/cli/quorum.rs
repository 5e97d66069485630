//! `outrigger quorum`: before it is needed, whether enough agents could agree and one of them act.
//!
//! The running agent knows; this asks it and says it in words. Exit code 0 where a quorum can be reached, else 1.

use serde_json::Value;

use crate::cli::explain::figures::{clean, text_or, whole};

/// The answer as text.
pub(super) fn text(quorum: &Value) -> String {
    let count = |key: &str| whole(quorum, key).map_or_else(|| "?".to_owned(), |n| n.to_string());
    let names = |key: &str| {
        let names = quorum.get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let names: Vec<String> = names.iter().filter_map(Value::as_str).map(clean).collect();
        if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
    };
    let head = if is_reachable(quorum) { "A quorum can be reached." } else { "A quorum can NOT be reached." };
    let mut text = format!("{head}\n\n");
    text.push_str(&format!(
        "votes      {} of {} replicas, {} needed\n",
        count("votes"),
        count("replicas"),
        count("needed")
    ));
    text.push_str(&format!("may vote   {}\n", names("voters")));
    text.push_str(&format!("may act    {}\n", names("callers")));
    for (key, title) in [("missing", "missing"), ("warnings", "warning")] {
        for of in quorum.get(key).and_then(Value::as_array).into_iter().flatten() {
            text.push_str(&format!(
                "{title:<11}{}\n",
                text_or(of, "says", "something that this version cannot read")
            ));
        }
    }
    text
}

/// Whether the agent says that a quorum can be reached.
pub(super) fn is_reachable(quorum: &Value) -> bool {
    quorum.get("reachable").and_then(Value::as_bool) == Some(true)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_missing_is_said_before_it_is_needed() {
        let quorum = json!({"reachable": false, "replicas": 3, "votes": 3, "needed": 2, "voters": ["a"], "callers": [],
            "missing": [{"code": "too_few_voters", "says": "1 of 3"}, {"code": "no_caller", "says": "no agent"}],
            "warnings": [{"code": "no_watcher", "says": "none is met"}]});
        let expected = "A quorum can NOT be reached.\n\nvotes      3 of 3 replicas, 2 needed\nmay vote   a\n\
                        may act    nobody\nmissing    1 of 3\nmissing    no agent\nwarning    none is met\n";
        assert_eq!(text(&quorum), expected);
        assert!(!is_reachable(&quorum) && !is_reachable(&json!({})));
        assert!(is_reachable(&json!({"reachable": true})));
    }
}
