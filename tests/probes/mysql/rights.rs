//! Who we are, and whom we believe.

use std::path::PathBuf;

use outrigger::config::Secret;
use outrigger::config::probes::{Mysql, Server as Address, Tls, TlsMode};
use outrigger::engine::health::{FactValue, Health};

use crate::asked::{fact, number, why};
use crate::mysql::node::{Node, can_run, folder, socket, start};
use crate::redis::certificates::Authority;
use crate::server::eventually;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_log_in_is_told_in_the_servers_words() {
    if !can_run() {
        return;
    }
    let node = Node::start(&[]).await;
    let at = format!("127.0.0.1:{}", node.port);
    let wrong = start(Mysql { password: Some(Secret::new("sesame".to_owned())), ..node.mysql() });
    let state = wrong.until_health(Health::Failed).await;
    assert_eq!(
        why(&state),
        format!(
            "{at} refused the login: ERROR 1045 (28000): Access denied for user 'app'@'localhost' (using password: YES)"
        )
    );
    node.nobody_is_left(wrong).await;

    let missing = start(Mysql { database: "nowhere".to_owned(), ..node.mysql() });
    let state = missing.until_health(Health::Failed).await;
    assert!(why(&state).starts_with(&format!("{at} refused the login: ERROR 1044 (42000): Access denied")));
    node.tell("GRANT ALL ON *.* TO app@'%'");
    let state = missing.until("it may see all", |state| why(state).contains("1049")).await;
    assert_eq!(
        why(&state),
        format!("{at} refused the login: ERROR 1049 (42000): Unknown database 'nowhere'")
    );
    node.tell("REVOKE ALL ON *.* FROM app@'%'");
    node.nobody_is_left(missing).await;

    // A user without any right sees all that is asked for, except for replication.
    let least = start(node.mysql());
    let state = least.until_health(Health::Ok).await;
    assert!(number(&state, "connections_max") > 0.0);
    // A password that is changed keeps those in who are in.
    node.tell("ALTER USER app@'%' IDENTIFIED BY 'changed'");
    let ours = node.tell("SELECT id FROM information_schema.processlist WHERE user = 'app'");
    node.tell(&format!("KILL {}", ours.trim()));
    let state = least.until_health(Health::Failed).await;
    assert!(why(&state).contains("ERROR 1045 (28000)"), "{}", why(&state));
    node.tell("ALTER USER app@'%' IDENTIFIED BY 'pw'");
    least.until_health(Health::Ok).await;
    node.nobody_is_left(least).await;

    node.tell(
        "INSTALL SONAME 'auth_ed25519'; CREATE USER ed@'%' IDENTIFIED VIA ed25519 USING PASSWORD('pw')",
    );
    let unspoken = start(Mysql { user: "ed".to_owned(), ..node.mysql() });
    let state = unspoken.until("it was tried", |state| state.rounds[3] > 0).await;
    let wants = format!("{at} wants `client_ed25519` for this user; the probe speaks");
    assert!(why(&state).starts_with(&wants), "{}", why(&state));
    drop(unspoken);

    let path = socket(node.folder.path()).to_str().expect("it is text").to_owned();
    let local = start(Mysql { server: Address { host: path.clone(), port: 0 }, ..node.mysql() });
    let state = local.until_health(Health::Ok).await;
    assert_eq!(*fact(&state, "address"), FactValue::Text(path));
    node.nobody_is_left(local).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_must_come_from_a_known_authority_be_the_servers_and_be_in_date() {
    if !can_run() {
        return;
    }
    let plain = folder();
    let authority = Authority::new("Ours");
    let known = authority.write(plain.path());
    let sign = |file: &str, name: &str, years| authority.sign(plain.path(), file, name, years);
    let (certificate, key) = sign("now", "localhost", (2020, 2090));
    let option = |name: &str, path: &PathBuf| format!("--{name}={}", path.display());
    let words = vec![option("ssl-cert", &certificate), option("ssl-key", &key), option("ssl-ca", &known)];
    let node = Node::start_in(folder(), words).await;
    let by = |mode, ca_file| Mysql {
        server: Address { host: "localhost".to_owned(), port: node.port },
        tls: Tls { mode, ca_file },
        ..node.mysql()
    };

    let asked = start(by(TlsMode::VerifyFull, Some(known.clone())));
    asked.until_health(Health::Ok).await;
    node.tell("ALTER USER app@'%' REQUIRE SSL");
    let public = start(by(TlsMode::VerifyFull, None));
    let state = public.until_health(Health::Failed).await;
    let refused = format!("no TLS with localhost:{}: invalid peer certificate: UnknownIssuer", node.port);
    assert_eq!(why(&state), refused);
    drop(public);
    for mode in [TlsMode::Prefer, TlsMode::Require] {
        let anybody = start(by(mode, None));
        anybody.until_health(Health::Ok).await;
    }
    let without = start(by(TlsMode::Disable, None));
    let state = without.until_health(Health::Failed).await;
    assert!(why(&state).contains("ERROR 1045 (28000): Access denied"), "{}", why(&state));
    drop(without);

    for (file, name, years, words) in [
        ("old", "localhost", (2020, 2021), "invalid peer certificate: certificate expired"),
        ("other", "other.example", (2020, 2090), "certificate not valid for name \"localhost\""),
    ] {
        let (certificate, key) = sign(file, name, years);
        std::fs::rename(certificate, plain.path().join("now.pem")).expect("it is there");
        std::fs::rename(key, plain.path().join("now.key")).expect("it is there");
        node.tell("FLUSH SSL");
        let fresh = start(by(TlsMode::VerifyFull, Some(known.clone())));
        let state = fresh.until_health(Health::Failed).await;
        assert!(why(&state).contains(words), "{}", why(&state));
        drop(fresh);
        if file == "other" {
            let any_name = start(by(TlsMode::VerifyCa, Some(known.clone())));
            any_name.until_health(Health::Ok).await;
        }
    }
    drop(asked);
    eventually("no connection is left", async || (node.ours() == 0).then_some(())).await;
}
