//! Looking names up, again and again, never cached. It says what was found and knows nothing of who is there: names lead to
//! peers, they prove nothing.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::config;
use crate::peers::hub::Heard;

/// Addresses of one name; more are passed over.
const ADDRESSES_MAX: usize = 128;
/// A look-up that takes longer has failed.
const LOOK_UP: Duration = Duration::from_secs(5);

/// Something that leads to addresses.
struct Source {
    host: String,
    port: u16,
    /// The last look-up failed, which was told.
    has_failed: bool,
}

/// Looks up all that the configuration names until nobody listens.
pub(super) async fn run(config: config::Peers, hub: mpsc::Sender<Heard>) {
    let name = config.name.iter().map(|name| (name.clone(), config.port));
    let addresses = config.addresses.iter().map(|text| host_and_port(text, config.port));
    let source = |(host, port)| Source { host, port, has_failed: false };
    let mut sources: Vec<Source> = name.chain(addresses).map(source).collect();
    let mut tick = interval(config.refresh);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let looked = sources.iter().map(|source| look_up(&source.host, source.port));
        let looked = futures_util::future::join_all(looked).await;
        for (number, (source, looked)) in sources.iter_mut().zip(looked).enumerate() {
            tell(source, &looked);
            // What was found before stays while the name service is away.
            if let Ok(found) = looked
                && hub.send(Heard::Found(number, found)).await.is_err()
            {
                return;
            }
        }
        if hub.send(Heard::Refresh).await.is_err() {
            return;
        }
    }
}

fn tell(source: &mut Source, looked: &io::Result<Vec<SocketAddr>>) {
    match looked {
        Err(error) if !source.has_failed => {
            source.has_failed = true;
            tracing::warn!(
                name = source.host,
                error = error as &dyn std::error::Error,
                "a name of peers could not be looked up"
            );
        }
        Ok(_) if source.has_failed => {
            source.has_failed = false;
            tracing::info!(name = source.host, "a name of peers was looked up again");
        }
        Ok(_) | Err(_) => {}
    }
}

async fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let found = timeout(LOOK_UP, tokio::net::lookup_host((host, port))).await;
    let found = found.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    Ok(found.take(ADDRESSES_MAX).collect())
}

/// `host:port`, `[v6]:port`, or a host, whose port is then the one of this agent.
pub(super) fn host_and_port(text: &str, port: u16) -> (String, u16) {
    if let Ok(at) = text.parse::<SocketAddr>() {
        return (at.ip().to_string(), at.port());
    }
    match text.rsplit_once(':') {
        Some((host, own)) if !host.contains(':') => (host.to_owned(), own.parse().unwrap_or(port)),
        Some(_) | None => (text.trim_matches(['[', ']']).to_owned(), port),
    }
}
