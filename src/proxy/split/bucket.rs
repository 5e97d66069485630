//! The number by which a client without a key of its own is known, and the cookie that carries it.
//!
//! The cookie says which bucket, never which release: a share that changes needs no new cookie, and a cookie that
//! outlives its rollout is a key like any other in the next one. Before a client has the cookie, its bucket comes from
//! its address and agent, and it is that one which the cookie then keeps: so the many requests of a first page go where
//! the later ones go.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::proxy::split::Facts;
use crate::proxy::split::share::point;

/// The cookie's name.
pub(in crate::proxy) const COOKIE: &str = "outrigger_bucket";

/// How many bits a bucket has. A million buckets split one percent to a hundredth of it, and are too few to name a person.
const BITS: u32 = 20;
const DIGITS_MAX: usize = 7;

/// Points of buckets, and those of addresses, have nothing to do with those of keys that look alike.
const BUCKETS: u64 = 0x9e37_79b9_7f4a_7c15;
const ADDRESSES: u64 = 0xd1b5_4a32_d192_ed03;

/// A number below 2^20 that stands for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::proxy) struct Bucket(u32);

impl Bucket {
    /// What the client's cookie says. One that is not a bucket in its one spelling is none.
    pub(super) fn carried(facts: &Facts<'_>) -> Option<Self> {
        Self::parse((facts.cookie)(COOKIE)?)
    }

    /// From the client's address and agent.
    pub(super) fn of_client(salt: u64, facts: &Facts<'_>) -> Self {
        let agent = point(salt ^ ADDRESSES, (facts.field)("user-agent").unwrap_or_default());
        let place = |bytes: &[u8]| point(agent, bytes);
        let point = match client_address(facts) {
            Address::Known(IpAddr::V4(address)) => place(&address.octets()),
            // The rest is the client's to change, and many do, each day.
            Address::Known(IpAddr::V6(address)) => place(&address.octets()[..8]),
            Address::Told(text) => place(text),
        };
        Self((point >> (u64::BITS - BITS)) as u32)
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let is_number = (1..=DIGITS_MAX).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
        let is_plain = text == b"0" || !text.starts_with(b"0");
        let number = std::str::from_utf8(text).ok().filter(|_| is_number && is_plain)?.parse().ok()?;
        (number < 1 << BITS).then_some(Self(number))
    }

    /// Where it stands in the rollout with this salt.
    pub(super) fn point(self, salt: u64) -> u64 {
        point(salt ^ BUCKETS, &self.0.to_le_bytes())
    }
}

enum Address<'a> {
    Known(IpAddr),
    /// Something else that an edge wrote.
    Told(&'a [u8]),
}

/// What the edge says, which sees the client; else the connection's other end. Forged, it moves nobody but the forger.
fn client_address<'a>(facts: &Facts<'a>) -> Address<'a> {
    let first = |line: &'a [u8]| line.split(|b| *b == b',').next().map(<[u8]>::trim_ascii);
    let told = ["x-real-ip", "x-forwarded-for"]
        .into_iter()
        .filter_map(|name| (facts.field)(name).and_then(first))
        .find(|told| !told.is_empty());
    let Some(told) = told else { return Address::Known(facts.peer.to_canonical()) };
    let text = std::str::from_utf8(told).unwrap_or_default();
    // Some edges add the port, which differs between the connections of one page.
    let known = text.parse().or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()));
    known.map_or(Address::Told(told), |address| Address::Known(address.to_canonical()))
}

/// How the client came, as far as the first hop told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum Scheme {
    /// In the clear: a `Secure` cookie would not be kept.
    Http,
    /// Encrypted.
    Https,
}

impl Scheme {
    /// From the first `X-Forwarded-Proto` line.
    pub(in crate::proxy) fn of(forwarded_proto: Option<&[u8]>) -> Self {
        let first = forwarded_proto.and_then(|line| line.split(|b| *b == b',').next()).unwrap_or_default();
        if first.trim_ascii().eq_ignore_ascii_case(b"https") { Self::Https } else { Self::Http }
    }
}

/// The value of a `Set-Cookie` line.
pub(in crate::proxy) fn set_cookie(bucket: Bucket, scheme: Scheme, max_age: Duration) -> String {
    // An age of nothing would take the cookie away.
    let seconds = max_age.as_secs().max(1);
    let mut line = format!("{COOKIE}={}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax", bucket.0);
    if scheme == Scheme::Https {
        line.push_str("; Secure");
    }
    line
}

/// Whether a reply may carry the cookie: not where a cache would keep it and give it to others, and not where the reply
/// has no fields of its own. `fields`: all of the app's, in any case.
///
/// A cache that is shared keeps a reply that says `public` or `s-maxage`, or that says how long it is fresh and does not
/// say `private` or `no-store` (RFC 9111, 3); some have fields of their own.
pub(in crate::proxy) fn may_set_cookie<'a>(
    status: u16,
    fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
) -> bool {
    // 304 renews what a cache has, with the fields of the reply; what comes before the reply proper is not kept at all.
    if status < 200 || status == 304 {
        return false;
    }
    let mut said = Said::default();
    for (name, value) in fields {
        said.hear(name, value);
    }
    !said.public && (said.private || !(said.fresh || said.expires && !said.controlled))
}

/// What a reply says to caches.
#[derive(Debug, Default)]
struct Said {
    controlled: bool,
    public: bool,
    private: bool,
    fresh: bool,
    expires: bool,
}

impl Said {
    fn hear(&mut self, name: &[u8], value: &[u8]) {
        const FOR_SHARED_CACHES: [&str; 3] =
            ["cdn-cache-control", "surrogate-control", "cloudflare-cdn-cache-control"];
        if name.eq_ignore_ascii_case(b"cache-control") {
            self.controlled = true;
            value.split(|b| *b == b',').for_each(|directive| self.heed(directive.trim_ascii()));
        } else if name.eq_ignore_ascii_case(b"expires") {
            // Anything but a date means the past (RFC 9111, 5.3); a date is taken for one to come.
            self.expires |= value.trim_ascii().len() > 2;
        } else if FOR_SHARED_CACHES.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes())) {
            self.public = true;
        }
    }

    fn heed(&mut self, directive: &[u8]) {
        let (name, value) = split_at_byte(directive, b'=');
        let is = |known: &str| name.trim_ascii().eq_ignore_ascii_case(known.as_bytes());
        if is("public") || is("s-maxage") || is("immutable") {
            self.public = true;
        } else if is("private") || is("no-store") {
            // With field names it is about these only.
            self.private |= value.is_none();
        } else if is("max-age") {
            let age = value.unwrap_or_default().trim_ascii();
            self.fresh |= !age.iter().all(|b| matches!(b, b'0' | b'"'));
        }
    }
}

fn split_at_byte(text: &[u8], byte: u8) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|b| *b == byte) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

#[cfg(test)]
#[path = "bucket_tests.rs"]
mod tests;
