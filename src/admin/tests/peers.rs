//! The agents of other replicas, as the API and the metrics tell of them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::admin::tests::{Port, fixture};
use crate::admin::{Live, PeerView, PeersView};
use crate::engine::ballot::{Abstention, BallotView, Objection, Opinion, Roster, Standing};
use crate::engine::fleet::FleetView;
use crate::engine::peer::{Boot, Deployment, Hello, Peer, Role};
use crate::engine::policy::{Mode, Policy};

const ROSTER: Roster = Roster { version: 0, replicas: 3, watcher: false, down: 0 };

fn peer(replica: &str) -> Peer {
    Peer { replica: replica.into(), boot: Boot(u64::MAX) }
}

fn hello(replica: &str) -> Hello {
    Hello {
        peer: peer(replica),
        role: Role::Replica,
        deployment: Deployment::new("d-7").unwrap(),
        created: None,
        release: fixture::release("v42"),
        booted: fixture::START,
        generation_booted: fixture::START,
        has_been_open: true,
        is_ready: true,
        is_leaving: false,
        mode: Mode::Enforce,
        policy: 1,
        baseline: 2,
        may_call: replica == "a",
        roster: ROSTER,
    }
}

fn met(hello: Hello) -> PeerView {
    PeerView {
        hello,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        address: "10.0.0.2:9901".parse().unwrap(),
        heard_ago: Duration::from_millis(400),
        round_trip: None,
    }
}

pub(super) fn view() -> PeersView {
    let standing = Standing {
        ask: None,
        attempt: 1,
        answers: vec![
            (peer("b"), Opinion::No(Objection::OtherBaseline)),
            (peer("c"), Opinion::Abstain(Abstention::Quiet)),
        ],
        needed: 2,
    };
    PeersView {
        fleet: FleetView {
            me: peer("a"),
            role: Role::Replica,
            deployment: Deployment::new("d-7").unwrap(),
            roster: ROSTER,
            may_call: true,
            voters: vec![peer("a"), peer("b"), peer("c")],
            callers: vec![peer("a")],
            ballot: BallotView { standing: Some(standing), ..BallotView::default() },
            shared: Some((fixture::START, vec![peer("a"), peer("b")])),
            refused_shares: 0,
            met_of_own: 2,
            control: None,
        },
        hello: Some(hello("a")),
        address: None,
        peers: vec![met(Hello { baseline: 9, ..hello("b") }), met(hello("c"))],
        unmet: Vec::new(),
        sent_bytes: 70,
        received_bytes: 80,
        refused: vec![("key", 3)],
        dropped: 0,
    }
}

fn live(view: PeersView) -> Live {
    let mut live = Live { peers: Some(view), ..fixture::live() };
    live.engine.pause = None;
    live.engine.policy = Policy { mode: Mode::Enforce, replicas: 3, ..Policy::default() };
    live
}

fn codes(quorum: &Value, key: &str) -> Vec<String> {
    quorum[key].as_array().unwrap().iter().map(|of| of["code"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn peers_and_the_vote_are_told() {
    let port = Port::open(None).await;
    port.shared.publish(live(view()), &fixture::window(1, 1, 0));
    let json = port.get("/api/peers").await.json();
    assert_eq!((&json["on"], &json["boot"]), (&true.into(), &"ffffffffffffffff".into()));
    assert_eq!(json["peers"][0]["differs"], json!(["baseline"]));
    assert_eq!(json["peers"][0]["answer"], json!({"says": "no", "why": "it judges by another baseline"}));
    assert_eq!(json["peers"][1]["answer"]["says"], "abstains");
    assert_eq!(json["shared"]["by"], json!(["a", "b"]));
    let quorum = &json["quorum"];
    assert_eq!(
        (&quorum["reachable"], &quorum["needed"], &quorum["voters"]),
        (&true.into(), &2.into(), &json!(["a", "c"]))
    );
    assert_eq!(codes(quorum, "warnings"), ["other_baseline"]);
    let metrics = port.get("/metrics").await.body;
    for line in [
        "outrigger_peers 2",
        "outrigger_peer_refused_total{reason=\"key\"} 3",
        "outrigger_peer_bytes_total{direction=\"received\"} 80",
        "outrigger_vote_reachable 1",
        "outrigger_vote_voters 2",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} in {metrics}");
    }
}

#[tokio::test]
async fn what_is_missing_for_a_quorum_is_named() {
    let port = Port::open(None).await;
    let found = async |live: Live| {
        port.shared.publish(live, &fixture::window(1, 1, 0));
        let json = port.get("/api/peers").await.json();
        assert_eq!(json["quorum"]["reachable"], false);
        codes(&json["quorum"], "missing")
    };
    let mut few = view();
    few.peers.clear();
    few.fleet.voters.truncate(1);
    few.fleet.callers.clear();
    assert_eq!(found(live(few)).await, ["too_few_voters", "no_caller"]);
    let mut unset = view();
    unset.fleet.roster.replicas = 1;
    assert_eq!(found(live(unset)).await, ["replicas_unset"]);
    let mut observing = live(view());
    observing.engine.policy.mode = Mode::Recommend;
    assert_eq!(found(observing).await, ["not_enforce"]);
    assert_eq!(found(Live { peers: None, ..live(view()) }).await, ["no_key"]);
}

#[tokio::test]
async fn a_watcher_is_no_other_replica_of_the_deployment() {
    let port = Port::open(None).await;
    let missing = async |view: PeersView| {
        port.shared.publish(live(view), &fixture::window(1, 1, 0));
        codes(&port.get("/api/peers").await.json()["quorum"], "missing")
    };
    let watcher = || Hello { role: Role::Watcher, ..hello("w") };
    let mut replica = view();
    replica.fleet.roster = Roster { replicas: 1, watcher: true, ..ROSTER };
    replica.fleet.voters.truncate(1);
    replica.peers = vec![met(watcher())];
    assert_eq!(missing(replica.clone()).await, [""; 0]);
    let mut beside = replica;
    (beside.fleet.role, beside.fleet.me, beside.hello) = (Role::Watcher, peer("w"), Some(watcher()));
    beside.peers = vec![met(hello("a"))];
    assert_eq!(missing(beside.clone()).await, [""; 0]);
    beside.peers.push(met(hello("b")));
    assert_eq!(missing(beside).await, ["replicas_unset"]);
}
