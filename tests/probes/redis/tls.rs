//! TLS: who is believed.

use std::path::PathBuf;

use outrigger::config::probes::{Redis, Tls, TlsMode};
use outrigger::engine::health::Health;

use crate::asked::why;
use crate::redis::certificates::Authority;
use crate::redis::node::{Node, can_run, redis, start};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_must_come_from_a_known_authority_be_the_servers_and_be_in_date() {
    if !can_run() {
        return;
    }
    let folder = tempfile::tempdir().expect("there is room");
    let authority = Authority::new("Ours");
    let known = authority.write(folder.path());
    let sign = |file: &str, name: &str, years| {
        let (certificate, key) = authority.sign(folder.path(), file, name, years);
        let text = |path: PathBuf| path.to_str().expect("it is text").to_owned();
        (text(certificate), text(key))
    };
    let (certificate, key) = sign("good", "localhost", (2020, 2090));
    let ca = known.to_str().expect("it is text").to_owned();
    let words: Vec<String> = ["--save", "", "--tls-cert-file", &certificate, "--tls-key-file", &key]
        .into_iter()
        .chain(["--tls-ca-cert-file", &ca, "--tls-auth-clients", "no"])
        .map(str::to_owned)
        .collect();
    let way_in = ["--tls", "--cacert", &ca, "-h", "localhost"].map(str::to_owned).to_vec();
    let node = Node::start_in(tempfile::tempdir().expect("there is room"), words, way_in).await;
    let by = |mode, ca_file| Redis { tls: Tls { mode, ca_file }, ..redis("localhost", node.port) };

    let asked = start(by(TlsMode::VerifyFull, Some(known.clone())));
    let state = asked.until_health(Health::Ok).await;
    assert!(state.last.as_ref().is_some_and(|round| round.why.is_empty()));
    assert_eq!(node.ours(), 1);

    let public = start(by(TlsMode::VerifyFull, None));
    let state = public.until_health(Health::Failed).await;
    let refused = format!("no TLS with localhost:{}: invalid peer certificate: UnknownIssuer", node.port);
    assert_eq!(why(&state), refused);
    drop(public);
    let anybody = start(by(TlsMode::Require, None));
    anybody.until_health(Health::Ok).await;
    drop(anybody);
    let plain = start(by(TlsMode::Disable, None));
    let state = plain.until_health(Health::Failed).await;
    assert!(why(&state).contains("ended before the answer"), "{}", why(&state));
    drop(plain);

    for (file, name, years, words) in [
        ("old", "localhost", (2020, 2021), "invalid peer certificate: certificate expired"),
        ("other", "other.example", (2020, 2090), "certificate not valid for name \"localhost\""),
    ] {
        let (certificate, key) = sign(file, name, years);
        let set = ["config", "set", "tls-cert-file", &certificate, "tls-key-file", &key];
        assert_eq!(node.tell(&set).trim(), "OK");
        let asked = start(by(TlsMode::VerifyFull, Some(known.clone())));
        let state = asked.until_health(Health::Failed).await;
        assert!(why(&state).contains(words), "{}", why(&state));
        let asked = start(by(TlsMode::Require, None));
        asked.until_health(Health::Ok).await;
        // Its own client looks at the certificate, too.
        let (certificate, key) = sign("good", "localhost", (2020, 2090));
        let back =
            node.tell(&["--insecure", "config", "set", "tls-cert-file", &certificate, "tls-key-file", &key]);
        assert_eq!(back.trim(), "OK");
    }
    node.nobody_is_left(asked).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_tls_is_told_from_one_with_a_bad_certificate() {
    if !can_run() {
        return;
    }
    let node = Node::start(&["--save", ""]).await;
    let tls = Tls { mode: TlsMode::Require, ca_file: None };
    let asked = start(Redis { tls, ..node.redis() });
    let state = asked.until_health(Health::Failed).await;
    // It takes the handshake for the beginning of a command, and waits for the rest.
    let silent =
        format!("the answer to the TLS handshake from 127.0.0.1:{} did not come within 1s", node.port);
    assert_eq!(why(&state), silent);

    let missing = Tls { mode: TlsMode::VerifyFull, ca_file: Some("/nonexistent/ca.pem".into()) };
    let unable = start(Redis { tls: missing, ..node.redis() });
    let state = unable.until("it was tried", |state| state.rounds[3] > 0).await;
    assert!(why(&state).contains("/nonexistent/ca.pem"), "{}", why(&state));
    drop(unable);
    node.nobody_is_left(asked).await;
}
