//! What stands wrong in the file, in a variable or in a flag.

use crate::agent::{Place, text};

#[tokio::test]
async fn a_misspelt_key_is_named_with_its_line_and_with_what_was_meant() {
    let place = Place::new();
    place.write("outrigger.toml", "[judge]\nwach = \"3m\"\n");
    let ended = place.agent(&["--", "true"]).await;
    ended.says(64, &["outrigger.toml:2", "judge.wach", "did you mean judge.watch?"]);
}

#[tokio::test]
async fn a_wrong_duration_is_named_with_what_would_be_right() {
    let place = Place::new();
    place.write("outrigger.toml", "[judge]\n\nwatch = \"15\"\n");
    let ended = place.agent(&["--", "true"]).await;
    ended.says(64, &["outrigger.toml:3", "judge.watch = \"15\" has no unit", "such as \"15m\""]);
}

#[tokio::test]
async fn all_faults_come_at_once_and_before_anything_is_bound_or_made() {
    let place = Place::new();
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap().to_string();
    place.write("outrigger.toml", "[judge]\nwach = \"3m\"\nwarm_up = \"soon\"\n[lock]\n");
    let environment = [("OUTRIGGER__PROXY__HOLD", "1 year"), ("PORT", "http")];
    let arguments = ["run", "--listen", &address, "--data", "data", "--admin", "here", "--", "touch", "ran"];
    let ended = place.run(&arguments, &environment).await;
    let parts = ["judge.wach", "judge.warm_up", "lock", "OUTRIGGER__PROXY__HOLD", "PORT", "--admin"];
    ended.says(64, &parts);
    assert!(ended.err.lines().count() >= parts.len(), "one line each: {}", ended.err);
    assert!(!ended.err.contains("in use"), "the port was tried: {}", ended.err);
    assert!(!place.path("data").exists() && !place.path("ran").exists());
}

#[tokio::test]
async fn a_file_that_is_named_must_exist() {
    let place = Place::new();
    let ended = place.agent(&["--config", "nowhere.toml", "--", "true"]).await;
    ended.says(64, &["nowhere.toml", "cannot be read", "--config"]);
}

#[tokio::test]
async fn an_unknown_variable_of_ours_is_a_fault() {
    let place = Place::new();
    let ended = place.run(&["run", "--", "true"], &[("OUTRIGGER_TOKN", "0123456789abcdef0123")]).await;
    ended.says(64, &["OUTRIGGER_TOKN", "OUTRIGGER_TOKEN"]);
    assert!(!ended.err.contains("0123456789"), "the value may be a secret: {}", ended.err);
}

#[tokio::test]
async fn a_malformed_upstream_is_named() {
    let place = Place::new();
    let wrong = [
        ("localhost:3000", "http://"),
        ("https://app", "TLS"),
        ("http://app:99999", "port"),
        ("http://app/path", "a host and a port"),
    ];
    for (url, part) in wrong {
        let ended = place.agent(&["--upstream", url]).await;
        ended.says(64, &["app.upstream", "--upstream", part]);
    }
}

#[tokio::test]
async fn check_reports_the_same_faults_as_text_and_as_json() {
    let place = Place::new();
    let file = place.write("other.toml", "[judge]\nwach = \"3m\"\nwatch = 15\n");
    let said = place.run(&["check", "--config", text(&file)], &[]).await;
    said.says(64, &["other.toml:2", "other.toml:3"]);
    let json = place.run(&["check", "--json", "--config", text(&file)], &[]).await;
    let told: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((json.code, &told["ok"]), (64, &false.into()));
    assert_eq!(told["faults"].as_array().unwrap().len(), 2, "{told}");
}

#[tokio::test]
async fn check_says_what_would_run() {
    let place = Place::new();
    let flags = ["check", "--listen", "127.0.0.1:0", "--admin", "off"];
    let ended = place.run(&flags, &[]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.out.contains("needs its command after `--`") && ended.out.contains("no faults"));
    let ended = place.run(&[&flags[..], &["--", "node", "server.js"]].concat(), &[]).await;
    assert!(ended.out.contains("node server.js"), "{ended:?}");
    assert!(!place.path(".outrigger").exists(), "check changes nothing");
}
