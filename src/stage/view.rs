//! What the stage reads of an agent: its snapshot and its records, as any client of its API would.
//!
//! The only place that knows where in the JSON a thing stands. It is lenient: what is missing is shown as missing, for
//! the stage watches agents and does not check their form.

use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;
use serde_json::Value;

use crate::stage::http::Client;

/// How long an agent may take to show itself; then the second is passed over.
const WITHIN: Duration = Duration::from_millis(900);
/// Where the snapshot is,
const SNAPSHOT_PATH: &str = "/api/snapshot";
/// and the newest records.
const RECORDS_PATH: &str = "/api/records?limit=50";

/// What an agent shows of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AgentView {
    /// The release that it judges.
    pub release: String,
    /// The verdict's label.
    pub verdict: String,
    /// Why, or by what breach.
    pub detail: String,
    /// The same in a sentence, where the agent gives one.
    pub why: String,
    /// Whose fault it is, and the same in a sentence; empty where nothing is wrong.
    pub diagnosis: (String, String),
    /// Each stream of evidence (a route's with the route behind its name) and how far it has come, 0 to 1; `latency` is its streams taken together.
    pub evidence: Vec<(String, f64)>,
    /// The release is known good.
    pub known_good: bool,
    /// Its newest records.
    pub records: Vec<RecordView>,
}

/// A record in short.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecordView {
    /// Its id.
    pub id: String,
    /// What kind of happening.
    pub kind: String,
    /// The release that was running.
    pub release: String,
    /// Of a decision: `roll_back` or `hold`.
    pub decision: Option<String>,
    /// Of a decision: the release to put back.
    pub target: Option<String>,
    /// Of a decision: what was passed, such as `errors`, `latency latency_p99` or `route_errors GET /cart`.
    pub breach: Option<String>,
    /// Of a dependency: which,
    pub probe: String,
    /// and why, behind a colon.
    pub why: String,
    /// Of a decision: whose fault it was.
    pub diagnosis: Option<String>,
    /// Of a decision: how far the act has come.
    pub progress: Option<String>,
    /// Of a decision: the proof that this agent was elected to carry it out.
    pub election: Option<Election>,
    /// One line for people.
    pub text: String,
}

/// Who was elected, and by whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Election {
    /// Who.
    pub agent: String,
    /// Who agreed.
    pub voters: Vec<String>,
    /// Of how many.
    pub of: u64,
    /// In the how-manieth election that anybody knows of.
    pub epoch: u64,
}

/// Asks the agent at `admin`; `None` when it shows nothing now.
pub async fn look(client: &Client, admin: SocketAddr) -> Option<AgentView> {
    let host = admin.to_string();
    let (snapshot, records) =
        tokio::join!(get(client, admin, SNAPSHOT_PATH, &host), get(client, admin, RECORDS_PATH, &host));
    let mut view = snapshot_view(&snapshot?);
    view.records = records.as_ref().map(records_view).unwrap_or_default();
    view.known_good |= view.records.iter().any(|r| r.kind == "watch_passed" && r.release == view.release);
    Some(view)
}

async fn get(client: &Client, admin: SocketAddr, path: &str, host: &str) -> Option<Value> {
    let reply = client.get(admin, path, host, WITHIN).await.ok()?;
    if reply.status() != StatusCode::OK {
        return None;
    }
    serde_json::from_slice(reply.body()).ok()
}

fn snapshot_view(snapshot: &Value) -> AgentView {
    // The engine's part may stand by itself or below `engine`.
    let engine = snapshot.get("engine").unwrap_or(snapshot);
    let verdict = &engine["verdict"];
    let evidence = engine["evidence"].as_array().map(Vec::as_slice).unwrap_or_default();
    let joint = engine["latency_progress"].as_f64().map(|progress| ("latency".to_owned(), progress));
    let evidence = evidence.iter().map(|stream| {
        let name = ["stream", "name"].iter().find_map(|key| stream[*key].as_str()).unwrap_or("?");
        let name = match stream["route"].as_str() {
            Some(route) => format!("{name} {route}"),
            None => name.to_owned(),
        };
        (name, stream["progress"].as_f64().unwrap_or_default())
    });
    AgentView {
        release: label(&engine["release"]),
        verdict: label(verdict),
        detail: ["breach", "reason", "detail"]
            .iter()
            .map(|key| label(&verdict[*key]))
            .find(|text| !text.is_empty())
            .unwrap_or_default(),
        why: label(&verdict["why"]),
        diagnosis: (label(&engine["diagnosis"]), label(&engine["diagnosis"]["why"])),
        evidence: evidence.chain(joint).collect(),
        // A watch that is over may still be undone by what other agents saw; then the release does not stand so.
        known_good: label(&engine["standing"]) == "known_good",
        records: Vec::new(),
    }
}

fn records_view(records: &Value) -> Vec<RecordView> {
    let rows = records.get("records").unwrap_or(records).as_array();
    rows.map(|rows| rows.iter().map(record_view).collect()).unwrap_or_default()
}

fn record_view(record: &Value) -> RecordView {
    // A happening may stand beside the record's key or in an object of its own.
    let what = ["what", "happening", "decided", "detail"]
        .iter()
        .map(|key| &record[*key])
        .find(|value| value.is_object())
        .unwrap_or(record);
    let field = |name: &str| {
        let text = [what, record].iter().map(|value| label(&value[name])).find(|text| !text.is_empty());
        text.unwrap_or_default()
    };
    let some = |text: String| (!text.is_empty()).then_some(text);
    let verdict = &what["verdict"];
    let breach = ["breach", "stream", "route"].map(|name| verdict[name].as_str().unwrap_or_default());
    let breach: Vec<&str> = breach.into_iter().filter(|text| !text.is_empty()).collect();
    let mut view = RecordView {
        id: label(&record["id"]),
        kind: field("kind"),
        release: label(&record["release"]),
        decision: some(field("decision")),
        target: some(field("target")),
        breach: some(breach.join(" ")),
        probe: field("probe"),
        why: some(field("why")).map(|why| format!(": {why}")).unwrap_or_default(),
        diagnosis: what["diagnosis"]["diagnosis"].as_str().map(|whose| {
            let ground = what["diagnosis"]["ground"].as_str().unwrap_or_default().replace('_', " ");
            let probe = what["diagnosis"]["probe"].as_str().unwrap_or_default();
            format!("{whose} {ground} {probe}").trim().to_owned()
        }),
        progress: some(field("progress")),
        election: election(&what["certificate"]),
        text: field("summary"),
    };
    if view.text.is_empty() {
        view.text = text(&view, &field("from"), &field("to"));
    }
    view
}

fn election(certificate: &Value) -> Option<Election> {
    let voters = certificate["voters"].as_array()?;
    let name = |value: &Value| value.as_str().or_else(|| value["replica"].as_str()).unwrap_or("?").to_owned();
    let ask = certificate.get("ask").unwrap_or(certificate);
    let roster = certificate.get("roster").unwrap_or(certificate);
    let replicas = roster["replicas"].as_u64().unwrap_or_default();
    // A watcher votes where the replicas are even in number.
    let of = replicas + u64::from(roster["watcher"] == true && replicas.is_multiple_of(2));
    let epoch = ask["epoch"].as_u64().unwrap_or_default();
    Some(Election { agent: name(&ask["candidate"]), voters: voters.iter().map(name).collect(), of, epoch })
}

fn text(view: &RecordView, from: &str, to: &str) -> String {
    match (&view.decision, &view.target, &view.progress) {
        (Some(decision), Some(target), Some(progress)) => {
            let by = view.breach.as_ref().map(|breach| format!(", for {breach}")).unwrap_or_default();
            let whose =
                view.diagnosis.as_ref().map(|whose| format!(", to blame: {whose}")).unwrap_or_default();
            format!("decision {decision} of {} to {target}{by}{whose}: {progress}", view.release)
        }
        (Some(decision), None, _) => format!("decision {decision} on {}", view.release),
        _ if view.kind == "health_changed" => {
            format!("dependency {}: {from} -> {to}{}", view.probe, view.why)
        }
        _ if !to.is_empty() => format!("{} of {}: {from} -> {to}", view.kind.replace('_', " "), view.release),
        _ => format!("{} ({})", view.kind.replace('_', " "), view.release),
    }
}

/// The short name of a value: a text itself, or what an object says it is.
fn label(value: &Value) -> String {
    const KEYS: [&str; 8] = ["label", "verdict", "state", "progress", "kind", "name", "decision", "reason"];
    match value {
        Value::String(text) => text.clone(),
        Value::Object(object) => KEYS
            .iter()
            .find_map(|key| object.get(*key).and_then(Value::as_str))
            .or_else(|| (object.len() == 1).then(|| object.keys().next().map(String::as_str)).flatten())
            .unwrap_or_default()
            .to_owned(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_snapshot_is_read_flat_or_below_engine() {
        let engine = json!({
            "release": "v2",
            "verdict": { "verdict": "degraded", "breach": "errors" },
            "evidence": [
                { "stream": "errors", "route": null, "progress": 0.5 },
                { "stream": "route_errors", "route": "GET /cart", "progress": 0.25 },
            ],
            "watch": { "passed": true },
            "standing": "known_good",
        });
        let flat = snapshot_view(&engine);
        assert_eq!((flat.verdict.as_str(), flat.detail.as_str()), ("degraded", "errors"));
        assert_eq!(flat.evidence, [("errors".to_owned(), 0.5), ("route_errors GET /cart".to_owned(), 0.25)]);
        assert!(flat.known_good);
        assert_eq!(snapshot_view(&json!({ "engine": engine })), flat);
        assert_eq!(snapshot_view(&json!({})), AgentView::default());
    }

    #[test]
    fn a_decision_of_several_says_who_agreed() {
        let ask = json!({ "epoch": 1, "candidate": { "replica": "r1-d2", "boot": "a" } });
        let voters = json!([{ "replica": "r1-d2" }, "r2-d2"]);
        let certificate = json!({ "ask": ask, "voters": voters, "roster": { "replicas": 3 } });
        let rows = json!([{ "id": "a", "decided": { "decision": "roll_back", "certificate": certificate } }]);
        let expected = Election {
            agent: "r1-d2".to_owned(),
            voters: vec!["r1-d2".to_owned(), "r2-d2".to_owned()],
            of: 3,
            epoch: 1,
        };
        assert_eq!(records_view(&rows)[0].election, Some(expected));
    }

    #[test]
    fn a_decision_is_read_flat_or_nested() {
        let nested = json!({ "records": [{
            "id": "a", "kind": "decided", "release": "v2",
            "decided": { "decision": "roll_back", "target": "v1", "progress": { "state": "succeeded" } },
        }]});
        let flat = json!([{
            "id": "a", "kind": "decided", "release": "v2",
            "decision": "roll_back", "target": "v1", "progress": "succeeded",
        }]);
        assert_eq!(records_view(&nested), records_view(&flat));
        assert_eq!(records_view(&flat)[0].text, "decision roll_back of v2 to v1: succeeded");
        let mut told = flat;
        told[0]["verdict"] =
            json!({ "verdict": "degraded", "breach": "route_errors", "route": "GET /cart", "since": "…" });
        let told = &records_view(&told)[0];
        assert_eq!(told.breach.as_deref(), Some("route_errors GET /cart"));
        assert_eq!(told.text, "decision roll_back of v2 to v1, for route_errors GET /cart: succeeded");
    }
}
