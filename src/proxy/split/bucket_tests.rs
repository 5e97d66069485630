//! Cookies, addresses, and what a cache would make of them.

use proptest::prelude::{any, proptest};

use super::*;
use crate::proxy::split::tests::Client;

fn carried(value: &str) -> Option<u32> {
    Client::new().cookie(COOKIE, value).with_facts(|facts| Bucket::carried(facts).map(|bucket| bucket.0))
}

#[test]
fn a_cookie_has_one_spelling() {
    assert_eq!(["0", "7", "1048575"].map(carried), [Some(0), Some(7), Some(1_048_575)]);
    for wrong in
        ["", "00", "07", "+7", "-1", " 7", "7 ", "1048576", "99999999999999999999", "0x7", "7.0", "\"7\""]
    {
        assert_eq!(carried(wrong), None, "{wrong:?}");
    }
}

#[test]
fn the_line_has_what_keeps_it_from_scripts_and_other_paths() {
    let line = |scheme, age| set_cookie(Bucket(4711), scheme, Duration::from_millis(age));
    let plain = "outrigger_bucket=4711; Path=/; Max-Age=600; HttpOnly; SameSite=Lax";
    assert_eq!(line(Scheme::Http, 600_500), plain);
    assert_eq!(line(Scheme::Https, 600_000), format!("{plain}; Secure"));
    assert!(line(Scheme::Http, 10).contains("; Max-Age=1;"));
    let of = |line: &'static str| Scheme::of(Some(line.as_bytes()));
    assert_eq!(
        ["https", "HTTPS , http", "http,https", "", "httpsx"].map(of).map(|s| s == Scheme::Https),
        [true, true, false, false, false]
    );
    assert_eq!(Scheme::of(None), Scheme::Http);
}

fn may(status: u16, lines: &[&str]) -> bool {
    let fields = lines.iter().map(|line| {
        let (name, value) = line.split_once(": ").unwrap();
        (name.as_bytes(), value.as_bytes())
    });
    may_set_cookie(status, fields)
}

#[test]
fn a_reply_that_a_shared_cache_may_keep_gets_no_cookie() {
    for lines in [
        &["Cache-Control: public"][..],
        &["cache-control: max-age=60, PUBLIC"],
        &["Cache-Control: no-cache", "Cache-Control: s-maxage=1"],
        &["Cache-Control: private, s-maxage=0"],
        &["Cache-Control: max-age=31536000"],
        &["Cache-Control: max-age=\"60\""],
        &["Cache-Control: immutable"],
        &["Cache-Control: private=\"set-cookie\", max-age=60"],
        &["Expires: Wed, 21 Oct 2037 07:28:00 GMT"],
        &["CDN-Cache-Control: max-age=60", "Cache-Control: private"],
        &["Surrogate-Control: max-age=60"],
    ] {
        assert!(!may(200, lines), "{lines:?}");
    }
    for lines in [
        &[][..],
        &["Content-Type: text/html"],
        &["Cache-Control: private, max-age=60"],
        &["Cache-Control: no-store, max-age=60"],
        &["Cache-Control: no-cache"],
        &["Cache-Control: max-age=0, must-revalidate"],
        &["Cache-Control: no-cache", "Expires: Thu, 19 Nov 1981 08:52:00 GMT"],
        &["Expires: 0"],
        &["Expires: -1"],
        &["X-Public: public"],
    ] {
        assert!(may(200, lines) && may(404, lines) && may(500, lines), "{lines:?}");
        assert!(!may(304, lines) && !may(103, lines) && !may(101, lines), "{lines:?}");
    }
}

fn bucket(client: &Client) -> Bucket {
    client.with_facts(|facts| Bucket::of_client(1, facts))
}

#[test]
fn a_client_is_known_by_its_address_and_agent_however_the_edge_writes_it() {
    let agent = || Client::new().field("user-agent", "x").peer("10.0.0.1");
    let direct = bucket(&agent().peer("203.0.113.9"));
    for client in [
        agent().peer("::ffff:203.0.113.9"),
        agent().field("x-real-ip", "203.0.113.9"),
        agent().field("x-forwarded-for", "203.0.113.9, 100.64.0.2"),
        agent().field("x-forwarded-for", " 203.0.113.9:4711"),
        agent().field("x-real-ip", "").field("x-forwarded-for", "203.0.113.9"),
        agent().field("x-real-ip", "203.0.113.9").field("x-forwarded-for", "198.51.100.1"),
    ] {
        assert_eq!(bucket(&client), direct, "{client:?}");
    }
    let v6 = |address: &str| bucket(&agent().field("x-real-ip", address));
    assert_eq!(v6("2001:db8:1:2:aaaa::1"), v6("2001:db8:1:2:bbbb::2"));
    assert_eq!(v6("[2001:db8:1:2::9]:443"), v6("2001:db8:1:2:bbbb::2"));
    let others = [
        direct,
        bucket(&agent()),
        bucket(&agent().peer("203.0.113.8")),
        bucket(&agent().peer("203.0.113.9").field("user-agent", "y")),
        v6("2001:db8:1:2::"),
        v6("2001:db8:1:3::"),
        v6("unknown"),
        v6("_hidden"),
    ];
    let distinct: std::collections::BTreeSet<Bucket> = others.into_iter().collect();
    assert_eq!(distinct.len(), others.len());
}

proptest! {
    #[test]
    fn any_bytes_can_be_fields(line in proptest::collection::vec(any::<u8>(), 0..60)) {
        may_set_cookie(200, [(&b"cache-control"[..], &line[..]), (&line[..], &b"x"[..])]);
        Scheme::of(Some(&line));
    }
}
