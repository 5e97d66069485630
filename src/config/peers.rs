//! The options about the agents of other replicas: who they are looked for under, and what will hurt of it.

use std::time::Duration;

use crate::config::environment::Surroundings;
use crate::config::options::{Config, Listen, Peers, Service};
use crate::config::reader::Reader;
use crate::config::units;

/// Addresses that are always tried.
const ADDRESSES_MAX: usize = 64;
/// The longest name of a host that the name service has room for.
const NAME_MAX: usize = 253;

pub(super) fn read(
    reader: &mut Reader,
    surroundings: &Surroundings,
    service: &Service,
    listen: &Listen,
) -> Peers {
    let name_remedy = "give the name of a host, such as \"shop.internal\"";
    let remedy = "give a list of at most 64 hosts, with or without ports, such as [\"10.0.0.7:9901\", \"shop.internal\"]";
    Peers {
        keys: surroundings.peer_keys.clone(),
        name: reader.optional("peers.name", name_remedy, |value| {
            let host = units::peer(units::line(value, NAME_MAX)?)?;
            let has_port = host.contains(':') && host.parse::<std::net::Ipv6Addr>().is_err();
            if has_port { Err("is more than a host") } else { Ok(host) }
        }),
        addresses: reader.texts("peers.addresses", ADDRESSES_MAX, remedy, units::peer),
        port: listen.peers.port(),
        refresh: reader.duration("peers.refresh", Duration::from_secs(3), "500ms", "1m"),
        handover: reader.duration("peers.handover", Duration::from_secs(5), "0s", "30s"),
        call: Duration::ZERO,
        scope: format!("{}/{}", service.environment, service.name),
    }
}

/// What is allowed and will hurt.
pub(super) fn warnings(config: &Config, warn: &mut impl FnMut(bool, String)) {
    let (peers, replicas) = (&config.peers, config.policy.replicas);
    let is_on = !peers.keys.is_empty();
    warn(
        replicas > 1 && !is_on,
        format!(
            "service.replicas is {replicas}: without a vote among them the agent recommends, it does not act; set \
             OUTRIGGER_PEER_KEY to the same secret on all of them"
        ),
    );
    warn(
        is_on && peers.name.is_none() && peers.addresses.is_empty(),
        "OUTRIGGER_PEER_KEY is set but neither peers.name nor peers.addresses is: the agent meets only peers that dial it"
            .to_owned(),
    );
}
