//! One connection to a Redis or a Sentinel: made, authenticated, and asked one command at a time.
//!
//! The commands are packed and the answers parsed by the `redis` crate; the stream is ours, so no task of a library's keeps a
//! connection open or makes a new one behind our back. It does not know what the answers mean.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ::redis::{Cmd, ServerError, Value, cmd, parse_redis_value_async};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio_rustls::TlsConnector;

use crate::config::Secret;
use crate::config::probes::{Server, Tls, TlsMode};
use crate::engine::health::Phase;
use crate::prober::dial::{Dialed, Dialer, Stage, io_failure};
use crate::prober::probe::{Failure, chain, cut};
use crate::prober::tls;

/// The longest answer that is read, in bytes; what is longer counts as no answer. A server tells some 6 kB about itself.
const ANSWER_LEN_MAX: u64 = 256 * 1024;
/// A server that has shut the door may have said why: its last words are waited for so long.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// What the connection is called in the server's list of clients.
pub(super) const CLIENT_NAME: &str = "outrigger";

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Who we are to a server.
#[derive(Clone, Copy)]
pub(super) struct Credentials<'a> {
    pub(super) user: Option<&'a str>,
    pub(super) password: Option<&'a Secret>,
}

/// Why a command got no result.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The server refused it, in these words.
    Said(String),
    /// The connection broke: what was waited for, and how it ended.
    Broken(String),
}

impl Trouble {
    /// Whether the rights do not allow what was asked.
    pub(super) fn is_no_right(&self) -> bool {
        matches!(self, Self::Said(words) if words.starts_with("NOPERM"))
    }

    /// Whether we were shown the door before we said anything: there are too many clients, or it takes none from here.
    fn is_turned_away(&self) -> bool {
        matches!(self, Self::Said(words)
            if words.starts_with("ERR max number of clients") || words.starts_with("DENIED"))
    }

    /// As the round's failure.
    pub(super) fn failure(self, server: &Server, what: &str) -> Failure {
        let what = if self.is_turned_away() { "the connection" } else { what };
        match self {
            Self::Said(words) => Failure::Down(format!("{server} refused {what}: {words}")),
            Self::Broken(how) => Failure::Down(how),
        }
    }
}

/// A connection. It closes when dropped.
pub(super) struct Wire {
    stream: Box<dyn Duplex>,
    server: Server,
    /// Whom it leads to.
    pub(super) address: String,
    /// How long each part of making it took.
    pub(super) phases: Vec<Phase>,
    /// Commands that the server has carried out for us since this was last set to zero.
    pub(super) asked: u64,
}

impl Wire {
    /// Connects, with TLS where `tls` is given. Whom we talk to is not known to us yet, nor we to them.
    pub(super) async fn connect(
        server: &Server,
        encryption: &Tls,
        dialer: &Dialer,
        stage: &mut Stage,
    ) -> Result<Self, Failure> {
        let made = |stream, address: String, phases| Self {
            stream,
            server: server.clone(),
            address,
            phases,
            asked: 0,
        };
        if server.host.starts_with('/') {
            stage.enter(format!("a connection to {server}"));
            let began = dialer.instant();
            let stream = UnixStream::connect(&server.host)
                .await
                .map_err(|error| io_failure(&format!("no connection to {server}"), &error))?;
            let connect = Phase { name: "connect", took: dialer.instant().saturating_duration_since(began) };
            return Ok(made(Box::new(stream), server.to_string(), vec![connect]));
        }
        let Dialed { stream, address, resolve, connect } = dialer.connect(server, stage).await?;
        let mut phases =
            vec![Phase { name: "resolve", took: resolve }, Phase { name: "connect", took: connect }];
        if encryption.mode == TlsMode::Disable {
            return Ok(made(Box::new(stream), address.to_string(), phases));
        }
        let config = tls::client(encryption, &[]).map_err(|error| Failure::Unable(chain(&error)))?;
        stage.enter(format!("the answer to the TLS handshake from {server}"));
        let began = dialer.instant();
        let stream = handshake(config, server, stream).await?;
        phases.push(Phase { name: "tls", took: dialer.instant().saturating_duration_since(began) });
        Ok(made(stream, address.to_string(), phases))
    }

    /// Says who we are. A name for the server's list of clients is given where it is allowed.
    pub(super) async fn introduce(
        &mut self,
        credentials: Credentials<'_>,
        stage: &mut Stage,
    ) -> Result<(), Failure> {
        if let Some(password) = credentials.password {
            let mut auth = cmd("AUTH");
            if let Some(user) = credentials.user {
                auth.arg(user);
            }
            auth.arg(password.expose());
            let server = self.server.clone();
            self.ask("AUTH", &auth, stage)
                .await
                .map_err(|trouble| trouble.failure(&server, "the credentials"))?;
        }
        match self.ask("CLIENT SETNAME", cmd("CLIENT").arg("SETNAME").arg(CLIENT_NAME), stage).await {
            Ok(_) => Ok(()),
            // A name is a courtesy. Where we should have given a password, PING will say so.
            Err(trouble @ Trouble::Said(_)) if !trouble.is_turned_away() => Ok(()),
            Err(trouble) => Err(trouble.failure(&self.server, "CLIENT SETNAME")),
        }
    }

    /// Asks one thing and waits for its answer; `name` is how it is called in words.
    pub(super) async fn ask(
        &mut self,
        name: &str,
        command: &Cmd,
        stage: &mut Stage,
    ) -> Result<Value, Trouble> {
        stage.enter(format!("the answer to {name} from {}", self.server));
        let sent = self.stream.write_all(&command.get_packed_command()).await;
        let flushed = match sent {
            Ok(()) => self.stream.flush().await,
            failed => failed,
        };
        let answer = match flushed {
            Ok(()) => self.read().await,
            Err(error) => match tokio::time::timeout(LAST_WORDS, self.read()).await {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(_)) | Err(_) => Err(error.to_string()),
            },
        };
        match answer {
            Ok(Value::ServerError(error)) => {
                // What was refused before it was carried out is not counted by the server.
                Err(Trouble::Said(words(&error)))
            }
            Ok(value) => {
                self.asked += 1;
                Ok(value)
            }
            Err(how) => Err(Trouble::Broken(format!(
                "the connection to {} ended before the answer to {name}: {how}",
                self.server
            ))),
        }
    }

    /// One answer. Nothing comes unasked in this protocol's second version, so what was read belongs to it.
    async fn read(&mut self) -> Result<Value, String> {
        let mut limited = (&mut self.stream).take(ANSWER_LEN_MAX);
        match parse_redis_value_async(&mut Default::default(), &mut limited).await {
            Ok(value) => Ok(value),
            Err(_) if limited.limit() == 0 => Err("the answer is too long".to_owned()),
            Err(error) if error.is_connection_dropped() || error.is_io_error() => Err(ended(&error)),
            Err(_) => Err("what came is not of Redis' protocol".to_owned()),
        }
    }
}

/// How a connection ended, in words.
fn ended(error: &::redis::RedisError) -> String {
    let text = chain(error);
    if text.contains("unexpected end of file") { "the server closed it".to_owned() } else { cut(&text) }
}

async fn handshake(
    config: Arc<ClientConfig>,
    server: &Server,
    stream: tokio::net::TcpStream,
) -> Result<Box<dyn Duplex>, Failure> {
    let name = ServerName::try_from(server.host.clone())
        .map_err(|_| Failure::Unable(format!("`{}` cannot be the name in a certificate", server.host)))?;
    let failed = |error: io::Error| {
        let plain = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
        let hint = match plain {
            Some(rustls::Error::InvalidMessage(_)) => " (what it sends is not TLS)",
            _ if error.kind() == io::ErrorKind::UnexpectedEof => " (a port without TLS would do that)",
            _ => "",
        };
        match io_failure(&format!("no TLS with {server}"), &error) {
            Failure::Down(text) => Failure::Down(format!("{text}{hint}")),
            unable @ Failure::Unable(_) => unable,
        }
    };
    let stream = TlsConnector::from(config).connect(name, stream).await.map_err(failed)?;
    Ok(Box::new(stream))
}

/// An error as the server wrote it.
fn words(error: &ServerError) -> String {
    match error.details() {
        Some(details) => cut(&format!("{} {details}", error.code())),
        None => error.code().to_owned(),
    }
}

/// The text of an answer; `None` where it is none.
pub(super) fn text(value: &Value) -> Option<String> {
    if let Value::SimpleString(text) = value {
        return Some(text.clone());
    }
    let Value::BulkString(bytes) = value else { return None };
    Some(String::from_utf8_lossy(bytes).into_owned())
}
