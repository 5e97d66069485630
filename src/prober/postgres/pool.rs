//! The pooler before the server: whether there is one, and how full its pool is.
//!
//! A pgbouncer looks like the server behind it, but has a database of its own, `pgbouncer`, in which it answers about itself.
//! That database is asked for under the same user. A real server says that there is none and logs that, so its answer is
//! remembered; a pgbouncer lets those in whom its options name (`stats_users`, `admin_users`) and refuses the others in words
//! that no Postgres says. Other poolers are not known here, and are told as what is behind them.

use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::config::probes::Server;
use crate::prober::dial::Stage;
use crate::prober::postgres::session::{Door, NotMade, Session};
use crate::prober::postgres::statistics::{seconds, value};
use crate::prober::probe::Reply;

/// What was found out holds for this long.
const REMEMBERED: Duration = Duration::from_mins(10);
/// The console is no part of what is to be judged: what it does not answer within this time is left out.
const PATIENCE: Duration = Duration::from_millis(300);
/// The database in which a pgbouncer answers about itself.
const CONSOLE: &str = "pgbouncer";

/// What is known of the pooler, and the session with its console where we are let in.
#[derive(Debug, Default)]
pub(super) struct Pooler {
    found: Option<(Server, Instant, Found)>,
    console: Option<Session>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// A server without a pooler.
    Postgres,
    /// A pgbouncer; whether we may ask it about itself.
    Bouncer { lets_us_in: bool },
    /// It did not answer.
    Unclear,
}

/// The pool of our database, over all its users.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Pool {
    clients_active: f64,
    clients_waiting: f64,
    servers_active: f64,
    servers_idle: f64,
    /// How long the first in the queue has waited, in seconds.
    wait: f64,
}

impl Pooler {
    /// Closes the session with the console; it is made again when it is needed.
    pub(super) async fn close(&mut self) {
        if let Some(console) = self.console.take() {
            console.close().await;
        }
    }

    /// Drops the session with the console where something was asked and not answered.
    pub(super) fn give_up(&mut self) {
        self.console.take_if(|console| console.is_busy());
    }

    /// Whether the server was found to be a pgbouncer.
    pub(super) fn is_bouncer(&self) -> bool {
        matches!(self.found, Some((_, _, Found::Bouncer { .. })))
    }

    /// Whether it was found out at all.
    pub(super) fn is_known(&self) -> bool {
        self.found.as_ref().is_some_and(|(_, _, found)| *found != Found::Unclear)
    }

    /// Asks the pooler, where there is one, for the pool of `database`.
    pub(super) async fn look(
        &mut self,
        door: &Door<'_>,
        server: &Server,
        database: &str,
        stage: &mut Stage,
    ) -> Option<Pool> {
        let now = door.dialer.instant();
        let known = self
            .found
            .as_ref()
            .filter(|(whose, at, _)| whose == server && now.duration_since(*at) < REMEMBERED);
        let found = match known {
            Some((_, _, found)) => *found,
            None => {
                self.console = None;
                let found = self.open(door, server, stage).await;
                // What is unclear is asked again in the next round.
                self.found = (found != Found::Unclear).then(|| (server.clone(), now, found));
                found
            }
        };
        if found != (Found::Bouncer { lets_us_in: true }) {
            return None;
        }
        if self.console.is_none() {
            let found = self.open(door, server, stage).await;
            if found != Found::Unclear {
                self.found = Some((server.clone(), now, found));
            }
        }
        stage.enter(format!("the state of the pool from {server}"));
        let console = self.console.as_mut()?;
        match timeout(PATIENCE, console.ask("show pools")).await {
            Ok(Ok(answer)) => Pool::read(answer.sets.first()?, database),
            Ok(Err(_)) | Err(_) => {
                self.console = None;
                None
            }
        }
    }

    async fn open(&mut self, door: &Door<'_>, server: &Server, stage: &mut Stage) -> Found {
        let Ok(entered) = timeout(PATIENCE, door.enter(server, CONSOLE, stage)).await else {
            return Found::Unclear;
        };
        match entered {
            Ok(made) => {
                let version = made.session.parameter("server_version").unwrap_or_default();
                if !version.contains("bouncer") {
                    made.session.close().await;
                    return Found::Postgres;
                }
                self.console = Some(made.session);
                Found::Bouncer { lets_us_in: true }
            }
            Err(NotMade::Failed(_)) => Found::Unclear,
            Err(NotMade::Refused(error)) => match error.as_db_error() {
                // A Postgres names the place in its source where the error was raised.
                Some(said) if said.routine().is_some() => Found::Postgres,
                Some(said) if said.code().code() == "08P01" => Found::Bouncer { lets_us_in: false },
                Some(_) => Found::Postgres,
                None => Found::Unclear,
            },
        }
    }
}

impl Pool {
    fn read(rows: &[tokio_postgres::SimpleQueryRow], database: &str) -> Option<Self> {
        let mut pool = Self::default();
        let mut is_found = false;
        for row in rows.iter().filter(|row| row.try_get("database").ok().flatten() == Some(database)) {
            let number = |column: &str| value::<f64>(row, column).unwrap_or_default();
            is_found = true;
            pool.clients_active += number("cl_active");
            pool.clients_waiting += number("cl_waiting");
            pool.servers_active += number("sv_active");
            pool.servers_idle += number("sv_idle");
            pool.wait = pool.wait.max(number("maxwait") + number("maxwait_us") / 1e6);
        }
        is_found.then_some(pool)
    }

    /// What is to be said against it.
    pub(super) fn concern(&self) -> Option<String> {
        let who = match self.clients_waiting {
            waiting if waiting < 1.0 => return None,
            1.0 => "1 client waits".to_owned(),
            waiting => format!("{waiting} clients wait"),
        };
        Some(format!("{who} for a connection of the pool, the longest for {}", seconds(self.wait)))
    }

    /// Adds what is known.
    pub(super) fn tell(&self, reply: &mut Reply) {
        reply.number("pool_clients_active", self.clients_active);
        reply.number("pool_clients_waiting", self.clients_waiting);
        reply.number("pool_servers_active", self.servers_active);
        reply.number("pool_servers_idle", self.servers_idle);
        reply.number("pool_wait_seconds", self.wait);
    }
}
