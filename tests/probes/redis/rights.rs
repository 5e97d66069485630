//! Who we are: passwords, users, and what they may.

use outrigger::config::probes::{Redis, Role};
use outrigger::engine::health::{FactValue, Health};

use crate::asked::{fact, why};
use crate::redis::node::{Node, can_run, secret, start};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_is_wrong_missing_or_changed_is_told_in_the_servers_words() {
    if !can_run() {
        return;
    }
    let mut node = Node::start(&["--save", "", "--requirepass", "open sesame"]).await;
    let at = format!("127.0.0.1:{}", node.port);

    let missing = start(node.redis());
    let state = missing.until_health(Health::Failed).await;
    assert_eq!(why(&state), format!("{at} refused PING: NOAUTH Authentication required."));
    drop(missing);

    let asked = start(Redis { password: secret("open sesame"), ..node.redis() });
    asked.until_health(Health::Ok).await;
    // Those who are in stay in, so it is found out when the connection is made anew.
    node.tell(&["config", "set", "requirepass", "changed"]);
    node.way_in = vec!["-a".to_owned(), "changed".to_owned()];
    node.tell(&["client", "kill", "type", "normal"]);
    let state = asked.until_health(Health::Failed).await;
    let wrong = "WRONGPASS invalid username-password pair or user is disabled.";
    assert_eq!(why(&state), format!("{at} refused the credentials: {wrong}"));
    assert!(!format!("{state:?}").contains("sesame"), "no secret is told");
    node.tell(&["config", "set", "requirepass", "open sesame"]);
    node.way_in = vec!["-a".to_owned(), "open sesame".to_owned()];
    asked.until_health(Health::Ok).await;
    node.nobody_is_left(asked).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_rights_do_not_allow_is_left_out() {
    if !can_run() {
        return;
    }
    let node = Node::start(&["--save", ""]).await;
    for (user, rules) in [
        ("least", "on >p resetkeys resetchannels -@all +ping +info +role +select +client|setname"),
        ("bare", "on >p resetkeys -@all +ping"),
        ("none", "on >p resetkeys -@all"),
    ] {
        let words: Vec<&str> = ["acl", "setuser", user].into_iter().chain(rules.split(' ')).collect();
        assert_eq!(node.tell(&words).trim(), "OK");
    }
    let as_user = |user: &str, role| Redis {
        user: Some(user.to_owned()),
        password: secret("p"),
        database: 3,
        role,
        ..node.redis()
    };

    let least = start(as_user("least", Role::Primary));
    let state = least.until_health(Health::Ok).await;
    assert_eq!(*fact(&state, "role"), FactValue::Text("primary".to_owned()));
    assert_eq!(node.ours(), 1);
    drop(least);

    let bare = start(as_user("bare", Role::Replica));
    let state = bare.until_health(Health::Ok).await;
    let names: Vec<&str> = state.last.as_ref().expect("a round").facts.iter().map(|fact| fact.name).collect();
    assert_eq!(names, ["address"], "it cannot even be told what it is");
    drop(bare);

    let none = start(as_user("none", Role::Any));
    let state = none.until_health(Health::Failed).await;
    let refused = format!("127.0.0.1:{} refused PING: NOPERM ", node.port);
    assert!(why(&state).starts_with(&refused), "{}", why(&state));
    node.nobody_is_left(none).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_not_there_is_told() {
    if !can_run() {
        return;
    }
    let node = Node::start(&["--save", "", "--databases", "2"]).await;
    let asked = start(Redis { database: 7, ..node.redis() });
    let state = asked.until_health(Health::Failed).await;
    let refused = format!("127.0.0.1:{} refused database 7: ERR DB index is out of range", node.port);
    assert_eq!(why(&state), refused);
    node.nobody_is_left(asked).await;
}
