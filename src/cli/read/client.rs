//! One request to the agent, over its unix socket or its admin port. Knows HTTP, knows none of the commands.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;
use url::Url;

use crate::config::Secret;
use crate::https::{CallError, Https, SetupError};

/// The longest answer that is read, in bytes; a longer one is an error.
const BODY_MAX: usize = 4 * 1024 * 1024;
/// How long the agent may take to answer; after that it is called hung.
pub(in crate::cli) const LIMIT: Duration = Duration::from_secs(5);
/// How much of an answer that is no JSON is told, in characters.
const TOLD_MAX: usize = 200;

/// Where the agent is asked.
#[derive(Clone, Debug)]
pub(in crate::cli) enum Way {
    /// At its socket, on this machine.
    Socket(PathBuf),
    /// At its admin port, with the token.
    Port {
        /// Its address.
        base: Url,
        /// The value of `OUTRIGGER_TOKEN`.
        token: Option<Secret>,
    },
}

/// Why the agent did not do it.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// There is no socket, or nobody behind it.
    #[error(
        "no agent answers at {}: is `outrigger run` alive? Without --data its data directory is the configured one, or \
         .outrigger below the working directory; name it with --data",
        absolute(socket)
    )]
    NoAgent {
        /// The socket.
        socket: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The socket is another user's.
    #[error("{} may only be used by the agent's own user: run the command as that user", socket.display())]
    NotOurs {
        /// The socket.
        socket: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The admin port gave no answer.
    #[error("no agent answers at {host}: is this its admin port, and can it be reached from here?")]
    NoAnswer {
        /// The host.
        host: String,
        /// Why.
        #[source]
        source: CallError,
    },
    /// No client could be made for it.
    #[error("the agent's admin port cannot be asked")]
    Setup(#[source] SetupError),
    /// The token cannot be sent.
    #[error("OUTRIGGER_TOKEN is no token: it must be 16 to 512 visible ASCII characters")]
    Token,
    /// It did not answer in time.
    #[error("the agent at {} did not answer within {limit:?}: see its log", socket.display())]
    TimedOut {
        /// The socket.
        socket: PathBuf,
        /// The limit.
        limit: Duration,
    },
    /// The exchange broke off.
    #[error("the exchange with the agent at {} broke off", socket.display())]
    Broken {
        /// The socket.
        socket: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It refused.
    #[error("the agent refused: {message} (status {status})")]
    Refused {
        /// The status.
        status: StatusCode,
        /// What it said.
        message: String,
    },
    /// It answered with something else than JSON.
    #[error("the answer of {at} is no JSON: is it another program's?")]
    NotJson {
        /// The socket, or the host.
        at: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// A path that reads the same wherever one stands.
fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

/// Asks the agent; `body` is sent as JSON. At most five seconds.
pub(super) async fn ask(
    way: &Way,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> Result<Value, AskError> {
    ask_within(LIMIT, way, method, path, body).await
}

/// The same for what may take longer.
pub(super) async fn ask_within(
    limit: Duration,
    way: &Way,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> Result<Value, AskError> {
    let (status, bytes) = answer(limit, way, method, path, body).await?;
    if !status.is_success() {
        return Err(AskError::Refused { status, message: refusal(&bytes) });
    }
    json(way, &bytes)
}

/// Asks for a page of which every status means something: the status, and what was said with it.
pub(super) async fn look(way: &Way, path: &str) -> Result<(StatusCode, Value), AskError> {
    let (status, bytes) = answer(LIMIT, way, Method::GET, path, None).await?;
    match json(way, &bytes) {
        Ok(said) => Ok((status, said)),
        Err(_) if !status.is_success() => Err(AskError::Refused { status, message: refusal(&bytes) }),
        Err(error) => Err(error),
    }
}

fn json(way: &Way, bytes: &[u8]) -> Result<Value, AskError> {
    let at = || match way {
        Way::Socket(socket) => socket.display().to_string(),
        Way::Port { base, .. } => base.host_str().unwrap_or_default().to_owned(),
    };
    serde_json::from_slice(bytes).map_err(|source| AskError::NotJson { at: at(), source })
}

async fn answer(
    limit: Duration,
    way: &Way,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> Result<(StatusCode, Bytes), AskError> {
    match way {
        Way::Socket(socket) => at_socket(limit, socket, request(method, path, body)).await,
        Way::Port { base, token } => at_port(limit, base, token.as_ref(), (method, path, body)).await,
    }
}

async fn at_port(
    limit: Duration,
    base: &Url,
    token: Option<&Secret>,
    (method, path, body): (Method, &str, Option<Value>),
) -> Result<(StatusCode, Bytes), AskError> {
    let https = Https::new(None).map_err(AskError::Setup)?;
    let mut headers = HeaderMap::new();
    if let Some(token) = token {
        let mut bearer =
            HeaderValue::try_from(format!("Bearer {}", token.expose())).map_err(|_| AskError::Token)?;
        bearer.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, bearer);
    }
    // Behind whatever the address has as its path: a proxy may serve the port below one.
    let url = format!("{}{path}", base.as_str().trim_end_matches('/'));
    let url = Url::parse(&url).expect("an address and a path make an address");
    let called = match method {
        Method::GET => https.get(&url, headers, limit).await,
        _ => https.post_json(&url, headers, body.unwrap_or_default().to_string().into_bytes(), limit).await,
    };
    let host = || base.host_str().unwrap_or_default().to_owned();
    let reply = called.map_err(|source| AskError::NoAnswer { host: host(), source })?;
    Ok((reply.status, reply.body))
}

async fn at_socket(
    limit: Duration,
    socket: &Path,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Bytes), AskError> {
    let stream = UnixStream::connect(socket).await.map_err(|source| {
        let socket = socket.to_owned();
        if source.kind() == std::io::ErrorKind::PermissionDenied {
            AskError::NotOurs { socket, source }
        } else {
            AskError::NoAgent { socket, source }
        }
    })?;
    let exchanged = tokio::time::timeout(limit, exchange(stream, request)).await;
    let socket = socket.to_owned();
    match exchanged {
        Err(_) => Err(AskError::TimedOut { socket, limit }),
        Ok(Err(source)) => Err(AskError::Broken { socket, source }),
        Ok(Ok(answer)) => Ok(answer),
    }
}

fn request(method: Method, path: &str, body: Option<Value>) -> Request<Full<Bytes>> {
    let bytes = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
    Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "localhost")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(bytes))
        .expect("paths are made of constants, numbers and the letters of record ids")
}

type Broken = Box<dyn std::error::Error + Send + Sync>;

async fn exchange(stream: UnixStream, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), Broken> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), BODY_MAX).collect().await?;
        Ok((status, body.to_bytes()))
    };
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        // The connection may end, its peer gone, in the same poll that delivers the last of the answer.
        _ = connection => answer.await,
    }
}

/// What the agent said of why it refused.
fn refusal(bytes: &[u8]) -> String {
    let json: Option<Value> = serde_json::from_slice(bytes).ok();
    let said = json.as_ref().and_then(|json| json.get("error")?.as_str());
    let said = said.map_or_else(|| String::from_utf8_lossy(bytes).into_owned(), str::to_owned);
    let said: String =
        said.trim().chars().take(TOLD_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if said.is_empty() { "it did not say why".to_owned() } else { said }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixListener;

    use super::*;

    /// Answers one request with `answer`, and returns what was asked.
    async fn serve(listener: UnixListener, answer: Vec<u8>) -> String {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = Vec::new();
        loop {
            let mut part = [0; 4096];
            let n = stream.read(&mut part).await.unwrap();
            asked.extend_from_slice(&part[..n]);
            let text = String::from_utf8_lossy(&asked);
            let complete = text.starts_with("GET") && text.ends_with("\r\n\r\n") || text.ends_with('}');
            if n == 0 || complete {
                break;
            }
        }
        // The client hangs up as soon as it has seen too much; that is not this side's failure.
        let _ = stream.write_all(&answer).await;
        String::from_utf8(asked).unwrap()
    }

    async fn asked(answer: Vec<u8>, body: Option<Value>) -> (Result<Value, AskError>, String) {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        let method = if body.is_some() { Method::POST } else { Method::GET };
        let way = Way::Socket(socket);
        tokio::join!(ask(&way, method, "/api/x", body), serve(listener, answer))
    }

    fn answer(status: &str, body: &str) -> Vec<u8> {
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    }

    #[tokio::test]
    async fn an_answer_is_read_and_a_body_is_sent() {
        let body = serde_json::json!({"by": "ana"});
        let (result, request) = asked(answer("200 OK", r#"{"paused":true}"#), Some(body)).await;
        assert_eq!(result.unwrap(), serde_json::json!({"paused": true}));
        assert!(
            request.starts_with("POST /api/x HTTP/1.1\r\n") && request.ends_with(r#"{"by":"ana"}"#),
            "{request}"
        );
    }

    #[tokio::test]
    async fn a_refusal_is_told_in_the_agents_words() {
        let (result, _) =
            asked(answer("400 Bad Request", r#"{"error":"limit must be less\u001b[2J"}"#), None).await;
        assert_eq!(
            result.unwrap_err().to_string(),
            "the agent refused: limit must be less [2J (status 400 Bad Request)"
        );
    }

    #[tokio::test]
    async fn what_is_too_long_broken_or_no_json_is_an_error() {
        let long = format!("\"{}\"", "x".repeat(BODY_MAX));
        assert!(matches!(asked(answer("200 OK", &long), None).await.0, Err(AskError::Broken { .. })));
        assert!(matches!(asked(Vec::new(), None).await.0, Err(AskError::Broken { .. })));
        assert!(matches!(asked(answer("200 OK", "<html>"), None).await.0, Err(AskError::NotJson { .. })));
    }

    #[tokio::test]
    async fn an_agent_that_does_not_answer_is_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        let _listener = UnixListener::bind(&socket).unwrap();
        let result =
            ask_within(Duration::from_millis(20), &Way::Socket(socket), Method::GET, "/", None).await;
        assert!(matches!(result, Err(AskError::TimedOut { .. })));
    }

    #[tokio::test]
    async fn an_agent_elsewhere_is_asked_with_the_token_and_no_error_names_it() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = Url::parse(&format!("http://{}/below/", listener.local_addr().unwrap())).unwrap();
        let way = Way::Port { base, token: Some(Secret::new("planted-secret-token".to_owned())) };
        let served = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = vec![0; 4096];
            let n = stream.read(&mut asked).await.unwrap();
            stream.write_all(&answer("423 Locked", r#"{"open":false}"#)).await.unwrap();
            String::from_utf8(asked[..n].to_vec()).unwrap().to_lowercase()
        };
        let (found, asked) = tokio::join!(look(&way, "/api/gate"), served);
        assert_eq!(found.unwrap(), (StatusCode::LOCKED, serde_json::json!({"open": false})));
        assert!(asked.starts_with("get /below/api/gate "), "{asked}");
        assert!(asked.contains("authorization: bearer planted-secret-token"), "{asked}");
        drop(listener);
        let refused = look(&way, "/api/gate").await.unwrap_err();
        let text = format!("{refused:?}");
        let text = format!("{text} {:#}", anyhow::Error::from(refused));
        assert!(text.contains("no agent answers at 127.0.0.1") && !text.contains("planted"), "{text}");
        let bad = Way::Port {
            base: Url::parse("http://127.0.0.1:1").unwrap(),
            token: Some(Secret::new("a\nb".to_owned())),
        };
        assert!(matches!(look(&bad, "/").await, Err(AskError::Token)));
    }

    #[tokio::test]
    async fn where_no_agent_is_the_error_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("outrigger.sock");
        let error = ask(&Way::Socket(socket.clone()), Method::GET, "/", None).await.unwrap_err().to_string();
        let start = format!("no agent answers at {}: is `outrigger run` alive?", socket.display());
        assert!(error.starts_with(&start) && error.ends_with("name it with --data"), "{error}");
        assert!(absolute(Path::new(".outrigger")).starts_with('/'));
    }
}
