//! What is remembered of a Redis from one round to the next: how much it had done, which replicas followed it, since when a
//! link is down.

use std::time::{Duration, Instant};

use crate::config::probes::Server;
use crate::prober::probe::Reply;
use crate::prober::redis::report::{REPLICAS_MAX, Report};

/// A replica that has been gone for so long was taken away on purpose.
const GONE_MAX: Duration = Duration::from_secs(600);

/// What earlier rounds have seen.
#[derive(Default)]
pub(super) struct Memory {
    /// The start of the server that was seen last, and the commands it had carried out by then.
    counted: Option<(String, u64)>,
    /// Commands of our own since then.
    own: u64,
    /// Whose replicas these are.
    server: Option<Server>,
    /// Replicas by address, and when each was last listed. At most [`REPLICAS_MAX`]; further ones are not missed.
    replicas: Vec<(String, Instant)>,
    link_down_since: Option<Instant>,
}

impl Memory {
    /// Commands of ours that the server has carried out or will have by the next report.
    pub(super) fn asked(&mut self, commands: u64) {
        self.own = self.own.saturating_add(commands);
    }

    /// A round has gone without a report: what happened meanwhile cannot be told from what happens next.
    pub(super) fn missed(&mut self) {
        self.counted = None;
    }

    /// What all other clients had carried out since the last report; `None` where nothing is known to compare with.
    pub(super) fn load(&mut self, report: &Report) -> Option<u64> {
        let before = self.counted.take();
        // The command that brought the report is counted in the next one.
        let own = std::mem::replace(&mut self.own, 1).saturating_sub(1);
        let now = report.commands?;
        self.counted = Some((report.run_id.clone(), now));
        let (run_id, before) = before?;
        (run_id == report.run_id).then_some(())?;
        Some(now.checked_sub(before)?.saturating_sub(own))
    }

    /// For how long a replica's link was seen down.
    pub(super) fn link_down_for(&mut self, now: Instant, report: &Report) -> Duration {
        if report.is_linked != Some(false) {
            self.link_down_since = None;
            return Duration::ZERO;
        }
        now.saturating_duration_since(*self.link_down_since.get_or_insert(now))
    }

    /// Which replicas were there and are gone.
    pub(super) fn miss_replicas(
        &mut self,
        now: Instant,
        server: &Server,
        report: &Report,
        reply: &mut Reply,
    ) {
        if self.server.as_ref() != Some(server) || report.is_replica == Some(true) {
            self.replicas.clear();
            self.server = Some(server.clone());
        }
        self.replicas.retain(|(_, seen)| now.saturating_duration_since(*seen) < GONE_MAX);
        for address in &report.replicas {
            let has_room = self.replicas.len() < REPLICAS_MAX;
            match self.replicas.iter_mut().find(|(known, _)| known == address) {
                Some((_, seen)) => *seen = now,
                None if has_room => self.replicas.push((address.clone(), now)),
                None => {}
            }
        }
        for (address, seen) in self.replicas.iter().filter(|(address, _)| !report.replicas.contains(address))
        {
            let gone = now.saturating_duration_since(*seen).as_secs();
            reply.concern(format!("its replica {address} is gone since {gone} s"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    fn server(port: u16) -> Server {
        Server { host: "10.0.0.5".to_owned(), port }
    }

    #[test]
    fn load_is_what_others_asked() {
        let mut memory = Memory::default();
        let report = |run: &str, commands: u64| {
            Report::read(&format!("run_id:{run}\r\ntotal_commands_processed:{commands}\r\n"))
        };
        memory.asked(3);
        assert_eq!(memory.load(&report("a", 100)), None, "nothing to compare with");
        // The INFO before, a PING and this INFO, which is not counted yet.
        memory.asked(2);
        assert_eq!(memory.load(&report("a", 112)), Some(10));
        memory.asked(2);
        assert_eq!(memory.load(&report("a", 114)), Some(0));
        assert_eq!(memory.load(&report("b", 500)), None, "it was started again");
        assert_eq!(memory.load(&report("b", 400)), None, "its statistics were reset");
        memory.asked(2);
        memory.missed();
        assert_eq!(memory.load(&report("b", 900)), None, "a gap lies between");
        memory.asked(2);
        assert_eq!(memory.load(&report("b", 903)), Some(1));
    }

    #[test]
    fn a_replica_that_is_gone_is_missed_for_ten_minutes() {
        let mut memory = Memory::default();
        let start = Clock::start().instant();
        let mut at = |seconds: u64, port: u16, replicas: &str| {
            let mut reply = Reply::default();
            let report = Report::read(&format!("role:master\r\n{replicas}\r\n"));
            let now = start + Duration::from_secs(seconds);
            memory.miss_replicas(now, &server(port), &report, &mut reply);
            reply.concerns.join("; ")
        };
        let both = "slave0:ip=10.0.0.6,port=1\r\nslave1:ip=10.0.0.7,port=1";
        assert_eq!(at(0, 1, both), "");
        assert_eq!(at(5, 1, "slave0:ip=10.0.0.7,port=1"), "its replica 10.0.0.6:1 is gone since 5 s");
        assert_eq!(at(10, 1, both), "", "it came back");
        assert_eq!(at(609, 1, "slave0:ip=10.0.0.7,port=1"), "its replica 10.0.0.6:1 is gone since 599 s");
        assert_eq!(at(610, 1, "slave0:ip=10.0.0.7,port=1"), "");
        assert_eq!(at(615, 2, ""), "", "another server has replicas of its own");
    }
}
