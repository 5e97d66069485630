//! Request lines, targets, hosts.

use super::{refused, request, sent};
use crate::proxy::h1::{BadRequest, TARGET_MAX};

#[test]
fn a_target_passes_byte_for_byte() {
    for target in [
        &b"//a//b/../c%2e%2f;x=1?a=b;c&%zz=%"[..],
        b"/?",
        b"/a?b?c=/d:e@f",
        b"/<>`{}|\\^[]\"?\"<>`",
        b"/caf\xe9?\xff\x80",
        "/käse?ü".as_bytes(),
    ] {
        let input = [b"GET ", target, b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
        let request = request(&input).unwrap();
        assert_eq!(request.target, target);
        let expected: String = input.iter().map(|&b| char::from(b)).collect();
        assert_eq!(sent(&input), expected);
    }
}

#[test]
fn every_byte_but_controls_blanks_and_the_hash_may_stand_in_a_target() {
    for byte in 0..=u8::MAX {
        for place in 1..20 {
            let mut target = [b'/'; 20];
            target[place] = byte;
            let input = [b"GET ", &target[..], b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
            let expected = match byte {
                b'\r' | b'\n' | b' ' => Some(BadRequest::Line),
                b'#' | 0..=0x1f | 0x7f => Some(BadRequest::Target),
                _ => None,
            };
            assert_eq!(refused(input), expected, "{byte:#x} at {place}");
        }
    }
}

#[test]
fn a_fragment_is_refused_not_dropped() {
    assert_eq!(refused("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"), Some(BadRequest::Target));
    assert_eq!(refused("GET /a?b#c HTTP/1.1\r\nHost: a\r\n\r\n"), Some(BadRequest::Target));
}

#[test]
fn the_authority_of_an_absolute_target_replaces_host_in_its_place() {
    for (target, line, host) in [
        ("http://user@real.example:81/a?b", "GET /a?b", "real.example:81"),
        ("HTTPS://real.example", "GET /", "real.example"),
        ("http://real.example?q=/x", "GET /?q=/x", "real.example"),
        ("http://real.example/a@b", "GET /a@b", "real.example"),
        ("ws://[::1]:80/", "GET /", "[::1]:80"),
    ] {
        let input = format!("GET {target} HTTP/1.1\r\nA: b\r\nhOST:\tfake.example \r\nC: d\r\n\r\n");
        let request = request(input.as_bytes()).unwrap();
        assert_eq!(request.host, Some(host.as_bytes()));
        let expected = format!("{line} HTTP/1.1\r\nA: b\r\nhOST: {host}\r\nC: d\r\n\r\n");
        assert_eq!(sent(&input), expected);
    }
}

#[test]
fn the_path_has_no_query() {
    for (target, path) in [
        ("/a?b", "/a"),
        ("/a", "/a"),
        ("/?", "/"),
        ("http://h?q", "/"),
        ("http://h", "/"),
        ("http://h/p?q", "/p"),
    ] {
        let input = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(request(input.as_bytes()).unwrap().path(), path.as_bytes(), "{target}");
    }
}

#[test]
fn an_asterisk_is_for_options_only() {
    let options = "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(sent(options), options);
    assert_eq!(sent("OPTIONS http://a HTTP/1.1\r\nHost: b\r\n\r\n"), options);
    assert_eq!(refused("GET * HTTP/1.1\r\nHost: a\r\n\r\n"), Some(BadRequest::Target));
    assert_eq!(refused("OPTIONS *a HTTP/1.1\r\nHost: a\r\n\r\n"), Some(BadRequest::Target));
}

#[test]
fn other_forms_of_target_are_refused() {
    for target in [
        "a:443",
        "a",
        "a/b",
        "?a",
        "http:/a",
        "http:a",
        "://a/",
        "1http://a/",
        "http://",
        "http:///a",
        "http://@/",
    ] {
        let input = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(refused(input), Some(BadRequest::Target), "{target}");
    }
    for authority in ["a:99999", "a,b", "a:b@c:d:e", "[::1", "%", "a b"] {
        let input = format!("GET http://{authority}/ HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(refused(&input).is_some(), authority != "%", "{authority}");
    }
}

#[test]
fn connect_is_refused_before_its_fields_are_there() {
    assert_eq!(refused("CONNECT x:443 HTTP/1.1\r\n"), Some(BadRequest::Connect));
    assert_eq!(sent("connect / HTTP/1.1\r\nHost: a\r\n\r\n"), "connect / HTTP/1.1\r\nHost: a\r\n\r\n");
}

#[test]
fn unknown_methods_pass() {
    for method in ["PURGE", "get", "M-SEARCH", "x!#$%&'*+-.^_`|~9"] {
        let input = format!("{method} /x HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(sent(&input), input);
        assert_eq!(request(input.as_bytes()).unwrap().method, method.as_bytes());
    }
}

#[test]
fn a_line_that_is_not_http_is_refused_as_soon_as_it_ends() {
    for line in [
        "GET /",
        "GET / ",
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "GET / http/1.1",
        "GET / HTTP/11",
        "GET / HTTP/1",
        "GET / HTTP/1.10",
        "GET / HTTQ/1.1",
        "GET / XHTTP/1.1",
        "GET",
        "G(T / HTTP/1.1",
        "SSH-2.0-OpenSSH_9.6",
        "\x16\x03\x01",
    ] {
        assert_eq!(refused(format!("{line}\r\n")), Some(BadRequest::Line), "{line:?}");
    }
}

#[test]
fn only_versions_one_and_one_point_one_are_known() {
    for version in ["1.2", "1.9", "2.0", "0.9", "3.0"] {
        let input = format!("GET / HTTP/{version}\r\nHost: a\r\n\r\n");
        assert_eq!(refused(input), Some(BadRequest::Version), "{version}");
    }
    assert_eq!(refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Some(BadRequest::Version));
}

#[test]
fn up_to_four_empty_lines_before_a_request_are_skipped() {
    for empty in 0..=4 {
        let input = format!("{}GET / HTTP/1.1\r\nHost: a\r\n\r\nnext", "\r\n".repeat(empty));
        assert_eq!(request(input.as_bytes()).unwrap().len, input.len() - 4);
        assert_eq!(sent(&input), "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let bare = format!("{}\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "\r\n".repeat(empty));
        assert_eq!(refused(bare), Some(BadRequest::Line));
    }
    let five = format!("{}GET / HTTP/1.1\r\nHost: a\r\n\r\n", "\r\n".repeat(5));
    assert_eq!(refused(five), Some(BadRequest::Line));
}

#[test]
fn exactly_one_good_host_is_needed() {
    let with = |lines: &str| refused(format!("GET / HTTP/1.1\r\n{lines}\r\n"));
    assert_eq!(with("Host: a\r\n"), None);
    for lines in [
        "",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nhost: b\r\n",
        "Host: a b/c\r\n",
        "Host: a:99999\r\n",
        "Host:\r\n",
        "Host: a, b\r\n",
    ] {
        assert_eq!(with(lines), Some(BadRequest::Host), "{lines:?}");
    }
    // The target's authority does not make up for it.
    assert_eq!(refused("GET http://a/ HTTP/1.1\r\n\r\n"), Some(BadRequest::Host));
    assert_eq!(refused("GET http://a/ HTTP/1.1\r\nHost: b/c\r\n\r\n"), Some(BadRequest::Host));
}

#[test]
fn a_host_is_a_name_or_an_address_with_a_port() {
    let with = |host: &str| refused(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    for good in [
        "a",
        "www.a-long-name.example:80",
        "127.0.0.1:65535",
        "[::1]",
        "[fe80::1]:80",
        "a_b",
        "a:",
        "a:080",
        "x%41~!$",
    ] {
        assert_eq!(with(good), None, "{good}");
    }
    for bad in [
        "a/b", "a:99999", "a:65536", "a:+1", "a:000080", "[::1", "[x]", "[::1]80", ":80", "a@b", "a,b",
        "a:1:2", "a\tb", "ä", "a\"", "[]",
    ] {
        assert_eq!(with(bad), Some(BadRequest::Host), "{bad}");
    }
}

#[test]
fn http_1_0_needs_no_host_and_then_goes_on_as_http_1_0() {
    assert_eq!(sent("GET / HTTP/1.0\r\nA: b\r\n\r\n"), "GET / HTTP/1.0\r\nA: b\r\n\r\n");
    assert_eq!(sent("GET / HTTP/1.0\r\nHost: a\r\n\r\n"), "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(sent("GET http://a/b HTTP/1.0\r\nC: d\r\n\r\n"), "GET /b HTTP/1.1\r\nHost: a\r\nC: d\r\n\r\n");
    assert_eq!(refused("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"), Some(BadRequest::Host));
    assert_eq!(refused("GET / HTTP/1.0\r\nHost: /\r\n\r\n"), Some(BadRequest::Host));
}

#[test]
fn a_target_that_is_too_long_is_told_from_a_head_that_is() {
    let fits = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(TARGET_MAX - 1));
    assert_eq!(refused(fits), None);
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(TARGET_MAX));
    assert_eq!(refused(long), Some(BadRequest::TargetTooLong));
    assert_eq!(refused(format!("GET /{}", "a".repeat(70_000))), Some(BadRequest::TargetTooLong));
}
