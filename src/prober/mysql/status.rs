//! What a MySQL or MariaDB server tells about itself: read into figures, and what they say against it.

use crate::prober::mysql::wire::Rows;
use crate::prober::probe::Reply;

/// The counters of a round. The server fills a table of all its counters for this, which costs it about a millisecond.
pub(super) const STATUS: &str = "SHOW GLOBAL STATUS WHERE Variable_name IN \
    ('Threads_connected','Threads_running','Slow_queries','Uptime','Questions')";
/// What is asked once per connection.
pub(super) const SETTINGS: &str = "SELECT @@max_connections, @@global.read_only";

/// The answer to [`STATUS`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Status {
    pub(super) connected: Option<u64>,
    running: Option<u64>,
    slow: Option<u64>,
    uptime: Option<u64>,
    /// Queries of all clients since its start.
    questions: Option<u64>,
}

/// The answer to [`SETTINGS`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Settings {
    pub(super) connections_max: Option<u64>,
    is_read_only: Option<bool>,
}

/// A replica's state, as its server tells it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Replica {
    lag: Option<u64>,
    receives: Option<String>,
    applies: Option<String>,
}

impl Status {
    pub(super) fn read(answer: &Rows) -> Self {
        let mut status = Self::default();
        for row in &answer.rows {
            let [Some(name), Some(value)] = row.as_slice() else { continue };
            let value = value.parse().ok();
            match name.as_str() {
                "Threads_connected" => status.connected = value,
                "Threads_running" => status.running = value,
                "Slow_queries" => status.slow = value,
                "Uptime" => status.uptime = value,
                "Questions" => status.questions = value,
                _ => {}
            }
        }
        status
    }

    pub(super) fn tell(&self, settings: Settings, reply: &mut Reply) {
        for (name, value) in [
            ("connections_used", self.connected),
            ("connections_max", settings.connections_max),
            ("threads_running", self.running),
            ("slow_queries", self.slow),
            ("uptime_seconds", self.uptime),
        ] {
            if let Some(value) = value {
                reply.number(name, value as f64);
            }
        }
    }

    pub(super) fn concern(&self, settings: Settings, share_max: f64, reply: &mut Reply) {
        let (Some(used), Some(max)) = (self.connected, settings.connections_max.filter(|max| *max > 0))
        else {
            return;
        };
        let share = used as f64 / max as f64;
        if share > share_max {
            reply.concern(format!("{:.0} % of its connections are used ({used} of {max})", share * 100.0));
        }
    }

    /// What others asked since `before`, of which `own` queries were ours; `None` where the server was started again.
    pub(super) fn load_since(&self, before: &Self, own: u64) -> Option<u64> {
        if self.uptime? < before.uptime? {
            return None;
        }
        Some(self.questions?.checked_sub(before.questions?)?.saturating_sub(own))
    }
}

impl Settings {
    pub(super) fn read(answer: &Rows) -> Self {
        let Some([max, read_only]) = answer.rows.first().map(Vec::as_slice) else { return Self::default() };
        // MySQL 8.4 and MariaDB 12 have more than two ways to be read-only; all but the plain 0 are.
        let is_off = |value: &String| value == "0" || value.eq_ignore_ascii_case("off");
        Self {
            connections_max: max.as_ref().and_then(|max| max.parse().ok()),
            is_read_only: read_only.as_ref().map(|value| !is_off(value)),
        }
    }

    pub(super) fn tell(&self, reply: &mut Reply) {
        if let Some(is_read_only) = self.is_read_only {
            reply.truth("read_only", is_read_only);
        }
    }
}

impl Replica {
    /// `None` where it follows nobody. Older servers use older words.
    pub(super) fn read(answer: &Rows) -> Option<Self> {
        let row = answer.rows.first()?;
        let value = |names: [&str; 2]| {
            let at = answer.names.iter().position(|name| names.contains(&name.as_str()))?;
            row.get(at)?.clone()
        };
        Some(Self {
            lag: value(["Seconds_Behind_Source", "Seconds_Behind_Master"]).and_then(|lag| lag.parse().ok()),
            receives: value(["Replica_IO_Running", "Slave_IO_Running"]),
            applies: value(["Replica_SQL_Running", "Slave_SQL_Running"]),
        })
    }

    pub(super) fn tell(&self, reply: &mut Reply) {
        if let Some(lag) = self.lag {
            reply.number("lag_seconds", lag as f64);
        }
        for (running, what) in [
            (&self.receives, "receives nothing from its source"),
            (&self.applies, "applies nothing that it receives"),
        ] {
            if let Some(state) = running.as_ref().filter(|state| *state != "Yes") {
                reply.concern(format!("as a replica it {what}: its thread for that says `{state}`"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(questions: u64, uptime: u64) -> Status {
        Status { questions: Some(questions), uptime: Some(uptime), ..Status::default() }
    }

    #[test]
    fn load_is_what_others_asked() {
        assert_eq!(status(120, 15).load_since(&status(100, 10), 2), Some(18));
        assert_eq!(status(101, 15).load_since(&status(100, 10), 2), Some(0));
        assert_eq!(status(120, 3).load_since(&status(100, 10), 2), None, "it was started again");
        assert_eq!(status(20, 15).load_since(&status(100, 10), 2), None, "its counters were reset");
    }

    #[test]
    fn a_replica_that_stands_still_is_told_in_old_and_new_words() {
        for (words, lag) in [
            (["Slave_IO_Running", "Slave_SQL_Running"], "Seconds_Behind_Master"),
            (["Replica_IO_Running", "Replica_SQL_Running"], "Seconds_Behind_Source"),
        ] {
            let names = words.iter().chain([&lag]).map(ToString::to_string).collect();
            let row = vec![Some("Connecting".to_owned()), Some("Yes".to_owned()), Some("7".to_owned())];
            let mut reply = Reply::default();
            Replica::read(&Rows { names, rows: vec![row] }).expect("it follows").tell(&mut reply);
            assert_eq!(
                reply.concerns,
                ["as a replica it receives nothing from its source: its thread for that says `Connecting`"]
            );
            assert_eq!(reply.facts.len(), 1);
        }
        assert_eq!(Replica::read(&Rows::default()), None);
    }

    #[test]
    fn connections_beyond_their_share_are_told() {
        let concern = |used| {
            let mut reply = Reply::default();
            let settings = Settings { connections_max: Some(150), is_read_only: None };
            Status { connected: Some(used), ..Status::default() }.concern(settings, 0.9, &mut reply);
            reply.concerns.join("; ")
        };
        assert_eq!(concern(135), "");
        assert_eq!(concern(144), "96 % of its connections are used (144 of 150)");
    }
}
