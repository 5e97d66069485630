//! Asks a Postgres server, or a pgbouncer before one: does it let us in, how fast does it answer, how full is it, and how far
//! are replicas behind?
//!
//! It owns the sessions with one dependency: one that is kept, and for moments a second one, with the next server or with the
//! pooler's console. It does not know how often it is asked nor what follows from its answers.
//!
//! A round asks `select 1`, whose answer's time is the latency, and then for the statistics, in one text each by the simple
//! protocol. There is neither a prepared statement nor a setting that outlives its transaction, so a pooler in transaction
//! mode may stand between. All that asks for more than a constant runs in a transaction that can write nothing.
//!
//! After half a minute a new session takes the kept one's place, so that connecting, TLS and the login stay tested. While
//! that fails the round has failed, whatever the kept session says; but that one stays, for it can tell how full a server
//! is that takes nobody in any more. A postmaster that hangs is found in the same way, and so up to half a minute late: what
//! is connected goes on working, and only who comes anew waits.

mod limited;
mod pool;
mod replication;
mod schema;
mod session;
mod statistics;
mod words;

use std::time::Duration;

use crate::config::probes::{Postgres as Ask, Role, Schema, Server};
use crate::engine::health::Phase;
use crate::prober::dial::{Dialer, Stage};
use crate::prober::postgres::pool::Pooler;
use crate::prober::postgres::replication::Replication;
use crate::prober::postgres::session::{Door, Lost, Made, NotMade, Session};
use crate::prober::postgres::statistics::{GUARD, Load, Statistics, in_use, questions};
use crate::prober::probe::{BoxFuture, Failure, Probe, Reply, cut};

/// A session that is older is made anew, so that the way there stays tested.
const SESSION_AGE: Duration = Duration::from_secs(30);

/// The probe.
pub(super) struct Postgres {
    ask: Ask,
    dialer: Dialer,
    stage: Stage,
    kept: Option<Kept>,
    pooler: Pooler,
    replication: Replication,
    limit: Duration,
    load: Load,
    /// What the kept session measured in a round that failed.
    load_of_failed: Option<u64>,
}

/// The session that is kept from round to round.
struct Kept {
    session: Session,
    server: Server,
    /// The question for the schema's version; `None`: not looked for yet.
    schema: Option<Option<&'static str>>,
}

/// A server that would not do.
enum Unfit {
    Failed(Failure),
    /// All its places are taken.
    Full(Failure),
}

impl Postgres {
    /// `limit`: how long a round may take.
    pub(super) fn new(ask: Ask, dialer: Dialer, limit: Duration) -> Self {
        Self {
            limit,
            ask,
            dialer,
            stage: Stage::default(),
            kept: None,
            pooler: Pooler::default(),
            replication: Replication::default(),
            load: Load::default(),
            load_of_failed: None,
        }
    }

    async fn round(&mut self) -> Result<Reply, Failure> {
        let now = self.dialer.instant();
        let is_due = self.kept.as_ref().is_none_or(|kept| kept.session.age(now) >= SESSION_AGE);
        let mut measured = None;
        if self.kept.is_some() {
            match self.measure().await {
                Ok(well) if well.1.is_unknown() || self.is_wanted(well.1.is_replica) => measured = Some(well),
                // A session that was ended between rounds says nothing yet: whether a new one can be made does.
                Ok(_) | Err(_) => self.forget().await,
            }
        }
        let mut phases = Vec::new();
        if is_due || self.kept.is_none() {
            // Also where the new session hangs until the round's time is over.
            self.load_of_failed = measured.as_ref().and_then(|(reply, _)| reply.load);
            phases = self.renew(measured.as_ref()).await?;
            self.load_of_failed = None;
        }
        let (mut reply, statistics) = match measured {
            Some((mut reply, statistics)) => {
                reply.phases.extend(phases);
                (reply, statistics)
            }
            None => {
                let (mut reply, statistics) = self.measure().await?;
                reply.phases.splice(0..0, phases);
                (reply, statistics)
            }
        };
        self.tell(&statistics, &mut reply);
        Ok(reply)
    }

    /// Makes a new session and keeps it; the old one stays where that fails.
    async fn renew(&mut self, measured: Option<&(Reply, Statistics)>) -> Result<Vec<Phase>, Failure> {
        // With the console there would be three.
        self.pooler.close().await;
        let mut full = None;
        let mut failures = Vec::new();
        for at in 0..self.ask.servers.len() {
            let entered = self.enter_in_time(at).await;
            match entered {
                Ok((session, phases)) => {
                    let server = self.ask.servers[at].clone();
                    let old = self.kept.replace(Kept { session, server, schema: None });
                    if let Some(old) = old {
                        old.session.close().await;
                    }
                    return Ok(phases);
                }
                Err(Unfit::Full(failure)) => {
                    full = measured.and_then(|(_, statistics)| statistics.connections);
                    failures.push(failure);
                }
                Err(Unfit::Failed(failure)) => failures.push(failure),
            }
        }
        let mut more = full.map(|(used, available)| in_use(used, available)).into_iter().collect::<Vec<_>>();
        if measured.is_some() {
            more.push("the session made before still answers".to_owned());
        }
        Err(together(failures, more))
    }

    /// Of several servers one that hangs leaves time for the others.
    async fn enter_in_time(&mut self, at: usize) -> Result<(Session, Vec<Phase>), Unfit> {
        let servers = u32::try_from(self.ask.servers.len()).unwrap_or(u32::MAX);
        if servers == 1 {
            return self.enter(at).await;
        }
        let share = self.limit / servers;
        match tokio::time::timeout(share, self.enter(at)).await {
            Ok(entered) => entered,
            Err(_late) => {
                let share = humantime::format_duration(share);
                let words = format!("{} did not come within {share}", self.stage.as_str());
                Err(Unfit::Failed(Failure::Down(words)))
            }
        }
    }

    /// A session with the server at that place, if it is what is wanted.
    async fn enter(&mut self, at: usize) -> Result<(Session, Vec<Phase>), Unfit> {
        let server = &self.ask.servers[at];
        let door = Door { ask: &self.ask, dialer: &self.dialer, is_second: self.kept.is_some() };
        let Made { mut session, phases } =
            door.enter(server, &self.ask.database, &mut self.stage).await.map_err(|not| match not {
                NotMade::Failed(failure) => Unfit::Failed(failure),
                NotMade::Refused(error) if words::is_full(&error) => {
                    Unfit::Full(words::refused(&server.to_string(), &error))
                }
                NotMade::Refused(error) => Unfit::Failed(words::refused(&server.to_string(), &error)),
            })?;
        if self.ask.role == Role::Any {
            return Ok((session, phases));
        }
        self.stage.enter(format!("the role of {server}"));
        let answer = match session.ask("select pg_is_in_recovery()").await {
            Ok(answer) => answer,
            Err(lost) => {
                return Err(Unfit::Failed(words::lost(&server.to_string(), "which role it has", &lost)));
            }
        };
        let is_replica = answer
            .sets
            .first()
            .and_then(|rows| rows.first())
            .and_then(|row| row.try_get(0).ok()?)
            .map(|role| role == "t");
        match is_replica {
            Some(is_replica) if self.is_wanted(is_replica) => Ok((session, phases)),
            Some(is_replica) => {
                let text = unwanted(&self.ask.servers[at], is_replica);
                session.close().await;
                Err(Unfit::Failed(Failure::Down(text)))
            }
            None => {
                let said = answer.refused.as_ref().map(words::statement).unwrap_or_default();
                Err(Unfit::Failed(Failure::Down(format!("{server} does not say which role it has: {said}"))))
            }
        }
    }

    /// Asks the kept session everything.
    async fn measure(&mut self) -> Result<(Reply, Statistics), Failure> {
        let Self { ask, dialer, stage, kept, pooler, .. } = self;
        let Some(Kept { session, server, schema }) = kept else {
            return Err(Failure::Unable("there is no session to ask".to_owned()));
        };
        let mut reply = Reply::default();
        let door = Door { ask, dialer, is_second: true };
        let began = dialer.instant();
        let pool = pooler.look(&door, server, &ask.database, stage).await;
        let crowd = pool.as_ref().and_then(|pool| pool.concern());
        stage.enter(match &crowd {
            Some(crowd) => format!("the answer of {server} to `select 1` ({crowd})"),
            None if pooler.is_bouncer() => {
                format!("the answer of {server} to `select 1`, through pgbouncer's pool,")
            }
            None => format!("the answer of {server} to `select 1`"),
        });
        let asked = dialer.instant();
        let answer = session
            .ask("select 1")
            .await
            .map_err(|lost| words::lost(&server.to_string(), "`select 1`", &lost))?;
        let answered = dialer.instant();
        if let Some(said) = &answer.refused {
            return Err(Failure::Down(format!("{server} refused `select 1`: {}", words::statement(said))));
        }
        reply.latency = answered.duration_since(asked);
        if pool.is_some() {
            reply.phase("pool", asked.duration_since(began));
        }
        reply.phase("query", reply.latency);
        stage.enter(format!("the statistics of {server}"));
        let lost = |lost: Lost| words::lost(&server.to_string(), "the question for its statistics", &lost);
        let statistics = statistics(session, &ask.schema, schema, &mut reply).await.map_err(lost)?;
        reply.phase("statistics", dialer.instant().duration_since(answered));
        if let Some(version) = session.parameter("server_version") {
            // Packagers add their own version behind a blank.
            reply.text("server_version", version.split(' ').next().unwrap_or(version));
        }
        reply.text("address", session.address.as_str());
        if pooler.is_known() {
            reply.truth("pgbouncer", pooler.is_bouncer());
        }
        if let Some(pool) = pool {
            pool.tell(&mut reply);
        }
        reply.concerns.splice(0..0, crowd);
        reply.load = self.load.since(&statistics, std::mem::take(&mut session.own_transactions));
        Ok((reply, statistics))
    }

    /// What the statistics say, for it and against it.
    fn tell(&mut self, statistics: &Statistics, reply: &mut Reply) {
        if statistics.is_unknown() {
            return;
        }
        statistics.tell(self.ask.connections_max, reply);
        let now = self.dialer.instant();
        if let Some(kept) = &self.kept {
            self.replication.hear(&kept.server.to_string());
        }
        match (&statistics.receiver, &statistics.senders) {
            (Some(receiver), _) => self.replication.tell_replica(now, receiver, self.ask.lag_max, reply),
            (None, Some(senders)) if !statistics.is_replica => {
                self.replication.tell_primary(now, senders, reply)
            }
            (None, _) => {}
        }
    }

    fn is_wanted(&self, is_replica: bool) -> bool {
        match self.ask.role {
            Role::Any => true,
            Role::Primary => !is_replica,
            Role::Replica => is_replica,
        }
    }

    /// Closes what is open.
    async fn forget(&mut self) {
        self.pooler.close().await;
        if let Some(kept) = self.kept.take().filter(|kept| !kept.session.is_busy()) {
            kept.session.close().await;
        }
    }
}

/// Asks for the statistics and the version of the schema.
async fn statistics(
    session: &mut Session,
    options: &Schema,
    found: &mut Option<Option<&'static str>>,
    reply: &mut Reply,
) -> Result<Statistics, Lost> {
    if *options == Schema::Auto && found.is_none() {
        let answer = session.ask(&format!("{GUARD} {}", schema::lookup())).await?;
        *found = Some(schema::found(&answer));
    }
    let answer = session.ask(&questions(found.flatten())).await?;
    let Some(statistics) = Statistics::read(&answer) else {
        if let Some(said) = answer.refused.as_ref().filter(|said| !words::is_not_for_us(said)) {
            reply.concern(format!("the statistics were refused: {}", words::statement(said)));
        }
        return Ok(Statistics::default());
    };
    if let Some(version) = Statistics::schema_version(&answer) {
        reply.text("schema_version", cut(version));
    } else if found.flatten().is_some() {
        // The table is empty, locked or gone: it is looked for again with the next session.
        *found = if answer.refused.as_ref().is_some_and(words::is_not_for_us) { Some(None) } else { *found };
    }
    if let Some(wrapped) = schema::wrapped(options) {
        operators_query(session, &wrapped, reply).await?;
    }
    Ok(statistics)
}

/// Asks the operator's query in a transaction that can write nothing.
async fn operators_query(session: &mut Session, wrapped: &str, reply: &mut Reply) -> Result<(), Lost> {
    let began = session.ask(&format!("begin; {GUARD}")).await?;
    let answer = match began.refused {
        None => session.ask_one(wrapped).await?,
        Some(refused) => Err(refused),
    };
    session.ask("rollback").await?;
    // Both were one transaction.
    session.own_transactions -= 1;
    match answer {
        Ok(Some(version)) => reply.text("schema_version", cut(&version)),
        Ok(None) => {}
        Err(said) => {
            let hint = if said.code().code() == "42601" { " (it must be a single select)" } else { "" };
            reply
                .concern(format!("the query for the schema's version was refused: {}{hint}", said.message()));
        }
    }
    Ok(())
}

/// That a server has not the role that is wanted.
fn unwanted(server: &Server, is_replica: bool) -> String {
    let (is, wanted) = if is_replica { ("replica", "primary") } else { ("primary", "replica") };
    format!("{server} is a {is}; a {wanted} is wanted")
}

/// The failures of all servers as one; it is our own trouble where none of them could be asked.
fn together(failures: Vec<Failure>, more: Vec<String>) -> Failure {
    let is_own = failures.iter().all(|failure| matches!(failure, Failure::Unable(_)));
    let texts = failures.into_iter().map(|failure| match failure {
        Failure::Down(text) | Failure::Unable(text) => text,
    });
    let text = texts.chain(more).collect::<Vec<_>>().join("; ");
    if is_own { Failure::Unable(text) } else { Failure::Down(text) }
}

impl Probe for Postgres {
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
        // What waits for nothing stays: where only a new connection hangs, the kept one still measures.
        self.kept.take_if(|kept| kept.session.is_busy());
        self.pooler.give_up();
    }
}
