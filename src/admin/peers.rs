//! The agents of other replicas, the evidence that they share and the vote, as the API, the page and the metrics show them; and
//! whether a quorum could be reached now, before one is needed.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use prometheus::proto::MetricFamily;
use serde_json::{Value, json};

use crate::admin::live::Live;
use crate::admin::metrics::{counter, flag, gauge};
use crate::admin::view::rfc3339;
use crate::engine::ballot::{Abstention, Ask, Objection, Opinion, Roster, Standing};
use crate::engine::fleet::FleetView;
use crate::engine::peer::{Hello, Role};
use crate::engine::policy::Mode;

/// What may be seen of peers. Filled by the agent.
#[derive(Clone, Debug, PartialEq)]
pub struct PeersView {
    /// The engine's own view: who this agent is, who could vote and call, the vote.
    pub fleet: FleetView,
    /// What this agent says of itself; `None` before it has said anything.
    pub hello: Option<Hello>,
    /// Where it listens.
    pub address: Option<SocketAddr>,
    /// Who is met, ascending by replica.
    pub peers: Vec<PeerView>,
    /// Addresses where nobody answered yet, or somebody who is refused.
    pub unmet: Vec<SocketAddr>,
    /// Bytes sent since the start.
    pub sent_bytes: u64,
    /// Bytes received since the start.
    pub received_bytes: u64,
    /// Refused since the start, by reason.
    pub refused: Vec<(&'static str, u64)>,
    /// Messages dropped at a full queue.
    pub dropped: u64,
}

/// What may be seen of one peer.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerView {
    /// What it says of itself.
    pub hello: Hello,
    /// Its version of Outrigger.
    pub version: String,
    /// Where it is.
    pub address: SocketAddr,
    /// How long ago it was last heard of.
    pub heard_ago: Duration,
    /// How long the last question and its answer took.
    pub round_trip: Option<Duration>,
}

/// Whether a quorum could be reached now.
#[derive(Debug)]
struct Quorum {
    replicas: u32,
    votes: u32,
    needed: u32,
    voters: Vec<String>,
    callers: Vec<String>,
    /// What is missing, by a name that does not change, and in words.
    missing: Vec<(&'static str, String)>,
    /// What does not stand in the way now and may later.
    warnings: Vec<(&'static str, String)>,
}

/// The page `/api/peers`.
pub(super) fn json(live: &Live) -> Value {
    let quorum = Quorum::of(live).json();
    let Some(view) = &live.peers else { return json!({ "on": false, "quorum": quorum }) };
    let fleet = &view.fleet;
    let own = view.hello.as_ref().map(hello_json);
    let shared = fleet.shared.as_ref().map(|(end, by)| {
        let by: Vec<&str> = by.iter().map(|peer| &*peer.replica).collect();
        json!({ "slot_end": rfc3339(*end), "by": by })
    });
    let refused: serde_json::Map<_, _> =
        view.refused.iter().map(|(why, count)| ((*why).to_owned(), json!(count))).collect();
    json!({
        "on": true,
        "replica": &*fleet.me.replica,
        "boot": fleet.me.boot.to_string(),
        "role": fleet.role.label(),
        "deployment": fleet.deployment.as_str(),
        "control": fleet.control.as_ref().map(|of| of.as_str()),
        "may_call": fleet.may_call,
        "address": view.address,
        "own": own,
        "peers": view.peers.iter().map(|peer| peer_json(peer, view)).collect::<Vec<_>>(),
        "unmet": view.unmet,
        "shared": shared,
        "refused_shares": fleet.refused_shares,
        "ballot": ballot_json(fleet),
        "quorum": quorum,
        "sent_bytes": view.sent_bytes,
        "received_bytes": view.received_bytes,
        "refused": refused,
        "dropped": view.dropped,
    })
}

fn hello_json(of: &Hello) -> Value {
    json!({
        "replica": &*of.peer.replica,
        "boot": of.peer.boot.to_string(),
        "role": of.role.label(),
        "deployment": of.deployment.as_str(),
        "release": of.release.as_str(),
        "booted": rfc3339(of.booted),
        "ready": of.is_ready,
        "leaving": of.is_leaving,
        "mode": of.mode.label(),
        "may_call": of.may_call,
        "policy": format!("{:016x}", of.policy),
        "baseline": format!("{:016x}", of.baseline),
        "roster": roster_json(&of.roster),
    })
}

fn peer_json(of: &PeerView, view: &PeersView) -> Value {
    let mut json = hello_json(&of.hello);
    let answer = view.fleet.ballot.standing.iter().flat_map(|standing| &standing.answers);
    let answer =
        answer.filter(|(voter, _)| *voter == of.hello.peer).map(|(_, opinion)| opinion_json(*opinion)).next();
    json["version"] = json!(of.version);
    json["address"] = json!(of.address);
    json["heard_ago_seconds"] = json!(of.heard_ago.as_secs_f64());
    json["round_trip_us"] = json!(of.round_trip.map(|took| took.as_micros() as u64));
    json["answer"] = json!(answer);
    json["differs"] = json!(view.hello.as_ref().map_or_else(Vec::new, |own| differs(own, &of.hello)));
    json
}

fn roster_json(of: &Roster) -> Value {
    let version = format!("{:016x}", of.version);
    json!({ "version": version, "replicas": of.replicas, "watcher": of.watcher, "down": of.down,
            "votes": of.votes(), "needed": of.needed() })
}

fn ballot_json(fleet: &FleetView) -> Value {
    let ballot = &fleet.ballot;
    let seconds = |left: Option<Duration>| left.map(|left| left.as_secs_f64());
    let granted = ballot.granted.as_ref().map(|(ask, left)| {
        let mut json = ask_json(ask);
        json["binds_seconds"] = json!(left.as_secs_f64());
        json
    });
    json!({
        "standing": ballot.standing.as_ref().map(standing_json),
        "granted": granted,
        "tilt_seconds": seconds(ballot.tilt),
        "quiet_seconds": seconds(ballot.quiet),
    })
}

fn standing_json(of: &Standing) -> Value {
    let answer = |(voter, opinion): &(crate::engine::peer::Peer, Opinion)| json!({ "replica": &*voter.replica, "opinion": opinion_json(*opinion) });
    json!({
        "ask": of.ask.as_ref().map(ask_json),
        "attempt": of.attempt,
        "needed": of.needed,
        "answers": of.answers.iter().map(answer).collect::<Vec<_>>(),
    })
}

fn ask_json(of: &Ask) -> Value {
    json!({ "deployment": of.key.deployment.as_str(), "epoch": of.epoch, "target": of.target.as_str(),
            "candidate": &*of.candidate.replica })
}

fn opinion_json(of: Opinion) -> Value {
    match of {
        Opinion::Yes => json!({ "says": "yes", "why": null }),
        Opinion::No(why) => json!({ "says": "no", "why": objection(why) }),
        Opinion::Abstain(why) => json!({ "says": "abstains", "why": abstention(why) }),
    }
}

const fn objection(of: Objection) -> &'static str {
    match of {
        Objection::NotDegraded => "its evidence does not show the release to be degraded",
        Objection::NotBlamed => "something else than the release is to blame",
        Objection::Target => "it would put another release back, or none",
        Objection::NotCurrent => "another deployment runs beside it",
        Objection::Paused => "a person paused acting",
        Objection::ActedBefore => "it knows of an act on this deployment, or of the rest after one",
        Objection::Mode => "its mode does not let it act",
        Objection::Policy => "its policy does not let it act",
        Objection::OtherPolicy => "it judges by another policy",
        Objection::OtherBaseline => "it judges by another baseline",
        Objection::OtherRoster => "it knows others as voters",
        Objection::Granted => "it agreed with another agent a moment ago",
        Objection::Stale => "it has seen a later election",
    }
}

const fn abstention(of: Abstention) -> &'static str {
    match of {
        Abstention::Quiet => "it started a short while ago",
        Abstention::Tilt => "its own clock stood still a short while ago",
        Abstention::NoVote => "it has no vote",
        Abstention::WarmingUp => "it has seen too little",
        Abstention::NotDurable => "it cannot write down what happens",
    }
}

/// In what a peer that may vote would disagree, whatever it sees.
fn differs(own: &Hello, of: &Hello) -> Vec<&'static str> {
    if of.deployment != own.deployment {
        return Vec::new();
    }
    let all = [
        (of.policy != own.policy, "policy"),
        (of.baseline != own.baseline, "baseline"),
        (!of.roster.is_same_but_for_down(&own.roster), "roster"),
        (of.mode != own.mode, "mode"),
    ];
    all.into_iter().filter(|(is, _)| *is).map(|(_, what)| what).collect()
}

impl Quorum {
    fn of(live: &Live) -> Self {
        let policy = &live.engine.policy;
        let mut found = match &live.peers {
            Some(view) => Self::among(view),
            None => Self::alone(policy.replicas, live),
        };
        if policy.mode != Mode::Enforce {
            let says = format!("rollback.mode is {}: nothing is done, whoever agrees", policy.mode.label());
            found.missing.push(("not_enforce", says));
        }
        if let Some(pause) = &live.engine.pause {
            found.missing.push(("paused", format!("{} paused acting", pause.by)));
        }
        found
    }

    fn alone(replicas: u32, live: &Live) -> Self {
        let roster = Roster { version: 0, replicas, watcher: false, down: 0 };
        let name = live.service.replica.clone();
        let mut missing = Vec::new();
        if replicas > 1 {
            let says = format!(
                "service.replicas is {replicas}, and without OUTRIGGER_PEER_KEY the agents do not meet"
            );
            missing.push(("no_key", says));
        }
        let may_call = live.platform != "dry_run";
        if !may_call {
            missing.push(no_caller());
        }
        let callers = if may_call { vec![name.clone()] } else { Vec::new() };
        Self {
            replicas,
            votes: roster.votes(),
            needed: roster.needed(),
            voters: vec![name],
            callers,
            missing,
            warnings: Vec::new(),
        }
    }

    fn among(view: &PeersView) -> Self {
        let (fleet, roster) = (&view.fleet, view.fleet.roster);
        let apart = |replica: &str| {
            let peer = view.peers.iter().find(|peer| *peer.hello.peer.replica == *replica);
            view.hello.as_ref().zip(peer).map(|(own, peer)| differs(own, &peer.hello)).unwrap_or_default()
        };
        // A replica has one vote however often it started.
        let all: BTreeSet<&str> = fleet.voters.iter().map(|peer| &*peer.replica).collect();
        let agreeing: Vec<&str> = all.iter().copied().filter(|replica| apart(replica).is_empty()).collect();
        let (mut missing, mut warnings) = (Vec::new(), Vec::new());
        let (votes, needed) = (roster.votes(), roster.needed());
        if (agreeing.len() as u64) < u64::from(needed) {
            let says = format!(
                "{} of {votes} voters can be reached and judge alike; {needed} are needed",
                agreeing.len()
            );
            missing.push(("too_few_voters", says));
        }
        if fleet.callers.is_empty() {
            missing.push(no_caller());
        }
        for replica in &all {
            for what in apart(replica) {
                warnings.push((other(what), format!("{replica} has another {what}, so it will not agree")));
            }
        }
        let is_watcher = |hello: &Hello| hello.role == Role::Watcher;
        let has_watcher =
            fleet.role == Role::Watcher || view.peers.iter().any(|peer| is_watcher(&peer.hello));
        if roster.watcher && !has_watcher {
            warnings.push((
                "no_watcher",
                "service.watcher says that there is a watcher, and none is met".to_owned(),
            ));
        }
        if roster.replicas <= 1 && replicas_known(view) > 1 {
            let says = "service.replicas is 1, and another replica of this deployment is met: set it to their number";
            missing.push(("replicas_unset", says.to_owned()));
        }
        for peer in view.peers.iter().filter(|peer| peer.version != env!("CARGO_PKG_VERSION")) {
            let says = format!("{} runs Outrigger {}", peer.hello.peer.replica, peer.version);
            warnings.push(("other_version", says));
        }
        Self {
            replicas: roster.replicas,
            votes,
            needed,
            voters: agreeing.into_iter().map(str::to_owned).collect(),
            callers: fleet.callers.iter().map(|peer| peer.replica.to_string()).collect(),
            missing,
            warnings,
        }
    }

    fn json(&self) -> Value {
        let list = |of: &[(&'static str, String)]| {
            of.iter().map(|(code, says)| json!({ "code": code, "says": says })).collect::<Vec<_>>()
        };
        json!({
            "reachable": self.missing.is_empty(),
            "replicas": self.replicas,
            "votes": self.votes,
            "needed": self.needed,
            "voters": self.voters,
            "callers": self.callers,
            "missing": list(&self.missing),
            "warnings": list(&self.warnings),
        })
    }
}

/// How many replicas of this deployment are known, this agent's own among them. A watcher is none.
fn replicas_known(view: &PeersView) -> usize {
    let fleet = &view.fleet;
    let is_one = |hello: &&Hello| hello.role == Role::Replica && hello.deployment == fleet.deployment;
    let met = view.peers.iter().map(|peer| &peer.hello).filter(is_one).map(|hello| &*hello.peer.replica);
    let own = (fleet.role == Role::Replica).then_some(&*fleet.me.replica);
    met.chain(own).collect::<BTreeSet<&str>>().len()
}

fn no_caller() -> (&'static str, String) {
    (
        "no_caller",
        "no agent that can be reached may call the platform: give one of them its [platform]".to_owned(),
    )
}

fn other(what: &str) -> &'static str {
    match what {
        "policy" => "other_policy",
        "baseline" => "other_baseline",
        "roster" => "other_roster",
        _ => "other_mode",
    }
}

/// What is told of peers to those who measure; nothing where there are none.
pub(super) fn families(live: &Live) -> Vec<MetricFamily> {
    let Some(view) = &live.peers else { return Vec::new() };
    let quorum = Quorum::of(live);
    let one = |value: f64| vec![(vec![], value)];
    let refused = view.refused.iter().map(|(why, count)| (vec![("reason", *why)], *count as f64));
    let carried = [("sent", view.sent_bytes), ("received", view.received_bytes)];
    let carried = carried.map(|(direction, bytes)| (vec![("direction", direction)], bytes as f64));
    vec![
        gauge("outrigger_peers", "Agents of other replicas that are met.", one(view.peers.len() as f64)),
        counter(
            "outrigger_peer_refused_total",
            "Connections and messages refused, by reason.",
            refused.collect(),
        ),
        counter("outrigger_peer_bytes_total", "Bytes that agents told one another.", carried.to_vec()),
        counter(
            "outrigger_peer_dropped_total",
            "Messages to peers dropped because the queue was full.",
            one(view.dropped as f64),
        ),
        gauge(
            "outrigger_vote_reachable",
            "1 while a quorum could be reached and one of its agents may act.",
            one(flag(quorum.missing.is_empty())),
        ),
        gauge("outrigger_vote_needed", "Votes that are enough.", one(quorum.needed.into())),
        gauge(
            "outrigger_vote_voters",
            "Agents that could vote now and judge alike.",
            one(quorum.voters.len() as f64),
        ),
        gauge(
            "outrigger_vote_standing",
            "1 while this agent asks for votes.",
            one(flag(view.fleet.ballot.standing.is_some())),
        ),
    ]
}
