//! Findings for set-ups that go wrong, and for one that does not.

use std::path::PathBuf;

use serde_json::json;

use super::finding::{Finding, Level, json as as_json, text};
use super::{Running, own, railway, service};
use crate::config::{Config, Flags, Loaded, Platform, Sources, TokenKind, load};
use crate::engine::release::Release;
use crate::engine::time::Time;
use crate::platform::railway::{
    AutoDeploy, Choice, Domain, Examination, LiveDeployment, Manifest, PlatformState, Quota, Restorable,
    Scope, Settings, Trigger,
};

/// 2026-11-23T12:00:00Z.
const NOW: Time = Time::from_millis(1_795_435_200_000);
const HOUR_MS: u64 = 3_600_000;

fn loaded(variables: &[(&str, &str)]) -> Loaded {
    let railway = [
        ("PORT", "8080"),
        ("RAILWAY_PROJECT_ID", "p-1"),
        ("RAILWAY_ENVIRONMENT_ID", "e-1"),
        ("RAILWAY_SERVICE_ID", "s-1"),
        ("RAILWAY_DEPLOYMENT_ID", "d-2"),
    ];
    let all = railway.iter().chain(variables);
    let env = all.map(|(name, value)| (name.into(), value.into())).collect();
    let directory = PathBuf::from("/nowhere-outrigger-doctor");
    load(Sources { file: None, directory, env, flags: Flags::default() }).unwrap()
}

fn config() -> Config {
    loaded(&[
        ("OUTRIGGER__PLATFORM__KIND", "railway"),
        ("RAILWAY_TOKEN", "planted-token-of-the-platform"),
        ("OUTRIGGER__SERVICE__REPLICAS", "3"),
    ])
    .config
}

fn restorable(expires_in_ms: u64) -> Restorable {
    Restorable {
        id: "d-1".to_owned(),
        release: Release::new("v1").unwrap(),
        created_at: None,
        expires_at: Some(Time::from_millis(NOW.as_millis() + expires_in_ms)),
    }
}

/// A service as it should be.
fn healthy() -> Examination {
    let scope = |service| Scope { project: "p-1".into(), environment: "e-1".into(), service };
    Examination {
        endpoint: "https://backboard.railway.com/graphql/v2".to_owned(),
        token: Some(TokenKind::Project),
        configured: scope(Some("s-1".to_owned())),
        scope: Ok(Some(scope(None))),
        platform: Ok(PlatformState { is_stable: true, incident: None, maintenance: None }),
        settings: Ok(Settings {
            replicas: Some(3),
            health_path: Some("/api/health".to_owned()),
            health_timeout: Some(300),
            overlap: Some(30),
            draining: Some(30),
            sleeps: Some(false),
            restart_policy: Some("ON_FAILURE".to_owned()),
            domains: vec![Domain { name: "shop.example.com".to_owned(), target_port: Some(8080) }],
            ..Settings::default()
        }),
        live: Ok(LiveDeployment {
            id: "d-2".to_owned(),
            status: "SUCCESS".to_owned(),
            release: Release::new("v2"),
            created_at: None,
            commit: None,
            digest: None,
            running: 3,
            manifest: Manifest::default(),
        }),
        targets: Ok(vec![restorable(72 * HOUR_MS)]),
        choice: Ok(Choice::RollBack(restorable(72 * HOUR_MS))),
        auto_deploy: Ok(AutoDeploy { is_on: false, reason: None }),
        triggers: Ok(vec![]),
        volumes: Ok(vec![]),
        tcp_ports: Ok(vec![]),
        plan: Ok("pro".to_owned()),
        quota: Some(Quota { limit: Some(10_000), remaining: 9_000 }),
        replicas_configured: 3,
    }
}

fn all(found: &Examination, now: Time) -> Vec<Finding> {
    let config = config();
    let mut findings = railway::of(found, &config, now);
    findings.extend(service::of(found, &config, now));
    findings
}

fn codes(findings: &[Finding], level: Level) -> Vec<&'static str> {
    findings.iter().filter(|finding| finding.level == level).map(|finding| finding.code).collect()
}

#[test]
fn a_service_as_it_should_be_has_neither_faults_nor_warnings() {
    let findings = all(&healthy(), NOW);
    assert_eq!(codes(&findings, Level::Fault), [""; 0], "{findings:#?}");
    assert_eq!(codes(&findings, Level::Warning), [""; 0], "{findings:#?}");
    assert!(text(&findings).ends_with("\n0 faults, 0 warnings\n"));
    assert!(as_json(&findings).contains("\"ok\": true"));
}

/// What one change makes of a service as it should be.
fn check(change: impl FnOnce(&mut Examination), level: Level, code: &str, part: &str) {
    let mut found = healthy();
    change(&mut found);
    let findings = all(&found, NOW);
    let one = findings.iter().find(|finding| finding.code == code && finding.level == level);
    let one = one.unwrap_or_else(|| panic!("no {level:?} {code} in {findings:#?}"));
    let said = format!("{} {} {}", one.what, one.why, one.todo);
    assert!(said.contains(part), "{part:?} is not in {said}");
    assert!(
        level < Level::Warning || !one.todo.is_empty() || one.what.contains("cannot be read"),
        "{one:?} says not what to do"
    );
}

#[test]
fn each_thing_that_goes_wrong_with_the_token_or_the_target_is_found() {
    use Level::{Fault, Warning};
    check(|e| e.token = None, Fault, "token", "RAILWAY_TOKEN");
    check(|e| e.token = Some(TokenKind::Account), Warning, "token", "all projects");
    check(
        |e| e.scope = Err("Not Authorized".to_owned()),
        Fault,
        "token_refused",
        "Project settings > Tokens",
    );
    check(
        |e| e.scope.as_mut().unwrap().as_mut().unwrap().environment = "e-9".to_owned(),
        Fault,
        "token_scope",
        "e-9",
    );
    check(|e| e.platform.as_mut().unwrap().is_stable = false, Warning, "platform_state", "not stable");
    check(|e| e.live = Err("Problem".to_owned()), Fault, "live", "platform.service");
    check(|e| e.choice = Ok(Choice::RollBack(restorable(HOUR_MS))), Warning, "target", "may drop its image");
    check(|e| e.choice = Ok(Choice::Redeploy(restorable(0))), Warning, "target", "a build");
    check(|e| e.choice = Ok(Choice::NothingKnownGood), Warning, "target", "known good");
    let gone = || Choice::Gone { release: Release::new("v1").unwrap(), why: "no image".to_owned() };
    check(|e| e.choice = Ok(gone()), Fault, "target", "no image");
    check(|e| e.auto_deploy.as_mut().unwrap().is_on = true, Warning, "auto_deploy", "the next push");
    let trigger =
        Trigger { repository: "ana/shop".to_owned(), branch: "main".to_owned(), waits_for_checks: false };
    check(|e| e.triggers = Ok(vec![trigger]), Level::Info, "trigger", "main of ana/shop");
    check(|e| e.plan = Ok("free".to_owned()), Warning, "requests", "REQUESTS_PER_HOUR");
    check(|e| e.quota.as_mut().unwrap().remaining = 3, Warning, "quota", "3 requests");
}

#[test]
fn what_bars_everything_is_one_fault_and_what_hangs_on_it_is_left_out() {
    for (kind, why, code, part) in [
        (
            TokenKind::Project,
            "the question `settings` got no answer: no connection to backboard.railway.com: refused",
            "api_unreachable",
            "Railway's API cannot be reached at backboard.railway.com: no connection to",
        ),
        (
            TokenKind::Project,
            "Railway does not allow `settings` with this token (Not Authorized); an account's belongs elsewhere",
            "token_refused",
            "Railway refuses the token in RAILWAY_TOKEN (Not Authorized): an account's belongs elsewhere",
        ),
        (
            TokenKind::Account,
            "Railway does not allow `settings` with this token (Not Authorized); see there",
            "token_refused",
            "the token in RAILWAY_API_TOKEN (Not Authorized): see there",
        ),
        (TokenKind::Project, "Railway failed", "api_unread", "nothing can be read from Railway"),
    ] {
        let mut found = healthy();
        let failed = why.to_owned();
        found.token = Some(kind);
        found.scope = if kind == TokenKind::Account { Ok(None) } else { Err(failed.clone()) };
        (found.platform, found.settings) = (Err(failed.clone()), Err(failed.clone()));
        (found.live, found.auto_deploy) = (Err(failed.clone()), Err(failed));
        let findings = all(&found, NOW);
        assert_eq!(codes(&findings, Level::Fault), [code], "{findings:#?}");
        assert_eq!(findings.len(), 2, "{findings:#?}");
        assert!(findings[1].what.contains(part), "{findings:#?}");
    }
}

#[test]
fn ids_that_are_missing_are_named_together() {
    let mut loaded = loaded(&[("OUTRIGGER__PLATFORM__KIND", "railway")]);
    if let Platform::Railway(of) = &mut loaded.config.platform {
        of.project.clear();
        of.service.clear();
    }
    let findings = own::of_config(&loaded);
    let one = findings.iter().find(|finding| finding.code == "platform").unwrap();
    assert_eq!((one.level, one.what.as_str()), (Level::Fault, "not set: platform.project, platform.service"));
    assert!(one.todo.contains("OUTRIGGER__PLATFORM__PROJECT, OUTRIGGER__PLATFORM__SERVICE"), "{one:?}");
}

#[test]
fn each_setting_that_hurts_is_found_with_where_to_change_it() {
    use Level::{Fault, Warning};
    fn set(change: impl FnOnce(&mut Settings)) -> impl FnOnce(&mut Examination) {
        |e| change(e.settings.as_mut().unwrap())
    }
    check(set(|s| s.health_path = None), Warning, "health_check", "Healthcheck Path: /api/health");
    check(set(|s| s.health_path = Some("/up".to_owned())), Warning, "health_check", "/up");
    check(set(|s| s.health_timeout = Some(10)), Warning, "health_timeout", "RAILWAY_HEALTHCHECK_TIMEOUT_SEC");
    check(set(|s| s.overlap = None), Warning, "overlap", "RAILWAY_DEPLOYMENT_OVERLAP_SECONDS");
    check(set(|s| s.draining = None), Warning, "draining", "RAILWAY_DEPLOYMENT_DRAINING_SECONDS");
    check(set(|s| s.sleeps = Some(true)), Warning, "sleep", "Serverless");
    check(set(|s| s.restart_policy = Some("NEVER".to_owned())), Warning, "restart", "On Failure");
    check(set(|s| s.cron = Some("0 0 * * *".to_owned())), Fault, "cron", "platform.service");
    check(set(|s| s.domains[0].target_port = Some(3000)), Warning, "target_port", "past the agent");
    check(set(|s| s.domains[0].target_port = Some(9900)), Level::Info, "admin_domain", "the gate");
    check(
        set(|s| s.start_command = Some("node server.js".to_owned())),
        Warning,
        "start_command",
        "outrigger run --",
    );
    check(set(|s| s.config_file = Some("railway.toml".to_owned())), Warning, "config_file", "2026-12-01");
    check(|e| e.tcp_ports = Ok(vec![5432]), Warning, "tcp", "5432");
    check(|e| e.replicas_configured = 1, Fault, "replicas", "OUTRIGGER__SERVICE__REPLICAS=3");
    check(|e| e.live.as_mut().unwrap().running = 2, Warning, "replicas_running", "2 of 3");
    check(|e| e.volumes = Ok(vec!["/data".to_owned()]), Fault, "volume_replicas", "watcher");
    check(|e| e.settings = Err("429".to_owned()), Warning, "settings", "429");
}

#[test]
fn what_a_deployment_was_made_with_counts_before_the_dashboard() {
    let mut found = healthy();
    found.live.as_mut().unwrap().manifest =
        Manifest { draining: Some(0), overlap: Some(0), replicas: Some(2), ..Manifest::default() };
    let findings = all(&found, NOW);
    assert_eq!(codes(&findings, Level::Warning), ["overlap", "draining"], "{findings:#?}");
    assert_eq!(codes(&findings, Level::Fault), ["replicas"]);
}

#[test]
fn an_old_configuration_file_is_a_fault_from_the_day_on_that_it_is_not_read() {
    let mut found = healthy();
    found.live.as_mut().unwrap().manifest.config_file = Some("/railway.json".to_owned());
    // Held for longer than until then.
    found.choice = Ok(Choice::RollBack(restorable(1_000 * HOUR_MS)));
    let day_before = Time::from_millis(1_796_083_199_999);
    let day = Time::from_millis(1_796_083_200_000);
    assert_eq!(codes(&all(&found, day_before), Level::Warning), ["config_file"]);
    assert_eq!(codes(&all(&found, day), Level::Fault), ["config_file"]);
}

#[test]
fn our_own_configuration_is_looked_at_too() {
    let of = |variables: &[(&str, &str)]| own::of_config(&loaded(variables));
    let has = |variables: &[(&str, &str)], level, code: &str| {
        let findings = of(variables);
        assert!(codes(&findings, level).contains(&code), "{code}: {findings:#?}");
    };
    has(&[], Level::Warning, "platform");
    has(&[], Level::Info, "not_asked");
    has(&[("OUTRIGGER__SERVICE__REPLICAS", "3")], Level::Fault, "electorate");
    let key = ("OUTRIGGER_PEER_KEY", "planted-key-of-all-peers");
    has(&[key, ("OUTRIGGER__SERVICE__REPLICAS", "2")], Level::Warning, "even");
    has(&[key, ("OUTRIGGER__SERVICE__REPLICAS", "3")], Level::Ok, "electorate");
    has(&[("OUTRIGGER__PROXY__HEALTH_PATH", "off")], Level::Warning, "health_page");
    has(&[("DATABASE_URL", "postgres://ana:planted-password@db/shop")], Level::Ok, "schema");
    has(&[("OUTRIGGER__ROLLBACK__IGNORE_SCHEMA", "true")], Level::Warning, "schema");
    has(&[("AUTO_ROLLBACK_ENABLED", "false"), ("OUTRIGGER__ROLLBACK__MODE", "enforce")], Level::Info, "mode");
    let secrets = [
        key,
        ("OUTRIGGER_TOKEN", "planted-token-of-ours"),
        ("RAILWAY_TOKEN", "planted-token-of-the-platform"),
    ];
    let findings =
        of(&[&secrets[..], &[("DATABASE_URL", "postgres://ana:planted-password@db/shop")]].concat());
    let said = format!("{}{}{findings:?}", text(&findings), as_json(&findings));
    assert!(!said.contains("planted"), "{said}");
}

#[test]
fn the_running_agent_says_what_is_known_and_what_stands_in_the_way() {
    let running = Running {
        snapshot: json!({"release": "v2", "target": "v1", "store": {"durable": false, "path": ""},
            "pause": {"by": "ana", "reason": "migration"}, "lock": {"by": "ben", "reason": "freeze"},
            "readiness": {"ready": false, "faults": ["the token was refused"]}}),
        quorum: json!({"reachable": false, "missing": [{"code": "no_caller", "says": "no agent may call"}]}),
        releases: json!({"releases": [
            {"release": "v2", "standing": "on_trial", "deployments": []},
            {"release": "v1", "standing": "known_good", "deployments": ["d-0", "d-1"]},
            {"release": "v0", "standing": "rolled_back", "deployments": ["d-9"]}]}),
    };
    let findings = own::of_agent(Some(&running));
    assert_eq!(codes(&findings, Level::Warning), ["store", "paused", "quorum"]);
    assert_eq!(codes(&findings, Level::Fault), ["parachute"]);
    assert_eq!(codes(&own::of_agent(None), Level::Info), ["agent"]);
    let known = running.known(&config());
    let (v0, v1, v2) =
        (Release::new("v0").unwrap(), Release::new("v1").unwrap(), Release::new("v2").unwrap());
    assert_eq!((known.target, known.quarantined.clone()), (Some(v1.clone()), vec![v0]));
    assert_eq!(
        known.own.as_ref().map(|(deployment, release)| (deployment.as_str(), release)),
        Some(("d-2", &v2))
    );
    assert_eq!(known.releases.iter().find(|(release, _)| *release == v1).unwrap().1.len(), 2);
}
