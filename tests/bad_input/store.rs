//! Data directories that cannot be used, databases that are damaged.

use nix::sys::signal::Signal;

use crate::agent::{Place, get, hello};

const DAMAGED: &[u8] = &[0x5a; 8192];

#[tokio::test]
async fn a_data_directory_that_was_named_must_be_writable() {
    let place = Place::new();
    place.write("file", "");
    let ended = place.agent(&["--data", "file/data", "--", "touch", "ran"]).await;
    ended.says(64, &["store.dir", "`file/data`", "--data", "this user may write"]);
    assert!(!place.path("ran").exists(), "the app ran");
}

#[tokio::test]
async fn a_default_directory_that_cannot_be_used_gives_way_to_memory_with_a_warning() {
    let place = Place::new();
    place.write(".outrigger", "a file, where the directory would be");
    let mut agent = place.start(&["--upstream", &hello().await], &[]);
    let warning = agent.hear("this will hurt").await;
    let all: Vec<&str> = ["\"WARN\"", ".outrigger", "store.dir"].into();
    assert!(all.iter().all(|part| warning.contains(part)), "{warning}");
    let (public, _) = agent.listening().await;
    agent.hear("became ready").await;
    assert!(get(public, "/").await.ends_with("\r\n\r\nhello"));
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.ended().await.0, 0);
}

#[tokio::test]
async fn with_a_damaged_database_the_app_is_served_and_the_file_is_left_as_it_is() {
    let place = Place::new();
    std::fs::create_dir(place.path("data")).unwrap();
    let file = place.write("data/outrigger.db", DAMAGED);
    let enforce = [("OUTRIGGER__ROLLBACK__MODE", "enforce")];
    let mut agent = place.start(&["--upstream", &hello().await, "--data", "data"], &enforce);
    let error = agent.hear("\"ERROR\"").await;
    for part in ["outrigger.db", "damaged", "move it away", "nothing will be acted on"] {
        assert!(error.contains(part), "`{part}` is not in {error}");
    }
    let (public, admin) = agent.listening().await;
    agent.hear("became ready").await;
    assert!(get(public, "/").await.ends_with("\r\n\r\nhello"));
    assert!(get(admin, "/api/snapshot").await.contains("outrigger.db"), "the snapshot warns");
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.ended().await.0, 0);
    assert_eq!(std::fs::read(file).unwrap(), DAMAGED);
}

#[tokio::test]
async fn check_finds_a_damaged_database() {
    let place = Place::new();
    std::fs::create_dir(place.path("data")).unwrap();
    let file = place.write("data/outrigger.db", DAMAGED);
    let flags = ["check", "--listen", "127.0.0.1:0", "--admin", "off", "--data", "data"];
    place.run(&flags, &[]).await.says(64, &["store.dir", "outrigger.db", "damaged", "move it away"]);
    let json = place.run(&[&flags[..], &["--json"]].concat(), &[]).await;
    let told: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((json.code, &told["ok"]), (64, &false.into()), "{told}");
    assert_eq!(std::fs::read(file).unwrap(), DAMAGED);
}

#[tokio::test]
async fn a_second_agent_on_the_same_directory_is_refused_and_the_first_one_named() {
    let place = Place::new();
    let mut first = place.start(&["--upstream", &hello().await, "--data", "data"], &[]);
    first.listening().await;
    let second = place.agent(&["--data", "data", "--", "touch", "ran"]).await;
    second.says(1, &["in use", &format!("process {}", first.pid()), "store.dir", "--data"]);
    assert!(!place.path("ran").exists(), "the second app ran");
    let history = place.run(&["history", "--data", "data"], &[]).await;
    assert_eq!(history.code, 0, "the first one lives: {history:?}");
}
