//! A name that resolves, and to what.
//!
//! It is the system's resolver that is asked, with its files, its caches and its search list: what the app sees counts.

use std::net::IpAddr;

use crate::config::probes::{Dns as Ask, Server};
use crate::prober::dial::{ADDRESSES_MAX, Dialer, Stage};
use crate::prober::probe::{BoxFuture, Failure, Probe, Reply};

/// How many addresses are told; the others are counted.
const TOLD_MAX: usize = 8;

/// Asks for the addresses of a name. Its latency is the resolver's.
pub(super) struct Dns {
    /// The name, and a port of no meaning.
    server: Server,
    expect: Vec<IpAddr>,
    dialer: Dialer,
    stage: Stage,
}

impl Dns {
    pub(super) fn new(ask: Ask, dialer: Dialer) -> Self {
        let server = Server { host: ask.name, port: 0 };
        Self { server, expect: ask.expect, dialer, stage: Stage::default() }
    }

    async fn round(&mut self) -> Result<Reply, Failure> {
        let began = self.dialer.instant();
        let found = self.dialer.resolve(&self.server, &mut self.stage).await?;
        let latency = self.dialer.instant().duration_since(began);
        // A name may resolve to one address written in two ways.
        let mut found: Vec<IpAddr> = found.into_iter().map(|address| address.ip().to_canonical()).collect();
        found.sort_unstable();
        found.dedup();
        let missing: Vec<IpAddr> =
            self.expect.iter().filter(|address| !found.contains(&address.to_canonical())).copied().collect();
        if !missing.is_empty() {
            let beyond = if found.len() == ADDRESSES_MAX {
                format!(" among its first {ADDRESSES_MAX} addresses")
            } else {
                String::new()
            };
            return Err(Failure::Down(format!(
                "`{}` resolves to {}; {} is expected{beyond}",
                self.server.host,
                told(&found),
                told(&missing)
            )));
        }
        let mut reply = Reply { latency, ..Reply::default() };
        reply.phase("resolve", latency);
        reply.text("addresses", told(&found));
        Ok(reply)
    }
}

fn told(addresses: &[IpAddr]) -> String {
    let all: Vec<String> = addresses.iter().take(TOLD_MAX).map(ToString::to_string).collect();
    match addresses.len().saturating_sub(TOLD_MAX) {
        0 => all.join(", "),
        more => format!("{} and {more} more", all.join(", ")),
    }
}

impl Probe for Dns {
    fn ask(&mut self) -> BoxFuture<'_, Result<Reply, Failure>> {
        Box::pin(self.round())
    }

    fn stage(&self) -> &str {
        self.stage.as_str()
    }

    fn give_up(&mut self) {}
}
