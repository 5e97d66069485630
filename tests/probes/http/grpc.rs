//! gRPC servers: a real one, made with grpcio, and one of the tests' own for what that does not do.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use outrigger::config::probes::{Ask, Grpc, Probe, Tls, TlsMode};
use outrigger::engine::health::{FactValue, Health};
use tokio::net::TcpListener;

use crate::asked::{Asked, fact, why};
use crate::http::at_once;
use crate::http::authority::{Authority, DAY, Ends};
use crate::http::web::Web;
use crate::server::{Server, eventually, free_port};

fn probe(at: SocketAddr, service: &str, tls: Option<Tls>) -> Probe {
    at_once(Ask::Grpc(Grpc {
        server: super::server(at),
        authority: at.to_string(),
        tls,
        service: service.to_owned(),
    }))
}

/// Python with grpcio; `None`, said aloud, where it is not installed. Where `CI` is set its absence is a failure.
#[expect(clippy::disallowed_methods, reason = "tests have no configuration: the environment is theirs")]
fn python() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("target/test-kit/venv/bin/python");
    let tried = Command::new(&python).args(["-c", "import grpc, grpc_health.v1"]).output();
    if tried.is_ok_and(|tried| tried.status.success()) {
        return Some(python);
    }
    let is_off = std::env::var_os("PROBES").is_some_and(|value| value == "off");
    assert!(is_off || std::env::var_os("CI").is_none(), "grpcio is not installed; scripts/test does that");
    eprintln!("skipped: grpcio is not installed; scripts/test does that");
    None
}

/// The real server on a port of its own, once it accepts.
async fn serve(python: &Path, folder: &Path, at: SocketAddr, arguments: &[&str]) -> Server {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/probes/http/grpc_server.py");
    let mut command = Command::new(python);
    command.arg(script).arg(at.to_string()).args(arguments);
    let server = Server::start(&mut command, &folder.join("log"));
    eventually("the server accepts", async || tokio::net::TcpStream::connect(at).await.ok()).await;
    server
}

#[tokio::test]
async fn a_real_server_is_asked_for_its_services_frozen_killed_and_found_again() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let at: SocketAddr = ([127, 0, 0, 1], free_port()).into();
    let mut server = serve(&python, folder.path(), at, &[]).await;
    let whole = Asked::start(probe(at, "", None));
    let state = whole.until_health(Health::Ok).await;
    assert_eq!(fact(&state, "serving_status"), &FactValue::Text("SERVING".to_owned()));
    assert_eq!(fact(&state, "address"), &FactValue::Text(at.to_string()));
    for (service, words) in [
        (
            "shop.Stock",
            format!("the gRPC service `shop.Stock` at {at} says that it is not serving: NOT_SERVING"),
        ),
        (
            "shop.Unknown",
            format!(
                "the gRPC service `shop.Unknown` at {at} is not known to the server's health service (NOT_FOUND)"
            ),
        ),
    ] {
        let asked = Asked::start(probe(at, service, None));
        let state = asked.until_health(Health::Failed).await;
        assert_eq!(why(&state), words);
    }
    server.freeze();
    let state = whole.until_health(Health::Failed).await;
    assert_eq!(why(&state), format!("the health of the gRPC server {at} did not come within 1s"));
    server.thaw();
    whole.until_health(Health::Ok).await;
    server.kill();
    let state = whole.until_health(Health::Failed).await;
    assert!(!why(&state).is_empty());
    whole.until("it is refused", |state| why(state).contains("Connection refused")).await;
    let mut server = serve(&python, folder.path(), at, &[]).await;
    whole.until_health(Health::Ok).await;
    server.kill();
    let _bare = serve(&python, folder.path(), at, &["--bare"]).await;
    let state = whole.until("the new one is asked", |state| why(state).contains("UNIMPLEMENTED")).await;
    let told = format!(
        "the gRPC server {at} has no health service (UNIMPLEMENTED: Method not found!); it must offer "
    );
    assert!(why(&state).starts_with(&told), "{}", why(&state));
}

#[tokio::test]
async fn a_real_server_is_asked_over_tls() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    let (certificate, key) = (folder.path().join("own.pem"), folder.path().join("key.pem"));
    Authority::new(&ca_file).write(&["127.0.0.1"], Ends::In(90 * DAY), &certificate, &key);
    let at: SocketAddr = ([127, 0, 0, 1], free_port()).into();
    let arguments = ["--tls", certificate.to_str().unwrap(), key.to_str().unwrap()];
    let _server = serve(&python, folder.path(), at, &arguments).await;
    let tls = |ca_file| Some(Tls { mode: TlsMode::VerifyFull, ca_file });
    let asked = Asked::start(probe(at, "", tls(Some(ca_file))));
    let state = asked.until_health(Health::Ok).await;
    assert_eq!(fact(&state, "tls_version"), &FactValue::Text("TLS 1.3".to_owned()));
    let asked = Asked::start(probe(at, "", tls(None)));
    let state = asked.until_health(Health::Failed).await;
    assert!(why(&state).contains("an authority that is not known here"), "{}", why(&state));
    let asked = Asked::start(probe(at, "", None));
    let state = asked.until_health(Health::Failed).await;
    assert!(why(&state).contains("the gRPC server"), "{}", why(&state));
}

/// A server of the tests' own, which answers with these header fields and no body.
struct Own {
    at: SocketAddr,
    answer: Arc<Mutex<Option<Response<Full<Bytes>>>>>,
    /// Held by whoever serves a connection.
    open: Arc<()>,
}

impl Own {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = Self {
            at: listener.local_addr().unwrap(),
            answer: Arc::new(Mutex::new(None)),
            open: Arc::new(()),
        };
        let (answer, open) = (Arc::clone(&own.answer), Arc::clone(&own.open));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (answer, is_open) = (Arc::clone(&answer), Arc::clone(&open));
                let service = service_fn(move |_: Request<Incoming>| {
                    let answer = answer.lock().unwrap().clone();
                    async move {
                        match answer {
                            Some(answer) => Ok::<_, Infallible>(answer),
                            None => std::future::pending().await,
                        }
                    }
                });
                tokio::spawn(async move {
                    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                    drop(is_open);
                });
            }
        });
        own
    }

    fn set(&self, status: u16, fields: &[(&str, &str)]) {
        let mut answer = Response::builder().status(status);
        for (name, value) in fields {
            answer = answer.header(*name, *value);
        }
        *self.answer.lock().unwrap() = Some(answer.body(Full::default()).unwrap());
    }
}

#[tokio::test]
async fn what_a_server_may_answer_besides_has_its_words() {
    let own = Own::start().await;
    let at = own.at;
    let told = format!("the gRPC server {at}");
    let asked = Asked::start(probe(at, "", None));
    let silence = format!("the health of {told} did not come within 1s");
    asked.until(&silence, |state| why(state) == silence).await;
    let grpc = ("content-type", "application/grpc");
    for (status, fields, words) in [
        (
            200,
            &[grpc, ("grpc-status", "16"), ("grpc-message", "no token")][..],
            format!("{told} does not let us ask its health service (UNAUTHENTICATED: no token)"),
        ),
        (
            200,
            &[grpc, ("grpc-status", "14"), ("grpc-message", "warming up")],
            format!("{told} answered with the gRPC status 14, UNAVAILABLE: warming up"),
        ),
        (200, &[grpc], format!("{told} ended its answer without a gRPC status")),
        (503, &[], format!("{told} answered with HTTP 503 Service Unavailable and not with gRPC")),
    ] {
        own.set(status, fields);
        let state = asked.until(&words, |state| why(state) == words).await;
        assert_eq!(state.health, Health::Failed);
    }
    drop(asked);
    // Our own, and the acceptor's.
    eventually("no connection is left", async || (Arc::strong_count(&own.open) == 2).then_some(())).await;

    let web = Web::start().await;
    let asked = Asked::start(Probe { timeout: Duration::from_secs(5), ..probe(web.address, "", None) });
    let state = asked.until_health(Health::Failed).await;
    assert!(why(&state).contains("HTTP/2"), "{}", why(&state));
}
