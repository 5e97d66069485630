//! What people are told of a rollback, by several agents of which some die, and a refusal that they must understand.

use std::collections::BTreeMap;
use std::time::Duration;

use outrigger::stage::platform::VariableEdit;
use serde_json::Value;

use crate::cluster::Cluster;
use crate::plays::{held, once};
use crate::scene::Scene;
use crate::sink::{Answer, Post, Sink};
use crate::soak::{executor, kill_agent};

/// From the switch to the fault, as on the first page of what this is for.
const THREE_MINUTES: Duration = Duration::from_secs(180);
/// After so long every agent has told what it thinks it must.
const SETTLED: Duration = Duration::from_secs(45);
/// The path of the address is as secret as a password.
const HOOK: &str = "hook-that-nobody-may-tell";

/// A scene whose agents tell this sink, with more of its own.
async fn telling(sink: &Sink, seed: u64, more: BTreeMap<String, String>, settings: &str) -> Option<Scene> {
    Scene::open_with(seed, |options| {
        let hook = ("OUTRIGGER_ALERT_WEBHOOK".to_owned(), format!("http://{}/{HOOK}", sink.address));
        options.variables.extend(more);
        options.variables.extend([hook]);
        let own = "[alerts]\ntimeout = \"500ms\"\nlink = \"https://status.example/app\"\n";
        options.settings = format!("{}\n{own}{settings}", options.settings);
    })
    .await
}

/// Those of `posts` that tell of a rollback.
fn of_the_rollback(posts: Vec<Post>) -> Vec<Post> {
    posts
        .into_iter()
        .filter(|it| it.event.starts_with("rollback.") && it.body["record"].is_string())
        .collect()
}

/// Waits until this was told, and then until nobody has any more to tell.
async fn until_told(sink: &Sink, event: &str) -> Vec<Post> {
    crate::process::eventually(&format!("`{event}` is told"), async || {
        sink.taken_now().iter().any(|it| it.event == event).then_some(())
    })
    .await;
    tokio::time::sleep(SETTLED).await;
    let told = sink.taken_now();
    let mut times: BTreeMap<&str, u32> = BTreeMap::new();
    told.iter().for_each(|it| *times.entry(&it.key).or_default() += 1);
    assert!(times.values().all(|times| *times == 1), "something was told again: {times:#?}");
    told
}

/// In the order of the letter: what meets a receiver that is down comes after what is told later.
fn events(posts: &[Post]) -> Vec<&str> {
    let mut events: Vec<&str> = posts.iter().map(|it| it.event.as_str()).collect();
    events.sort_unstable();
    events
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; cargo nextest run --test railway --run-ignored all"]
async fn a_release_that_turns_bad_three_minutes_after_the_switch_is_told_of_once_through_a_bad_receiver() {
    let sink = Sink::start(Vec::new()).await;
    let Some(mut scene) = telling(&sink, 101, BTreeMap::new(), "").await else { return };
    // This one release is watched for longer than the short plays are.
    let set = BTreeMap::from([("OUTRIGGER__JUDGE__WATCH".to_owned(), Some("15m".to_owned()))]);
    scene.stage.edit(&VariableEdit { set, replace: false, deploy: false }).unwrap();
    scene.deploy_bad("v2", THREE_MINUTES, 102).await;
    tokio::time::sleep(THREE_MINUTES).await;
    // Whatever is told next meets all of this.
    sink.answer(
        [Answer::Status(429, "retry-after: 2\r\n"), Answer::Status(500, ""), Answer::Silence, Answer::Cut]
            .into_iter(),
    );
    let decision = once(&mut scene, "v2").await;
    let told = of_the_rollback(until_told(&sink, "rollback.verified").await);
    assert_eq!(events(&told), ["rollback.succeeded", "rollback.triggered", "rollback.verified"]);
    for post in &told {
        let of = |name: &str| post.body[name].as_str().unwrap_or_default().to_owned();
        assert_eq!((of("record"), of("environment")), (id(&decision), "production".to_owned()), "{post:?}");
        assert_eq!(of("link"), "https://status.example/app", "{post:?}");
    }
    let first = &told.iter().find(|it| it.event == "rollback.triggered").unwrap().body;
    let figures = first["figures"].as_array().unwrap();
    let errors = figures.iter().find(|it| it["stream"] == "errors").unwrap_or_else(|| panic!("{first}"));
    assert!(errors["baseline"].is_string() && errors["recent"].is_string(), "{first}");
    assert!(first["agreed_by"].as_str().is_some_and(|it| it.contains("of 3")), "{first}");
    let verified = told.iter().find(|it| it.event == "rollback.verified").unwrap();
    assert!(verified.body.to_string().contains("recovered"), "{verified:?}");
    scene.holds_no(HOOK);
    scene.close().await;
}

fn id(record: &Value) -> String {
    record["id"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; cargo nextest run --test railway --run-ignored all"]
async fn what_an_agent_was_telling_when_it_died_is_told_by_another() {
    let sink = Sink::start(Vec::new()).await;
    let Some(mut scene) = telling(&sink, 111, BTreeMap::new(), "").await else { return };
    scene.deploy_bad("v2", Duration::from_secs(5), 112).await;
    // The receiver is down until whoever gives the order is dead: it hears the agent out and says nothing.
    sink.answer(std::iter::repeat_n(Answer::Silence, 1000));
    let elected = crate::process::eventually("somebody is elected", async || executor(&scene).await).await;
    let triggered = crate::process::eventually("it is being told", async || {
        sink.posts().into_iter().find(|it| it.event == "rollback.triggered")
    })
    .await;
    kill_agent(&scene, |replica, _| replica == elected);
    sink.answers_again();
    once(&mut scene, "v2").await;
    let told = of_the_rollback(until_told(&sink, "rollback.verified").await);
    assert!(told.iter().any(|it| it.key == triggered.key), "it was told by another: {:?}", events(&told));
    // Where it died before the call, another decided anew; each decision is told of once.
    let verified: Vec<&Post> = told.iter().filter(|it| it.event == "rollback.verified").collect();
    let [verified] = verified.as_slice() else { panic!("{:?}", events(&told)) };
    let of_it: Vec<Post> =
        told.iter().filter(|it| it.body["record"] == verified.body["record"]).cloned().collect();
    assert_eq!(events(&of_it), ["rollback.succeeded", "rollback.triggered", "rollback.verified"]);
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; cargo nextest run --test railway --run-ignored all"]
async fn a_release_that_has_migrated_the_database_is_not_put_back_and_people_are_told_which_schema() {
    let Some(cluster) = Cluster::start("").await else { return };
    cluster.sql("create table schema_migrations (version text primary key)").await;
    cluster.sql("insert into schema_migrations values ('20261101120000')").await;
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres", cluster.port);
    let variables = BTreeMap::from([("DATABASE_URL".to_owned(), url)]);
    let sink = Sink::start(Vec::new()).await;
    let Some(mut scene) =
        telling(&sink, 121, variables, "[probes]\ninterval = \"2s\"\ntimeout = \"1s\"\n").await
    else {
        return;
    };
    // As a pre-deploy command would.
    cluster.sql("insert into schema_migrations values ('20261123090000')").await;
    scene.deploy_bad("v2", Duration::ZERO, 122).await;
    let decision = held(&scene, "schema_moved").await;
    let reasons = decision["reasons"].to_string();
    for part in ["postgres", "20261101120000", "20261123090000"] {
        assert!(reasons.contains(part), "{part}: {reasons}");
    }
    let told = until_told(&sink, "decision.held").await;
    let held: Vec<&Post> = told.iter().filter(|it| it.event == "decision.held").collect();
    let named = held.iter().filter(|it| it.body["reasons"].to_string().contains("20261123090000")).count();
    assert_eq!(named, 1, "{held:#?}");
    assert_eq!(scene.api.mutations().await, Vec::<String>::new());
    assert_eq!(scene.rolled_back().await, Vec::<String>::new());
    scene.close().await;
}
