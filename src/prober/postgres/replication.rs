//! How far replicas are behind, told truthfully; each of the usual figures lies in its own way:
//!
//! - `replay_lag` of `pg_stat_replication` is the last delay that was measured: with replay paused it stays at a few
//!   milliseconds while the replica falls behind by the hour. Bytes do not lie: the primary's position less the replica's.
//! - A replica that is gone has no row there at all, and so no lag. Hence replicas are remembered for a while.
//! - `now() - pg_last_xact_replay_timestamp()` on a replica grows although all is replayed, where nothing is written on the
//!   primary. So it counts only while something is left to be replayed, or while nothing can come in.
//! - Even then it says too much: after an idle hour, the first thing that is not replayed makes it an hour. So it is at most
//!   the time since the replica was last seen level with its primary.
//! - *Received less replayed* is nothing on a replica that receives nothing. So zero seconds are told only while it receives.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::prober::postgres::statistics::{Receiver, Sender, seconds};
use crate::prober::probe::Reply;

/// A replica that is gone for longer was taken away on purpose.
const FORGOTTEN: Duration = Duration::from_mins(10);
/// More replicas than that are not remembered.
const KNOWN_MAX: usize = 32;

/// What was seen in earlier rounds.
#[derive(Debug, Default)]
pub(super) struct Replication {
    /// The server that it was seen of: after a failover another one's replicas are not missed.
    server: String,
    /// On a primary: its replicas by name.
    known: BTreeMap<String, Known>,
    /// On a replica: when it was last level with its primary.
    level_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    /// So many replicas of the name were there.
    count: usize,
    /// Since when there are fewer.
    fewer_since: Option<Instant>,
}

impl Replication {
    /// What follows is told by that server. Another one's past is forgotten.
    pub(super) fn hear(&mut self, server: &str) {
        if self.server != server {
            *self = Self { server: server.to_owned(), ..Self::default() };
        }
    }

    /// Adds what a primary knows of its replicas.
    pub(super) fn tell_primary(&mut self, now: Instant, senders: &[Sender], reply: &mut Reply) {
        self.level_at = None;
        reply.number("replicas", senders.iter().filter(|sender| sender.is_streaming).count() as f64);
        if let Some(lag) = senders.iter().filter_map(|sender| sender.lag_bytes).reduce(f64::max) {
            reply.number("replica_lag_bytes", lag);
        }
        for sender in senders.iter().filter(|sender| sender.is_streaming) {
            if self.known.len() < KNOWN_MAX && !self.known.contains_key(&sender.name) {
                self.known.insert(sender.name.clone(), Known { count: 1, fewer_since: None });
            }
        }
        self.known.retain(|name, known| {
            let there = senders.iter().filter(|sender| sender.name == *name).count();
            if there >= known.count {
                *known = Known { count: there, fewer_since: None };
                return true;
            }
            let since = *known.fewer_since.get_or_insert(now);
            if now.duration_since(since) < FORGOTTEN {
                reply.concern(format!(
                    "a replica that was streaming ({name}) is gone since {}",
                    humantime::format_duration(Duration::from_secs(now.duration_since(since).as_secs()))
                ));
                return true;
            }
            *known = Known { count: there, fewer_since: None };
            there > 0
        });
    }

    /// Adds what a replica knows of itself.
    pub(super) fn tell_replica(
        &mut self,
        now: Instant,
        receiver: &Receiver,
        lag_max: Duration,
        reply: &mut Reply,
    ) {
        self.known.clear();
        let bytes = receiver.lag_bytes.unwrap_or_default();
        let is_level = bytes == 0.0 && receiver.is_streaming;
        if is_level {
            self.level_at = Some(now);
        }
        let since_level = self.level_at.map(|at| now.duration_since(at).as_secs_f64());
        let lag = match (receiver.since_replay, since_level) {
            _ if is_level => Some(0.0),
            (Some(replay), Some(level)) => Some(replay.min(level)),
            (replay, level) => replay.or(level),
        };
        reply.text("receiver", if receiver.is_streaming { "streaming" } else { "stopped" });
        if let Some(bytes) = receiver.lag_bytes {
            reply.number("lag_bytes", bytes);
        }
        if let Some(lag) = lag {
            reply.number("lag_seconds", lag);
        }
        if receiver.is_paused {
            reply.concern("replay is paused on the replica, until pg_wal_replay_resume() is called there");
        }
        if !receiver.is_streaming {
            reply.concern("the replica does not receive from its primary");
        }
        if let Some(lag) = lag.filter(|lag| *lag > lag_max.as_secs_f64()) {
            reply.concern(format!("the replica is {} ({}) behind its primary", seconds(lag), size(bytes)));
        }
    }
}

/// Bytes for people.
fn size(bytes: f64) -> String {
    match bytes {
        bytes if bytes < 1e3 => format!("{bytes} B"),
        bytes if bytes < 1e6 => format!("{:.1} kB", bytes / 1e3),
        bytes if bytes < 1e9 => format!("{:.1} MB", bytes / 1e6),
        bytes => format!("{:.1} GB", bytes / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::engine::health::FactValue;

    fn number(reply: &Reply, name: &str) -> f64 {
        match reply.facts.iter().find(|fact| fact.name == name).map(|fact| &fact.value) {
            Some(FactValue::Number(number)) => *number,
            other => panic!("{name}: {other:?}"),
        }
    }

    fn sender(name: &str) -> Sender {
        Sender { name: name.to_owned(), is_streaming: true, lag_bytes: Some(7.0) }
    }

    #[test]
    fn a_replica_that_is_gone_is_missed_for_ten_minutes() {
        let mut replication = Replication::default();
        let began = Clock::start().instant();
        let mut tell = |at: u64, senders: &[Sender]| {
            let mut reply = Reply::default();
            replication.tell_primary(began + Duration::from_secs(at), senders, &mut reply);
            reply.concerns
        };
        assert!(tell(0, &[sender("a"), sender("b"), sender("b")]).is_empty());
        assert_eq!(
            tell(5, &[sender("b"), sender("b")]),
            ["a replica that was streaming (a) is gone since 0s"]
        );
        assert_eq!(
            tell(45, &[sender("b")]),
            [
                "a replica that was streaming (a) is gone since 40s",
                "a replica that was streaming (b) is gone since 0s"
            ]
        );
        assert_eq!(tell(50, &[sender("a"), sender("b")]).len(), 1, "a came back");
        assert!(tell(645, &[sender("a"), sender("b")]).is_empty(), "one b is enough by now");
        assert_eq!(tell(650, &[sender("a")]).len(), 1);
    }

    #[test]
    fn after_a_failover_the_old_primarys_replicas_are_not_missed() {
        let mut replication = Replication::default();
        let now = Clock::start().instant();
        let mut tell = |server: &str, senders: &[Sender]| {
            let mut reply = Reply::default();
            replication.hear(server);
            replication.tell_primary(now, senders, &mut reply);
            reply.concerns.len()
        };
        assert_eq!(tell("one", &[sender("a")]), 0);
        assert_eq!(tell("one", &[]), 1);
        assert_eq!(tell("two", &[]), 0);
    }

    #[test]
    fn a_replica_is_never_further_behind_than_it_was_last_level() {
        let mut replication = Replication::default();
        let began = Clock::start().instant();
        let mut tell = |at: u64, bytes: f64, since_replay: f64, is_streaming: bool| {
            let receiver = Receiver {
                since_replay: Some(since_replay),
                lag_bytes: Some(bytes),
                is_paused: false,
                is_streaming,
            };
            let mut reply = Reply::default();
            let now = began + Duration::from_secs(at);
            replication.tell_replica(now, &receiver, Duration::from_secs(30), &mut reply);
            reply
        };
        assert_eq!(number(&tell(0, 100.0, 3600.0, true), "lag_seconds"), 3600.0, "never seen level");
        let idle = tell(5, 0.0, 3600.0, true);
        assert_eq!(number(&idle, "lag_seconds"), 0.0, "idle is not behind");
        assert!(idle.concerns.is_empty());
        assert_eq!(number(&tell(10, 100.0, 3605.0, true), "lag_seconds"), 5.0);
        assert_eq!(number(&tell(10, 100.0, 2.0, true), "lag_seconds"), 2.0);
        let stopped = tell(47, 0.0, 3700.0, false);
        assert_eq!(number(&stopped, "lag_seconds"), 42.0, "nothing to replay, and nothing comes in");
        assert_eq!(
            stopped.concerns,
            ["the replica does not receive from its primary", "the replica is 42s (0 B) behind its primary"]
        );
        assert!(tell(47, 6.4e6, 3700.0, true).concerns[0].ends_with("is 42s (6.4 MB) behind its primary"));
    }
}
