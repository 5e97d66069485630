//! What a Redis tells about itself in answer to INFO: read into figures, and what they say against it.

use std::time::Duration;

use crate::config::probes::Redis as Ask;
use crate::prober::probe::Reply;

/// How many replicas of one server are listed and remembered; of further ones only the number is known.
pub(super) const REPLICAS_MAX: usize = 32;

/// One answer to INFO. What it does not hold is `None`, or zero where that says the same.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Report {
    /// Its version, with its name where it is not Redis itself.
    pub(super) version: Option<String>,
    /// Drawn anew at each start.
    pub(super) run_id: String,
    pub(super) is_replica: Option<bool>,
    memory_used: Option<u64>,
    /// Buffers towards replicas: used, but not held against the limit.
    memory_uncounted: u64,
    /// Zero: no limit.
    memory_max: u64,
    /// It refuses writes when its memory is full, rather than throw something away.
    never_evicts: bool,
    pub(super) clients: Option<u64>,
    pub(super) clients_max: Option<u64>,
    clients_blocked: Option<u64>,
    replicas_connected: Option<u64>,
    /// Those that it lists, by address.
    pub(super) replicas: Vec<String>,
    evicted: Option<u64>,
    rejected: Option<u64>,
    /// Commands since its start.
    pub(super) commands: Option<u64>,
    pub(super) is_loading: bool,
    loaded_percent: Option<f64>,
    loading_left: Option<u64>,
    save_failed: bool,
    /// A replica's link to its primary.
    pub(super) is_linked: Option<bool>,
    link_down: Option<u64>,
    /// Seconds since it heard from its primary.
    silence: Option<u64>,
    primary: (String, String),
}

impl Report {
    /// Reads `name:value` lines; those that are not known are left out, and so are values that are not what they should be.
    pub(super) fn read(text: &str) -> Self {
        let mut report = Self::default();
        for (name, value) in text.lines().filter_map(|line| line.split_once(':')) {
            report.enter(name, value);
        }
        report
    }

    fn enter(&mut self, name: &str, value: &str) {
        let number = || value.parse::<u64>().ok();
        match name {
            "redis_version" if self.version.is_none() => self.version = Some(value.to_owned()),
            "valkey_version" => self.version = Some(format!("valkey {value}")),
            "run_id" => value.clone_into(&mut self.run_id),
            "role" => self.is_replica = Some(value == "slave"),
            "used_memory" => self.memory_used = number(),
            "mem_not_counted_for_evict" => self.memory_uncounted = number().unwrap_or(0),
            "maxmemory" => self.memory_max = number().unwrap_or(0),
            "maxmemory_policy" => self.never_evicts = value == "noeviction",
            "connected_clients" => self.clients = number(),
            "maxclients" => self.clients_max = number(),
            "blocked_clients" => self.clients_blocked = number(),
            "connected_slaves" => self.replicas_connected = number(),
            "evicted_keys" => self.evicted = number(),
            "rejected_connections" => self.rejected = number(),
            "total_commands_processed" => self.commands = number(),
            "loading" => self.is_loading = value == "1",
            "loading_loaded_perc" => self.loaded_percent = value.parse().ok(),
            "loading_eta_seconds" => self.loading_left = number(),
            "rdb_last_bgsave_status" => self.save_failed = value == "err",
            "master_link_status" => self.is_linked = Some(value == "up"),
            "master_link_down_since_seconds" => self.link_down = number(),
            "master_last_io_seconds_ago" => self.silence = number(),
            "master_host" => value.clone_into(&mut self.primary.0),
            "master_port" => value.clone_into(&mut self.primary.1),
            _ => self.enter_replica(name, value),
        }
    }

    /// `slave0:ip=10.0.0.7,port=6379,state=online,…`
    fn enter_replica(&mut self, name: &str, value: &str) {
        let is_one = name.strip_prefix("slave").is_some_and(|n| n.parse::<u32>().is_ok());
        if !is_one || self.replicas.len() == REPLICAS_MAX {
            return;
        }
        let part = |key: &str| {
            let mut parts = value.split(',').filter_map(|part| part.split_once('='));
            parts.find(|(name, _)| *name == key).map(|(_, value)| value)
        };
        if let (Some(ip), Some(port)) = (part("ip"), part("port")) {
            self.replicas.push(format!("{ip}:{port}"));
        }
    }

    /// What can be told in numbers.
    pub(super) fn tell(&self, reply: &mut Reply) {
        if let Some(version) = &self.version {
            reply.text("server_version", version.clone());
        }
        if let Some(is_replica) = self.is_replica {
            reply.text("role", role(is_replica));
        }
        let replica = self.is_replica == Some(true);
        for (name, value) in [
            ("memory_used_bytes", self.memory_used),
            ("memory_max_bytes", (self.memory_max > 0).then_some(self.memory_max)),
            ("clients_connected", self.clients),
            ("clients_max", self.clients_max),
            ("clients_blocked", self.clients_blocked),
            ("replicas", self.replicas_connected),
            ("evicted_keys", self.evicted),
            ("rejected_connections", self.rejected),
            ("link_down_seconds", self.link_down.filter(|_| replica)),
            ("lag_seconds", self.silence.filter(|_| replica)),
        ] {
            if let Some(value) = value {
                reply.number(name, value as f64);
            }
        }
        if let Some(is_linked) = self.is_linked {
            reply.text("link", if is_linked { "up" } else { "down" });
        }
        reply.truth("loading", self.is_loading);
    }

    /// What is to be said against it, from these figures alone. A link that is down has been so for `down_for` as far as we saw.
    pub(super) fn concerns(&self, ask: &Ask, down_for: Duration, reply: &mut Reply) {
        if self.save_failed {
            reply.concern(
                "its last save to disk failed: unless told otherwise it refuses writes until one succeeds; its log says why",
            );
        }
        self.concern_memory(ask, reply);
        if self.is_replica != Some(true) {
            return;
        }
        let (host, port) = &self.primary;
        let down_for = down_for.max(Duration::from_secs(self.link_down.unwrap_or(0)));
        if self.is_linked == Some(false) && down_for > ask.lag_max {
            reply.concern(format!(
                "its link to the primary {host}:{port} is down since {} s: what it answers is getting old",
                down_for.as_secs()
            ));
        } else if let Some(silence) = self.silence.filter(|&s| Duration::from_secs(s) > ask.lag_max) {
            reply.concern(format!("it has heard nothing from its primary {host}:{port} for {silence} s"));
        }
    }

    fn concern_memory(&self, ask: &Ask, reply: &mut Reply) {
        let Some(used) = self.memory_used else { return };
        if self.memory_max == 0 {
            return;
        }
        let share = used.saturating_sub(self.memory_uncounted) as f64 / self.memory_max as f64;
        // One that throws keys away when it is full is full always: a cache as it should be.
        if share <= ask.memory_max || !self.never_evicts {
            return;
        }
        let then = if share >= 1.0 { ": it refuses writes" } else { ": when it is full it refuses writes" };
        reply.concern(format!(
            "it uses {:.0} % of its maxmemory ({} of {}){then}",
            share * 100.0,
            bytes(used),
            bytes(self.memory_max)
        ));
    }

    /// How far it has come with its data.
    pub(super) fn loading(&self) -> String {
        match (self.loaded_percent, self.loading_left) {
            (Some(percent), Some(left)) => {
                format!("is loading its data: {percent:.0} % done, about {left} s left")
            }
            _ => "is loading its data".to_owned(),
        }
    }
}

/// A role's name.
pub(super) const fn role(is_replica: bool) -> &'static str {
    if is_replica { "replica" } else { "primary" }
}

/// Bytes for people.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::probes::{Role, Tls, TlsMode};

    fn ask() -> Ask {
        Ask {
            servers: Vec::new(),
            sentinel: None,
            user: None,
            password: None,
            database: 0,
            tls: Tls { mode: TlsMode::Disable, ca_file: None },
            role: Role::Any,
            memory_max: 0.9,
            lag_max: Duration::from_secs(30),
        }
    }

    fn concerns(info: &str) -> String {
        let mut reply = Reply::default();
        Report::read(info).concerns(&ask(), Duration::ZERO, &mut reply);
        reply.concerns.join("; ")
    }

    #[test]
    fn memory_is_held_against_the_limit_without_the_buffers_of_replicas() {
        let memory = |used: u64, uncounted: u64, policy: &str| {
            concerns(&format!(
                "# Memory\r\nused_memory:{used}\r\nmaxmemory:1048576\r\nmaxmemory_policy:{policy}\r\n\
                 mem_not_counted_for_evict:{uncounted}\r\n"
            ))
        };
        assert_eq!(memory(900_000, 0, "noeviction"), "");
        assert_eq!(memory(1_006_633, 90_000, "noeviction"), "");
        assert_eq!(
            memory(1_006_633, 0, "noeviction"),
            "it uses 96 % of its maxmemory (983.0 KiB of 1.0 MiB): when it is full it refuses writes"
        );
        assert!(memory(1_050_000, 0, "noeviction").ends_with(": it refuses writes"));
        assert_eq!(memory(1_006_633, 0, "allkeys-lru"), "", "a cache that evicts is full as it should be");
        assert_eq!(concerns("used_memory:1006633\r\nmaxmemory:0\r\n"), "", "no limit, no share");
    }

    #[test]
    fn a_replica_may_be_without_its_primary_for_a_while() {
        let link = |status: &str, down: &str, silence: &str| {
            concerns(&format!(
                "role:slave\r\nmaster_host:10.0.0.5\r\nmaster_port:6379\r\nmaster_link_status:{status}\r\n\
                 master_last_io_seconds_ago:{silence}\r\nmaster_link_down_since_seconds:{down}\r\n"
            ))
        };
        assert_eq!(link("up", "", "9"), "");
        assert_eq!(link("down", "-1", "-1"), "", "as in its first five seconds");
        assert_eq!(link("down", "12", "-1"), "");
        assert_eq!(
            link("down", "31", "-1"),
            "its link to the primary 10.0.0.5:6379 is down since 31 s: what it answers is getting old"
        );
        assert_eq!(link("up", "", "31"), "it has heard nothing from its primary 10.0.0.5:6379 for 31 s");
    }

    #[test]
    fn only_lines_of_replicas_are_replicas() {
        let report = Report::read(
            "connected_slaves:2\r\nslave_read_only:1\r\nslave0:ip=127.0.0.1,port=21380,state=online,lag=0\r\n\
             slave1:ip=::1,port=21381,state=online\r\nslave2:nonsense\r\nslaves:ip=1,port=2\r\n",
        );
        assert_eq!(report.replicas, ["127.0.0.1:21380", "::1:21381"]);
    }

    #[test]
    fn a_failed_save_is_told() {
        assert!(concerns("rdb_last_bgsave_status:err\r\n").starts_with("its last save to disk failed"));
        assert_eq!(concerns("rdb_last_bgsave_status:ok\r\n"), "");
    }
}
