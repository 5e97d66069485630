//! Bulk in both directions: made and digested piece by piece, so that nobody on our side holds it either.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::body::{Body, Frame};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::{HOST, hex, json};

/// 1 GiB passes in this time on two busy cores, with digests on both sides; or it hangs.
const BULK_WAIT: Duration = Duration::from_secs(300);
/// The bytes of all apps: 0 to 255, over and over.
const BLOCK_BYTES: usize = 65_536;

pub(crate) fn block() -> Bytes {
    (0..BLOCK_BYTES).map(|i| i as u8).collect()
}

/// `size` bytes of blocks, the last one cut.
fn pieces(size: u64) -> impl Iterator<Item = Bytes> {
    let block = block();
    (0..size.div_ceil(BLOCK_BYTES as u64)).map(move |i| {
        let left = size - i * BLOCK_BYTES as u64;
        block.slice(..BLOCK_BYTES.min(usize::try_from(left).unwrap_or(usize::MAX)))
    })
}

fn digest(size: u64) -> String {
    let mut digest = Sha256::new();
    pieces(size).for_each(|piece| digest.update(&piece));
    hex(digest.finalize())
}

async fn connect<B>(address: SocketAddr) -> SendRequest<B>
where
    B: Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static,
{
    let stream = TcpStream::connect(address).await.expect("it listens");
    let (sender, connection) = handshake(TokioIo::new(stream)).await.expect("a fresh connection is good");
    tokio::spawn(connection);
    sender
}

/// Sends `size` bytes; the app says what it got.
pub(crate) async fn check_upload(address: SocketAddr, size: u64) {
    timeout(BULK_WAIT, upload(address, size)).await.expect("the upload ends in time");
}

async fn upload(address: SocketAddr, size: u64) {
    let body =
        StreamBody::new(stream::iter(pieces(size).map(|piece| Ok::<_, Infallible>(Frame::data(piece)))));
    let request = Request::builder().method(Method::POST).uri("/echo").header("host", HOST);
    let request = request.header("content-length", size).body(body).expect("the parts are constants");
    let response = connect(address).await.send_request(request).await.expect("an upload is answered");
    assert_eq!(response.status(), 200);
    let heard = json(&response.into_body().collect().await.expect("a whole answer").to_bytes());
    assert_eq!(
        (heard["bytes"].as_u64(), heard["sha256"].as_str()),
        (Some(size), Some(digest(size).as_str()))
    );
}

/// Fetches `size` bytes and digests them as they come.
pub(crate) async fn check_download(address: SocketAddr, size: u64) {
    timeout(BULK_WAIT, download(address, size)).await.expect("the download ends in time");
}

async fn download(address: SocketAddr, size: u64) {
    let request = Request::builder().uri(format!("/download?size={size}")).header("host", HOST);
    let request = request.body(Empty::<Bytes>::new()).expect("the parts are constants");
    let response = connect(address).await.send_request(request).await.expect("a download is answered");
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-length"], size.to_string().as_str());
    let (mut body, mut got, mut bytes) = (response.into_body(), Sha256::new(), 0);
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.expect("the download does not break off").into_data() {
            bytes += data.len() as u64;
            got.update(&data);
        }
    }
    assert_eq!((bytes, hex(got.finalize())), (size, digest(size)));
}
