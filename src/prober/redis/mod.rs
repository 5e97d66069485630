//! Redis: does it answer PING, is it what it should be, and has it memory, clients and replicas as it should?
//!
//! One connection is kept from round to round and made anew when it is half a minute old, so that connecting and
//! authenticating stay tested. While that fails the old one is kept, and says beside the failure how the server is. A kept
//! connection that turns out to be dead is replaced within the round: servers close idle ones, and that is no fault. With
//! Sentinels the server is whom they name, and it must say itself that it is the primary.

mod memory;
mod report;
mod sentinel;
mod wire;

use std::time::{Duration, Instant};

use ::redis::{Value, cmd};

use crate::config::probes::{Redis as Ask, Role, Server};
use crate::engine::health::Phase;
use crate::prober::dial::{Dialer, Stage};
use crate::prober::probe::{BoxFuture, Failure, Probe, Reply};
use crate::prober::redis::memory::Memory;
use crate::prober::redis::report::{Report, role};
use crate::prober::redis::sentinel::Sentinels;
use crate::prober::redis::wire::{Credentials, Trouble, Wire, text};

/// A connection is made anew at this age.
const SESSION_AGE_MAX: Duration = Duration::from_secs(30);
/// How long the old connection may take to say how the server is, when a new one could not be made.
const OLD_WAIT: Duration = Duration::from_millis(300);
/// A round that took longer has no time left for a look at a Sentinel.
const LEISURE: Duration = Duration::from_millis(500);

/// Asks a Redis.
pub(super) struct Redis {
    ask: Ask,
    dialer: Dialer,
    stage: Stage,
    session: Option<Session>,
    sentinels: Option<Sentinels>,
    memory: Memory,
    /// What the old connection told of the load in a round that failed.
    load_of_failed: Option<u64>,
    /// The Sentinel to be asked first: the next one after a round that took too long, for who hangs hides the others.
    first: usize,
}

/// A connection on which we are known.
struct Session {
    wire: Wire,
    server: Server,
    made: Instant,
    /// It was not used before this round.
    is_fresh: bool,
}

/// Why a session gave no reply.
enum Stop {
    /// It is dead, or leads to a server that is not the primary any more: another one may do better.
    Stale,
    /// That is the answer.
    Failed(Failure),
}

impl Redis {
    pub(super) fn new(ask: Ask, dialer: Dialer) -> Self {
        let sentinels = ask.sentinel.is_some().then(|| Sentinels::new(ask.servers.len()));
        Self {
            ask,
            dialer,
            stage: Stage::default(),
            session: None,
            sentinels,
            memory: Memory::default(),
            load_of_failed: None,
            first: 0,
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
        let mut reply = match replied {
            Ok(reply) => reply,
            Err(failure) => {
                if self.load_of_failed.is_none() {
                    self.memory.missed();
                }
                return Err(failure);
            }
        };
        self.look_at_a_sentinel(began, &mut reply).await;
        Ok(reply)
    }

    /// Asks over a new connection; where none can be made, the old one is kept.
    async fn renew(&mut self, old: Option<Session>) -> Result<Reply, Failure> {
        let failure = match self.open().await {
            Ok(session) => {
                if let Some(old) = old {
                    self.memory.asked(old.wire.asked);
                }
                return self.measure(session).await.map_err(|stop| match stop {
                    Stop::Failed(failure) => failure,
                    Stop::Stale => Failure::Down("the server changed its role meanwhile".to_owned()),
                });
            }
            Err(failure) => failure,
        };
        let Some(mut old) = old else { return Err(failure) };
        let Ok(Some((words, report))) = tokio::time::timeout(OLD_WAIT, still(&mut old.wire)).await else {
            return Err(failure);
        };
        self.memory.asked(std::mem::take(&mut old.wire.asked));
        self.load_of_failed = report.and_then(|report| self.memory.load(&report));
        self.session = Some(old);
        Err(match failure {
            Failure::Down(why) => Failure::Down(format!("{why}; {words}")),
            unable @ Failure::Unable(_) => unable,
        })
    }

    /// A new connection to the server, or to the one that the Sentinels name.
    async fn open(&mut self) -> Result<Session, Failure> {
        let Some(mut sentinels) = self.sentinels.take() else {
            let server = self.ask.servers[0].clone();
            return self.session(server).await;
        };
        let opened = self.open_named(&mut sentinels).await;
        self.sentinels = Some(sentinels);
        opened
    }

    /// Goes from Sentinel to Sentinel until one names a server that is the primary.
    async fn open_named(&mut self, sentinels: &mut Sentinels) -> Result<Session, Failure> {
        let mut tried: Vec<Server> = Vec::new();
        let mut failure = None;
        let (all, first) = (sentinels.len(), self.first);
        for index in (0..all).map(|index| (first + index) % all) {
            let Some(server) = sentinels.ask(index, &self.ask, &self.dialer, &mut self.stage).await else {
                continue;
            };
            if tried.contains(&server) {
                continue;
            }
            tried.push(server.clone());
            let failed = match self.session(server.clone()).await {
                Ok(mut session) => match self.told_role(&mut session.wire).await {
                    Ok(Some(true)) => Failure::Down(format!("{server} is a replica")),
                    Ok(_) => return Ok(session),
                    Err(trouble) => trouble.failure(&server, "ROLE"),
                },
                Err(failed) => failed,
            };
            failure = Some(match failed {
                Failure::Down(why) => {
                    Failure::Down(format!("the primary that the Sentinels name, {server}, is not: {why}"))
                }
                unable @ Failure::Unable(_) => unable,
            });
        }
        let name = self.ask.sentinel.as_ref().map_or("", |sentinel| sentinel.primary.as_str());
        Err(failure.unwrap_or_else(|| sentinels.failure(name)))
    }

    /// A connection to `server` on which we are known.
    async fn session(&mut self, server: Server) -> Result<Session, Failure> {
        let mut wire = Wire::connect(&server, &self.ask.tls, &self.dialer, &mut self.stage).await?;
        let made = self.dialer.instant();
        let credentials =
            Credentials { user: self.ask.user.as_deref(), password: self.ask.password.as_ref() };
        wire.introduce(credentials, &mut self.stage).await?;
        if self.ask.database != 0 {
            let select = wire.ask("SELECT", cmd("SELECT").arg(self.ask.database), &mut self.stage).await;
            if let Err(trouble) = select
                && !trouble.is_no_right()
            {
                return Err(trouble.failure(&server, &format!("database {}", self.ask.database)));
            }
        }
        let took = self.dialer.instant().saturating_duration_since(made);
        wire.phases.push(Phase { name: "authenticate", took });
        Ok(Session { wire, server, made, is_fresh: true })
    }

    /// Asks over this session, and keeps it where it is still good.
    async fn measure(&mut self, mut session: Session) -> Result<Reply, Stop> {
        let is_fresh = std::mem::replace(&mut session.is_fresh, false);
        let mut reply = Reply { phases: std::mem::take(&mut session.wire.phases), ..Reply::default() };
        let stop = |trouble: Trouble, server: &Server, what: &str| match trouble {
            Trouble::Broken(_) if !is_fresh => Stop::Stale,
            trouble @ (Trouble::Said(_) | Trouble::Broken(_)) => Stop::Failed(trouble.failure(server, what)),
        };
        let began = self.dialer.instant();
        let pinged = session.wire.ask("PING", &cmd("PING"), &mut self.stage).await;
        let answered = self.dialer.instant();
        reply.latency = answered.saturating_duration_since(began);
        reply.phase("ping", reply.latency);
        if let Err(trouble) = pinged {
            let is_loading = matches!(&trouble, Trouble::Said(words) if words.starts_with("LOADING"));
            let has_answered = matches!(trouble, Trouble::Said(_));
            let mut stopped = stop(trouble, &session.server, "PING");
            if is_loading && let Ok(Some(report)) = self.report(&mut session.wire).await {
                stopped = Stop::Failed(Failure::Down(format!("{} {}", session.server, report.loading())));
            }
            if has_answered {
                self.session = Some(session);
            }
            return Err(stopped);
        }
        let report = self.report(&mut session.wire).await.map_err(|t| stop(t, &session.server, "INFO"))?;
        reply.phase("info", self.dialer.instant().saturating_duration_since(answered));
        if let Err(stopped) = self.check_role(&mut session, report.as_ref(), is_fresh).await {
            // Where nobody can name another server, this one stays.
            self.session = self.ask.sentinel.is_none().then_some(session);
            return Err(stopped);
        }
        reply.text("address", session.wire.address.clone());
        if self.ask.sentinel.is_some() {
            reply.text("primary", session.server.to_string());
        }
        if let Some(report) = &report {
            self.memory.asked(std::mem::take(&mut session.wire.asked));
            reply.load = self.memory.load(report);
            report.tell(&mut reply);
            let down_for = self.memory.link_down_for(answered, report);
            report.concerns(&self.ask, down_for, &mut reply);
            self.memory.miss_replicas(answered, &session.server, report, &mut reply);
        }
        self.session = Some(session);
        Ok(reply)
    }

    /// What it tells about itself; `None` where it does not tell us.
    async fn report(&mut self, wire: &mut Wire) -> Result<Option<Report>, Trouble> {
        match wire.ask("INFO", &cmd("INFO"), &mut self.stage).await {
            Ok(value) => Ok(text(&value).map(|text| Report::read(&text))),
            Err(Trouble::Said(_)) => Ok(None),
            Err(broken @ Trouble::Broken(_)) => Err(broken),
        }
    }

    /// Whether it is what it should be, as far as it tells.
    async fn check_role(
        &mut self,
        session: &mut Session,
        report: Option<&Report>,
        is_fresh: bool,
    ) -> Result<(), Stop> {
        let expected = match self.ask.role {
            _ if self.ask.sentinel.is_some() => Role::Primary,
            role @ (Role::Any | Role::Primary | Role::Replica) => role,
        };
        let is_replica = match report.and_then(|report| report.is_replica) {
            known @ Some(_) => known,
            None if expected == Role::Any => None,
            None => self.told_role(&mut session.wire).await.unwrap_or(None),
        };
        let is_wrong = match (expected, is_replica) {
            (Role::Primary, Some(true)) | (Role::Replica, Some(false)) => true,
            (Role::Any | Role::Primary | Role::Replica, _) => false,
        };
        if !is_wrong {
            return Ok(());
        }
        if self.ask.sentinel.is_some() && !is_fresh {
            return Err(Stop::Stale);
        }
        let is_replica = is_replica == Some(true);
        Err(Stop::Failed(Failure::Down(format!(
            "{} is a {}, and should be a {}",
            session.server,
            role(is_replica),
            role(!is_replica)
        ))))
    }

    /// Whether it says that it is a replica; `None` where it does not tell us.
    async fn told_role(&mut self, wire: &mut Wire) -> Result<Option<bool>, Trouble> {
        match wire.ask("ROLE", &cmd("ROLE"), &mut self.stage).await {
            Ok(Value::Array(parts)) => Ok(parts.first().and_then(text).map(|name| name != "master")),
            Ok(_) | Err(Trouble::Said(_)) => Ok(None),
            Err(broken @ Trouble::Broken(_)) => Err(broken),
        }
    }

    /// In a round that is well, asks one Sentinel, another one each time: which of them are there, and whether they name
    /// another server by now.
    async fn look_at_a_sentinel(&mut self, began: Instant, reply: &mut Reply) {
        let Some(mut sentinels) = self.sentinels.take() else { return };
        if self.dialer.instant().saturating_duration_since(began) < LEISURE {
            let named = sentinels.ask_next(&self.ask, &self.dialer, &mut self.stage).await;
            // The next round starts with the Sentinels.
            self.session.take_if(|session| named.is_some_and(|named| named != session.server));
        }
        sentinels.tell(reply);
        self.sentinels = Some(sentinels);
    }
}

/// What an old connection says of the server, in words and in full; `None` where it is dead.
async fn still(wire: &mut Wire) -> Option<(String, Option<Report>)> {
    let mut unseen = Stage::default();
    wire.ask("PING", &cmd("PING"), &mut unseen).await.ok()?;
    let info = wire.ask("INFO", &cmd("INFO"), &mut unseen).await.ok();
    let report = info.as_ref().and_then(text).map(|text| Report::read(&text));
    let clients = match report.as_ref().map(|report| (report.clients, report.clients_max)) {
        Some((Some(clients), Some(max))) => {
            format!(", and says that {clients} of {max} clients are connected")
        }
        _ => String::new(),
    };
    Some((format!("a connection made before still answers{clients}"), report))
}

impl Probe for Redis {
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
        self.memory.missed();
        // The future that was dropped may have held what was known of the Sentinels.
        if self.ask.sentinel.is_some() && self.sentinels.is_none() {
            self.sentinels = Some(Sentinels::new(self.ask.servers.len()));
        }
        self.first = (self.first + 1) % self.ask.servers.len().max(1);
    }
}
