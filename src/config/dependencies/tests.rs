//! Sections of probes, what is found by itself, faults in full text, and that no secret is told.

use std::ffi::OsString;
use std::time::Duration;

use crate::config::probes::{Ask, Probe, Role, Schema, TlsMode, Why};
use crate::config::{ByHand, FILE, Faults, Flags, Loaded, Origin, Sources, load};

mod secrets;

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

    fn try_load(&self) -> Result<Loaded, Faults> {
        let (env, flags) = (self.env.clone(), self.flags.clone());
        load(Sources { file: None, directory: self.dir.path().to_owned(), env, flags })
    }

    fn load(&self) -> Loaded {
        self.try_load().unwrap_or_else(|faults| panic!("{faults}"))
    }

    fn probe(&self, name: &str) -> Probe {
        let list = self.load().config.probes.list;
        let found = list.iter().find(|probe| probe.name == name).cloned();
        found.unwrap_or_else(|| panic!("no {name} in {list:#?}"))
    }

    fn left_out(&self) -> Vec<String> {
        let left = self.load().config.probes.left_out;
        left.iter().map(|left| format!("{}: {}", left.what, left.why)).collect()
    }

    /// All faults, one a line, with the file's directory left out.
    fn faults(&self) -> String {
        let faults = self.try_load().expect_err("something is wrong").to_string();
        faults.replace(&format!("{}/", self.dir.path().display()), "")
    }
}

#[test]
fn what_the_environment_names_is_probed() {
    let world = World::new("")
        .env("DATABASE_URL", "postgres://u:hunter2@db:5433/shop?sslmode=require")
        .env("REDIS_URL", "redis://:hunter2@cache")
        .env("MYSQLHOST", "my")
        .env("MYSQLUSER", "root")
        .env("MYSQLPASSWORD", "p@/ ss")
        .env("MYSQLDATABASE", "railway");
    let list = world.load().config.probes.list;
    let told: Vec<_> = list
        .iter()
        .map(|probe| (probe.name.as_str(), probe.target.as_str(), &probe.why, probe.critical))
        .collect();
    assert_eq!(
        told,
        [
            ("mysql", "mysql://my:3306/railway", &Why::Found("MYSQLHOST"), true),
            ("postgres", "postgres://db:5433/shop", &Why::Found("DATABASE_URL"), true),
            ("redis", "redis://cache:6379", &Why::Found("REDIS_URL"), true),
        ]
    );
    let Ask::Mysql(mysql) = &list[0].ask else { panic!() };
    assert!(mysql.password.as_ref().unwrap().matches(b"p@/ ss"));
    let Ask::Postgres(postgres) = &list[1].ask else { panic!() };
    assert_eq!((postgres.tls.mode, &postgres.schema), (TlsMode::Require, &Schema::Auto));
    assert_eq!((list[1].interval, list[1].timeout), (Duration::from_secs(5), Duration::from_secs(2)));
    assert_eq!((list[1].failure_threshold, list[1].success_threshold), (3, 2));
    let off = world.env("OUTRIGGER__PROBES__DISCOVER", "false").load().config.probes;
    assert_eq!((off.list, off.left_out), (vec![], vec![]));
}

#[test]
fn pieces_make_a_postgres_where_there_is_no_url() {
    let pieces = World::new("")
        .env("PGHOST", "fd12::5")
        .env("PGPORT", "6000")
        .env("PGUSER", "me")
        .env("PGPASSWORD", "a:b@c")
        .env("PGSSLMODE", "verify-ca");
    let probe = pieces.probe("postgres");
    assert_eq!((probe.target.as_str(), probe.why), ("postgres://[fd12::5]:6000/me", Why::Found("PGHOST")));
    let Ask::Postgres(postgres) = probe.ask else { panic!() };
    assert!(postgres.password.unwrap().matches(b"a:b@c"));
    assert_eq!(postgres.tls.mode, TlsMode::VerifyCa);
    let socket = World::new("").env("PGHOST", "/run/pg").env("PGUSER", "me").env("PGDATABASE", "d");
    assert_eq!(socket.probe("postgres").target, "postgres:///d?host=/run/pg");
    let both = pieces.env("POSTGRES_URL", "postgres://u@[fd12::5]:6000/x");
    assert_eq!(both.probe("postgres").why, Why::Found("POSTGRES_URL"));
    assert_eq!(both.left_out(), ["PGHOST: it leads to the same server as POSTGRES_URL"]);
}

#[test]
fn what_is_found_and_not_probed_is_told_with_the_reason() {
    let world = World::new("")
        .env("DATABASE_URL", "postgres://u:hunter2@db/shop")
        .env("DATABASE_PRIVATE_URL", "postgresql://v:hunter2@db/other")
        .env("POSTGRES_URL", "postgres://u:hunter2@elsewhere/shop")
        .env("REDIS_URL", "")
        .env("MYSQL_URL", "file:./dev.db")
        .env("REDIS_PRIVATE_URL", "hunter2")
        .env("MYSQL_PRIVATE_URL", "mysql://root:hunter/2@my/d")
        .env("DATABASE_PUBLIC_URL", "postgres://u:hunter2@proxy.example:1/shop");
    assert_eq!(
        world.left_out(),
        [
            "DATABASE_PRIVATE_URL: it leads to the same server as DATABASE_URL",
            "POSTGRES_URL: only the first of a kind is found by itself, here DATABASE_URL; for this one give a section of its \
             own with url_from = \"POSTGRES_URL\"",
            "REDIS_URL: it is empty",
            "REDIS_PRIVATE_URL: it is no URL of Postgres, Redis or MySQL (its value is not shown)",
            "MYSQL_URL: it names a file, and a file is no server",
            "MYSQL_PRIVATE_URL: as a URL of mysql it holds an @ behind its host: a /, ?, # or @ within a password is written \
             as %2F, %3F, %23 or %40 (its value is not shown)",
            "DATABASE_PUBLIC_URL: it leads through the public network; a section with url_from asks there all the same",
        ]
    );
    let warnings = world.load().warnings;
    assert_eq!(warnings.len(), 1, "only what is malformed: {warnings:?}");
    assert!(
        warnings[0].starts_with("MYSQL_PRIVATE_URL is not probed: as a URL of mysql it holds an @"),
        "{warnings:?}"
    );
    for (url, why) in [
        ("prisma+postgres://x", "Prisma's proxy"),
        ("mongodb+srv://u:hunter2@m/", "MongoDB is not asked"),
        ("sqlite:dev.db", "a file is no server"),
        ("https://h", "no URL of Postgres"),
        ("u:hunter2@tcp(db:3306)/d", "no URL of Postgres"),
    ] {
        let left = World::new("").env("DATABASE_URL", url).left_out();
        assert!(left.len() == 1 && left[0].contains(why) && !left[0].contains("hunter2"), "{left:?}");
    }
}

#[test]
fn a_section_amends_what_was_found() {
    let world = World::new("[probe.postgres]\ncritical = false\ninterval = \"10s\"\nrole = \"replica\"\n")
        .env("DATABASE_URL", "postgres://u:p@db/shop?target_session_attrs=primary")
        .env("OUTRIGGER__PROBE__POSTGRES__INTERVAL", "20s")
        .env("OUTRIGGER__PROBES__TIMEOUT", "1s");
    let probe = world.probe("postgres");
    assert_eq!(
        (probe.critical, probe.interval),
        (false, Duration::from_secs(20)),
        "variables stand above the file"
    );
    assert_eq!((probe.timeout, probe.why), (Duration::from_secs(1), Why::Found("DATABASE_URL")));
    let Ask::Postgres(postgres) = &probe.ask else { panic!() };
    assert_eq!(postgres.role, Role::Replica, "the file stands above the URL");
    let origins = world.load().origins;
    assert_eq!(origins["probe.postgres.interval"].value, "\"20s\"");
    assert_eq!(origins["probe.postgres.interval"].default, "\"5s\"");
    assert_eq!(origins["probe.postgres.role"].default, "\"primary\"");
    assert_eq!(origins["probe.postgres.url"].value, "[51 characters, not shown]");
    assert_eq!(origins["probe.postgres.url"].origin, Origin::Platform("DATABASE_URL"));

    let other = World::new("[probe.postgres]\nurl_from = \"OTHER\"\n")
        .env("DATABASE_URL", "postgres://u:p@db/shop")
        .env("OTHER", "postgres://u:p@other/shop");
    assert_eq!(
        other.probe("postgres").target,
        "postgres://other:5432/shop",
        "the file stands above what is found"
    );
    let highest = other.env("OUTRIGGER__PROBE__POSTGRES__URL", "postgres://u:p@third/shop");
    assert_eq!(highest.probe("postgres").target, "postgres://third:5432/shop");
    let off = World::new("[probe.redis]\nenabled = false\n").env("REDIS_URL", "redis://c");
    assert!(off.load().config.probes.list.is_empty());
    assert!(off.left_out()[0].starts_with("[probe.redis]: enabled = false ("), "{:?}", off.left_out());
    // A section for a variable that is there and not understood waits for a better one.
    let broken = World::new("[probe.redis]\ncritical = false\n").env("REDIS_URL", "redis://");
    assert_eq!(broken.left_out().len(), 2);
}

/// One probe of each kind, with keys of its own.
const EVERY_KIND: &str = r#"
[probe.db]
url = "postgres://me@h/d"
schema = "select max(version) from m"
connections_max = "80%"
lag_max = "5s"
tls = "verify-full"
[probe.cache]
url_from = "CACHE"
sentinel_user = "s"
sentinel_password_from = "SENTINEL"
memory_max = 0.5
[probe.api]
kind = "http"
url = "https://api.example.com/up?x=1"
method = "HEAD"
headers = ["accept: text/plain"]
headers_from = ["authorization: API_AUTH"]
status = ["200", "300-302"]
body_contains = "well"
json = "/a/b = 3"
certificate_min = "1d"
critical = true
degraded_above = "100ms"
failed_above = "1s"
[probe.pay]
preset = "stripe"
[probe.own-openai]
preset = "openai"
url = "http://proxy:3000/openai/v1/models"
interval = "1m"
[probe.port]
url = "tcp://h:1"
[probe.name]
url = "dns:db.example"
expect = ["10.0.0.1", "::1"]
[probe.rpc]
url = "grpc://h:50051"
service = "shop.v1.Orders"
[probe.check]
command = ["./check.sh", "--token", "hunter2"]
"#;

#[test]
fn every_kind_can_be_written_out() {
    let world = World::new(EVERY_KIND)
        .env("CACHE", "redis+sentinel://u:hunter2@s1,s2/main")
        .env("SENTINEL", "hunter2")
        .env("API_AUTH", "Bearer hunter2");
    let loaded = world.load();
    let targets: Vec<String> = loaded
        .config
        .probes
        .list
        .iter()
        .map(|p| format!("{} {} {}", p.name, p.ask.kind(), p.target))
        .collect();
    assert_eq!(
        targets,
        [
            "api http https://api.example.com",
            "cache redis redis+sentinel://s1:26379,s2:26379/main",
            "check command ./check.sh",
            "db postgres postgres://h:5432/d",
            "name dns dns:db.example",
            "own-openai http http://proxy:3000",
            "pay http https://api.stripe.com",
            "port tcp tcp://h:1",
            "rpc grpc grpc://h:50051",
        ]
    );
    let api = world.probe("api");
    assert_eq!(
        (api.degraded_above, api.failed_above),
        (Some(Duration::from_millis(100)), Some(Duration::from_secs(1)))
    );
    let Ask::Http(http) = api.ask else { panic!() };
    assert_eq!(http.status, [200..=200, 300..=302]);
    assert_eq!(http.headers[1].0, "authorization");
    assert!(http.headers[1].1.matches(b"Bearer hunter2"));
    let json = http.json.unwrap();
    assert_eq!((json.pointer.as_str(), json.equals.as_str()), ("/a/b", "3"));
    let pay = world.probe("pay");
    assert_eq!((pay.interval, pay.critical), (Duration::from_secs(60), false), "the agent is a guest there");
    let Ask::Http(own) = world.probe("own-openai").ask else { panic!() };
    assert_eq!((own.status, own.tls.is_none()), (vec![401..=401], true));
    let Ask::Redis(cache) = world.probe("cache").ask else { panic!() };
    assert!(cache.sentinel.unwrap().password.unwrap().matches(b"hunter2"));
    let Ask::Postgres(db) = world.probe("db").ask else { panic!() };
    assert_eq!((db.connections_max, db.tls.mode), (0.8, TlsMode::VerifyFull));
    assert_eq!(db.schema, Schema::Query("select max(version) from m".to_owned()));
    let debug = format!("{loaded:?}");
    assert!(!debug.contains("hunter2") && !debug.contains("max(version)"), "{debug}");
}

/// A fault each, and some more.
const FAULTY: &str = r#"
[probes]
interval = "2s"
[probe.orders]
url = "postgres://me:hunter2@db/orders"
[probe.Big]
url = "tcp://h:1"
[probe]
kind = "tcp"
[probe.a]
critical = false
[probe.b]
kind = "postgres"
url = "redis://h"
[probe.c]
url = "tcp://h:1"
role = "any"
intervall = "1s"
password = "hunter2"
[probe.d]
url = "db.example:hunter2"
url_from = "NOWHERE"
[probe.e]
url_from = "NOWHERE"
[probe.f]
url_from = "postgres://u:hunter2@h"
[probe.g]
url = "https://h"
status = ["2xx"]
json = "status"
headers = ["authorization: hunter2"]
tls = "prefer"
[probe.h]
url = "redis://h"
timeout = "5s"
degraded_above = "1s"
failed_above = "1s"
sentinel_user = "x"
[probe.i]
command = []
[probe.redis]
critical = false
[probe.j]
url = "postgres://u@h/d"
schema = "drop table hunter2"
"#;

#[test]
fn all_faults_of_probes_are_told_at_once() {
    let world = World::new(FAULTY)
        .env("OUTRIGGER__PROBE__K__URL", "tcp://h")
        .env("OUTRIGGER__PROBE__K__INTERVAL", "5");
    let faults = world.faults();
    let expected = r#"
outrigger.toml:5: probe.orders.url holds a password (not shown), and a file is no place for one: put the URL into a variable and give its name, as in url_from = "DATABASE_URL"
outrigger.toml:6: [probe."Big"]: is no name of a probe; give 1 to 32 of a to z, 0 to 9 and -, a letter first, as in [probe.orders-db]
outrigger.toml:9: probe.kind: found outside of a probe's own table, as in `[probe.orders]` and below it `url_from = "ORDERS_URL"`
outrigger.toml:10: [probe.a]: nothing tells whom it asks: give url, url_from or command, or a preset
outrigger.toml:13: probe.b.kind = "postgres" does not fit its URL, which is one of redis; leave it out, or give another URL
outrigger.toml:17: probe.c.role: a probe of kind "tcp" has no such option, only one of kind "postgres" or "redis"
outrigger.toml:18: probe.c.intervall: there is no such option; did you mean probe.c.interval?
outrigger.toml:19: probe.c.password: there is no such option; secrets are only taken from the environment, as with url_from = "DATABASE_URL"
outrigger.toml:21: probe.d.url = [18 characters, not shown] is no URL with a scheme that is known; give a URL such as postgres://user@host:5432/db, redis://host:6379, mysql://user@host/db, https://host/path, tcp://host:port, dns:name or grpc://host:port
outrigger.toml:24: probe.e.url_from: the variable NOWHERE is not set, or not UTF-8; set it, or name another
outrigger.toml:26: probe.f.url_from = [22 characters, not shown] is no name of a variable; give the name of a variable, such as "ORDERS_URL"
outrigger.toml:29: probe.g.status = [1 items] holds what is no status; give a list of statuses from 100 to 599 in quotes, as in ["200-299", "401"]
outrigger.toml:30: probe.g.json = [6 characters, not shown] has no =; give where a value stands and what it is, as in "/status = ok"
outrigger.toml:31: probe.g.headers holds a field that is a secret, and a file is no place for one: put its value into a variable and name it, as in headers_from = ["authorization: API_AUTHORIZATION"]
outrigger.toml:32: probe.g.tls = "prefer" is not one of the words that are known; give one of "require", "verify-ca", "verify-full"
outrigger.toml:38: probe.h.sentinel_user: the URL names no Sentinels; leave it out, or give a URL such as redis+sentinel://host:26379/mymaster
outrigger.toml:40: probe.i.command names no program; give a list of at most 64 texts, the program first, as in ["./check.sh", "--quick"]
outrigger.toml:41: [probe.redis]: no variable that names such a server was found, so there is nothing to amend: give url or url_from, or leave it out where there is none
outrigger.toml:45: probe.j.schema = [18 characters, not shown] is neither a word that is known nor a query; give "auto", "off", or a query that begins with select, as in "select max(version) from migrations"
OUTRIGGER__PROBE__K__URL: probe.k.url = [7 characters, not shown] names no port; give a URL such as postgres://user@host:5432/db, redis://host:6379, mysql://user@host/db, https://host/path, tcp://host:port, dns:name or grpc://host:port
probes.timeout = "2s" (the default) and probes.interval = "2s" (outrigger.toml:3): a round must end before the next one begins; make the timeout shorter than the interval
probe.h.timeout = "5s" (outrigger.toml:35) and probe.h.interval = "2s" (the default): a round must end before the next one begins; make the timeout shorter than the interval
probe.h.degraded_above = "1s" (outrigger.toml:36) and probe.h.failed_above = "1s" (outrigger.toml:37): what has failed is worse; make degraded_above shorter
"#;
    for (told, expected) in faults.lines().zip(expected.trim().lines()) {
        assert_eq!(told, expected);
    }
    assert_eq!(faults.lines().count(), expected.trim().lines().count(), "{faults}");
}

#[test]
fn a_misspelt_section_or_variable_is_told_with_what_was_meant() {
    let world = World::new("[probe.postgers]\ncritical = false\n[probs]\ninterval = \"5s\"\n")
        .env("DATABASE_URL", "postgres://u@h/d")
        .env("OUTRIGGER__PROBE__POSTGRES__CRITICL", "false")
        .env("OUTRIGGER__PROBE__9__URL", "tcp://h:1")
        .env("OUTRIGGER__PROBES__INTERVALL", "5s");
    let expected = r#"
outrigger.toml:1: [probe.postgers]: nothing tells whom it asks: give url, url_from or command, or a preset; did you mean [probe.postgres]?
outrigger.toml:3: [probs]: there is no such section; did you mean [probe]?
OUTRIGGER__PROBE__POSTGRES__CRITICL: probe.postgres.criticl: there is no such option; did you mean probe.postgres.critical?
OUTRIGGER__PROBES__INTERVALL: there is no such variable; did you mean OUTRIGGER__PROBES__INTERVAL?
"#;
    let faults = world.faults();
    for line in expected.trim().lines() {
        assert!(faults.lines().any(|told| told == line), "{line} is not in\n{faults}");
    }
    assert!(faults.contains("OUTRIGGER__PROBE__9__URL: there is no such variable"), "{faults}");
    assert_eq!(faults.lines().count(), 5, "{faults}");
}

#[test]
fn files_of_authorities_must_be_readable_and_hold_one() {
    let world = World::new("[probes]\nca_file = \"/nowhere/ca.pem\"\n");
    assert_eq!(
        world.faults(),
        "outrigger.toml:2: probes.ca_file = \"/nowhere/ca.pem\" cannot be read: No such file or directory (os error 2); give \
         the path of a PEM file with certificates of authorities"
    );
    let dir = tempfile::tempdir().unwrap();
    let pem = dir.path().join("ca.pem");
    std::fs::write(&pem, "nothing").unwrap();
    let with = |text: &str| World::new(&text.replace("PEM", pem.to_str().unwrap()));
    let empty = with("[probe.a]\nurl = \"postgres://u@h/d?sslrootcert=PEM\"\n").faults();
    assert_eq!(
        empty,
        "outrigger.toml:2: probe.a.url: the file of authorities that the URL names holds no certificate; put it there, or give \
         ca_file"
    );
    std::fs::write(&pem, "-----BEGIN CERTIFICATE-----\n").unwrap();
    let all = "[probes]\nca_file = \"PEM\"\n[probe.a]\nurl = \"postgres://u@h/d\"\n[probe.b]\nurl = \"https://h\"\n";
    let all = with(all);
    let Ask::Http(http) = all.probe("b").ask else { panic!() };
    assert_eq!(http.tls.unwrap().ca_file, Some(pem.clone()));
    let Ask::Postgres(postgres) = all.probe("a").ask else { panic!() };
    assert_eq!(postgres.tls.ca_file, None, "it would make `prefer` verify");
    let found = World::new("").env("DATABASE_URL", "postgres://u@h/d?sslrootcert=/nowhere").load();
    assert!(
        found.config.probes.list.is_empty() && found.warnings[0].contains("cannot be read"),
        "{:?}",
        found.warnings
    );
}

#[test]
fn at_most_64_probes_run() {
    let sections: String = (0..65).map(|i| format!("[probe.p{i}]\nurl = \"tcp://h:1\"\n")).collect();
    assert_eq!(World::new(&sections).faults(), "65 probes would run; 64 are the most: leave some out");
}

#[test]
fn a_broken_file_is_the_only_fault() {
    let world = World::new("[probe.a\n").env("OUTRIGGER__PROBE__A__INTERVAL", "7s");
    assert_eq!(world.faults().lines().count(), 1, "{}", world.faults());
}

#[test]
fn a_url_on_the_command_line_holds_no_password() {
    let mut world = World::new("").env("ORDERS", "postgres://u:hunter2@h/d");
    world.flags.probe = Some(ByHand::Url("tcp://h:1".to_owned()));
    let probe = world.probe("by-hand");
    assert_eq!(
        (probe.target.as_str(), probe.why),
        ("tcp://h:1", Why::Configured(Origin::Flag("outrigger probe")))
    );
    world.flags.probe = Some(ByHand::Variable("ORDERS".to_owned()));
    assert_eq!(world.probe("by-hand").target, "postgres://h:5432/d");
    world.flags.probe = Some(ByHand::Url("postgres://u:hunter2@h/d".to_owned()));
    assert_eq!(
        world.faults(),
        "outrigger probe: probe.by-hand.url holds a password (not shown), which everybody on this machine can read in the list \
         of processes: put the URL into a variable and give its name, as in `outrigger probe env:DATABASE_URL`"
    );
}
