//! Ready means: the port or socket accepts, and the configured path, if any, answers 2xx or 3xx.
//!
//! An app may listen on either family's loopback, so both are tried, 127.0.0.1 first, and the one that worked is the
//! answer. The first tries come quickly, for each millisecond here is one of downtime at a restart; then they grow
//! rarer. Each request of ours has a connection of its own, so that none is left open to an app that serves one at a
//! time.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::timeout;

use crate::prober::probe::chain;

/// The pause after the first failed try; it doubles
const PAUSE_MIN: Duration = Duration::from_millis(25);

/// up to this one. Tries have no bound in number: an app may be slow to start, and whoever asked ends the question.
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// How long a name may take to be resolved, and then one address to accept and to answer; after that the try has
/// failed.
const TRY_TIMEOUT: Duration = Duration::from_secs(2);

/// How many addresses of a name are tried; the rest is not looked at.
const ADDRESSES_MAX: usize = 8;

/// The port of an authority that names none.
const PORT_DEFAULT: u16 = 80;

/// Where the app is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// On this machine's loopback, on this port.
    Loopback(u16),
    /// At this host and port.
    Authority(String),
    /// At this socket in the file system.
    Socket(PathBuf),
}

/// One address that was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A port.
    Port(SocketAddr),
    /// A socket in the file system.
    Socket(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(address) => address.fmt(f),
            Self::Socket(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The question whether an app is ready.
#[derive(Debug)]
pub struct Readiness {
    target: Target,
    path: Option<String>,
    last_failure: Mutex<Option<String>>,
}

#[derive(Debug, thiserror::Error)]
enum NotReady {
    #[error("resolve `{authority}`")]
    Resolve {
        authority: String,
        #[source]
        source: io::Error,
    },
    #[error("`{authority}` was not resolved within {}", humantime::format_duration(TRY_TIMEOUT))]
    ResolveTimedOut { authority: String },
    #[error("`{authority}` has no address")]
    NoAddress { authority: String },
    #[error("no connection to {address}")]
    Connect {
        address: Place,
        #[source]
        source: io::Error,
    },
    #[error("no connection to {address}, or no answer, within {}", humantime::format_duration(TRY_TIMEOUT))]
    TimedOut { address: Place },
    #[error("the request for `{path}` could not be made")]
    Make {
        path: String,
        #[source]
        source: http::Error,
    },
    #[error("no answer to GET {path} from {address}")]
    Exchange {
        address: Place,
        path: String,
        #[source]
        source: hyper::Error,
    },
    #[error("GET {path} from {address} answered {status}; 2xx or 3xx means ready")]
    Status { address: Place, path: String, status: StatusCode },
}

impl Readiness {
    /// Is the app at `target` ready, by `path` if there is one?
    pub fn new(target: Target, path: Option<String>) -> Self {
        Self { target, path, last_failure: Mutex::new(None) }
    }

    /// Why the last try failed; `None` before the first one ended, and once the app is ready.
    pub fn last_failure(&self) -> Option<String> {
        self.failure().clone()
    }

    /// Waits until the app is ready, for ever if need be, and says at which address. May be dropped at any time.
    pub async fn wait(&self) -> Place {
        let mut pause = PAUSE_MIN;
        loop {
            let error = match self.try_once().await {
                Ok(address) => {
                    *self.failure() = None;
                    return address;
                }
                Err(error) => error,
            };
            *self.failure() = Some(chain(&error));
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Asks every address once; the failure is that of the first, where an app usually is.
    async fn try_once(&self) -> Result<Place, NotReady> {
        let (addresses, host) = self.addresses().await?;
        let mut first = None;
        for address in addresses {
            let host = host.clone().unwrap_or_else(|| address.to_string());
            let asked = timeout(TRY_TIMEOUT, self.ask(&address, &host)).await;
            match asked.unwrap_or_else(|_late| Err(NotReady::TimedOut { address: address.clone() })) {
                Ok(()) => return Ok(address),
                Err(error) => {
                    // Of two failures the one that got further tells more.
                    let tells_more = !matches!(error, NotReady::Connect { .. });
                    if first.is_none() || (tells_more && matches!(first, Some(NotReady::Connect { .. }))) {
                        first = Some(error);
                    }
                }
            }
        }
        Err(first.expect("there is at least one address, and each failed"))
    }

    /// The addresses to ask, at least one, and the host to name if it is not the address itself.
    async fn addresses(&self) -> Result<(Vec<Place>, Option<String>), NotReady> {
        let authority = match &self.target {
            Target::Loopback(port) => {
                let both = [(Ipv4Addr::LOCALHOST, *port).into(), (Ipv6Addr::LOCALHOST, *port).into()];
                return Ok((both.map(Place::Port).to_vec(), None));
            }
            Target::Socket(path) => {
                return Ok((vec![Place::Socket(path.clone())], Some("localhost".to_owned())));
            }
            Target::Authority(authority) => authority.clone(),
        };
        let found = match timeout(TRY_TIMEOUT, lookup_host(with_port(&authority))).await {
            Err(_late) => return Err(NotReady::ResolveTimedOut { authority }),
            Ok(Err(source)) => return Err(NotReady::Resolve { authority, source }),
            Ok(Ok(found)) => found.take(ADDRESSES_MAX).map(Place::Port).collect::<Vec<_>>(),
        };
        if found.is_empty() { Err(NotReady::NoAddress { authority }) } else { Ok((found, Some(authority))) }
    }

    async fn ask(&self, address: &Place, host: &str) -> Result<(), NotReady> {
        let refused = |source| NotReady::Connect { address: address.clone(), source };
        match address {
            Place::Port(port) => {
                self.ask_over(TcpStream::connect(port).await.map_err(refused)?, address, host).await
            }
            Place::Socket(path) => {
                self.ask_over(UnixStream::connect(path).await.map_err(refused)?, address, host).await
            }
        }
    }

    async fn ask_over(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        address: &Place,
        host: &str,
    ) -> Result<(), NotReady> {
        let Some(path) = &self.path else { return Ok(()) };
        let request = Request::get(path)
            .header(header::HOST, host)
            .header(header::USER_AGENT, concat!("outrigger/", env!("CARGO_PKG_VERSION")))
            .header(header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(|source| NotReady::Make { path: path.clone(), source })?;
        let lost = |source| NotReady::Exchange { address: address.clone(), path: path.clone(), source };
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
        let mut reply = std::pin::pin!(sender.send_request(request));
        // Not spawned: when the question is dropped, so is the connection. The body is not of interest.
        let status = tokio::select! {
            biased;
            reply = &mut reply => reply.map_err(lost)?.status(),
            _ended = connection => reply.await.map_err(lost)?.status(),
        };
        if status.is_success() || status.is_redirection() {
            return Ok(());
        }
        Err(NotReady::Status { address: address.clone(), path: path.clone(), status })
    }

    fn failure(&self) -> MutexGuard<'_, Option<String>> {
        self.last_failure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The authority with a port: its own, or 80.
fn with_port(authority: &str) -> String {
    let after_host = authority.rfind(']').map_or(authority, |end| &authority[end..]);
    if after_host.contains(':') { authority.to_owned() } else { format!("{authority}:{PORT_DEFAULT}") }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    async fn soon<T>(what: impl Future<Output = T>) -> T {
        timeout(PATIENCE, what).await.expect("it happens within the test's patience")
    }

    async fn listener(address: &str) -> TcpListener {
        TcpListener::bind((address, 0)).await.unwrap()
    }

    fn readiness(target: Target, path: Option<&str>) -> Readiness {
        Readiness::new(target, path.map(str::to_owned))
    }

    /// Answers one connection after another with these heads; an empty one is no answer at all. Returns the requests.
    async fn answer(listener: &TcpListener, heads: &[&str]) -> Vec<String> {
        let mut requests = Vec::new();
        for head in heads {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut got = Vec::new();
            while !got.ends_with(b"\r\n\r\n") {
                got.push(stream.read_u8().await.unwrap());
            }
            requests.push(String::from_utf8(got).unwrap());
            if !head.is_empty() {
                stream
                    .write_all(format!("HTTP/1.1 {head}\r\ncontent-length: 0\r\n\r\n").as_bytes())
                    .await
                    .unwrap();
            }
        }
        requests
    }

    #[tokio::test]
    async fn a_port_that_accepts_is_ready_without_a_path() {
        let listener = listener("127.0.0.1").await;
        let address = listener.local_addr().unwrap();
        let asked = readiness(Target::Loopback(address.port()), None);
        assert_eq!(soon(asked.wait()).await, Place::Port(address));
        assert_eq!(asked.last_failure(), None);
    }

    #[tokio::test]
    async fn an_app_on_the_other_familys_loopback_is_found() {
        let listener = listener("::1").await;
        let address = listener.local_addr().unwrap();
        assert_eq!(
            soon(readiness(Target::Loopback(address.port()), None).wait()).await,
            Place::Port(address)
        );
    }

    #[tokio::test]
    async fn the_reason_is_told_until_the_app_listens() {
        // Bound and not listening: nobody else can take the port, and nobody answers.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        let asked = readiness(Target::Loopback(address.port()), None);
        let told = async {
            loop {
                if let Some(reason) = asked.last_failure() {
                    return reason;
                }
                tokio::task::yield_now().await;
            }
        };
        let reason = soon(async {
            tokio::select! { _ = asked.wait() => panic!("nobody listens"), reason = told => reason }
        })
        .await;
        assert!(reason.starts_with(&format!("no connection to {address}: ")), "{reason}");
        let _listener = socket.listen(8).unwrap();
        assert_eq!(soon(asked.wait()).await, Place::Port(address));
        assert_eq!(asked.last_failure(), None);
    }

    #[tokio::test]
    async fn with_a_path_only_2xx_and_3xx_are_ready() {
        for ready in ["204 No Content", "302 Found"] {
            let listener = listener("127.0.0.1").await;
            let port = listener.local_addr().unwrap().port();
            let asked = readiness(Target::Loopback(port), Some("/ready?deep=1"));
            let heads = ["503 Service Unavailable", "404 Not Found", ready];
            let (address, requests) =
                soon(async { tokio::join!(asked.wait(), answer(&listener, &heads)) }).await;
            assert_eq!(address, Place::Port(listener.local_addr().unwrap()));
            assert_eq!(requests.len(), 3);
            assert!(requests[0].starts_with("GET /ready?deep=1 HTTP/1.1\r\n"), "{}", requests[0]);
            assert!(requests[0].contains(&format!("host: 127.0.0.1:{port}\r\n")), "{}", requests[0]);
        }
    }

    #[tokio::test]
    async fn what_was_answered_is_told() {
        let listener = listener("127.0.0.1").await;
        let port = listener.local_addr().unwrap().port();
        let asked = readiness(Target::Loopback(port), Some("/up"));
        let (tried, _) =
            soon(async { tokio::join!(asked.try_once(), answer(&listener, &["500 Oops"])) }).await;
        let reason = chain(&tried.unwrap_err());
        assert!(reason.contains("GET /up") && reason.contains("500"), "{reason}");
        let (tried, _) = soon(async { tokio::join!(asked.try_once(), answer(&listener, &[""])) }).await;
        assert!(matches!(tried, Err(NotReady::Exchange { .. })), "{tried:?}");
    }

    #[tokio::test]
    async fn a_remote_app_is_asked_by_its_name() {
        let listener = listener("127.0.0.1").await;
        let authority = listener.local_addr().unwrap().to_string();
        let asked = readiness(Target::Authority(authority.clone()), Some("/"));
        let (_, requests) = soon(async { tokio::join!(asked.wait(), answer(&listener, &["200 OK"])) }).await;
        assert!(requests[0].contains(&format!("host: {authority}\r\n")), "{}", requests[0]);
    }

    #[tokio::test]
    async fn an_app_that_accepts_and_is_silent_is_not_ready() {
        let listener = listener("127.0.0.1").await;
        let port = listener.local_addr().unwrap().port();
        let asked = readiness(Target::Loopback(port), Some("/up"));
        let tried = soon(asked.try_once()).await;
        assert!(matches!(tried, Err(NotReady::TimedOut { .. })), "{tried:?}");
        drop(listener);
    }

    #[tokio::test]
    async fn an_app_on_a_socket_is_asked_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.sock");
        let asked = readiness(Target::Socket(path.clone()), Some("/up"));
        let reason = chain(&soon(asked.try_once()).await.unwrap_err());
        assert!(reason.starts_with(&format!("no connection to unix:{}: ", path.display())), "{reason}");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let answering = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut got = Vec::new();
            while !got.ends_with(b"\r\n\r\n") {
                got.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            String::from_utf8(got).unwrap()
        };
        let (place, request) = soon(async { tokio::join!(asked.wait(), answering) }).await;
        assert_eq!(place, Place::Socket(path));
        assert!(
            request.starts_with("GET /up HTTP/1.1\r\n") && request.contains("host: localhost\r\n"),
            "{request}"
        );
        assert_eq!(soon(readiness(Target::Socket(folder.path().join("app.sock")), None).wait()).await, place);
    }

    #[test]
    fn an_authority_without_a_port_means_80() {
        let cases =
            [("app", "app:80"), ("app:81", "app:81"), ("[::1]", "[::1]:80"), ("[::1]:81", "[::1]:81")];
        for (given, wanted) in cases {
            assert_eq!(with_port(given), wanted);
        }
    }
}
