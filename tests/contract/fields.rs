//! Group B: fields, targets, hosts and methods, both ways.

use crate::app::{Play, Then};
use crate::case::{
    Case, Scene, See, Verdict, Want, passed, refused, refused_as, replied, replied_to, script,
};
use crate::judge::code_of;

use Then::Keeps;

pub(crate) const CASES: &[Case] = &[
    passed(
        "B01.1",
        "`Connection: X-A` takes X-A out",
        b"GET / HTTP/1.1|Host: a|Connection: X-A|X-A: 1|X-B: 2||",
        &[Want::Lacks(b"x-a"), Want::Has(b"x-b", b"2"), Want::Lacks(b"connection")],
    ),
    passed(
        "B01.2",
        "so do two Connection lines",
        b"GET / HTTP/1.1|Host: a|Connection: X-A|X-A: 1|Connection: keep-alive, x-b|X-B: 2||",
        &[Want::Lacks(b"x-a"), Want::Lacks(b"x-b")],
    ),
    passed(
        "B01.3",
        "no nomination takes out X-Forwarded-For, Host, Cookie, Authorization",
        b"GET / HTTP/1.1|Host: a|Connection: close, X-Forwarded-For, X-Real-IP, Host, Cookie, Authorization|\
          X-Forwarded-For: 9.9.9.9|X-Real-IP: 9.9.9.9|Cookie: c=1|Authorization: Basic eA==||",
        &[
            Want::Any(b"x-forwarded-for"),
            Want::Has(b"x-real-ip", b"9.9.9.9"),
            Want::Any(b"host"),
            Want::Has(b"cookie", b"c=1"),
            Want::Any(b"authorization"),
            Want::Ends,
        ],
    ),
    passed(
        "B01.4",
        "nor Content-Length",
        b"POST / HTTP/1.1|Host: a|Connection: Content-Length|Content-Length: 3||abc",
        &[Want::Body(b"abc")],
    ),
    passed(
        "B01.5",
        "nor Transfer-Encoding",
        b"POST / HTTP/1.1|Host: a|Connection: Transfer-Encoding|Transfer-Encoding: chunked||3|abc|0||",
        &[Want::Body(b"abc")],
    ),
    passed(
        "B01.6",
        "Keep-Alive, Proxy-Connection, TE, Upgrade stay on their hop",
        b"GET / HTTP/1.1|Host: a|Keep-Alive: timeout=5|Proxy-Connection: keep-alive|TE: gzip|Upgrade: x||",
        &[Want::Lacks(b"keep-alive"), Want::Lacks(b"proxy-connection"), Want::Lacks(b"te"), Want::Lacks(b"upgrade")],
    ),
    passed(
        "B01.7",
        "Proxy-Authorization passes",
        b"GET / HTTP/1.1|Host: a|Proxy-Authorization: Basic eA==||",
        &[Want::Has(b"proxy-authorization", b"Basic eA==")],
    ),
    replied(
        "B02.1",
        "what a reply's Connection names stays on its hop",
        b"HTTP/1.1 200 OK|Connection: X-A|X-A: 1|Keep-Alive: timeout=5|Content-Length: 2||ok",
        Keeps,
        &[See::Status(200), See::Lacks(b"x-a"), See::Lacks(b"keep-alive"), See::Next],
    ),
    replied(
        "B02.2",
        "a reply's `Connection: close` stays on its hop",
        b"HTTP/1.1 200 OK|Connection: close|Content-Length: 2||ok",
        Then::Closes,
        &[See::Status(200), See::Next, See::Fresh],
    ),
    replied(
        "B02.3",
        "a reply that nominates Set-Cookie and Content-Length",
        b"HTTP/1.1 200 OK|Connection: Set-Cookie, Content-Length|Set-Cookie: a=1|Content-Length: 2||ok",
        Keeps,
        &[See::Status(200), See::Has(b"set-cookie", b"a=1"), See::Body(b"ok"), See::Next],
    ),
    passed(
        "B03.1",
        "names keep their case, fields their order",
        b"GET / HTTP/1.1|Host: a|X-CamelCase: 1|x-lower: 2|X-UPPER: 3|ACCEPT: */*|User-Agent: u||",
        &[Want::Raw(b"X-CamelCase: 1|x-lower: 2|X-UPPER: 3|ACCEPT: */*|User-Agent: u|")],
    ),
    replied(
        "B03.2",
        "those of a reply, too",
        b"HTTP/1.1 200 OK|X-CamelCase: 1|x-lower: 2|X-UPPER: 3|ETag: \"e\"|Content-Length: 2||ok",
        Keeps,
        &[See::Status(200), See::Raw(b"X-CamelCase: 1|x-lower: 2|X-UPPER: 3|ETag: \"e\"|")],
    ),
    refused("B04.01", "no Host", b"GET / HTTP/1.1||"),
    refused("B04.02", "two Hosts", b"GET / HTTP/1.1|Host: a|Host: b||"),
    refused("B04.03", "two equal Hosts", b"GET / HTTP/1.1|Host: a|host: a||"),
    refused("B04.04", "Host `a b/c`", b"GET / HTTP/1.1|Host: a b/c||"),
    refused("B04.05", "Host with port 99999", b"GET / HTTP/1.1|Host: a:99999||"),
    refused("B04.06", "Host empty", b"GET / HTTP/1.1|Host:||"),
    refused("B04.07", "Host `a, b`", b"GET / HTTP/1.1|Host: a, b||"),
    refused("B04.08", "Host `u@a`", b"GET / HTTP/1.1|Host: u@a||"),
    refused("B04.09", "Host `a/b`", b"GET / HTTP/1.1|Host: a/b||"),
    refused("B04.10", "Host `a#b`", b"GET / HTTP/1.1|Host: a#b||"),
    refused("B04.11", "Host `a?b`", b"GET / HTTP/1.1|Host: a?b||"),
    refused("B04.12", "Host `a\\b`", b"GET / HTTP/1.1|Host: a\\b||"),
    refused("B04.13", "Host `[::1`", b"GET / HTTP/1.1|Host: [::1||"),
    refused("B04.14", "Host `a:80:80`", b"GET / HTTP/1.1|Host: a:80:80||"),
    refused("B04.15", "Host `a:+80`", b"GET / HTTP/1.1|Host: a:+80||"),
    refused("B04.16", "Host `:80`", b"GET / HTTP/1.1|Host: :80||"),
    refused("B04.17", "Host `http://a`", b"GET / HTTP/1.1|Host: http://a||"),
    passed("B04.18", "no Host in HTTP/1.0", b"GET / HTTP/1.0||", &[]),
    passed("B04.19", "Host `[::1]:80`", b"GET / HTTP/1.1|Host: [::1]:80||", &[Want::Has(b"host", b"[::1]:80")]),
    passed("B04.20", "Host `a_b.example:8080`", b"GET / HTTP/1.1|Host: a_b.example:8080||", &[
        Want::Has(b"host", b"a_b.example:8080"),
    ]),
    passed("B04.21", "Host `XN--A.Example`", b"GET / HTTP/1.1|Host: XN--A.Example||", &[
        Want::Has(b"host", b"XN--A.Example"),
    ]),
    passed(
        "B05.1",
        "nothing is decoded, folded or merged",
        b"GET //a//b/../c%2e%2f;x=1?a=b;c&%zz=% HTTP/1.1|Host: a||",
        &[Want::Line(b"GET //a//b/../c%2e%2f;x=1?a=b;c&%zz=% HTTP/1.1")],
    ),
    script("B05.2", "every visible ASCII byte but `#`", Play::Ok, every_byte),
    passed("B05.3", "UTF-8 in the path", b"GET /\xc3\xa9?\xe2\x82\xac HTTP/1.1|Host: a||", &[
        Want::Line(b"GET /\xc3\xa9?\xe2\x82\xac HTTP/1.1"),
    ]),
    passed("B05.4", "Latin-1 in the path", b"GET /\xe9?\xff HTTP/1.1|Host: a||", &[Want::Line(
        b"GET /\xe9?\xff HTTP/1.1",
    )]),
    passed("B05.5", "`//host/path`", b"GET //evil.example/x HTTP/1.1|Host: a||", &[
        Want::Line(b"GET //evil.example/x HTTP/1.1"),
        Want::Has(b"host", b"a"),
    ]),
    refused("B05.6", "NUL in the target", b"GET /\0 HTTP/1.1|Host: a||"),
    refused("B05.7", "byte 7F in the target", b"GET /\x7f HTTP/1.1|Host: a||"),
    refused("B05.8", "a space in the target", b"GET /a b HTTP/1.1|Host: a||"),
    refused("B05.9", "a bare CR in the target", b"GET /a\rX:y HTTP/1.1|Host: a||"),
    refused("B06.1", "`/a#b`", b"GET /a#b HTTP/1.1|Host: a||"),
    refused("B06.2", "`/a?b#c`", b"GET /a?b#c HTTP/1.1|Host: a||"),
    refused("B06.3", "`http://a/#b`", b"GET http://a/#b HTTP/1.1|Host: a||"),
    passed("B07.1", "`OPTIONS *`", b"OPTIONS * HTTP/1.1|Host: a||", &[Want::Line(b"OPTIONS * HTTP/1.1")]),
    passed("B07.2", "`PURGE`", b"PURGE /x HTTP/1.1|Host: a||", &[Want::Line(b"PURGE /x HTTP/1.1")]),
    passed("B07.3", "`get`", b"get / HTTP/1.1|Host: a||", &[Want::Line(b"get / HTTP/1.1")]),
    passed("B07.4", "`TRACE`", b"TRACE / HTTP/1.1|Host: a||", &[Want::Line(b"TRACE / HTTP/1.1")]),
    passed("B07.5", "`M-SEARCH!#$%&'*+-.^_`~`", b"M-SEARCH!#$%&'*+-.^_`~ / HTTP/1.1|Host: a||", &[Want::Line(
        b"M-SEARCH!#$%&'*+-.^_`~ / HTTP/1.1",
    )]),
    refused("B07.6", "`GET *`", b"GET * HTTP/1.1|Host: a||"),
    refused_as("B08.1", "`CONNECT x:443`", &[405], b"CONNECT x:443 HTTP/1.1|Host: x:443||"),
    refused_as("B08.2", "`CONNECT /x`", &[400, 405], b"CONNECT /x HTTP/1.1|Host: a||"),
    refused("B08.3", "`GET x:443`", b"GET x:443 HTTP/1.1|Host: a||"),
    refused("B08.4", "`GET a/b`", b"GET a/b HTTP/1.1|Host: a||"),
    refused("B08.5", "`GET ?a`", b"GET ?a HTTP/1.1|Host: a||"),
    passed("B08.6", "absolute-form: its host wins", b"GET http://b:81/x?y HTTP/1.1|Host: a||", &[
        Want::Line(b"GET /x?y HTTP/1.1"),
        Want::Has(b"host", b"b:81"),
        Want::Count(b"host", 1),
    ]),
    passed("B08.7", "absolute-form without a path", b"GET http://b HTTP/1.1|Host: b||", &[
        Want::Line(b"GET / HTTP/1.1"),
        Want::Has(b"host", b"b"),
    ]),
    passed("B08.8", "absolute-form with a query alone", b"GET http://b?x=1 HTTP/1.1|Host: b||", &[
        Want::Line(b"GET /?x=1 HTTP/1.1"),
    ]),
    passed("B08.9", "absolute-form, `HTTP://`", b"GET HTTP://b/x HTTP/1.1|Host: b||", &[
        Want::Line(b"GET /x HTTP/1.1"),
        Want::Has(b"host", b"b"),
    ]),
    refused("B08.10", "absolute-form with an empty host", b"GET http:///x HTTP/1.1|Host: a||"),
    refused("B08.11", "absolute-form with a bad port", b"GET http://b:99999/ HTTP/1.1|Host: b||"),
    script("B08.12", "absolute-form with a user: no user in Host", Play::Ok, user_info),
    replied(
        "B09.1",
        "Set-Cookie twice, Server, Date, odd values and reason pass",
        b"HTTP/1.1 299 Weird Reason|Set-Cookie: a=1|X-A: 1|Set-Cookie: b=2|X-A: 2|X-Empty:|X-Bytes: \x80\xff|\
          Server: mine|Date: Thu, 01 Jan 1970 00:00:00 GMT|Content-Length: 2||ok",
        Keeps,
        &[
            See::Status(299),
            See::Line(b"HTTP/1.1 299 Weird Reason"),
            See::Raw(b"Set-Cookie: a=1|X-A: 1|Set-Cookie: b=2|X-A: 2|"),
            See::Has(b"x-empty", b""),
            See::Has(b"x-bytes", b"\x80\xff"),
            See::Has(b"server", b"mine"),
            See::Has(b"date", b"Thu, 01 Jan 1970 00:00:00 GMT"),
        ],
    ),
    passed(
        "B09.2",
        "doubled, empty and high-byte fields of a request pass",
        b"GET / HTTP/1.1|Host: a|Cookie: a=1|X-A: 1|Cookie: b=2|X-A: 2|X-Empty:|X-Bytes: \x80\xff||",
        &[
            Want::Raw(b"Cookie: a=1|X-A: 1|Cookie: b=2|X-A: 2|"),
            Want::Has(b"x-empty", b""),
            Want::Has(b"x-bytes", b"\x80\xff"),
        ],
    ),
    passed("B10.1", "X-Forwarded-For is set where absent", b"GET / HTTP/1.1|Host: a||", &[
        Want::Has(b"x-forwarded-for", b"127.0.0.1"),
        Want::Count(b"x-forwarded-for", 1),
    ]),
    passed("B10.2", "and kept where present", b"GET / HTTP/1.1|Host: a|X-Forwarded-For: 1.2.3.4||", &[
        Want::Has(b"x-forwarded-for", b"1.2.3.4"),
        Want::Count(b"x-forwarded-for", 1),
    ]),
    passed("B10.3", "`X_Forwarded_For` does not pass", b"GET / HTTP/1.1|Host: a|X_Forwarded_For: evil||", &[
        Want::Lacks(b"x_forwarded_for"),
        Want::Has(b"x-forwarded-for", b"127.0.0.1"),
    ]),
    passed("B10.4", "`My_Field` passes", b"GET / HTTP/1.1|Host: a|My_Field: 1||", &[Want::Has(b"my_field", b"1")]),
    passed(
        "B10.5",
        "X-Forwarded-Proto, -Host and X-Request-Id are set where absent",
        b"GET / HTTP/1.1|Host: a:81||",
        &[
            Want::Has(b"x-forwarded-proto", b"http"),
            Want::Has(b"x-forwarded-host", b"a:81"),
            Want::Count(b"x-request-id", 1),
        ],
    )
    .own(),
    passed(
        "B10.6",
        "and kept where present",
        b"GET / HTTP/1.1|Host: a|X-Forwarded-Proto: https|X-Forwarded-Host: b|X-Request-Id: r||",
        &[
            Want::Has(b"x-forwarded-proto", b"https"),
            Want::Has(b"x-forwarded-host", b"b"),
            Want::Has(b"x-request-id", b"r"),
            Want::Count(b"x-request-id", 1),
        ],
    )
    .own(),
    passed(
        "B11.1",
        "Forwarded, traceparent, Via pass; none is added",
        b"GET / HTTP/1.1|Host: a|Forwarded: for=1.2.3.4|traceparent: 00-ab-cd-01|Via: 1.1 edge||",
        &[
            Want::Has(b"forwarded", b"for=1.2.3.4"),
            Want::Has(b"traceparent", b"00-ab-cd-01"),
            Want::Has(b"via", b"1.1 edge"),
            Want::Count(b"via", 1),
        ],
    ),
    passed("B11.2", "no Via is added", b"GET / HTTP/1.1|Host: a||", &[
        Want::Lacks(b"via"),
        Want::Lacks(b"forwarded"),
        Want::Lacks(b"traceparent"),
    ]),
    script("B12.1", "a field of 40 KB", Play::Ok, |s| sized(s, b"X: ", 40 << 10, b"||", &["200"])),
    script("B12.2", "a field of 500 KB", Play::Ok, |s| sized(s, b"X: ", 500 << 10, b"||", &["431"])),
    script("B12.3", "150 fields", Play::Ok, |s| many(s, 150, b"X-A: 1|", &["431"])),
    script("B12.4", "99 fields", Play::Ok, |s| many(s, 98, b"X-A: 1|", &["200"])),
    script("B12.5", "90 fields of 1 KB each", Play::Ok, |s| {
        many(s, 90, &[&b"X-A: "[..], &[b'x'; 1024], b"|"].concat(), &["431"])
    }),
    script("B12.6", "a target of 30 KB", Play::Ok, |s| target(s, 30 << 10, &["200"])),
    script("B12.7", "a target of 33 KB", Play::Ok, |s| target(s, 33 << 10, &["414"])),
    script("B12.8", "a target of 70 KB", Play::Ok, |s| target(s, 70 << 10, &["414", "431"])),
    script("B12.9", "a name of 70 KB", Play::Ok, |s| sized(s, b"X", 70 << 10, b": y||", &["431"])),
    replied_to(
        "B13.1",
        "an answer to HTTP/1.0 without keep-alive ends the connection",
        b"GET / HTTP/1.0|Host: a||",
        b"HTTP/1.1 200 OK|Content-Length: 2||ok",
        Keeps,
        &[See::Status(200), See::Body(b"ok"), See::Ends],
    ),
];

fn every_byte(scene: &mut Scene) -> Verdict {
    let all: Vec<u8> = (0x21..=0x7e_u8).filter(|b| !b"#|".contains(b)).collect();
    let mut lost = Vec::new();
    for byte in &all {
        let line = [&b"GET /p"[..], &[*byte], b"?q", &[*byte], b" HTTP/1.1"].concat();
        let reply = scene.client().ask(&[&line[..], b"|Host: a||"].concat());
        let came = scene.app.arrivals().last().is_some_and(|a| a.head.line == line);
        if !reply.is_some_and(|r| r.is_ok(b"ok")) || !came {
            lost.push(char::from(*byte));
        }
    }
    if lost.is_empty() {
        return Verdict::good("passed");
    }
    Verdict::bad(format!("all but {}", lost.iter().map(|c| format!("`{c}`")).collect::<Vec<_>>().join(" ")))
}

fn user_info(scene: &mut Scene) -> Verdict {
    let mut client = scene.client();
    let reply = client.ask(b"GET http://user:word@b/x HTTP/1.1|Host: b||");
    let word = code_of(reply.as_ref(), &client);
    match scene.app.arrivals().first() {
        Some(arrival) if arrival.head.has(b"host", b"b") => Verdict::of(word == "200", "passed"),
        Some(_) => Verdict::bad("host changed"),
        None => Verdict::of(word == "400", word),
    }
}

fn sized(scene: &mut Scene, before: &[u8], count: usize, after: &[u8], good: &[&str]) -> Verdict {
    let sent = [&b"GET / HTTP/1.1|Host: a|"[..], before, &vec![b'x'; count], after].concat();
    limit(scene, &sent, good)
}

fn many(scene: &mut Scene, count: usize, line: &[u8], good: &[&str]) -> Verdict {
    limit(scene, &[&b"GET / HTTP/1.1|Host: a|"[..], &line.repeat(count), b"|"].concat(), good)
}

fn target(scene: &mut Scene, count: usize, good: &[&str]) -> Verdict {
    limit(scene, &[&b"GET /"[..], &vec![b'x'; count], b" HTTP/1.1|Host: a||"].concat(), good)
}

fn limit(scene: &mut Scene, sent: &[u8], good: &[&str]) -> Verdict {
    let mut client = scene.client();
    let reply = client.ask(sent);
    let word = code_of(reply.as_ref(), &client);
    let whole = scene.app.arrivals().first().is_some_and(|a| a.head.raw.len() + 200 > sent.len());
    let word = match word.as_str() {
        "200" if whole => "passed".to_owned(),
        "200" => "changed".to_owned(),
        _ => word,
    };
    Verdict::of(good.iter().any(|code| word == code.replace("200", "passed")), word)
}
