//! A plain HTTP/1.1 client for the tests: one request, a fixed count of them over kept connections, or as many as are
//! answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::process::WAIT;

/// Loopback by its own name: the admin port refuses the names of other sites, lest their pages reach it.
pub(crate) const HOST: &str = "127.0.0.1";
/// A connection in a drain ends long before this many requests.
const REQUESTS_UNTIL_REFUSED_MAX: usize = 1_000_000;

#[derive(Clone, Copy)]
pub(crate) struct Client(SocketAddr);

impl Client {
    pub(crate) fn of(address: SocketAddr) -> Self {
        Self(address)
    }

    /// One request on a connection of its own. The status and the whole body.
    pub(crate) fn get(self, target: &str) -> impl Future<Output = (u16, Bytes)> + use<> {
        let target = target.to_owned();
        async move {
            let mut sender = connect(self.0).await;
            answer(&mut sender, request(Method::GET, &target, Bytes::new())).await.expect("an answer")
        }
    }

    /// One POST without a body on a connection of its own. The status and the whole answer.
    pub(crate) fn post(self, target: &str) -> impl Future<Output = (u16, Bytes)> + use<> {
        let target = target.to_owned();
        async move {
            let mut sender = connect(self.0).await;
            answer(&mut sender, request(Method::POST, &target, Bytes::new())).await.expect("an answer")
        }
    }

    /// So many connections that stay open, each with one request behind it.
    pub(crate) async fn keep(self, connections: usize) -> Kept {
        let mut kept = Vec::new();
        for _ in 0..connections {
            let mut sender = connect(self.0).await;
            let answered = answer(&mut sender, request(Method::GET, "/hello", Bytes::new())).await;
            assert_eq!(answered.expect("an answer").0, 200);
            kept.push(sender);
        }
        Kept(kept)
    }

    /// `total` requests over `connections` kept connections, every other one a POST. How many were answered rightly;
    /// anything else panics.
    pub(crate) async fn load(self, total: usize, connections: usize) -> usize {
        let mut running = JoinSet::new();
        for i in 0..connections {
            let share = total / connections + usize::from(i < total % connections);
            running.spawn(async move {
                let mut sender = connect(self.0).await;
                for n in 0..share {
                    ask_and_check(&mut sender, n).await;
                }
                share
            });
        }
        running.join_all().await.into_iter().sum()
    }

    /// Asks on one connection until it is closed or the app no longer answers. An answer that begins must end.
    pub(crate) async fn until_refused(self, answered: Arc<AtomicUsize>) {
        let mut sender = connect(self.0).await;
        for _ in 0..REQUESTS_UNTIL_REFUSED_MAX {
            if sender.ready().await.is_err() {
                return;
            }
            let asked = request(Method::GET, "/hello", Bytes::new());
            let Ok(response) = sender.send_request(asked).await else { return };
            let status = response.status();
            response.into_body().collect().await.expect("an answer that begins also ends");
            assert_eq!(status, 200, "what is asked on an open connection reaches the app");
            answered.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Asks on connections that are new each time, until none is accepted any more.
    pub(crate) async fn anew_until_refused(self, answered: Arc<AtomicUsize>) {
        for _ in 0..REQUESTS_UNTIL_REFUSED_MAX {
            let Ok(stream) = TcpStream::connect(self.0).await else { return };
            let (mut sender, connection) =
                handshake(TokioIo::new(stream)).await.expect("a fresh connection is good");
            tokio::spawn(connection);
            // One that the kernel took in the moment in which the port was closed was accepted by nobody.
            let asked = answer(&mut sender, request(Method::GET, "/hello", Bytes::new()));
            let Ok((status, _)) = asked.await else { return };
            assert_eq!(status, 200, "what is asked on an accepted connection reaches the app");
            answered.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Connections on which nothing is asked right now.
pub(crate) struct Kept(Vec<SendRequest<Full<Bytes>>>);

impl Kept {
    /// One POST on each, all at the same time.
    pub(crate) async fn post_all(&mut self, target: &str) {
        let posts = self.0.iter_mut().map(|sender| {
            let asked = request(Method::POST, target, Bytes::from_static(b"once"));
            async move { answer(sender, asked).await.expect("a POST is answered").0 }
        });
        let statuses = futures_util::future::join_all(posts).await;
        assert!(statuses.iter().all(|&status| status == 200), "{statuses:?}");
    }
}

pub(crate) async fn connect(address: SocketAddr) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(address).await.expect("it listens");
    let (sender, connection) = handshake(TokioIo::new(stream)).await.expect("a fresh connection is good");
    tokio::spawn(connection);
    sender
}

pub(crate) fn request(method: Method, target: &str, body: Bytes) -> Request<Full<Bytes>> {
    let head = Request::builder().method(method).uri(target).header("host", HOST);
    head.body(Full::new(body)).expect("the parts are constants")
}

async fn answer(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> hyper::Result<(u16, Bytes)> {
    let (head, body) = whole_answer(sender, request).await?.into_parts();
    Ok((head.status.as_u16(), body))
}

/// The answer with its fields and its whole body.
pub(crate) async fn whole_answer(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> hyper::Result<Response<Bytes>> {
    let answer = async {
        sender.ready().await?;
        let response: Response<Incoming> = sender.send_request(request).await?;
        let (head, body) = response.into_parts();
        Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    };
    timeout(WAIT, answer).await.expect("an answer in time")
}

async fn ask_and_check(sender: &mut SendRequest<Full<Bytes>>, n: usize) {
    if n.is_multiple_of(2) {
        let asked = request(Method::GET, &format!("/hello?n={n}"), Bytes::new());
        let (status, body) = answer(sender, asked).await.expect("a GET is answered");
        assert_eq!((status, &json(&body)["n"]), (200, &Value::from(n)));
    } else {
        let sent = Bytes::from(vec![n as u8; n]);
        let (status, body) =
            answer(sender, request(Method::POST, "/echo", sent.clone())).await.expect("a POST is answered");
        let heard = json(&body);
        assert_eq!(
            (status, &heard["bytes"], &heard["sha256"]),
            (200, &Value::from(n), &hex(Sha256::digest(&sent)).into())
        );
    }
}

pub(crate) fn json(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_else(|e| panic!("{e} in {}", String::from_utf8_lossy(body)))
}

pub(crate) fn hex(digest: impl AsRef<[u8]>) -> String {
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
