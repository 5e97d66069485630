//! Where this agent can be dialled: the addresses of its own interfaces. It asks no name service: a replica that is not yet
//! healthy may not be listed there.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::peers::book::plain;
use crate::peers::wire::LISTENS_MAX;

/// All addresses of this machine at which a listener on `bound` is reached.
pub(super) fn all(bound: SocketAddr) -> Vec<SocketAddr> {
    let bound = plain(bound);
    if !bound.ip().is_unspecified() {
        return vec![bound];
    }
    let mut found = addresses();
    found.retain(|ip| bound.is_ipv6() || ip.is_ipv4());
    found.into_iter().map(|ip| SocketAddr::new(ip, bound.port())).collect()
}

/// Those of them that others are told: private ones, or where there are none, the others. At most [`LISTENS_MAX`].
pub(super) fn told(all: &[SocketAddr]) -> Vec<SocketAddr> {
    if let [only] = all {
        return vec![*only];
    }
    let away: Vec<SocketAddr> = all.iter().filter(|at| !at.ip().is_loopback()).copied().collect();
    let private: Vec<SocketAddr> = away.iter().filter(|at| is_private(at.ip())).copied().collect();
    let mut told = if private.is_empty() { away } else { private };
    told.truncate(LISTENS_MAX);
    told
}

fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || is_shared(ip),
        IpAddr::V6(ip) => ip.is_unique_local(),
    }
}

/// 100.64.0.0/10, which networks of platforms use among themselves.
fn is_shared(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    a == 100 && (64..128).contains(&b)
}

/// Without those of one link only, which mean nothing elsewhere.
fn addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    let mut found: Vec<IpAddr> = interfaces
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|at| IpAddr::V4(at.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|at| IpAddr::V6(at.ip())))
        })
        .filter(|ip| match ip {
            IpAddr::V4(ip) => !ip.is_link_local(),
            IpAddr::V6(ip) => !ip.is_unicast_link_local(),
        })
        .collect();
    found.sort();
    found.dedup();
    found
}
