//! One connection to a MySQL or MariaDB server: made, authenticated, and asked one query at a time.
//!
//! The protocol is spoken by hand, in text and without prepared statements: a probe needs little of it, and wants every wait
//! to be its own. Passwords are proved by `mysql_native_password` and `caching_sha2_password`; where a server wants the
//! password itself it gets it over TLS or a local socket only. It does not know what the answers mean.

use std::io;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio_rustls::TlsConnector;

use crate::config::probes::{Mysql as Ask, Server, TlsMode};
use crate::engine::health::Phase;
use crate::prober::dial::{Dialed, Dialer, Stage, io_failure};
use crate::prober::mysql::packet::{self, Bytes, Greeting, can};
use crate::prober::probe::{Failure, chain, cut};
use crate::prober::tls;

/// The longest packet that is read, in bytes; what is longer is not understood.
const PACKET_LEN_MAX: usize = 64 * 1024;
/// Rows of an answer that are read; an answer with more is not understood.
const ROWS_MAX: usize = 64;
/// Packets of one login; a server that wants more is not understood.
const LOGIN_STEPS_MAX: usize = 6;
const NATIVE: &str = "mysql_native_password";
const SHA2: &str = "caching_sha2_password";

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Why a query got no result.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The server refused it, in these words.
    Said(String),
    /// The connection broke, or what came was not understood.
    Broken(String),
}

/// An answer.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) names: Vec<String>,
    pub(super) rows: Vec<Vec<Option<String>>>,
}

/// A connection. It closes when dropped.
pub(super) struct Wire {
    stream: Box<dyn Duplex>,
    server: Server,
    /// The number of the next packet, as both sides count.
    next: u8,
    /// Nobody listens on the way: TLS, or a local socket.
    is_private: bool,
    /// Whom it leads to.
    pub(super) address: String,
    /// The server's version, as it says itself.
    pub(super) version: String,
    /// How long each part of making it took.
    pub(super) phases: Vec<Phase>,
    /// Queries of ours since this was last set to zero.
    pub(super) asked: u64,
}

impl Wire {
    /// Connects and logs in.
    pub(super) async fn open(ask: &Ask, dialer: &Dialer, stage: &mut Stage) -> Result<Self, Failure> {
        let mut wire = Self::connect(&ask.server, dialer, stage).await?;
        let connected = dialer.instant();
        stage.enter(format!("the greeting of {}", ask.server));
        let first = wire.read().await.map_err(|how| wire.down(&how))?;
        if let Some(words) = packet::error(&first) {
            return Err(wire.refused(&words));
        }
        let greeting = Greeting::read(&first)
            .ok_or_else(|| Failure::Down(format!("what {} sends is not of MySQL's protocol", ask.server)))?;
        let abilities = abilities(&greeting, ask);
        if wire.wants_tls(&greeting, ask)? {
            wire = wire.encrypt(ask, abilities, dialer, stage).await?;
        }
        let began = dialer.instant();
        if wire.phases.iter().all(|phase| phase.name != "tls") {
            wire.phases.push(Phase { name: "greeting", took: began.saturating_duration_since(connected) });
        }
        stage.enter(format!("the answer to the login from {}", ask.server));
        wire.log_in(&greeting, ask, abilities).await?;
        let took = dialer.instant().saturating_duration_since(began);
        wire.phases.push(Phase { name: "authenticate", took });
        wire.version = greeting.version;
        Ok(wire)
    }

    async fn connect(server: &Server, dialer: &Dialer, stage: &mut Stage) -> Result<Self, Failure> {
        let made = |stream, address, phases, is_private| Self {
            stream,
            server: server.clone(),
            next: 0,
            is_private,
            address,
            version: String::new(),
            phases,
            asked: 0,
        };
        if server.host.starts_with('/') {
            stage.enter(format!("a connection to {server}"));
            let began = dialer.instant();
            let stream = UnixStream::connect(&server.host)
                .await
                .map_err(|error| io_failure(&format!("no connection to {server}"), &error))?;
            let took = dialer.instant().saturating_duration_since(began);
            let phases = vec![Phase { name: "connect", took }];
            return Ok(made(Box::new(stream), server.to_string(), phases, true));
        }
        let Dialed { stream, address, resolve, connect } = dialer.connect(server, stage).await?;
        let phases = vec![Phase { name: "resolve", took: resolve }, Phase { name: "connect", took: connect }];
        Ok(made(Box::new(stream), address.to_string(), phases, false))
    }

    /// Whether TLS is to be used; a local socket needs none.
    fn wants_tls(&self, greeting: &Greeting, ask: &Ask) -> Result<bool, Failure> {
        let offers = greeting.abilities & can::TLS != 0;
        match ask.tls.mode {
            _ if self.is_private => Ok(false),
            TlsMode::Disable => Ok(false),
            TlsMode::Prefer => Ok(offers),
            TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull if offers => Ok(true),
            TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => {
                Err(Failure::Down(format!("{} offers no TLS, which is asked for", self.server)))
            }
        }
    }

    async fn encrypt(
        mut self,
        ask: &Ask,
        abilities: u32,
        dialer: &Dialer,
        stage: &mut Stage,
    ) -> Result<Self, Failure> {
        let config = tls::client(&ask.tls, &[]).map_err(|error| Failure::Unable(chain(&error)))?;
        let name = ServerName::try_from(self.server.host.clone()).map_err(|_| {
            Failure::Unable(format!("`{}` cannot be the name in a certificate", self.server.host))
        })?;
        stage.enter(format!("the answer to the TLS handshake from {}", self.server));
        let began = dialer.instant();
        let hello = packet::hello(abilities | can::TLS, PACKET_LEN_MAX as u32);
        self.write(&hello).await.map_err(|how| self.down(&how))?;
        let stream = TlsConnector::from(config)
            .connect(name, self.stream)
            .await
            .map_err(|error| io_failure(&format!("no TLS with {}", self.server), &error))?;
        let took = dialer.instant().saturating_duration_since(began);
        self.phases.push(Phase { name: "tls", took });
        Ok(Self { stream: Box::new(stream), is_private: true, ..self })
    }

    async fn log_in(&mut self, greeting: &Greeting, ask: &Ask, abilities: u32) -> Result<(), Failure> {
        let password = ask.password.as_ref().map_or("", |password| password.expose());
        let mut plugin = match greeting.plugin.as_str() {
            known @ (NATIVE | SHA2) => known.to_owned(),
            _ => NATIVE.to_owned(),
        };
        let abilities = if self.phases.iter().any(|phase| phase.name == "tls") {
            abilities | can::TLS
        } else {
            abilities
        };
        let proof = prove(&plugin, password, &greeting.nonce).unwrap_or_default();
        let hello = packet::hello(abilities, PACKET_LEN_MAX as u32);
        let named = if abilities & can::PLUGIN_AUTH == 0 { "" } else { &plugin };
        let mut packet = packet::login(hello, &ask.user, &proof, &ask.database, named);
        for _ in 0..LOGIN_STEPS_MAX {
            self.write(&packet).await.map_err(|how| self.down(&how))?;
            let mut answer = self.read().await.map_err(|how| self.down(&how))?;
            if answer == [1, 3] {
                // The proof was good; the end of the login follows.
                answer = self.read().await.map_err(|how| self.down(&how))?;
            }
            if let Some(words) = packet::error(&answer) {
                return Err(self.refused(&words));
            }
            packet = match answer.first() {
                Some(0) => return Ok(()),
                Some(0xfe) if answer.len() > 1 => {
                    let mut bytes = Bytes(&answer[1..]);
                    plugin = String::from_utf8_lossy(bytes.text()).into_owned();
                    let nonce = bytes.0.strip_suffix(&[0]).unwrap_or(bytes.0);
                    prove(&plugin, password, nonce).ok_or_else(|| self.unspoken(&plugin))?
                }
                Some(1) if answer == [1, 4] && self.is_private => [password.as_bytes(), &[0]].concat(),
                Some(1) if answer == [1, 4] => return Err(self.too_open()),
                _ => return Err(self.down("what came is not of MySQL's protocol")),
            };
        }
        Err(self.down("the login has no end"))
    }

    /// A refusal before we were in. Some are not about who we are: there are too many connections, or it takes none from here.
    fn refused(&self, words: &str) -> Failure {
        let is_about_anybody =
            ["ERROR 1040", "ERROR 1129", "ERROR 1130"].iter().any(|code| words.starts_with(code));
        let what = if is_about_anybody { "the connection" } else { "the login" };
        Failure::Down(format!("{} refused {what}: {}", self.server, cut(words)))
    }

    fn down(&self, how: &str) -> Failure {
        Failure::Down(format!("the connection to {} ended during the login: {how}", self.server))
    }

    fn unspoken(&self, plugin: &str) -> Failure {
        Failure::Unable(format!(
            "{} wants `{}` for this user; the probe speaks {NATIVE} and {SHA2}",
            self.server,
            cut(plugin)
        ))
    }

    fn too_open(&self) -> Failure {
        Failure::Unable(format!("{} wants the password itself, which is told over TLS only", self.server))
    }

    /// Asks one query and reads its whole answer; `name` is how it is called in words.
    pub(super) async fn query(
        &mut self,
        name: &str,
        query: &str,
        stage: &mut Stage,
    ) -> Result<Rows, Trouble> {
        stage.enter(format!("the answer to {name} from {}", self.server));
        self.next = 0;
        self.asked += 1;
        let command = [&[3], query.as_bytes()].concat();
        let answer = match self.write(&command).await {
            Ok(()) => self.rows().await,
            Err(how) => Err(Trouble::Broken(how)),
        };
        answer.map_err(|trouble| match trouble {
            Trouble::Broken(how) => Trouble::Broken(format!(
                "the connection to {} ended before the answer to {name}: {how}",
                self.server
            )),
            said @ Trouble::Said(_) => said,
        })
    }

    async fn rows(&mut self) -> Result<Rows, Trouble> {
        let strange = || Trouble::Broken("what came is not of MySQL's protocol".to_owned());
        let first = self.answer().await?;
        let columns = packet::columns(&first).ok_or_else(strange)?;
        let mut answer = Rows::default();
        for _ in 0..columns {
            answer.names.push(packet::column(&self.answer().await?).ok_or_else(strange)?);
        }
        if !packet::is_end(&self.answer().await?) {
            return Err(strange());
        }
        while answer.rows.len() <= ROWS_MAX {
            let next = self.answer().await?;
            if packet::is_end(&next) {
                return Ok(answer);
            }
            answer.rows.push(packet::row(&next, columns).ok_or_else(strange)?);
        }
        Err(Trouble::Broken("the answer has too many rows".to_owned()))
    }

    /// A packet that is no error.
    async fn answer(&mut self) -> Result<Vec<u8>, Trouble> {
        let packet = self.read().await.map_err(Trouble::Broken)?;
        match packet::error(&packet) {
            Some(words) => Err(Trouble::Said(cut(&words))),
            None => Ok(packet),
        }
    }

    /// Says that nothing more will come, so that the server does not count it as aborted. It is not waited for.
    pub(super) async fn quit(mut self) {
        self.next = 0;
        // Whether it is heard does not matter: the connection is closed either way.
        let _ = self.write(&[1]).await;
        let _ = self.stream.shutdown().await;
    }

    async fn write(&mut self, packet: &[u8]) -> Result<(), String> {
        let len = u32::try_from(packet.len()).expect("our own packets are short").to_le_bytes();
        let mut bytes = Vec::with_capacity(packet.len() + 4);
        bytes.extend_from_slice(&[len[0], len[1], len[2], self.next]);
        bytes.extend_from_slice(packet);
        self.next = self.next.wrapping_add(1);
        self.stream.write_all(&bytes).await.map_err(|error| error.to_string())?;
        self.stream.flush().await.map_err(|error| error.to_string())
    }

    async fn read(&mut self) -> Result<Vec<u8>, String> {
        let mut head = [0; 4];
        self.stream.read_exact(&mut head).await.map_err(|error| ended(&error))?;
        let len = u32::from_le_bytes([head[0], head[1], head[2], 0]) as usize;
        if len > PACKET_LEN_MAX {
            return Err("a packet is too long".to_owned());
        }
        self.next = head[3].wrapping_add(1);
        let mut packet = vec![0; len];
        self.stream.read_exact(&mut packet).await.map_err(|error| ended(&error))?;
        Ok(packet)
    }
}

/// How a connection ended, in words.
fn ended(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        "the server closed it".to_owned()
    } else {
        error.to_string()
    }
}

/// What we say that we can.
fn abilities(greeting: &Greeting, ask: &Ask) -> u32 {
    let wanted =
        can::LONG_PASSWORD | can::PROTOCOL_41 | can::TRANSACTIONS | can::SECURE_CONNECTION | can::PLUGIN_AUTH;
    let database = if ask.database.is_empty() { 0 } else { can::CONNECT_WITH_DATABASE };
    // MariaDB does not say that it has long passwords, which means something else to it.
    (wanted & (greeting.abilities | can::LONG_PASSWORD)) | database
}

/// Proves that we know the password; `None` where the way is not known.
fn prove(plugin: &str, password: &str, nonce: &[u8]) -> Option<Vec<u8>> {
    match plugin {
        NATIVE => Some(packet::prove_native(password.as_bytes(), nonce)),
        SHA2 => Some(packet::prove_sha2(password.as_bytes(), nonce)),
        _ => None,
    }
}
