//! What the codec promises, rule by rule.

mod chunks;
mod fields;
mod framing;
mod heads;
mod properties;
mod replies;
mod targets;

use crate::proxy::h1::{
    Added, BadReply, BadRequest, Framing, Reply, Request, Toward, interim_head, reply_head, request_head,
};

/// The whole head at once.
fn request(input: &[u8]) -> Result<Request<'_>, BadRequest> {
    Request::parse(input, &mut 0).map(|request| request.expect("the head is whole"))
}

/// Why it is refused.
fn refused(input: impl AsRef<[u8]>) -> Option<BadRequest> {
    request(input.as_ref()).err()
}

/// A GET with these lines besides its `Host`.
fn get(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
}

/// What the app gets, with nothing added and upgrades passed on.
fn sent(input: impl AsRef<[u8]>) -> String {
    sent_with(input, &Added::default())
}

fn sent_with(input: impl AsRef<[u8]>, added: &Added<'_>) -> String {
    let request = request(input.as_ref()).unwrap();
    let mut out = b"kept".to_vec();
    request_head(&request, added, true, &mut out);
    text(&out)
}

fn reply(input: &[u8]) -> Result<Reply<'_>, BadReply> {
    Reply::parse(input, false, &mut 0).map(|reply| reply.expect("the head is whole"))
}

fn reply_refused(input: impl AsRef<[u8]>) -> Option<BadReply> {
    reply(input.as_ref()).err()
}

/// To a client that takes what the app sends.
const PLAIN: Toward<'_> =
    Toward { framing: Framing::None, close: false, keep_alive_10: false, date: None, set_cookie: None };

/// What the client gets.
fn passed(reply: &Reply<'_>, toward: &Toward<'_>) -> String {
    let mut out = b"kept".to_vec();
    reply_head(reply, toward, &mut out);
    text(&out)
}

/// What the client gets, framed as the app framed it.
fn passed_on(input: impl AsRef<[u8]>) -> String {
    let reply = reply(input.as_ref()).unwrap();
    passed(&reply, &Toward { framing: reply.framing, ..PLAIN })
}

fn interim(input: &[u8]) -> String {
    let mut out = b"kept".to_vec();
    interim_head(&reply(input).unwrap(), &mut out);
    text(&out)
}

/// What was appended, a byte a character.
fn text(out: &[u8]) -> String {
    out.strip_prefix(b"kept").expect("what was there stays").iter().map(|&b| char::from(b)).collect()
}
