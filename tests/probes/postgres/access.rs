//! Who is let in, by which way, and what may be asked then: passwords, TLS, sockets, rights, and the operator's own query.

use std::path::PathBuf;
use std::time::Duration;

use outrigger::config::probes::{Postgres, Schema, Server, Tls, TlsMode};
use outrigger::engine::health::{FactValue, Health};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};

use crate::asked::{fact, why};
use crate::postgres::cluster::{Cluster, start, start_patient};
use crate::postgres::faults::{until_well, until_words};
use crate::server::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_refused_is_told_in_the_servers_words_without_the_password() {
    let Some(cluster) = Cluster::start("").await else { return };
    cluster.sql("create role locked login password 'opensesame'").await;
    let asked = start(cluster.ask("locked"));
    asked.until_health(Health::Ok).await;
    cluster.sql("alter role locked password 'something else'").await;
    cluster.end_ours().await;
    until_words(&asked, "refused the login: password authentication failed for user \"locked\"").await;
    let state = asked.until_health(Health::Failed).await;
    assert!(!format!("{state:?}").contains("opensesame"));
    cluster.sql("alter role locked password 'opensesame'").await;
    asked.until_health(Health::Ok).await;
    let none = start(Postgres { password: None, ..cluster.ask("locked") });
    until_words(&none, "asks for a password, and none is given").await;
    let elsewhere = start(Postgres { database: "nowhere".to_owned(), ..cluster.ask("postgres") });
    until_words(&elsewhere, "refused the session: database \"nowhere\" does not exist").await;
    let socket = Server { host: cluster.folder().display().to_string(), port: cluster.port };
    let local = start(Postgres { servers: vec![socket], ..cluster.ask("locked") });
    until_well(&local).await;
    drop((asked, none, elsewhere, local));
    cluster.until_none_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_query_can_write_nothing_and_hold_nothing_up() {
    let Some(cluster) = Cluster::start("").await else { return };
    cluster.sql("create table releases (at int, name text); insert into releases values (7, 'seven'); create sequence s").await;
    let query = |sql: &str| Postgres { schema: Schema::Query(sql.to_owned()), ..cluster.ask("postgres") };
    let asked = start(query("select at from releases order by at desc; "));
    let state = asked.until("all is well", |state| why(state).is_empty()).await;
    assert_eq!(*fact(&state, "schema_version"), FactValue::Text("7".to_owned()));
    for (sql, words) in [
        ("delete from releases returning at", "(it must be a single select)"),
        (
            "select 1) q; commit; delete from releases; select * from (select 1",
            "cannot insert multiple commands",
        ),
        ("select nextval('s')", "cannot execute nextval() in a read-only transaction"),
        ("select name from nowhere", "relation \"nowhere\" does not exist"),
    ] {
        let asked = start(query(sql));
        until_words(&asked, "the query for the schema's version was refused").await;
        until_words(&asked, words).await;
        asked.until_health(Health::Degraded).await;
    }
    // It ends by itself, so that no round leaves one behind that still runs.
    let slow = start_patient(query("select pg_sleep(20)"), Duration::from_secs(10));
    until_words(&slow, "canceling statement due to statement timeout").await;
    let left: i64 = cluster
        .connect("postgres")
        .await
        .expect("it answers")
        .query_one("select count(*) from releases", &[])
        .await
        .expect("it may")
        .get(0);
    assert_eq!(left, 1);
    drop((asked, slow));
    cluster.until_none_is_left().await;
}

/// Certificates for a server.
struct Papers {
    authority: PathBuf,
    stranger: PathBuf,
}

/// Gives the server a certificate for `name` until `year`, and writes down its authority and another one.
fn certify(cluster: &Cluster, name: &str, year: i32) -> Papers {
    let authority = |name: &str| {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are fine");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        CertifiedIssuer::self_signed(params, KeyPair::generate().expect("there is chance"))
            .expect("it signs itself")
    };
    let (ours, other) = (authority("ours"), authority("other"));
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("it is a name");
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(year, 1, 1);
    let key = KeyPair::generate().expect("there is chance");
    let certificate = params.signed_by(&key, &ours).expect("it signs");
    cluster.write("data/server.crt", &certificate.pem(), 0o600);
    cluster.write("data/server.key", &key.serialize_pem(), 0o600);
    Papers {
        authority: cluster.write("ours.pem", &ours.pem(), 0o644),
        stranger: cluster.write("other.pem", &other.pem(), 0o644),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_as_strict_as_its_mode_says() {
    let Some(cluster) = Cluster::start("").await else { return };
    cluster.sql("create role locked login password 'opensesame'").await;
    let tls = |mode: TlsMode, file: Option<&PathBuf>| {
        start(Postgres { tls: Tls { mode, ca_file: file.cloned() }, ..cluster.ask("locked") })
    };
    let encrypted = async |expected: bool| {
        let client = cluster.connect("postgres").await.expect("it answers");
        let sql = "select count(*) filter (where s.ssl), count(*) from pg_stat_ssl s join pg_stat_activity a using (pid) \
                   where a.application_name = 'outrigger'";
        let row = client.query_one(sql, &[]).await.expect("it may");
        let (with, all): (i64, i64) = (row.get(0), row.get(1));
        assert_eq!((with, all), (if expected { 1 } else { 0 }, 1));
    };
    // Without TLS at the server.
    let prefer = tls(TlsMode::Prefer, None);
    until_well(&prefer).await;
    encrypted(false).await;
    drop(prefer);
    until_words(&tls(TlsMode::Require, None), "does not speak TLS, which sslmode asks for").await;
    let absent = PathBuf::from("/nowhere/ca.pem");
    let unable = tls(TlsMode::VerifyFull, Some(&absent));
    until_words(&unable, "/nowhere/ca.pem could not be read").await;
    assert_eq!(unable.state().health, Health::Unknown);
    cluster.until_none_is_left().await;

    let papers = certify(&cluster, "127.0.0.1", 2050);
    cluster.sql("alter system set ssl = on").await;
    let reload = async || {
        cluster.sql("select pg_reload_conf()").await;
    };
    reload().await;
    let client = cluster.connect("postgres").await.expect("it answers");
    eventually("TLS is on", async || {
        let row = client.query_one("show ssl", &[]).await.expect("it may");
        (row.get::<_, String>(0) == "on").then_some(())
    })
    .await;
    for (mode, file) in [
        (TlsMode::Prefer, None),
        (TlsMode::Require, None),
        (TlsMode::VerifyCa, Some(&papers.authority)),
        (TlsMode::VerifyFull, Some(&papers.authority)),
    ] {
        let asked = tls(mode, file);
        eprintln!("{mode:?}");
        until_well(&asked).await;
        encrypted(true).await;
        drop(asked);
        cluster.until_none_is_left().await;
    }
    for file in [None, Some(&papers.stranger)] {
        until_words(
            &tls(TlsMode::VerifyFull, file),
            "an authority that is not known here: name its file by sslrootcert",
        )
        .await;
    }
    until_words(&tls(TlsMode::Require, Some(&papers.stranger)), "an authority that is not known here").await;

    let papers = certify(&cluster, "db.example", 2050);
    reload().await;
    until_words(&tls(TlsMode::VerifyFull, Some(&papers.authority)), "its certificate is for another name")
        .await;
    until_well(&tls(TlsMode::VerifyCa, Some(&papers.authority))).await;
    let papers = certify(&cluster, "127.0.0.1", 2021);
    reload().await;
    until_words(&tls(TlsMode::VerifyFull, Some(&papers.authority)), "its certificate has expired").await;
    cluster.until_none_is_left().await;
}
