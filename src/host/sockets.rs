//! The sockets of the container's network, by `/proc/net/sockstat`.

use nix::unistd::{SysconfVar, sysconf};

use crate::engine::host::Sockets;
use crate::host::files::{Root, rest};

pub(super) fn read(root: &Root) -> Sockets {
    let text = |name| root.text(format!("/proc/net/{name}")).unwrap_or_default();
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|size| u64::try_from(size).ok());
    parse(&text("sockstat"), &text("sockstat6"), page)
}

/// Only those in use are told by the version of IP.
fn parse(four: &str, six: &str, page: Option<u64>) -> Sockets {
    let both = |four: Option<u64>, six: Option<u64>| match (four, six) {
        (None, None) => None,
        (four, six) => Some(four.unwrap_or(0).saturating_add(six.unwrap_or(0))),
    };
    let tcp = |what| of(four, "TCP", what);
    Sockets {
        tcp_in_use: both(tcp("inuse"), of(six, "TCP6", "inuse")),
        tcp_orphans: tcp("orphan"),
        tcp_time_wait: tcp("tw"),
        tcp_allocated: tcp("alloc"),
        tcp_memory: tcp("mem").zip(page).map(|(pages, size)| pages.saturating_mul(size)),
        udp_in_use: both(of(four, "UDP", "inuse"), of(six, "UDP6", "inuse")),
    }
}

/// A figure of a line such as `TCP: inuse 1 orphan 0`.
fn of(text: &str, protocol: &str, what: &str) -> Option<u64> {
    let mut fields = rest(text, protocol)?.split_ascii_whitespace();
    fields.find(|&field| field == what)?;
    fields.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOUR: &str =
        "sockets: used 14\nTCP: inuse 11 orphan 2 tw 3 alloc 14 mem 103\nUDP: inuse 5 mem 0\nRAW: inuse 0\n";

    #[test]
    fn sockets_of_both_versions_of_ip_are_added() {
        let found = parse(FOUR, "TCP6: inuse 4\nUDP6: inuse 1\n", Some(4096));
        let expected = Sockets {
            tcp_in_use: Some(15),
            tcp_orphans: Some(2),
            tcp_time_wait: Some(3),
            tcp_allocated: Some(14),
            tcp_memory: Some(103 * 4096),
            udp_in_use: Some(6),
        };
        assert_eq!(found, expected);
        assert_eq!(parse(FOUR, "", None).tcp_in_use, Some(11), "without IPv6");
    }

    #[test]
    fn nonsense_is_no_figure() {
        for text in ["", "TCP:\n", "TCP: inuse\n", "TCP: inuse many orphan\n", "TCP inuse", "\0\0"] {
            assert_eq!(parse(text, text, Some(4096)), Sockets::default(), "{text:?}");
        }
    }
}
