//! Secrets: nothing that the agent prints, serves or stores holds one, and the app is not given the agent's own.

use std::path::Path;

use nix::sys::signal::Signal;

use crate::agent::{Place, get};

const TOKEN: &str = "aGVudoken0123456789Outrigger";
const PLATFORM: &str = "railw4yPlatformToken77";
const APPS: &str = "s3cretOfTheAppsDatabase";
const SECRETS: [&str; 3] = [TOKEN, PLATFORM, APPS];

#[track_caller]
fn hold(what: &str, text: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "{what} holds {secret}: {text}");
    }
}

fn hold_files(folder: &Path) -> usize {
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            hold(&path.display().to_string(), &String::from_utf8_lossy(&std::fs::read(&path).unwrap()));
            seen += 1;
        }
    }
    seen
}

fn environment() -> [(&'static str, &'static str); 6] {
    [
        ("OUTRIGGER_TOKEN", TOKEN),
        ("RAILWAY_TOKEN", PLATFORM),
        ("RAILWAY_API_TOKEN", PLATFORM),
        ("DATABASE_URL", APPS),
        ("OUTRIGGER__LOG__FILTER", "trace"),
        ("OUTRIGGER__PROXY__HOLD", "10ms"),
    ]
}

#[tokio::test]
async fn nothing_that_the_agent_says_serves_or_stores_holds_a_secret() {
    let place = Place::new();
    let app = "env > given; echo begun >&2; exec sleep 1000";
    let mut agent = place.start(&["--data", "data", "--", "sh", "-c", app], &environment());
    let (public, admin) = agent.listening().await;
    // By then a window has been sealed, so there is a snapshot to be seen.
    agent.hear("the app is not ready").await;
    let paths = ["/", "/metrics", "/api/snapshot", "/api/records", "/api/health", "/api/health/deep"];
    for path in paths {
        let answer = get(admin, path).await;
        assert!(answer.starts_with("HTTP/1.1 "), "{path}: {answer}");
        hold(path, &answer);
        hold(path, &get(public, path).await);
    }
    let cmdline = std::fs::read(format!("/proc/{}/cmdline", agent.pid())).unwrap();
    hold("the command line", &String::from_utf8_lossy(&cmdline));
    for arguments in [&["status", "--json"][..], &["history", "--json"], &["status"], &["history"]] {
        let ended = place.run(&[arguments, &["--data", "data"]].concat(), &environment()).await;
        assert_eq!(ended.code, 0, "{ended:?}");
        hold("a command", &(ended.out + &ended.err));
    }
    agent.signal(Signal::SIGTERM);
    let (code, said) = agent.ended().await;
    assert_eq!(code, 143);
    hold("the log", &said.join("\n"));
    assert!(hold_files(&place.path("data")) >= 2, "the data directory was looked at");
}

#[tokio::test]
async fn the_app_is_not_given_what_is_the_agents() {
    let place = Place::new();
    let app = ["--data", "data", "--", "sh", "-c", "env > given"];
    let (code, said) = place.start(&app, &environment()).ended().await;
    assert_eq!(code, 0, "{said:?}");
    let given = std::fs::read_to_string(place.path("given")).unwrap();
    assert!(given.contains(&format!("DATABASE_URL={APPS}\n")) && given.contains("\nPORT="), "{given}");
    for taken in ["OUTRIGGER_", "RAILWAY_TOKEN", "RAILWAY_API_TOKEN", TOKEN, PLATFORM] {
        assert!(!given.contains(taken), "the app was given {taken}: {given}");
    }
}

#[tokio::test]
async fn faults_and_checks_hold_no_secret() {
    let place = Place::new();
    let flags = ["check", "--json", "--listen", "127.0.0.1:0", "--admin", "off"];
    let ended = place.run(&flags, &environment()).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    hold("check", &(ended.out + &ended.err));
    // A secret in the wrong place: as an option, as another variable of ours, as a token that is too short to be one.
    for name in ["OUTRIGGER__JUDGE__WATCH", "OUTRIGGER__LISTEN__PUBLIC", "OUTRIGGER_TOKN"] {
        let misplaced = [&environment()[..], &[(name, TOKEN)]].concat();
        for command in ["check", "run"] {
            let ended = place.run(&[command, "--admin", "off", "--", "true"], &misplaced).await;
            ended.says(64, &[name]);
            hold(name, &(ended.out + &ended.err));
        }
    }
    let ended = place.run(&["run", "--", "true"], &[("OUTRIGGER_TOKEN", "sh0rt")]).await;
    ended.says(64, &["OUTRIGGER_TOKEN"]);
    assert!(!ended.err.contains("sh0rt"), "{}", ended.err);
}
