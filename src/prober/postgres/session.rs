//! One session with a Postgres server or a pooler: how it is made, what is asked over it, and when it is of no more use.
//!
//! No task stands behind it: its connection moves only while something is asked, and it is closed by being dropped. What the
//! server says meanwhile, such as that it shuts down, is read before the next question.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::DbError;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Config, Connection, SimpleQueryMessage, SimpleQueryRow};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::config::probes::{Postgres as Ask, Server, TlsMode};
use crate::engine::health::Phase;
use crate::prober::dial::{Dialer, Stage, io_failure};
use crate::prober::postgres::limited::Limited;
use crate::prober::postgres::words;
use crate::prober::probe::{BoxFuture, Failure, chain};
use crate::prober::tls;

/// By this name the server's operators know our sessions.
const APPLICATION_NAME: &str = "outrigger";
/// A goodbye that cannot be sent within this time is not said; the connection is closed all the same.
const GOODBYE: Duration = Duration::from_millis(100);
/// The most rows that are taken of one answer; the rest is read and dropped.
const ROWS_MAX: usize = 1000;

/// What bytes go through.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

pub(super) type Stream = Box<dyn Wire>;
type TlsStream = <MakeRustlsConnect as MakeTlsConnect<Stream>>::Stream;
type Connector = <MakeRustlsConnect as MakeTlsConnect<Stream>>::TlsConnect;

/// A session.
pub(super) struct Session {
    client: Client,
    connection: Connection<Stream, TlsStream>,
    /// Something was asked and not answered to the end.
    is_busy: bool,
    made: Instant,
    /// Whom it leads to: an address, or the path of a socket.
    pub(super) address: String,
    /// Transactions that it has made in its database and nobody has subtracted yet.
    pub(super) own_transactions: u64,
}

/// What came back.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// The rows of each statement that returns rows, in order.
    pub(super) sets: Vec<Vec<SimpleQueryRow>>,
    /// The server refused a statement; it has not looked at those after it.
    pub(super) refused: Option<DbError>,
}

/// The session is of no more use.
#[derive(Debug, thiserror::Error)]
#[error("the session ended")]
pub(super) struct Lost(#[source] pub(super) Option<tokio_postgres::Error>);

/// A session just made, and where the time went.
pub(super) struct Made {
    pub(super) session: Session,
    pub(super) phases: Vec<Phase>,
}

/// Why there is no session.
pub(super) enum NotMade {
    /// There was no connection, or the options do not serve.
    Failed(Failure),
    /// The server was reached, and did not let us in.
    Refused(tokio_postgres::Error),
}

/// Makes sessions.
pub(super) struct Door<'a> {
    pub(super) ask: &'a Ask,
    pub(super) dialer: &'a Dialer,
    /// Another session is kept meanwhile.
    pub(super) is_second: bool,
}

impl Door<'_> {
    /// A new session with `server` in `database`.
    pub(super) async fn enter(
        &self,
        server: &Server,
        database: &str,
        stage: &mut Stage,
    ) -> Result<Made, NotMade> {
        let mode = if server.host.starts_with('/') { TlsMode::Disable } else { self.ask.tls.mode };
        let handshake = self.handshake(server, mode).map_err(NotMade::Failed)?;
        let (stream, address, mut phases) = self.dial(server, stage).await.map_err(NotMade::Failed)?;
        let whose = if self.is_second {
            "to a new connection (the session kept still answers)"
        } else {
            "to a new connection"
        };
        stage.enter(format!("an answer from {address} {whose}"));
        let dialed = self.dialer.instant();
        let done = Arc::clone(&handshake.done);
        let mut config = Config::new();
        config.user(&self.ask.user).dbname(database).application_name(APPLICATION_NAME).ssl_mode(
            match mode {
                TlsMode::Disable => SslMode::Disable,
                TlsMode::Prefer => SslMode::Prefer,
                TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => SslMode::Require,
            },
        );
        if let Some(password) = &self.ask.password {
            config.password(password.expose());
        }
        // In a box the compiler sees once that it may cross threads; by itself it cannot prove that through the caller's.
        let entering: BoxFuture<'_, Result<_, _>> = Box::pin(config.connect_raw(stream, handshake));
        let (client, connection) = entering.await.map_err(NotMade::Refused)?;
        let made = self.dialer.instant();
        let encrypted = done.get().copied();
        if let Some(encrypted) = encrypted {
            phases.push(Phase { name: "tls", took: encrypted.duration_since(dialed) });
        }
        let took = made.duration_since(encrypted.unwrap_or(dialed));
        phases.push(Phase { name: "authenticate", took });
        // The server counts the start of a session as a transaction.
        let session = Session { client, connection, is_busy: false, made, address, own_transactions: 1 };
        Ok(Made { session, phases })
    }

    async fn dial(
        &self,
        server: &Server,
        stage: &mut Stage,
    ) -> Result<(Stream, String, Vec<Phase>), Failure> {
        if !server.host.starts_with('/') {
            let dialed = self.dialer.connect(server, stage).await?;
            let phases = vec![
                Phase { name: "resolve", took: dialed.resolve },
                Phase { name: "connect", took: dialed.connect },
            ];
            let stream = Limited::new(Box::new(dialed.stream));
            return Ok((Box::new(stream), dialed.address.to_string(), phases));
        }
        let path = format!("{}/.s.PGSQL.{}", server.host.trim_end_matches('/'), server.port);
        stage.enter(format!("a connection to {path}"));
        let began = self.dialer.instant();
        let stream = UnixStream::connect(&path)
            .await
            .map_err(|error| io_failure(&format!("no connection to {path}"), &error))?;
        let took = self.dialer.instant().duration_since(began);
        Ok((Box::new(Limited::new(Box::new(stream))), path, vec![Phase { name: "connect", took }]))
    }

    fn handshake(&self, server: &Server, mode: TlsMode) -> Result<Handshake, Failure> {
        let done = Arc::new(OnceLock::new());
        if mode == TlsMode::Disable {
            return Ok(Handshake { connector: None, dialer: self.dialer.clone(), done });
        }
        let config = tls::client(&self.ask.tls, &[]).map_err(|error| Failure::Unable(chain(&error)))?;
        let Ok(connector) = MakeTlsConnect::<Stream>::make_tls_connect(
            &mut MakeRustlsConnect::new((*config).clone()),
            &server.host,
        );
        Ok(Handshake { connector: Some(connector), dialer: self.dialer.clone(), done })
    }
}

impl Session {
    /// How old it is.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now.duration_since(self.made)
    }

    /// Whether an answer is still to come, so that nothing else can be asked.
    pub(super) fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// What the server told of itself when the session began.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.connection.parameter(name)
    }

    /// Asks by the simple protocol, the only one that every mode of every pooler lets through. Several statements in one
    /// text are one transaction, whatever happens to them.
    pub(super) async fn ask(&mut self, sql: &str) -> Result<Answer, Lost> {
        self.is_busy = true;
        self.own_transactions += 1;
        let Self { client, connection, .. } = self;
        let mut answer = Answer::default();
        let asked = {
            let work = pin!(async {
                let mut messages = pin!(client.simple_query_raw(sql).await?);
                while let Some(message) = messages.try_next().await? {
                    match message {
                        SimpleQueryMessage::RowDescription(_) => answer.sets.push(Vec::new()),
                        SimpleQueryMessage::Row(row) => {
                            if let Some(set) = answer.sets.last_mut().filter(|set| set.len() < ROWS_MAX) {
                                set.push(row);
                            }
                        }
                        SimpleQueryMessage::CommandComplete(_) => {}
                        // The library may learn of more.
                        _ => {}
                    }
                }
                Ok(())
            });
            drive(connection, work).await
        };
        answer.refused = self.end(asked)?;
        Ok(answer)
    }

    /// Asks a single statement, with a text in its first column, by the extended protocol, which takes no second statement:
    /// whatever the text holds, it cannot leave the transaction that it is asked in. The statement has no name, so poolers
    /// let it through.
    pub(super) async fn ask_one(&mut self, sql: &str) -> Result<Result<Option<String>, DbError>, Lost> {
        self.is_busy = true;
        let Self { client, connection, .. } = self;
        let mut found = None;
        let asked = {
            let work = pin!(async {
                let mut rows = pin!(client.query_typed_raw(sql, Vec::<(String, Type)>::new()).await?);
                while let Some(row) = rows.try_next().await? {
                    found = row.try_get::<_, Option<String>>(0)?;
                }
                Ok(())
            });
            drive(connection, work).await
        };
        Ok(match self.end(asked)? {
            Some(refused) => Err(refused),
            None => Ok(found),
        })
    }

    /// Says goodbye, so that the server does not log a client that vanished.
    pub(super) async fn close(self) {
        let Self { client, mut connection, .. } = self;
        drop(client);
        let goodbye = poll_fn(|context| {
            loop {
                match connection.poll_message(context) {
                    Poll::Ready(Some(Ok(_notice))) => {}
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
            }
        });
        // At the limit it is simply dropped.
        let _ = tokio::time::timeout(GOODBYE, goodbye).await;
    }

    /// A statement that was refused leaves the session as it was; anything else ends it.
    fn end(&mut self, asked: Result<(), Option<tokio_postgres::Error>>) -> Result<Option<DbError>, Lost> {
        match asked {
            Ok(()) => {
                self.is_busy = false;
                Ok(None)
            }
            Err(None) => Err(Lost(None)),
            Err(Some(error)) => match error.as_db_error() {
                Some(refused) if !words::is_fatal(refused) && !self.client.is_closed() => {
                    self.is_busy = false;
                    Ok(Some(refused.clone()))
                }
                _ => Err(Lost(Some(error))),
            },
        }
    }
}

/// Moves the connection until `work` is done or the connection has ended; `None`: it ended without a word.
async fn drive(
    connection: &mut Connection<Stream, TlsStream>,
    mut work: Pin<&mut (dyn Future<Output = Result<(), tokio_postgres::Error>> + Send)>,
) -> Result<(), Option<tokio_postgres::Error>> {
    poll_fn(|context| {
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(done.map_err(Some));
        }
        let ended = loop {
            match connection.poll_message(context) {
                Poll::Ready(Some(Ok(_notice))) => {}
                Poll::Ready(Some(Err(error))) => break Some(Some(error)),
                Poll::Ready(None) => break Some(None),
                Poll::Pending => break None,
            }
        };
        // What came before the end counts: why a server closes a connection is worth more than that it does.
        match (work.as_mut().poll(context), ended) {
            (Poll::Ready(Err(error)), Some(ended)) if error.is_closed() => Poll::Ready(Err(ended)),
            (Poll::Ready(done), _) => Poll::Ready(done.map_err(Some)),
            (Poll::Pending, Some(ended)) => Poll::Ready(Err(ended)),
            (Poll::Pending, None) => Poll::Pending,
        }
    })
    .await
}

/// TLS, with the moment of its completion.
struct Handshake {
    connector: Option<Connector>,
    dialer: Dialer,
    done: Arc<OnceLock<Instant>>,
}

impl TlsConnect<Stream> for Handshake {
    type Stream = TlsStream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TlsStream>> + Send>>;

    fn connect(self, stream: Stream) -> Self::Future {
        Box::pin(async move {
            let connector = self.connector.ok_or_else(|| io::Error::other("TLS is not to be used"))?;
            let encrypted = connector.connect(stream).await?;
            let _ = self.done.set(self.dialer.instant());
            Ok(encrypted)
        })
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("address", &self.address).finish_non_exhaustive()
    }
}
