//! What the options of `[platform]` make of the kind `railway`.

use super::*;

const PROJECT: &str = "railway-project-token-1";
const ACCOUNT: &str = "railway-account-token-2";

/// As the platform sets them.
fn placed(file: &str) -> World {
    World::new(file)
        .env("RAILWAY_PROJECT_ID", "p-1")
        .env("RAILWAY_ENVIRONMENT_ID", "e-1")
        .env("RAILWAY_SERVICE_ID", "s-1")
}

fn railway(world: &World) -> Railway {
    let Platform::Railway(railway) = world.config().platform else { panic!("another platform") };
    *railway
}

const KIND: &str = "[service]\nreplicas = 3\n[rollback]\nverify = \"5m\"\n[platform]\nkind = \"railway\"\n";

#[test]
fn railway_is_told_by_its_own_variables() {
    let world = placed(KIND).env("RAILWAY_TOKEN", PROJECT);
    let railway = railway(&world);
    assert_eq!(railway.url.as_str(), "https://backboard.railway.com/graphql/v2");
    let ids = [&railway.project, &railway.environment, &railway.service];
    assert_eq!(ids, ["p-1", "e-1", "s-1"]);
    assert_eq!((railway.replicas, railway.requests_per_hour), (3, 200));
    let token = railway.token.as_ref().unwrap();
    assert_eq!((token.kind, token.secret.expose()), (TokenKind::Project, PROJECT));
    assert!(Platform::Railway(Box::new(railway.clone())).may_act());
    assert!(!format!("{railway:?}").contains(PROJECT));
    // What stands on the platform without being needed is nobody's mistake.
    assert_eq!(placed("").warnings(), Vec::<String>::new());
}

#[test]
fn the_narrower_token_comes_first() {
    let both = placed(KIND).env("RAILWAY_API_TOKEN", ACCOUNT).env("RAILWAY_TOKEN", PROJECT);
    assert_eq!(railway(&both).token.unwrap().kind, TokenKind::Project);
    let account = placed(KIND).env("RAILWAY_API_TOKEN", ACCOUNT).env("RAILWAY_TOKEN", "  ");
    assert_eq!(railway(&account).token.unwrap().kind, TokenKind::Account);
}

#[test]
fn without_a_token_nothing_is_asked_and_that_is_said() {
    let world = World::new(KIND);
    let platform = world.config().platform;
    assert!(!platform.may_act());
    let told = world.warnings();
    let told: Vec<_> =
        told.iter().filter(|it| it.contains("neither RAILWAY_TOKEN nor RAILWAY_API_TOKEN")).collect();
    assert_eq!(told.len(), 1, "{told:?}");
}

#[test]
fn everything_that_is_missing_is_told_at_once() {
    let world = World::new(KIND).env("RAILWAY_TOKEN", PROJECT).env("RAILWAY_PROJECT_ID", "");
    let faults = world.faults();
    assert_eq!(faults.lines().count(), 3, "{faults}");
    for part in [
        "platform.project = \"\"",
        "RAILWAY_PROJECT_ID does where the platform runs us",
        "platform.environment",
        "RAILWAY_ENVIRONMENT_ID",
        "platform.service",
        "RAILWAY_SERVICE_ID",
    ] {
        assert!(faults.contains(part), "{part} is missing in {faults}");
    }
    let by_hand = format!("{KIND}project = \"p\"\nenvironment = \"e\"\nservice = \"s\"\n");
    assert_eq!(railway(&World::new(&by_hand).env("RAILWAY_TOKEN", PROJECT)).project, "p");
}

#[test]
fn a_token_that_is_none_is_told_without_its_value() {
    let faults = placed(KIND).env("RAILWAY_TOKEN", "two words").faults();
    assert!(faults.contains("RAILWAY_TOKEN holds no token") && !faults.contains("two words"), "{faults}");
    // Another kind does not need it.
    World::new("").env("RAILWAY_TOKEN", "two words").config();
    // In the wrong place it is not shown, either.
    let misplaced =
        placed(&format!("{KIND}service = \"a {PROJECT}\"\n")).env("RAILWAY_TOKEN", PROJECT).faults();
    assert!(!misplaced.contains(PROJECT), "{misplaced}");
}

#[test]
fn the_token_goes_over_tls_or_nowhere_but_to_this_machine() {
    for url in [
        "https://railway.example/graphql",
        "http://127.0.0.1:7000/graphql/v2",
        "http://[::1]:7000/",
        "http://localhost:1",
    ] {
        let world = placed(&format!("{KIND}url = \"{url}\"\n")).env("RAILWAY_TOKEN", PROJECT);
        assert_eq!(railway(&world).url.as_str().trim_end_matches('/'), url.trim_end_matches('/'));
    }
    for (url, problem) in [
        ("http://railway.example/graphql", "would send the token in plain text"),
        ("http://localhost.example/", "would send the token in plain text"),
        ("https://me:x@railway.example/", "holds a user name or a password"),
        ("https://railway.example/?token=x", "holds more than a path"),
        ("ftp://127.0.0.1/", "is not an https:// URL"),
        ("backboard", "is not a URL"),
    ] {
        let faults = placed(&format!("{KIND}url = \"{url}\"\n")).env("RAILWAY_TOKEN", PROJECT).faults();
        assert!(faults.contains(problem), "{url}: {faults}");
    }
}

#[test]
fn options_of_railway_have_no_effect_elsewhere() {
    let warnings = World::new("[platform]\nrequests_per_hour = 500\ncancel_queued = true\n").warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("platform.requests_per_hour") && warnings[0].contains("has no effect"));
}
