//! Group A, first part: how long a request's body is said to be.

use crate::case::{Case, Want, passed, refused, refused_as};

const CODINGS: &[u16] = &[400, 501];

pub(crate) const CASES: &[Case] = &[
    refused(
        "A01.1",
        "Content-Length, then Transfer-Encoding",
        b"POST / HTTP/1.1|Host: a|Content-Length: 6|Transfer-Encoding: chunked||0||X",
    ),
    refused(
        "A01.2",
        "Transfer-Encoding, then Content-Length",
        b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked|Content-Length: 6||0||X",
    ),
    refused(
        "A01.3",
        "Content-Length: 0 and Transfer-Encoding",
        b"POST / HTTP/1.1|Host: a|Content-Length: 0|Transfer-Encoding: chunked||1|x|0||",
    ),
    refused_as(
        "A01.4",
        "Content-Length and an unknown Transfer-Encoding",
        CODINGS,
        b"POST / HTTP/1.1|Host: a|Content-Length: 2|Transfer-Encoding: cow||ab",
    ),
    refused(
        "A01.5",
        "the smuggled request of CL.TE is not read",
        b"POST / HTTP/1.1|Host: a|Content-Length: 44|Transfer-Encoding: chunked||0||GET /admin HTTP/1.1|Host: a||",
    ),
    refused(
        "A02.1",
        "Transfer-Encoding in HTTP/1.0",
        b"POST / HTTP/1.0|Host: a|Transfer-Encoding: chunked||3|abc|0||",
    ),
    refused(
        "A02.2",
        "the same with keep-alive",
        b"POST / HTTP/1.0|Host: a|Connection: keep-alive|Transfer-Encoding: chunked||3|abc|0||",
    ),
    refused(
        "A02.3",
        "Transfer-Encoding and Content-Length in HTTP/1.0",
        b"POST / HTTP/1.0|Host: a|Content-Length: 3|Transfer-Encoding: chunked||3|abc|0||",
    ),
    coding("A03.01", "`chunked, chunked`", b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked, chunked||0||"),
    coding("A03.02", "`,chunked`", b"POST / HTTP/1.1|Host: a|Transfer-Encoding: ,chunked||0||"),
    coding("A03.03", "`chunked,`", b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked,||0||"),
    coding("A03.04", "`identity`", b"POST / HTTP/1.1|Host: a|Transfer-Encoding: identity||"),
    coding("A03.05", "`chunked, identity`", b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked, identity||0||"),
    coding("A03.06", "VT before `chunked`", b"POST / HTTP/1.1|Host: a|Transfer-Encoding: \x0bchunked||0||"),
    coding("A03.07", "FF before `chunked`", b"POST / HTTP/1.1|Host: a|Transfer-Encoding: \x0cchunked||0||"),
    coding("A03.08", "VT after `chunked`", b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked\x0b||0||"),
    coding("A03.09", "byte A0 before `chunked`", b"POST / HTTP/1.1|Host: a|Transfer-Encoding: \xa0chunked||0||"),
    coding("A03.10", "NUL after `chunked`", b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked\0||0||"),
    coding("A03.11", "`xchunked`", b"POST / HTTP/1.1|Host: a|Transfer-Encoding: xchunked||0||"),
    coding("A03.12", "`chunked;q=1`", b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked;q=1||0||"),
    coding("A03.13", "`chunked` in quotes", b"POST / HTTP/1.1|Host: a|Transfer-Encoding: \"chunked\"||0||"),
    coding("A03.14", "`chunked gzip`", b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked gzip||0||"),
    coding("A03.15", "an empty one", b"POST / HTTP/1.1|Host: a|Transfer-Encoding:||0||"),
    coding("A03.16", "`gzip`", b"POST / HTTP/1.1|Host: a|Transfer-Encoding: gzip||0||"),
    coding(
        "A03.17",
        "lines `chunked` and `identity`",
        b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked|Transfer-Encoding: identity||0||",
    ),
    coding(
        "A03.18",
        "lines `cow` and `chunked`",
        b"POST / HTTP/1.1|Host: a|Transfer-Encoding: cow|Transfer-Encoding: chunked||0||",
    ),
    coding(
        "A03.19",
        "two lines `chunked`",
        b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked|transfer-encoding: chunked||0||",
    ),
    refused_as(
        "A03.20",
        "`gzip, chunked`",
        &[501],
        b"POST / HTTP/1.1|Host: a|Transfer-Encoding: gzip, chunked||0||",
    ),
    refused_as(
        "A03.21",
        "`deflate, gzip, chunked`",
        &[501],
        b"POST / HTTP/1.1|Host: a|Transfer-Encoding: deflate, gzip, chunked||0||",
    ),
    refused(
        "A03.22",
        "folded: line end, space, `chunked`",
        b"POST / HTTP/1.1|Host: a|Transfer-Encoding:| chunked||0||",
    ),
    refused(
        "A03.23",
        "`Transfer-Encoding : chunked`",
        b"POST / HTTP/1.1|Host: a|Transfer-Encoding : chunked||0||",
    ),
    refused(
        "A03.24",
        "`Transfer-Encoding : chunked` beside Content-Length",
        b"POST / HTTP/1.1|Host: a|Content-Length: 5|Transfer-Encoding : chunked||0||",
    ),
    refused(
        "A03.25",
        "tab before the colon",
        b"POST / HTTP/1.1|Host: a|Transfer-Encoding\t: chunked||0||",
    ),
    refused("A03.26", "NUL before the colon", b"POST / HTTP/1.1|Host: a|Transfer-Encoding\0: chunked||0||"),
    refused(
        "A03.27",
        "behind a bare CR",
        b"POST / HTTP/1.1|Host: a|X: y\rTransfer-Encoding: chunked||0||",
    ),
    refused("A03.28", "behind a bare LF", b"POST / HTTP/1.1|Host: a|X: y\nTransfer-Encoding: chunked||0||"),
    refused("A03.29", "name broken by a line's end", b"POST / HTTP/1.1|Host: a|Transfer-Encoding|: chunked||0||"),
    passed(
        "A03.30",
        "`chunKed`",
        b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunKed||3|abc|0||",
        &[Want::Chunked, Want::Body(b"abc"), Want::Lacks(b"content-length")],
    ),
    passed(
        "A03.31",
        "tabs and spaces around `chunked`",
        b"POST / HTTP/1.1|Host: a|Transfer-Encoding:\t chunked \t||3|abc|0||",
        &[Want::Chunked, Want::Has(b"transfer-encoding", b"chunked"), Want::Body(b"abc")],
    ),
    passed(
        "A03.32",
        "`Transfer_Encoding: chunked` does not pass",
        b"POST / HTTP/1.1|Host: a|Content-Length: 3|Transfer_Encoding: chunked||abc",
        &[Want::Lacks(b"transfer_encoding"), Want::Body(b"abc")],
    ),
    refused("A05.1", "equal ones twice", b"POST / HTTP/1.1|Host: a|Content-Length: 2|Content-Length: 2||ab"),
    refused("A05.2", "2 and 3", b"POST / HTTP/1.1|Host: a|Content-Length: 2|Content-Length: 3||abc"),
    refused("A05.3", "`2, 2`", b"POST / HTTP/1.1|Host: a|Content-Length: 2, 2||ab"),
    refused("A05.4", "`2, 3`", b"POST / HTTP/1.1|Host: a|Content-Length: 2, 3||abc"),
    refused("A05.5", "0 and 2 on a GET", b"GET / HTTP/1.1|Host: a|Content-Length: 0|content-length: 2||ab"),
    refused("A06.01", "`+2`", b"POST / HTTP/1.1|Host: a|Content-Length: +2||ab"),
    refused("A06.02", "`-2`", b"POST / HTTP/1.1|Host: a|Content-Length: -2||ab"),
    refused("A06.03", "empty", b"POST / HTTP/1.1|Host: a|Content-Length:||ab"),
    refused("A06.04", "`0x2`", b"POST / HTTP/1.1|Host: a|Content-Length: 0x2||ab"),
    refused("A06.05", "`2 3`", b"POST / HTTP/1.1|Host: a|Content-Length: 2 3||ab"),
    refused("A06.06", "23 digits", b"POST / HTTP/1.1|Host: a|Content-Length: 99999999999999999999999||ab"),
    refused(
        "A06.07",
        "2 to the 64th, and 2",
        b"POST / HTTP/1.1|Host: a|Content-Length: 18446744073709551618||ab",
    ),
    refused("A06.08", "`2.0`", b"POST / HTTP/1.1|Host: a|Content-Length: 2.0||ab"),
    refused("A06.09", "`2e0`", b"POST / HTTP/1.1|Host: a|Content-Length: 2e0||ab"),
    refused("A06.10", "`2;`", b"POST / HTTP/1.1|Host: a|Content-Length: 2;||ab"),
    refused("A06.11", "`2,`", b"POST / HTTP/1.1|Host: a|Content-Length: 2,||ab"),
    refused("A06.12", "in quotes", b"POST / HTTP/1.1|Host: a|Content-Length: \"2\"||ab"),
    refused("A06.13", "VT before it", b"POST / HTTP/1.1|Host: a|Content-Length: \x0b2||ab"),
    refused("A06.14", "NUL after it", b"POST / HTTP/1.1|Host: a|Content-Length: 2\0||ab"),
    refused("A06.15", "folded: line end, space, 5", b"POST / HTTP/1.1|Host: a|Content-Length:| 5||hello"),
    refused("A06.16", "`Content-Length : 2`", b"POST / HTTP/1.1|Host: a|Content-Length : 2||ab"),
    refused("A06.17", "`Content Length: 2`", b"POST / HTTP/1.1|Host: a|Content Length: 2||ab"),
    refused("A06.18", "bare CR after the value", b"POST / HTTP/1.1|Host: a|Content-Length: 2\rX: y||ab"),
    refused("A06.19", "bare LF before the value", b"POST / HTTP/1.1|Host: a|Content-Length: \n 5||hello"),
    refused("A06.20", "`1_0`", b"POST / HTTP/1.1|Host: a|Content-Length: 1_0||0123456789"),
    refused("A06.21", "a full-width digit", b"POST / HTTP/1.1|Host: a|Content-Length: \xef\xbc\x92||ab"),
    passed(
        "A06.22",
        "tabs and spaces around it",
        b"POST / HTTP/1.1|Host: a|Content-Length: \t2 \t||ab",
        &[Want::Has(b"content-length", b"2"), Want::Body(b"ab"), Want::Count(b"content-length", 1)],
    ),
    passed(
        "A06.23",
        "`Content_Length: 7` does not pass",
        b"POST / HTTP/1.1|Host: a|Content_Length: 7|Content-Length: 2||ab",
        &[Want::Lacks(b"content_length"), Want::Body(b"ab"), Want::Arrivals(1)],
    ),
    refused(
        "A06.24",
        "a request behind a length above 64 bits",
        b"GET / HTTP/1.1|Host: a|Content-Length: 9223372036854775807999||GET /evil HTTP/1.1|Host: a||",
    ),
];

const fn coding(id: &'static str, name: &'static str, sent: &'static [u8]) -> Case {
    refused_as(id, name, CODINGS, sent)
}
