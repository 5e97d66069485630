//! What is read of one agent among several: the only place that knows where in its JSON peers, baseline and ballot stand.

use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;
use serde_json::Value;

use crate::stage::http::Client;
use crate::stage::platform::AgentRow;

/// How long an agent may take to show itself; then this look is passed over.
const WITHIN: Duration = Duration::from_millis(500);
/// Where the verdict and the baseline are,
const SNAPSHOT_PATH: &str = "/api/snapshot";
/// and whom it has met, and the vote.
const PEERS_PATH: &str = "/api/peers";
/// Names in one list that are read; the rest is not told.
const NAMES_MAX: usize = 64;

/// One look at one agent.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sight {
    pub(super) name: String,
    pub(super) pid: u32,
    pub(super) release: String,
    pub(super) verdict: String,
    pub(super) detail: String,
    pub(super) met: Vec<String>,
    pub(super) baseline: Option<Held>,
    pub(super) standing: Option<Standing>,
}

/// A baseline that an agent holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Held {
    pub(super) release: String,
    pub(super) requests: u64,
    pub(super) from: Option<String>,
}

/// An election that an agent stands in.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Standing {
    pub(super) epoch: u64,
    pub(super) target: String,
    /// Who, how, and why not.
    pub(super) answers: Vec<(String, String, String)>,
    /// Votes that are enough.
    pub(super) needed: u64,
    /// Votes that there are.
    pub(super) votes: u64,
}

/// Asks the agent; `None` when it shows nothing now.
pub(super) async fn look(client: &Client, row: &AgentRow) -> Option<Sight> {
    let (pid, addresses) = row.running?;
    let (snapshot, peers) =
        tokio::join!(get(client, addresses.admin, SNAPSHOT_PATH), get(client, addresses.admin, PEERS_PATH));
    let (name, release) = (row.name.clone(), row.release.clone());
    Some(Sight { name, pid, release, ..read(&snapshot?, &peers.unwrap_or_default()) })
}

async fn get(client: &Client, admin: SocketAddr, path: &str) -> Option<Value> {
    let reply = client.get(admin, path, &admin.to_string(), WITHIN).await.ok()?;
    if reply.status() != StatusCode::OK {
        return None;
    }
    serde_json::from_slice(reply.body()).ok()
}

/// What both pages show.
fn read(snapshot: &Value, peers: &Value) -> Sight {
    // The engine's part may stand by itself or below `engine`.
    let engine = snapshot.get("engine").unwrap_or(snapshot);
    let verdict = &engine["verdict"];
    Sight {
        verdict: first(verdict, &["label", "verdict"]),
        detail: first(verdict, &["breach"]),
        met: list(&peers["peers"]).map(name).filter(|text| !text.is_empty()).collect(),
        baseline: held(&engine["baseline"]),
        standing: standing(&peers["ballot"]["standing"], peers["quorum"]["votes"].as_u64()),
        ..Sight::default()
    }
}

fn held(baseline: &Value) -> Option<Held> {
    let release = baseline["release"].as_str()?.to_owned();
    let from = Some(first(baseline, &["from_replica", "source"])).filter(|text| !text.is_empty());
    Some(Held { release, requests: baseline["requests"].as_u64().unwrap_or_default(), from })
}

fn standing(standing: &Value, votes: Option<u64>) -> Option<Standing> {
    let epoch = standing["ask"]["epoch"].as_u64()?;
    let answers = list(&standing["answers"]).map(|answer| {
        let opinion = &answer["opinion"];
        (name(answer), first(opinion, &["says"]), opinion["why"].as_str().unwrap_or_default().to_owned())
    });
    Some(Standing {
        epoch,
        target: first(&standing["ask"], &["target"]),
        answers: answers.collect(),
        needed: standing["needed"].as_u64().unwrap_or(u64::MAX),
        votes: votes.unwrap_or_default(),
    })
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().map(Vec::as_slice).unwrap_or_default().iter().take(NAMES_MAX)
}

/// The text itself, or the first of these members that is one.
fn first(value: &Value, keys: &[&str]) -> String {
    let text = value.as_str().or_else(|| keys.iter().find_map(|key| value[*key].as_str()));
    text.unwrap_or_default().to_owned()
}

/// The name of a replica.
fn name(value: &Value) -> String {
    first(value, &["replica", "name"])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_agent_that_shows_nothing_of_peers_is_seen_all_the_same() {
        let snapshot = json!({
            "release": "v2",
            "verdict": { "label": "degraded", "breach": "errors" },
            "baseline": { "release": "v1", "requests": 4000 },
        });
        let seen = read(&snapshot, &Value::Null);
        assert_eq!((seen.verdict.as_str(), seen.detail.as_str()), ("degraded", "errors"));
        assert_eq!(seen.baseline, Some(Held { release: "v1".to_owned(), requests: 4000, from: None }));
        assert_eq!((seen.met.len(), seen.standing), (0, None));
        assert_eq!(read(&Value::Null, &Value::Null), Sight::default());
    }

    #[test]
    fn peers_and_the_vote_are_read() {
        let peers = json!({
            "peers": [{ "replica": "r2-d2", "boot": "1" }],
            "quorum": { "votes": 3 },
            "ballot": { "standing": {
                "ask": { "epoch": 1, "target": "v1", "candidate": "r1-d2" },
                "needed": 2,
                "answers": [{ "replica": "r2-d2", "opinion": { "says": "no", "why": "a person paused acting" } }],
            }},
        });
        let seen = read(&json!({}), &peers);
        assert_eq!(seen.met, ["r2-d2"]);
        let answer = ("r2-d2".to_owned(), "no".to_owned(), "a person paused acting".to_owned());
        let target = "v1".to_owned();
        let expected = Standing { epoch: 1, target, answers: vec![answer], needed: 2, votes: 3 };
        assert_eq!(seen.standing, Some(expected));
        let waiting = json!({ "ballot": { "standing": { "ask": null, "answers": [] } } });
        assert_eq!(read(&json!({}), &waiting).standing, None, "others come first");
    }
}
