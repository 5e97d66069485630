//! APIs over TLS, and everything that can be wrong with a certificate.

use std::path::Path;
use std::time::Duration;

use outrigger::config::probes::{Http, Probe, Server, Tls, TlsMode};
use outrigger::engine::health::{FactValue, Health};

use crate::asked::{Asked, fact, number, why};
use crate::http::authority::{Authority, DAY, Ends};
use crate::http::web::{Answer, Web, ok};
use crate::http::{ask, at_once, http};

fn probe(web: &Web, mode: TlsMode, ca_file: Option<&Path>) -> Probe {
    let server = Server { host: "localhost".to_owned(), port: web.address.port() };
    let tls = Tls { mode, ca_file: ca_file.map(Path::to_owned) };
    let http = Http { authority: server.to_string(), server, tls: Some(tls), ..http(web.address) };
    Probe { timeout: Duration::from_secs(5), ..at_once(ask(http)) }
}

#[tokio::test]
async fn a_good_certificate_is_told_in_facts_and_one_that_ends_soon_is_a_concern() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    let authority = Authority::new(&ca);
    let half_a_day = Duration::from_secs(12 * 60 * 60);
    let web =
        Web::start_with(Some(authority.server(&["localhost"], Ends::In(90 * DAY + half_a_day), &[]))).await;
    let asked = Asked::start(probe(&web, TlsMode::VerifyFull, Some(&ca)));
    let state = asked.until_health(Health::Ok).await;
    assert_eq!(number(&state, "certificate_days"), 90.0);
    assert_eq!(fact(&state, "tls_version"), &FactValue::Text("TLS 1.3".to_owned()));
    assert!(matches!(fact(&state, "certificate_ends"), FactValue::Text(at) if at.ends_with('Z')));
    let phases: Vec<&str> = state.last.as_ref().unwrap().phases.iter().map(|phase| phase.name).collect();
    assert_eq!(phases, ["resolve", "connect", "tls", "wait", "transfer"]);

    let web =
        Web::start_with(Some(authority.server(&["localhost"], Ends::In(5 * DAY + half_a_day), &[]))).await;
    let asked = Asked::start(probe(&web, TlsMode::VerifyFull, Some(&ca)));
    let state = asked.until_health(Health::Degraded).await;
    assert!(why(&state).starts_with("its certificate ends in 5 days, on 20"), "{}", why(&state));
}

#[tokio::test]
async fn a_body_that_ends_with_the_connection_needs_no_goodbye_of_tls() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    let config = Authority::new(&ca).server(&["localhost"], Ends::In(90 * DAY), &[]);
    let web = Web::start_with(Some(config)).await;
    web.set(Answer::Cut(b"HTTP/1.0 200 OK\r\n\r\nwell".to_vec()));
    let asked = Asked::start(probe(&web, TlsMode::VerifyFull, Some(&ca)));
    asked.until_health(Health::Ok).await;
    web.set(Answer::Cut(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nwell".to_vec()));
    let state = asked.until_health(Health::Failed).await;
    let told = "broke off after 4 bytes of its body: the connection was closed";
    assert!(why(&state).ends_with(told), "{}", why(&state));
}

#[tokio::test]
async fn every_fault_of_a_certificate_has_its_words() {
    let folder = tempfile::tempdir().unwrap();
    let [ca, other, namesake] = ["ca.pem", "other.pem", "namesake.pem"].map(|name| folder.path().join(name));
    let authority = Authority::new(&ca);
    Authority::named(&other, "somebody else");
    Authority::new(&namesake);
    let hours = Duration::from_secs(60 * 60);
    let long = Ends::In(90 * DAY);
    let cases = [
        (
            authority.server(&["localhost"], Ends::Ago(3 * DAY + hours), &[]),
            Some(&ca),
            "its certificate ended 3 days ago, on 20",
        ),
        (
            authority.server(&["localhost"], long, &[]),
            Some(&other),
            "its certificate comes from an authority that is not known here",
        ),
        (
            authority.server(&["localhost"], long, &[]),
            Some(&namesake),
            "its certificate was not signed with the key of the authority that it names",
        ),
        (
            authority.server(&["localhost"], long, &[]),
            None,
            "its certificate comes from an authority that is not known here",
        ),
        (
            authority.server(&["api.example.com", "*.example.org"], long, &[]),
            Some(&ca),
            "its certificate is for api.example.com, *.example.org, not for localhost",
        ),
        (
            authority.server(&["localhost"], long, &[b"h2"]),
            Some(&ca),
            "ended the TLS handshake with the alert NoApplicationProtocol",
        ),
    ];
    for (config, ca_file, words) in cases {
        let web = Web::start_with(Some(config)).await;
        let asked = Asked::start(probe(&web, TlsMode::VerifyFull, ca_file.map(|path| path.as_path())));
        let state = asked.until_health(Health::Failed).await;
        let start = format!("localhost:{}", web.address.port());
        assert!(why(&state).starts_with(&start) && why(&state).contains(words), "{}", why(&state));
        drop(asked);
        web.until_none_is_open().await;
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_verified_may_be_anybodys_but_its_end_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(&folder.path().join("ca.pem"));
    let config = authority.server(&["api.example.com"], Ends::Ago(30 * DAY + DAY / 2), &[]);
    let web = Web::start_with(Some(config)).await;
    let asked = Asked::start(probe(&web, TlsMode::Require, None));
    let state = asked.until_health(Health::Degraded).await;
    assert!(why(&state).starts_with("its certificate ended 30 days ago, on 20"), "{}", why(&state));
    assert_eq!(number(&state, "certificate_days"), -31.0);
}

#[tokio::test]
async fn a_new_certificate_in_the_servers_or_the_authoritys_hands_is_seen_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    let old = Authority::new(&ca);
    let mut web = Web::start_with(Some(old.server(&["localhost"], Ends::In(90 * DAY), &[]))).await;
    let asked = Asked::start(probe(&web, TlsMode::VerifyFull, Some(&ca)));
    asked.until_health(Health::Ok).await;
    // The server's next certificate has ended already.
    web.stop().await;
    web.secure_with(old.server(&["localhost"], Ends::Ago(DAY), &[]));
    web.start_again().await;
    let state = asked.until("the end is seen", |state| why(state).contains("ended 1 day ago")).await;
    assert_eq!(state.health, Health::Failed);
    // A new authority, with its file in the old one's place.
    web.stop().await;
    let new = Authority::new(&ca);
    web.secure_with(new.server(&["localhost"], Ends::In(90 * DAY), &[]));
    web.start_again().await;
    asked.until_health(Health::Ok).await;
}

#[tokio::test]
async fn a_certificate_that_ends_while_we_look_on_is_not_taken_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    // A session that is resumed would go on without it.
    let config = Authority::new(&ca).server(&["localhost"], Ends::In(Duration::from_secs(6)), &[]);
    let web = Web::start_with(Some(config)).await;
    let asked = Asked::start(probe(&web, TlsMode::VerifyFull, Some(&ca)));
    let state = asked.until_health(Health::Degraded).await;
    assert!(why(&state).starts_with("its certificate ends in less than an hour, on 20"), "{}", why(&state));
    let state = asked.until_health(Health::Failed).await;
    assert!(why(&state).contains("its certificate ended less than an hour ago, on 20"), "{}", why(&state));
}

#[tokio::test]
async fn plain_text_on_either_side_is_told_and_so_is_silence() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    let authority = Authority::new(&ca);

    let plain = Web::start().await;
    plain.set(Answer::Bytes(Vec::new()));
    let talks = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = talks.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = talks.accept().await {
            // As nginx and others do: they answer what they take for a broken request.
            let answer = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            stream.writable().await.unwrap();
            let _ = stream.try_write(answer);
            let mut ignored = [0; 1024];
            while stream.readable().await.is_ok() && !matches!(stream.try_read(&mut ignored), Ok(0)) {}
        }
    });
    let server = Server { host: "127.0.0.1".to_owned(), port: at.port() };
    let tls = Some(Tls { mode: TlsMode::VerifyFull, ca_file: Some(ca.clone()) });
    let asked = Asked::start(at_once(ask(Http { server, tls, ..http(at) })));
    let state = asked.until_health(Health::Failed).await;
    assert!(why(&state).starts_with(&format!("{at} does not speak TLS on this port")), "{}", why(&state));

    let web = Web::start_with(Some(authority.server(&["localhost"], Ends::In(90 * DAY), &[]))).await;
    let asked = Asked::start(at_once(ask(http(web.address))));
    let state = asked.until_health(Health::Failed).await;
    assert!(why(&state).contains("is not HTTP/1.1"), "{}", why(&state));
    assert!(why(&state).ends_with("perhaps the port wants TLS"), "{}", why(&state));
    drop(asked);

    web.set(Answer::Frozen);
    let frozen = Probe { timeout: Duration::from_millis(500), ..probe(&web, TlsMode::VerifyFull, Some(&ca)) };
    let asked = Asked::start(frozen);
    let state = asked.until_health(Health::Failed).await;
    let port = web.address.port();
    assert_eq!(why(&state), format!("the TLS handshake with localhost:{port} did not come within 500ms"));
    web.set(ok(""));
    asked.until_health(Health::Ok).await;
    drop(asked);
    web.until_none_is_open().await;
}

#[tokio::test]
async fn a_file_of_authorities_that_is_missing_is_our_own_fault() {
    let web = Web::start().await;
    let missing = Path::new("/nowhere/ca.pem");
    let asked = Asked::start(probe(&web, TlsMode::VerifyFull, Some(missing)));
    let state = asked.until("it was tried", |state| state.last.is_some()).await;
    assert_eq!(state.health, Health::Unknown);
    assert!(
        why(&state).starts_with("the authorities in /nowhere/ca.pem could not be read"),
        "{}",
        why(&state)
    );
}
