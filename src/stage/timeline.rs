//! What the demo tells, as it happens: each event once, as a line for people or as JSON.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::stage::app::Behaviour;
use crate::stage::event::{AgentExit, StageEvent};
use crate::stage::fleet::FleetEvent;
use crate::stage::load::Served;
use crate::stage::view::{AgentView, Election, RecordView};

/// An event and when it was seen, counted from the demo's start.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When.
    pub t: Duration,
    /// What.
    pub what: What,
}

/// What is told.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// The demo began.
    Began {
        /// The scenario.
        scenario: Behaviour,
        /// Requests a second.
        rate: f64,
        /// The seed.
        seed: u64,
        /// Where clients go.
        edge: SocketAddr,
    },
    /// A setting that is not the default, and why.
    Override {
        /// `watch = "55s" instead of "15m"`, say.
        text: String,
    },
    /// The script says what comes next.
    Note {
        /// In a sentence.
        text: String,
    },
    /// Something happened on the stage.
    Stage(StageEvent),
    /// The agent wrote a record, or wrote it again with more known.
    Record(RecordView),
    /// Something changed among several agents.
    Fleet(FleetEvent),
    /// A second went by.
    Second(Second),
    /// The end.
    Summary(Box<Summary>),
}

/// One second of the demo.
#[derive(Clone, Debug, PartialEq)]
pub struct Second {
    /// The release that is live.
    pub release: Option<String>,
    /// What clients saw.
    pub served: Served,
    /// What the agent shows; `None` while it shows nothing.
    pub agent: Option<AgentView>,
}

/// The demo in figures.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// The scenario.
    pub scenario: Behaviour,
    /// Whether the agent judged.
    pub judging: bool,
    /// Why the agent was wrong; `None`: it did what was right.
    pub fault: Option<String>,
    /// What clients saw in all.
    pub served: Served,
    /// Rollbacks really carried out.
    pub rollbacks: u64,
    /// Agents of each deployment.
    pub replicas: usize,
    /// The vote: who carried the rollback out, and who agreed; `None`: there was none.
    pub election: Option<Election>,
    /// How many elections there were.
    pub elections: usize,
    /// Agents of the release on trial that hold a baseline which they did not learn themselves, and from whom; the latter is
    /// empty where they do not say.
    pub baselines_from: Vec<(String, String)>,
    /// When the fault began.
    pub onset: Option<Duration>,
    /// From there to the verdict.
    pub time_to_verdict: Option<Duration>,
    /// From there to the first of ten good seconds.
    pub time_to_recovery: Option<Duration>,
    /// Whose fault the agent said it is, by its label and in its own words.
    pub diagnosis: Option<(String, String)>,
    /// How long the demo took.
    pub took: Duration,
}

impl Event {
    /// Who did it.
    pub fn who(&self) -> &'static str {
        match &self.what {
            What::Record(_) | What::Fleet(_) => "agent",
            What::Stage(StageEvent::WentLive { .. }) => "edge",
            What::Stage(StageEvent::FaultBegan { .. }) => "app",
            What::Stage(StageEvent::Listening { .. } | StageEvent::Exited { .. }) => "agent",
            What::Began { .. }
            | What::Override { .. }
            | What::Note { .. }
            | What::Stage(_)
            | What::Second(_)
            | What::Summary(_) => "stage",
        }
    }

    /// The line for people; `None` for what has no line of its own.
    pub fn text(&self) -> Option<String> {
        match &self.what {
            What::Began { scenario, rate, seed, edge } => {
                Some(format!("scenario {scenario}, {rate} requests a second to http://{edge}, seed {seed}"))
            }
            What::Override { text } | What::Note { text } => Some(text.clone()),
            What::Stage(event) => Some(stage_text(event)),
            What::Record(record) => Some(record.text.clone()),
            What::Fleet(event) => Some(format!("{} {}", event.agent(), event.text())),
            What::Second(_) | What::Summary(_) => None,
        }
    }

    /// One JSON object: `t` in seconds, `event`, and what belongs to it.
    pub fn json(&self) -> Value {
        let (name, mut value) = match &self.what {
            What::Began { scenario, rate, seed, edge } => (
                "began",
                json!({ "scenario": scenario.label(), "rate": rate, "seed": seed, "edge": edge.to_string() }),
            ),
            What::Override { text } => ("override", json!({ "text": text })),
            What::Note { text } => ("note", json!({ "text": text })),
            What::Stage(event) => stage_json(event),
            What::Record(record) => ("record", record_json(record)),
            What::Fleet(event) => event.json(),
            What::Second(second) => ("second", second_json(second)),
            What::Summary(summary) => ("summary", summary_json(summary)),
        };
        value["t"] = seconds(self.t);
        value["event"] = name.into();
        value
    }
}

fn seconds(time: Duration) -> Value {
    ((time.as_secs_f64() * 1000.0).round() / 1000.0).into()
}

fn rounded(figure: f64) -> f64 {
    (figure * 1e4).round() / 1e4
}

fn exit_text(exit: &AgentExit) -> String {
    match (exit.code, exit.signal) {
        (Some(code), _) => format!("exited with {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

fn stage_text(event: &StageEvent) -> String {
    match event {
        StageEvent::Created { id, release, volume_from: Some(from) } => {
            format!("deploying {release} as {id}, its volume copied from {from}")
        }
        StageEvent::Created { id, release, volume_from: None } => format!("deploying {release} as {id}"),
        StageEvent::Listening { agent, pid, addresses, .. } => {
            format!("{agent} listens (process {pid}), dashboard http://{}/", addresses.admin)
        }
        StageEvent::WentLive { id, release, admin, replicas: 1 } => {
            format!("{release} is live ({id}); dashboard http://{admin}/")
        }
        StageEvent::WentLive { id, release, replicas, .. } => {
            format!("{release} is live ({id}, {replicas} replicas)")
        }
        StageEvent::Unhealthy { id, reason } => {
            format!("{id} failed its health check, the former stays live: {reason}")
        }
        StageEvent::Terminating { agent, .. } => format!("SIGTERM to {agent}"),
        StageEvent::Killed { agent, .. } => format!("SIGKILL to {agent}"),
        StageEvent::Exited { agent, exit, .. } => format!("{agent} {}", exit_text(exit)),
        StageEvent::Restarting { agent, attempt, after, .. } => {
            let after = humantime::format_duration(*after);
            format!("{agent} is started again in {after} (restart {attempt})")
        }
        StageEvent::Crashed { agent, .. } => format!("{agent} failed too often and is not started again"),
        StageEvent::Removed { id } => format!("{id} is gone"),
        StageEvent::FaultBegan { agent, .. } => format!("the app of {agent} begins to misbehave"),
        StageEvent::RollbackTaken { decision, from, to, deployment } => {
            format!("rollback of {from} to {to} taken as {deployment} (decision {decision})")
        }
        StageEvent::RollbackRepeated { decision } => {
            format!("decision {decision} was ordered again: answered as before")
        }
        StageEvent::RollbackRefused { decision, reason } => format!("decision {decision} refused: {reason}"),
    }
}

fn stage_json(event: &StageEvent) -> (&'static str, Value) {
    match event {
        StageEvent::Created { id, release, volume_from } => {
            ("created", json!({ "deployment": id, "release": release, "volume_from": volume_from }))
        }
        StageEvent::Listening { id, agent, pid, addresses } => (
            "listening",
            json!({
                "deployment": id,
                "agent": agent,
                "pid": pid,
                "public": addresses.public.to_string(),
                "admin": addresses.admin.to_string(),
            }),
        ),
        StageEvent::WentLive { id, release, admin, replicas } => {
            let dashboard = format!("http://{admin}/");
            let live =
                json!({ "deployment": id, "release": release, "dashboard": dashboard, "replicas": replicas });
            ("live", live)
        }
        StageEvent::Unhealthy { id, reason } => ("unhealthy", json!({ "deployment": id, "reason": reason })),
        StageEvent::Terminating { id, agent } => ("terminating", json!({ "deployment": id, "agent": agent })),
        StageEvent::Killed { id, agent } => ("killed", json!({ "deployment": id, "agent": agent })),
        StageEvent::Exited { id, agent, exit } => {
            ("exited", json!({ "deployment": id, "agent": agent, "code": exit.code, "signal": exit.signal }))
        }
        StageEvent::Restarting { id, agent, attempt, after } => {
            let after = seconds(*after);
            let again =
                json!({ "deployment": id, "agent": agent, "attempt": attempt, "after_seconds": after });
            ("restarting", again)
        }
        StageEvent::Crashed { id, agent } => ("crashed", json!({ "deployment": id, "agent": agent })),
        StageEvent::Removed { id } => ("removed", json!({ "deployment": id })),
        StageEvent::FaultBegan { id, agent } => ("fault_began", json!({ "deployment": id, "agent": agent })),
        StageEvent::RollbackTaken { decision, from, to, deployment } => (
            "rollback_taken",
            json!({ "decision": decision, "from": from, "to": to, "deployment": deployment }),
        ),
        StageEvent::RollbackRepeated { decision } => ("rollback_repeated", json!({ "decision": decision })),
        StageEvent::RollbackRefused { decision, reason } => {
            ("rollback_refused", json!({ "decision": decision, "reason": reason }))
        }
    }
}

fn record_json(record: &RecordView) -> Value {
    json!({
        "record": record.id,
        "kind": record.kind,
        "release": record.release,
        "decision": record.decision,
        "target": record.target,
        "breach": record.breach,
        "progress": record.progress,
        "text": record.text,
    })
}

fn second_json(second: &Second) -> Value {
    let agent = second.agent.as_ref().map(|agent| {
        let evidence: serde_json::Map<_, _> =
            agent.evidence.iter().map(|(name, progress)| (name.clone(), rounded(*progress).into())).collect();
        json!({
            "release": agent.release,
            "verdict": agent.verdict,
            "detail": agent.detail,
            "why": agent.why,
            "known_good": agent.known_good,
            "evidence": evidence,
        })
    });
    json!({
        "release": second.release,
        "requests": second.served.requests,
        "failed": second.served.failed,
        "timed_out": second.served.timed_out,
        "p50_ms": rounded(second.served.p50_ms),
        "p99_ms": rounded(second.served.p99_ms),
        "agent": agent,
    })
}

fn summary_json(summary: &Summary) -> Value {
    let baselines = summary.baselines_from.iter().map(|(agent, from)| (agent.clone(), from.as_str().into()));
    let baselines: serde_json::Map<String, Value> = baselines.collect();
    json!({
        "scenario": summary.scenario.label(),
        "judge": summary.judging,
        "ok": summary.fault.is_none(),
        "reason": summary.fault,
        "requests": summary.served.requests,
        "failed": summary.served.failed,
        "timed_out": summary.served.timed_out,
        "failed_share": rounded(summary.served.failed_share()),
        "rollbacks": summary.rollbacks,
        "replicas": summary.replicas,
        "elections": summary.elections,
        "elected": summary.election.as_ref().map(|election| &election.agent),
        "agreed": summary.election.as_ref().map(|election| &election.voters),
        "votes": summary.election.as_ref().map(|election| election.of),
        "baselines_from": baselines,
        "onset": summary.onset.map(seconds),
        "time_to_verdict": summary.time_to_verdict.map(seconds),
        "time_to_recovery": summary.time_to_recovery.map(seconds),
        "diagnosis": summary.diagnosis.as_ref().map(|(label, _)| label),
        "why": summary.diagnosis.as_ref().map(|(_, why)| why),
        "took": seconds(summary.took),
    })
}
