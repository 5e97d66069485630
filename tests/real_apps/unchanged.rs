//! What an app's answers hold, they hold behind the agent, too: parts of files, codings, and answers without a body.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Method, Response};
use sha2::{Digest as _, Sha256};

use crate::agent::Agent;
use crate::client::{connect, hex, request, whole_answer};
use crate::kit::App;

/// What belongs to one hop, or to the moment.
const NOT_COMPARED: [&str; 4] = ["connection", "keep-alive", "transfer-encoding", "date"];

/// What is compared of an answer.
#[derive(Debug, PartialEq)]
struct Heard {
    status: u16,
    /// Sorted by name; lines of one name keep their order.
    fields: Vec<(String, String)>,
    sha256: String,
    bytes: usize,
}

impl Heard {
    fn of(answer: &Response<Bytes>) -> Self {
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let mut fields: Vec<_> = (answer.headers().iter())
            .map(|(name, value)| (name.to_string(), text(value)))
            .filter(|(name, _)| !NOT_COMPARED.contains(&name.as_str()))
            .collect();
        fields.sort_by(|a, b| a.0.cmp(&b.0));
        let (status, bytes) = (answer.status().as_u16(), answer.body().len());
        Self { status, fields, sha256: hex(Sha256::digest(answer.body())), bytes }
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

async fn ask(address: SocketAddr, method: &Method, target: &str, fields: &[(&'static str, &str)]) -> Heard {
    let mut asked = request(method.clone(), target, Bytes::new());
    for (name, value) in fields {
        asked.headers_mut().insert(*name, value.parse().expect("it is a field's value"));
    }
    let answer = whole_answer(&mut connect(address).await, asked).await;
    Heard::of(&answer.expect("an answer"))
}

/// Asks the same of the same process, with the agent between and without, and gives the answer that both agree on.
struct Both {
    direct: SocketAddr,
    proxied: SocketAddr,
}

impl Both {
    async fn agree(&self, method: Method, target: &str, fields: &[(&'static str, &str)]) -> Heard {
        let direct = ask(self.direct, &method, target, fields).await;
        let proxied = ask(self.proxied, &method, target, fields).await;
        assert_eq!(proxied, direct, "{method} {target} {fields:?}: through the agent, and without");
        direct
    }
}

/// Files as the framework's own static server gives them: whole, in part, not at all.
pub(crate) async fn files_are_the_same_with_and_without_the_agent(app: App) {
    const FILE: &str = "/files/asset.bin";
    let agent = Agent::start(app).await;
    let both = Both { direct: agent.app_address().await, proxied: agent.public };
    let whole = both.agree(Method::GET, FILE, &[]).await;
    assert_eq!((whole.status, whole.bytes), (200, 65_536));
    let (etag, modified) = (whole.field("etag").expect("a file has one"), whole.field("last-modified"));
    let part = both.agree(Method::GET, FILE, &[("range", "bytes=1000-1999")]).await;
    assert_eq!((part.status, part.field("content-range")), (206, Some("bytes 1000-1999/65536")));
    let end = both.agree(Method::GET, FILE, &[("range", "bytes=-1")]).await;
    assert_eq!((end.status, end.bytes), (206, 1));
    let beyond = both.agree(Method::GET, FILE, &[("range", "bytes=70000-")]).await;
    assert_eq!(beyond.status, 416);
    let same = both.agree(Method::GET, FILE, &[("range", "bytes=0-9"), ("if-range", etag)]).await;
    assert_eq!(same.bytes, 10);
    let known = both.agree(Method::GET, FILE, &[("if-none-match", etag)]).await;
    assert_eq!((known.status, known.bytes, known.field("etag")), (304, 0, Some(etag)));
    let since = modified.expect("a file has a date");
    assert_eq!(both.agree(Method::GET, FILE, &[("if-modified-since", since)]).await.status, 304);
    let head = both.agree(Method::HEAD, FILE, &[]).await;
    assert_eq!((head.status, head.bytes, head.field("content-length")), (200, 0, Some("65536")));
    assert_eq!(both.agree(Method::GET, "/files/none", &[]).await.status, 404);
}

/// The agent neither undoes a coding nor knows it, and two lines of one name stay two.
pub(crate) async fn codings_are_the_same_with_and_without_the_agent(app: App) {
    let agent = Agent::start(app).await;
    let both = Both { direct: agent.app_address().await, proxied: agent.public };
    for (target, coding) in [("/encoded/gzip", "gzip"), ("/encoded/x-squash", "x-squash")] {
        for accepted in ["gzip, br", "identity", "x-squash;q=1"] {
            let answer = both.agree(Method::GET, target, &[("accept-encoding", accepted)]).await;
            assert_eq!((answer.status, answer.field("content-encoding")), (200, Some(coding)));
            assert_eq!(answer.field("vary"), Some("Accept-Encoding"));
            assert_eq!(answer.fields.iter().filter(|(name, _)| name == "x-two").count(), 2);
        }
    }
}
