//! The usual cases.

use crate::proxy::h1::{Added, Framing, Reply, Request, Toward, reply_head, request_head};

#[test]
fn a_usual_request_passes_with_its_lines_as_they_were() {
    let input = b"POST /a?b HTTP/1.1\r\nHost: a\r\nX-B:  c \r\nConnection: keep-alive\r\ncontent-length: 5\r\nAccept: */*\r\n\r\nhello";
    let request = Request::parse(input, &mut 0).unwrap().unwrap();
    assert_eq!(
        (request.framing, request.keep_alive, request.len),
        (Framing::Length(5), true, input.len() - 5)
    );
    let mut out = Vec::new();
    let added = Added { request_id: Some(b"7"), ..Added::default() };
    request_head(&request, &added, true, &mut out);
    let text = String::from_utf8(out).unwrap();
    assert_eq!(
        text,
        "POST /a?b HTTP/1.1\r\nHost: a\r\nX-B:  c \r\ncontent-length: 5\r\nAccept: */*\r\nX-Request-Id: 7\r\n\r\n"
    );
}

#[test]
fn a_usual_reply_passes_with_its_lines_as_they_were() {
    let input = b"HTTP/1.1 200 OK\r\nServer: x\r\ncontent-length: 5\r\nConnection: close\r\n\r\nhello";
    let reply = Reply::parse(input, false, &mut 0).unwrap().unwrap();
    assert_eq!((reply.framing, reply.keep_alive, reply.len), (Framing::Length(5), false, input.len() - 5));
    let mut out = Vec::new();
    let toward = Toward {
        framing: reply.framing,
        close: false,
        keep_alive_10: false,
        date: Some(b"now"),
        set_cookie: None,
    };
    reply_head(&reply, &toward, &mut out);
    let text = String::from_utf8(out).unwrap();
    assert_eq!(text, "HTTP/1.1 200 OK\r\nServer: x\r\ncontent-length: 5\r\nDate: now\r\n\r\n");
}
