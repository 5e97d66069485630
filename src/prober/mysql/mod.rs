//! MySQL and MariaDB: does it answer a query, and has it connections left?
//!
//! One connection is kept from round to round and made anew when it is half a minute old, so that connecting and
//! authenticating stay tested. While that fails the old one is kept, and says beside the failure how the server is. A kept
//! connection that turns out to be dead is replaced within the round: servers close idle ones, and that is no fault.

mod packet;
mod status;
mod wire;

use std::time::{Duration, Instant};

use crate::config::probes::Mysql as Ask;
use crate::prober::dial::{Dialer, Stage};
use crate::prober::mysql::status::{Replica, SETTINGS, STATUS, Settings, Status};
use crate::prober::mysql::wire::{Trouble, Wire};
use crate::prober::probe::{BoxFuture, Failure, Probe, Reply};

/// A connection is made anew at this age.
const SESSION_AGE_MAX: Duration = Duration::from_secs(30);
/// How long the old connection may take to say how the server is, when a new one could not be made.
const OLD_WAIT: Duration = Duration::from_millis(300);
/// How a server is asked about its replication: as all speak it, or as MySQL does since 8.4, which has dropped the old words.
const REPLICATION: [&str; 2] = ["SHOW SLAVE STATUS", "SHOW REPLICA STATUS"];

/// Asks a MySQL or MariaDB.
pub(super) struct Mysql {
    ask: Ask,
    dialer: Dialer,
    stage: Stage,
    session: Option<Session>,
    /// The last round's status.
    counted: Option<Status>,
    /// Queries of ours since then.
    own: u64,
    /// What the old connection told of the load in a round that failed.
    load_of_failed: Option<u64>,
}

/// A connection on which we are logged in.
struct Session {
    wire: Wire,
    made: Instant,
    /// It was not used before this round.
    is_fresh: bool,
    settings: Settings,
    /// How it is asked about its replication; `None` where it follows nobody or does not tell us.
    replication: Option<&'static str>,
}

/// Why a session gave no reply.
enum Stop {
    /// It is dead.
    Stale,
    /// That is the answer.
    Failed(Failure),
}

impl Mysql {
    pub(super) fn new(ask: Ask, dialer: Dialer) -> Self {
        Self {
            ask,
            dialer,
            stage: Stage::default(),
            session: None,
            counted: None,
            own: 0,
            load_of_failed: None,
        }
    }

    async fn round(&mut self) -> Result<Reply, Failure> {
        let began = self.dialer.instant();
        // Whatever is taken here is closed where the round is given up.
        let kept = self.session.take();
        let is_young = |session: &Session| began.saturating_duration_since(session.made) < SESSION_AGE_MAX;
        let replied = match kept {
            Some(session) if is_young(&session) => match self.measure(session).await {
                Err(Stop::Stale) => self.renew(None).await,
                Err(Stop::Failed(failure)) => Err(failure),
                Ok(reply) => Ok(reply),
            },
            kept => self.renew(kept).await,
        };
        if replied.is_err() && self.load_of_failed.is_none() {
            // What happened meanwhile cannot be told from what happens next.
            self.counted = None;
        }
        replied
    }

    /// Asks over a new connection; where none can be made, the old one is kept.
    async fn renew(&mut self, old: Option<Session>) -> Result<Reply, Failure> {
        let failure = match self.open().await {
            Ok(session) => {
                if let Some(old) = old {
                    // Leaving counts as a query.
                    self.own += old.wire.asked + 1;
                    old.wire.quit().await;
                }
                return self.measure(session).await.map_err(|stop| match stop {
                    Stop::Failed(failure) => failure,
                    Stop::Stale => Failure::Down("the connection ended".to_owned()),
                });
            }
            Err(failure) => failure,
        };
        let Some(mut old) = old else { return Err(failure) };
        let Ok(Some((words, status))) = tokio::time::timeout(OLD_WAIT, still(&mut old)).await else {
            return Err(failure);
        };
        let own = std::mem::take(&mut self.own) + std::mem::take(&mut old.wire.asked);
        self.load_of_failed = self.counted.as_ref().and_then(|before| status.load_since(before, own));
        self.counted = Some(status);
        self.session = Some(old);
        Err(match failure {
            Failure::Down(why) => Failure::Down(format!("{why}; {words}")),
            unable @ Failure::Unable(_) => unable,
        })
    }

    async fn open(&mut self) -> Result<Session, Failure> {
        let mut wire = Wire::open(&self.ask, &self.dialer, &mut self.stage).await?;
        let made = self.dialer.instant();
        let settings = match wire.query("the settings", SETTINGS, &mut self.stage).await {
            Ok(answer) => Settings::read(&answer),
            Err(Trouble::Said(_)) => Settings::default(),
            Err(Trouble::Broken(how)) => return Err(Failure::Down(how)),
        };
        let mut replication = None;
        for query in REPLICATION {
            match wire.query(query, query, &mut self.stage).await {
                Ok(answer) => {
                    replication = (!answer.rows.is_empty()).then_some(query);
                    break;
                }
                // It does not speak so, or does not tell us.
                Err(Trouble::Said(_)) => {}
                Err(Trouble::Broken(how)) => return Err(Failure::Down(how)),
            }
        }
        Ok(Session { wire, made, is_fresh: true, settings, replication })
    }

    /// Asks over this session, and keeps it where it is still good.
    async fn measure(&mut self, mut session: Session) -> Result<Reply, Stop> {
        let is_fresh = std::mem::replace(&mut session.is_fresh, false);
        let server = self.ask.server.clone();
        let stop = |trouble: Trouble, what: &str| match trouble {
            // Before a server ends a connection, it may say why in answer to what comes next.
            _ if !is_fresh => Stop::Stale,
            Trouble::Broken(how) => Stop::Failed(Failure::Down(how)),
            Trouble::Said(words) => Stop::Failed(Failure::Down(format!("{server} refused {what}: {words}"))),
        };
        let mut reply = Reply { phases: std::mem::take(&mut session.wire.phases), ..Reply::default() };
        let began = self.dialer.instant();
        let answer = session.wire.query("the query", "SELECT 1", &mut self.stage).await;
        let answered = self.dialer.instant();
        answer.map_err(|trouble| stop(trouble, "SELECT 1"))?;
        reply.latency = answered.saturating_duration_since(began);
        reply.phase("query", reply.latency);

        reply.text("server_version", session.wire.version.clone());
        reply.text("address", session.wire.address.clone());
        match session.wire.query("SHOW GLOBAL STATUS", STATUS, &mut self.stage).await {
            Ok(answer) => {
                let status = Status::read(&answer);
                status.tell(session.settings, &mut reply);
                status.concern(session.settings, self.ask.connections_max, &mut reply);
                let own = self.own + std::mem::take(&mut session.wire.asked);
                reply.load = self.counted.as_ref().and_then(|before| status.load_since(before, own));
                self.counted = Some(status);
                self.own = 0;
            }
            Err(Trouble::Said(_)) => {}
            Err(broken) => return Err(stop(broken, "SHOW GLOBAL STATUS")),
        }
        session.settings.tell(&mut reply);
        if let Some(query) = session.replication {
            match session.wire.query(query, query, &mut self.stage).await {
                Ok(answer) => {
                    if let Some(replica) = Replica::read(&answer) {
                        replica.tell(&mut reply);
                    }
                }
                Err(Trouble::Said(_)) => {}
                Err(broken) => return Err(stop(broken, query)),
            }
        }
        reply.phase("status", self.dialer.instant().saturating_duration_since(answered));
        self.session = Some(session);
        Ok(reply)
    }
}

/// What an old connection says of the server, in words and in full; `None` where it is dead.
async fn still(old: &mut Session) -> Option<(String, Status)> {
    let mut unseen = Stage::default();
    let status = match old.wire.query("SHOW GLOBAL STATUS", STATUS, &mut unseen).await {
        Ok(answer) => Status::read(&answer),
        Err(Trouble::Said(_)) => Status::default(),
        Err(Trouble::Broken(_)) => return None,
    };
    let connections = match (status.connected, old.settings.connections_max) {
        (Some(used), Some(max)) => format!(", and says that {used} of {max} connections are used"),
        _ => String::new(),
    };
    Some((format!("a connection made before still answers{connections}"), status))
}

impl Probe for Mysql {
    fn ask(&mut self) -> BoxFuture<'_, Result<Reply, Failure>> {
        Box::pin(self.round())
    }

    fn stage(&self) -> &str {
        self.stage.as_str()
    }

    fn load(&mut self) -> Option<u64> {
        self.load_of_failed.take()
    }

    fn give_up(&mut self) {
        self.session = None;
        self.counted = None;
    }
}
