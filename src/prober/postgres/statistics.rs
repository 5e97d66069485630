//! What a server tells of itself, asked in one transaction: connections, transactions, replication.
//!
//! Everything is asked so that the least rights suffice: what a user may not see comes back empty, and is left out.

use std::str::FromStr;
use std::time::Duration;

use tokio_postgres::SimpleQueryRow;

use crate::prober::postgres::session::Answer;
use crate::prober::probe::Reply;

/// Opens each transaction of ours, for itself alone, as poolers in transaction mode want it: nothing can be written, and what
/// hangs ends by itself: a statement after two seconds, waiting for a lock, such as a migration's, after a tenth.
pub(super) const GUARD: &str =
    "set transaction read only; set local statement_timeout = 2000; set local lock_timeout = 100;";

/// Connections: those of ordinary clients. Without the right to see other users' sessions their kind is hidden; they count,
/// as most will be clients, but then nobody can say how many wait.
const SERVER: &str = "select pg_is_in_recovery() as is_replica, \
    extract(epoch from pg_postmaster_start_time()) as started, d.transactions, a.used, a.hidden, a.waiting, \
    current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int \
    - coalesce(current_setting('reserved_connections', true)::int, 0) as available \
    from (select count(*) filter (where datid is not null and usesysid is not null \
    and coalesce(backend_type, 'client backend') = 'client backend') as used, \
    count(*) filter (where datid is not null and backend_type is null) as hidden, \
    count(*) filter (where wait_event_type = 'Lock') as waiting from pg_stat_activity) a \
    left join (select xact_commit + xact_rollback as transactions from pg_stat_database \
    where datname = current_database()) d on true;";

/// As a replica. Whoever may not see the receiver's details still sees that there is one.
const RECEIVER: &str = "select extract(epoch from now() - pg_last_xact_replay_timestamp()) as since_replay, \
    pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) as lag_bytes, \
    case when pg_is_in_recovery() then pg_is_wal_replay_paused() end as is_paused, \
    (select coalesce(status, 'streaming') from pg_stat_wal_receiver limit 1) as receiver \
    where pg_is_in_recovery();";

/// As a primary: its physical replicas. Backups and archivers never replay; subscribers of logical replication come and go.
const SENDERS: &str = "select coalesce(r.application_name, '') as name, host(r.client_addr) as address, r.state, \
    pg_wal_lsn_diff(pg_current_wal_lsn(), r.replay_lsn) as lag_bytes \
    from pg_stat_replication r where not pg_is_in_recovery() \
    and (r.state is null or (r.state in ('streaming', 'catchup') and r.replay_lsn is not null)) \
    and not exists (select 1 from pg_replication_slots s where s.active_pid = r.pid and s.slot_type = 'logical') \
    limit 32;";

/// The figures of a server.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Statistics {
    pub(super) is_replica: bool,
    /// Tells one life of one server from another.
    started: String,
    /// Ended in our database since then.
    transactions: Option<u64>,
    /// Connections of ordinary clients, and how many there may be.
    pub(super) connections: Option<(f64, f64)>,
    waiting_on_locks: Option<f64>,
    pub(super) receiver: Option<Receiver>,
    /// `None`: they may not be seen.
    pub(super) senders: Option<Vec<Sender>>,
}

/// How a replica receives and replays.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Receiver {
    /// Seconds since the last replayed transaction was committed on the primary.
    pub(super) since_replay: Option<f64>,
    /// Received and not replayed.
    pub(super) lag_bytes: Option<f64>,
    pub(super) is_paused: bool,
    pub(super) is_streaming: bool,
}

/// One replica as its primary sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sender {
    pub(super) name: String,
    pub(super) is_streaming: bool,
    pub(super) lag_bytes: Option<f64>,
}

/// The questions of a round, in one text and so in one transaction; `more` is the one for the schema.
pub(super) fn questions(more: Option<&str>) -> String {
    let more = more.map(|more| format!("{more};")).unwrap_or_default();
    format!("{GUARD} {SERVER} {RECEIVER} {SENDERS} {more}")
}

impl Statistics {
    /// Reads the answer to [`questions`]; `None` where not even the first one was answered.
    pub(super) fn read(answer: &Answer) -> Option<Self> {
        let row = answer.sets.first()?.first()?;
        let used = value::<f64>(row, "used");
        let hidden = value::<f64>(row, "hidden").unwrap_or_default();
        let receivers = answer.sets.get(1).map(Vec::as_slice).unwrap_or_default();
        Some(Self {
            is_replica: truth(row, "is_replica"),
            started: text(row, "started").unwrap_or_default().to_owned(),
            transactions: value(row, "transactions"),
            connections: used.zip(value(row, "available").filter(|available| *available > 0.0)),
            waiting_on_locks: value(row, "waiting").filter(|_| hidden == 0.0),
            receiver: receivers.first().map(Receiver::read),
            senders: answer.sets.get(2).and_then(|rows| rows.iter().map(Sender::read).collect()),
        })
    }

    /// Whether nothing was told.
    pub(super) fn is_unknown(&self) -> bool {
        self.started.is_empty()
    }

    /// The version that the answer to the question for the schema holds, which comes last.
    pub(super) fn schema_version(answer: &Answer) -> Option<&str> {
        answer.sets.get(3)?.first()?.try_get(0).ok().flatten()
    }

    /// Adds what is known of connections, and what is to be said against it beyond that share.
    pub(super) fn tell(&self, share: f64, reply: &mut Reply) {
        reply.text("role", if self.is_replica { "replica" } else { "primary" });
        if let Some((used, available)) = self.connections {
            reply.number("connections_used", used);
            reply.number("connections_max", available);
            if used > share * available {
                reply.concern(in_use(used, available));
            }
        }
        if let Some(waiting) = self.waiting_on_locks {
            reply.number("connections_waiting_on_locks", waiting);
        }
    }
}

/// How many connections are in use, in words.
pub(super) fn in_use(used: f64, available: f64) -> String {
    format!("{used} of {available} connections are in use")
}

impl Receiver {
    fn read(row: &SimpleQueryRow) -> Self {
        Self {
            since_replay: positive(row, "since_replay"),
            lag_bytes: positive(row, "lag_bytes"),
            is_paused: truth(row, "is_paused"),
            is_streaming: text(row, "receiver") == Some("streaming"),
        }
    }
}

impl Sender {
    /// `None` where its state is hidden.
    fn read(row: &SimpleQueryRow) -> Option<Self> {
        let state = text(row, "state")?;
        let name = text(row, "name").unwrap_or_default();
        let address = text(row, "address").unwrap_or("a local socket");
        Some(Self {
            name: format!("{name} at {address}"),
            is_streaming: state == "streaming",
            lag_bytes: positive(row, "lag_bytes"),
        })
    }
}

/// Counts what all clients ask, between rounds.
#[derive(Debug, Default)]
pub(super) struct Load {
    /// The server's life and its counter in the last round.
    last: Option<(String, u64)>,
    /// Our own transactions since, which the server may not have counted yet: it gathers each session's for up to a second
    /// and more.
    own: u64,
}

impl Load {
    /// What others than we asked since the last round. `None` in the first one, and where the counter cannot be compared:
    /// another server, one that was started again, or statistics that were reset.
    pub(super) fn since(&mut self, statistics: &Statistics, own: u64) -> Option<u64> {
        let Some(transactions) = statistics.transactions else {
            self.last = None;
            return None;
        };
        let last = self.last.replace((statistics.started.clone(), transactions));
        let Some((_, before)) =
            last.filter(|(life, before)| *life == statistics.started && *before <= transactions)
        else {
            self.own = 0;
            return None;
        };
        let all = transactions - before;
        self.own += own;
        let ours = self.own.min(all);
        self.own -= ours;
        Some(all - ours)
    }
}

/// A column as text.
pub(super) fn text<'a>(row: &'a SimpleQueryRow, column: &str) -> Option<&'a str> {
    row.try_get(column).ok().flatten()
}

/// A column as a number.
pub(super) fn value<T: FromStr>(row: &SimpleQueryRow, column: &str) -> Option<T> {
    text(row, column)?.parse().ok()
}

/// Less than nothing is nothing: clocks differ, and what comes from an archive is replayed without being received.
fn positive(row: &SimpleQueryRow, column: &str) -> Option<f64> {
    value::<f64>(row, column).map(|value| value.max(0.0))
}

fn truth(row: &SimpleQueryRow, column: &str) -> bool {
    text(row, column) == Some("t")
}

/// Seconds for people: tenths below ten.
pub(super) fn seconds(seconds: f64) -> String {
    if seconds < 10.0 {
        return format!("{seconds:.1}s");
    }
    // What no clock can have counted is cut.
    humantime::format_duration(Duration::from_secs(seconds.min(1e9) as u64)).to_string()
}
