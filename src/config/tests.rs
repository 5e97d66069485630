//! Layers, faults in full text, warnings, and that no secret is told.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::time::Duration;

use super::*;
use crate::engine::policy::{Mode, Policy};

const TOKEN: &str = "correct-horse-battery-staple";

struct World {
    dir: tempfile::TempDir,
    env: Vec<(OsString, OsString)>,
    flags: Flags,
}

impl World {
    fn new(file: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), file).unwrap();
        Self { dir, env: Vec::new(), flags: Flags::default() }
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    fn load(&self) -> Result<Loaded, Faults> {
        let (env, flags) = (self.env.clone(), self.flags.clone());
        load(Sources { file: None, directory: self.dir.path().to_owned(), env, flags })
    }

    fn config(&self) -> Config {
        self.load().unwrap_or_else(|faults| panic!("{faults}")).config
    }

    fn warnings(&self) -> Vec<String> {
        self.load().unwrap_or_else(|faults| panic!("{faults}")).warnings
    }

    /// All faults, one a line, with the file's directory left out.
    fn faults(&self) -> String {
        let faults = self.load().expect_err("something is wrong").to_string();
        faults.replace(&format!("{}/", self.dir.path().display()), "")
    }
}

#[test]
fn without_anything_the_defaults_hold() {
    let config = World::new("").config();
    assert_eq!(config.policy, Policy::default());
    let workers = config.proxy.workers;
    assert_eq!(config.proxy, Proxy { workers, ..Proxy::default() });
    assert!((1..=4).contains(&workers));
    assert_eq!(config.platform, Platform::DryRun);
    assert_eq!(config.store.dir, PathBuf::from(".outrigger"));
    assert!(!config.store.dir_is_explicit);
}

#[test]
fn all_faults_are_told_at_once_with_their_place_and_what_would_be_right() {
    let world = World::new(
        r#"
[judge]
watch = "15 mintues"
warm_up = 30
false_alarms = "2"
crashes = "3"
error_ratio = 0.5
wach_max = "1d"
cooldown = "1m"
[rollbck]
mode = "enforce"
[platform]
kind = "heroku"
roll_back = ["", "x"]
[app]
upstream = "localhost:3000"
ready_path = "ready"
[log]
filter = "loud"
token = "x"
"#,
    );
    let mut world = world
        .env("OUTRIGGER__LISTEN__ADMIN", "9900")
        .env("OUTRIGGER__JUDGE__ENABLED", "yes")
        .env("OUTRIGGER_JUDGE_WATCH", "15m")
        .env("AUTO_ROLLBACK_ENABLED", "maybe")
        .env("PORT", "http");
    world.flags.listen = Some("everywhere".to_owned());
    let expected = r#"
outrigger.toml:3: judge.watch = "15 mintues" has an unknown unit; give a duration from "5s" to "30d", such as "15m"
outrigger.toml:4: judge.warm_up = 30 is not a duration in quotes; give a duration from "0s" to "1h", such as "30s"
outrigger.toml:5: judge.false_alarms = "2" is out of range; give a share from 0.000001 to 0.5, such as 0.01, or in quotes as a percentage, such as "1%"
outrigger.toml:6: judge.crashes = "3" is text; a number stands without quotes; give a whole number from 1 to 16, such as 3
outrigger.toml:7: judge.error_ratio = 0.5 is out of range; give a number from 1.01 to 100, such as 2.0
outrigger.toml:8: judge.wach_max: there is no such option; did you mean judge.watch_max?
outrigger.toml:9: judge.cooldown: there is no such option; did you mean rollback.cooldown?
outrigger.toml:10: [rollbck]: there is no such section; did you mean [rollback]?
outrigger.toml:13: platform.kind = "heroku" is not one of the words that are known; give one of "dry-run", "command", "local", "railway"
outrigger.toml:14: platform.roll_back = [2 items] names no program; give a list of at most 64 texts, the program first, as in ["./roll-back.sh", "--now"]
outrigger.toml:16: app.upstream = "localhost:3000" is not an http:// URL (it must begin with http://); give a plain URL with nothing behind the port, such as "http://127.0.0.1:3000", or a socket, such as "unix:/run/app.sock"
outrigger.toml:17: app.ready_path = "ready" does not begin with /; give a path that begins with /, or "off"
outrigger.toml:19: log.filter = "loud" is no log filter; give error, warn, info, debug or trace, or targets too, as in "info,outrigger::proxy=debug"
outrigger.toml:20: log.token: there is no such option; secrets are only taken from the environment: the token of the admin port is OUTRIGGER_TOKEN
AUTO_ROLLBACK_ENABLED: is neither true nor false; give false to keep the agent from acting, or true
PORT: is not a port; give 1 to 65535
OUTRIGGER__LISTEN__ADMIN: listen.admin = "9900" is a port without an address; give an IP address and a port, such as "[::]:8080" for all interfaces or "127.0.0.1:8080", or "off"
OUTRIGGER__JUDGE__ENABLED: judge.enabled = "yes" is neither true nor false; give true or false
OUTRIGGER_JUDGE_WATCH: there is no such variable; did you mean OUTRIGGER__JUDGE__WATCH?
--listen: listen.public = "everywhere" is not an IP address and port; give an IP address and a port, such as "[::]:8080" for all interfaces or "127.0.0.1:8080"
"#;
    assert_eq!(world.faults(), expected.trim());
}

#[test]
fn what_is_only_wrong_together_names_both_options() {
    let world = World::new(
        "[judge]\nwarm_up = \"20m\"\n[proxy]\nresponse_timeout = \"2s\"\n[listen]\npublic = \"[::]:9900\"\n[platform]\n",
    )
    .env("OUTRIGGER__PLATFORM__KIND", "command");
    let expected = r#"
judge.warm_up = "20m" (outrigger.toml:2) and judge.watch = "15m" (the default): the warm-up must end before the watch does, or nothing is judged; make it shorter
proxy.hold = "3s" (the default) and proxy.response_timeout = "2s" (outrigger.toml:4): a request must not be held for as long as its whole reply may take; make hold shorter
listen.public = "[::]:9900" (outrigger.toml:6) and listen.admin = "[::]:9900" (the default): two listeners cannot share a port; give the admin port another, or "off"
platform.kind = "command" (OUTRIGGER__PLATFORM__KIND) and platform.roll_back = [] (the default): there is no command that puts a release back; give one, as in roll_back = ["./roll-back.sh"]
"#;
    assert_eq!(world.faults(), expected.trim());
    // One that is wrong by itself is not blamed twice.
    let one = World::new("[judge]\nwarm_up = \"20m\"\nwatch = \"x\"\n").faults();
    assert!(one.lines().count() == 1 && one.contains("judge.watch"), "{one}");
    let local = World::new("[platform]\nkind = \"local\"\n").faults();
    assert!(local.contains("platform.kind") && local.contains("platform.url"), "{local}");
    let port = World::new("[app]\nport = 8080\n").faults();
    assert!(port.contains("app.port = 8080 (outrigger.toml:2) and listen.public"), "{port}");
}

#[test]
fn a_higher_layer_wins() {
    let mut world =
        World::new("[listen]\npublic = \"127.0.0.1:2\"\n[judge]\nwatch = \"20m\"\nwarm_up = \"1s\"\n")
            .env("PORT", "1")
            .env("OUTRIGGER__JUDGE__WATCH", "30m");
    let loaded = world.load().unwrap();
    assert_eq!(loaded.config.listen.public.to_string(), "127.0.0.1:2", "the file stands above the platform");
    assert_eq!(
        loaded.config.policy.watch,
        Duration::from_secs(1800),
        "the environment stands above the file"
    );
    assert_eq!(loaded.config.policy.warm_up, Duration::from_secs(1));
    assert_eq!(loaded.origins["judge.watch"].origin, Origin::Variable("OUTRIGGER__JUDGE__WATCH".to_owned()));
    assert_eq!(loaded.origins["judge.watch"].default, "\"15m\"");
    world = world.env("OUTRIGGER__LISTEN__PUBLIC", "127.0.0.1:3");
    assert_eq!(world.config().listen.public.port(), 3, "the environment stands above the file");
    world.flags = Flags {
        listen: Some("[::1]:4".to_owned()),
        admin: Some("off".to_owned()),
        upstream: Some("http://127.0.0.1:3000".to_owned()),
        data: Some("/data".into()),
        ..Flags::default()
    };
    let config = world.config();
    assert_eq!(config.listen.public.to_string(), "[::1]:4", "flags stand above all");
    assert_eq!(config.listen.admin, None);
    assert_eq!(config.app.upstream, Some(Address::Authority("127.0.0.1:3000".to_owned())));
    assert_eq!((config.store.dir, config.store.dir_is_explicit), ("/data".into(), true));
}

#[test]
fn each_type_can_be_set_from_the_environment() {
    let config = World::new("")
        .env("OUTRIGGER__SERVICE__RELEASE", "v7")
        .env("OUTRIGGER__JUDGE__ENABLED", "false")
        .env("OUTRIGGER__JUDGE__FALSE_ALARMS", "2%")
        .env("OUTRIGGER__JUDGE__LATENCY_RATIO", "1.25")
        .env("OUTRIGGER__PROXY__HELD_MAX", "0")
        .env("OUTRIGGER__PROXY__HEALTH_PATH", "off")
        .env("OUTRIGGER__PROXY__WORKERS", "3")
        .env("OUTRIGGER__ROLLBACK__MODE", "enforce")
        .env("OUTRIGGER__PLATFORM__KIND", "command")
        .env("OUTRIGGER__PLATFORM__ROLL_BACK", r#"["./back", "--to", "a b"]"#)
        .env("OUTRIGGER__LOG__FORMAT", "json")
        .env("OUTRIGGER_DECISION_RECORD", "ignored")
        .env("OUTRIGGER_PEER_KEY", TOKEN)
        .env("HOME", "/root")
        .config();
    assert_eq!(config.service.release.as_deref(), Some("v7"));
    assert!(!config.policy.judging);
    assert_eq!((config.policy.false_alarms, config.policy.latency_ratio), (0.02, 1.25));
    assert_eq!((config.proxy.held_max, config.proxy.workers), (0, 3));
    assert_eq!(config.proxy.health_path, None);
    assert_eq!(config.policy.mode, Mode::Enforce);
    let Platform::Command { roll_back, .. } = config.platform else { panic!("{:?}", config.platform) };
    assert_eq!(roll_back, ["./back", "--to", "a b"]);
    assert_eq!(config.log.json, Some(true));
}

#[test]
fn an_order_that_outlasts_its_verification_is_warned_of() {
    let file =
        "[rollback]\nverify = \"30s\"\n[platform]\nkind = \"local\"\nurl = \"http://127.0.0.1:7000\"\n";
    let expected = "platform.timeout (1m) is longer than rollback.verify (30s): a rollback may be called failed while it is still being ordered";
    assert_eq!(World::new(file).warnings(), [expected]);
}

fn railway(file: &str) -> World {
    World::new(file)
        .env("PORT", "4000")
        .env("RAILWAY_GIT_COMMIT_SHA", "0f6c1a9e7b1d4d3c9f0e2b7f3a5c6d7e01234567")
        .env("RAILWAY_DEPLOYMENT_ID", "d-1")
        .env("RAILWAY_REPLICA_ID", "r-1")
        .env("RAILWAY_ENVIRONMENT_NAME", "production")
        .env("RAILWAY_SERVICE_NAME", "shop")
}

#[test]
fn the_platforms_variables_are_defaults() {
    let world = railway("[service]\nname = \"mine\"\n")
        .env("RAILWAY_DEPLOYMENT_DRAINING_SECONDS", "30")
        .env("RAILWAY_VOLUME_MOUNT_PATH", "/data/");
    let config = world.config();
    assert_eq!(config.listen.public.to_string(), "[::]:4000");
    assert_eq!(config.service.name, "mine", "the file stands above the platform");
    assert_eq!(config.service.environment, "production");
    assert_eq!(config.service.release.as_deref(), Some("0f6c1a9e7b1d4d3c9f0e2b7f3a5c6d7e01234567"));
    assert_eq!(config.service.replica.as_deref(), Some("r-1"));
    assert_eq!(config.app.drain, Duration::from_secs(28));
    assert_eq!((config.store.dir, config.store.dir_is_explicit), ("/data/outrigger".into(), false));
    assert_eq!(world.warnings(), Vec::<String>::new());

    let bare = World::new("[service]\nrelease = \"\"\n").env("RAILWAY_DEPLOYMENT_ID", "d-1");
    assert_eq!(
        bare.config().service.release.as_deref(),
        Some("d-1"),
        "without a commit; \"\" leaves it to the platform"
    );
}

#[test]
fn what_will_hurt_is_warned_of() {
    let world =
        railway("[service]\nreplicas = 3\n[rollback]\nmode = \"enforce\"\n[platform]\nurl = \"http://x\"\n")
            .env("OUTRIGGER__PROXY__HEALTH_PATH", "off")
            .env("DEPLOYMENT_STRATEGY", "canary");
    let warnings = world.warnings();
    for part in [
        "DEPLOYMENT_STRATEGY=\"canary\" is not supported",
        "the drain time is 0: requests that are open at a shutdown are lost; set RAILWAY_DEPLOYMENT_DRAINING_SECONDS",
        "service.replicas is 3: without a vote among them the agent recommends, it does not act; set OUTRIGGER_PEER_KEY",
        "no volume is attached and no OUTRIGGER_PEER_KEY is set: what is learnt ends with the deployment",
        "proxy.health_path is off",
        "rollback.mode is \"enforce\" but platform.kind is \"dry-run\"",
        "has no effect: platform.kind is \"dry-run\"",
    ] {
        assert!(
            warnings.iter().any(|warning| warning.contains(part)),
            "{part:?} is missing in {warnings:#?}"
        );
    }
    assert_eq!(warnings.len(), 7, "{warnings:#?}");
}

#[test]
fn what_peers_hand_over_needs_no_volume() {
    let world = railway("").env("OUTRIGGER_PEER_KEY", "planted-key-of-all-peers");
    let warnings = world.env("RAILWAY_PRIVATE_DOMAIN", "shop.railway.internal").warnings();
    assert!(!warnings.iter().any(|warning| warning.contains("volume")), "{warnings:#?}");
}

#[test]
fn where_a_watcher_acts_the_others_may_enforce_without_a_platform() {
    let file = "[service]\nwatcher = true\n[rollback]\nmode = \"enforce\"\n";
    assert_eq!(World::new(file).warnings(), Vec::<String>::new());
}

#[test]
fn the_plain_switch_lowers_the_mode_and_never_raises_it() {
    for (mode, switch, expected) in [
        ("enforce", "false", Mode::Recommend),
        ("enforce", "FALSE", Mode::Recommend),
        ("enforce", "true", Mode::Enforce),
        ("recommend", "true", Mode::Recommend),
        ("observe", "false", Mode::Observe),
        ("observe", "true", Mode::Observe),
    ] {
        let world =
            World::new(&format!("[rollback]\nmode = \"{mode}\"\n")).env("AUTO_ROLLBACK_ENABLED", switch);
        assert_eq!(world.config().policy.mode, expected, "{mode}, {switch}");
    }
}

#[test]
fn no_secret_is_told() {
    let ours = World::new("").env("OUTRIGGER_TOKEN", TOKEN).load().unwrap();
    assert!(ours.config.admin.token.as_ref().is_some_and(|token| token.matches(TOKEN.as_bytes())));
    assert!(!format!("{ours:?}").contains(TOKEN));
    let short = World::new("").env("OUTRIGGER_TOKEN", "hunter2").faults();
    assert!(short.starts_with("OUTRIGGER_TOKEN: is no token") && !short.contains("hunter2"), "{short}");
    // The token, and what looks like one, in the wrong places.
    let other = "sk_live_51H8x9K2eZvKYlo2C";
    let wrong = World::new(&format!(
        "stray = \"{TOKEN}\"\n[judge]\nwatch = \"{TOKEN}\"\nwarm_up = \"{other}\"\ntoken = \"{other}\"\n\
         [app]\nupstream = \"http://u:hunter2@host\"\n[platform]\nroll_back = [\"{other}\", 3]\n"
    ))
    .env("OUTRIGGER_TOKEN", TOKEN)
    .env("OUTRIGGER__LOG__FILTER", other)
    .env("OUTRIGGER_TOKN", TOKEN)
    .faults();
    assert_eq!(wrong.lines().count(), 8, "{wrong}");
    for secret in [TOKEN, other, "hunter2", "horse"] {
        assert!(!wrong.contains(secret), "{wrong}");
    }
    assert!(wrong.contains("judge.watch = [28 characters, not shown] is not a duration"), "{wrong}");
    assert!(wrong.contains("did you mean OUTRIGGER_TOKEN?"), "{wrong}");
}

#[test]
fn what_is_not_toml_is_told_with_its_line_and_column() {
    let faults = World::new("[judge]\nwatch = 15m\n").env("OUTRIGGER__JUDGE__CRASHES", "x").faults();
    let lines: Vec<&str> = faults.lines().collect();
    assert!(lines[0].starts_with("outrigger.toml:2:9: not TOML: "), "{faults}");
    assert!(
        lines[1].starts_with("OUTRIGGER__JUDGE__CRASHES: judge.crashes = \"x\" is not a whole number"),
        "{faults}"
    );
    // What the rest of the file may say is not guessed at.
    let command = World::new("[platform\n").env("OUTRIGGER__PLATFORM__KIND", "command").faults();
    assert_eq!(command.lines().count(), 1, "{command}");
    let twice = World::new("[judge]\nwatch = \"5m\"\nwatch = \"6m\"\n").faults();
    assert!(twice.starts_with("outrigger.toml:3:1: not TOML: duplicate key"), "{twice}");
    let stray = World::new("judge = 3\n[[app]]\nport = 1\n").faults();
    assert!(stray.starts_with("outrigger.toml:1: judge: found outside of a section"), "{stray}");
    let nested = World::new("[judge.watch]\nx = 1\n").faults();
    assert!(nested.contains("judge.watch = a table is not a duration in quotes"), "{nested}");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let world = World::new("");
    let dir = world.dir.path();
    let faults_of = |file: &str| {
        let file = Some(dir.join(file));
        let sources = Sources { file, directory: PathBuf::new(), env: Vec::new(), flags: Flags::default() };
        load(sources).unwrap_err().to_string()
    };
    assert!(faults_of("missing.toml").contains("missing.toml: cannot be read: No such file"));
    std::fs::create_dir(dir.join("folder")).unwrap();
    assert!(faults_of("folder").contains("folder: cannot be read: "));
    std::fs::write(dir.join("latin"), b"[service]\nname = \"caf\xe9\"\n").unwrap();
    assert!(faults_of("latin").contains("it is not UTF-8 from byte 21 on"), "{}", faults_of("latin"));
    std::fs::write(dir.join("large"), vec![b'#'; 1024 * 1024 + 1]).unwrap();
    assert!(faults_of("large").contains("larger than 1 MiB"));
    // The default file may be absent; one that a variable names may not.
    std::fs::remove_file(dir.join(FILE)).unwrap();
    world.config();
    let named = World::new("").env("OUTRIGGER_CONFIG", "/nowhere/x.toml");
    assert!(named.faults().starts_with("/nowhere/x.toml: cannot be read"));
    assert!(World::new("").env("OUTRIGGER_CONFIG", "").faults().starts_with("OUTRIGGER_CONFIG: is empty"));
}

#[test]
fn what_is_not_utf_8_is_told_only_where_it_is_ours() {
    let bad = || OsString::from_vec(b"a\xff".to_vec());
    let mut world = World::new("");
    world.env.push(("PATH".into(), bad()));
    world.env.push((bad(), "x".into()));
    world.config();
    world.env.push(("OUTRIGGER__JUDGE__WATCH".into(), bad()));
    world.env.push(("PORT".into(), bad()));
    world.env.push(("OUTRIGGER_TOKEN".into(), bad()));
    world.env.push((OsString::from_vec(b"OUTRIGGER_\xff".to_vec()), "x".into()));
    world.flags.data = Some(bad().into());
    let faults = world.faults();
    assert_eq!(faults.lines().count(), 5, "{faults}");
    for place in
        ["OUTRIGGER__JUDGE__WATCH: ", "PORT: ", "OUTRIGGER_TOKEN: ", "OUTRIGGER_\u{fffd}: ", "--data: "]
    {
        assert!(faults.lines().any(|line| line.starts_with(place)), "{place} is missing in:\n{faults}");
    }
}

#[test]
fn a_watcher_belongs_with_the_service_that_it_names() {
    let on_railway = |service: &str| {
        World::new("")
            .env("RAILWAY_PROJECT_ID", "p-1")
            .env("RAILWAY_ENVIRONMENT_ID", "e-1")
            .env("RAILWAY_SERVICE_ID", service)
    };
    let app = on_railway("s-app").config().peers.scope;
    assert_eq!(app, "p-1/e-1/s-app");
    assert_ne!(on_railway("s-watcher").config().peers.scope, app);
    let watcher = on_railway("s-watcher").env("OUTRIGGER__PLATFORM__SERVICE", "s-app").config();
    assert_eq!(watcher.peers.scope, app, "or neither could open what the other seals");
    assert_eq!(World::new("").config().peers.scope, "local/app");
}

#[test]
fn where_alerts_go_is_taken_from_the_environment_alone_and_never_shown() {
    let world = World::new("[alerts]\nlink = \"https://admin.example.com\"\n")
        .env("OUTRIGGER_ALERT_WEBHOOK", "http://127.0.0.1:9/hooks/T0PLANTED")
        .env("OUTRIGGER_SLACK_WEBHOOK", "https://hooks.slack.com/services/T0PLANTED")
        .env("OUTRIGGER_ALERT_SECRET", "T0PLANTED-0123456789")
        .env("ALERT_THRESHOLD", "Critical");
    let alerts = world.config().alerts;
    assert_eq!(alerts.webhook.as_ref().unwrap().expose().path(), "/hooks/T0PLANTED");
    assert_eq!(alerts.threshold.label(), "critical");
    assert_eq!(alerts.link.as_deref(), Some("https://admin.example.com"));
    let shown = format!("{alerts:?} {:?}", world.load().unwrap().origins);
    assert!(!shown.contains("T0PLANTED"), "{shown}");
    let over = World::new("[alerts]\nthreshold = \"low\"\n").env("ALERT_THRESHOLD", "high");
    assert_eq!(over.config().alerts.threshold.label(), "low");
}

#[test]
fn what_is_wrong_with_alerts_is_told_at_once_without_the_secrets() {
    let faults = World::new("[alerts]\nwebhook = \"https://T0PLANTED.example.com\"\nlink = \"ftp://x\"\n")
        .env("OUTRIGGER_ALERT_WEBHOOK", "http://T0PLANTED.example.com/x")
        .env("OUTRIGGER_SLACK_WEBHOOK", "T0PLANTED")
        .env("OUTRIGGER_ALERT_SECRET", "T0PLANTED")
        .env("ALERT_THRESHOLD", "loud")
        .faults();
    assert!(!faults.contains("T0PLANTED"), "{faults}");
    for told in [
        "outrigger.toml:2: alerts.webhook is a secret, and secrets are only taken from the environment: set \
         OUTRIGGER_ALERT_WEBHOOK",
        "outrigger.toml:3: alerts.link = \"ftp://x\" is no http address",
        "ALERT_THRESHOLD: alerts.threshold = \"loud\" is not one of the words that are known; give one of \"medium\", \
         \"low\", \"high\", \"critical\"",
        "OUTRIGGER_ALERT_WEBHOOK: is not encrypted and leads off this machine (its value is not shown)",
        "OUTRIGGER_SLACK_WEBHOOK: is no address (its value is not shown)",
        "OUTRIGGER_ALERT_SECRET: is no secret of 16 to 512 visible ASCII characters (its value is not shown)",
    ] {
        assert!(faults.contains(told), "{told}\nis not in\n{faults}");
    }
}

#[path = "platform_tests.rs"]
mod platform;
