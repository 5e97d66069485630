//! Events and websockets, in the pieces in which they were sent.

use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::Method;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::client::{Client, connect, json, request};
use crate::process::{WAIT, eventually};

/// What `/sse` of the apps sends.
const EVENTS: &str = "id: 0\ndata: event 0\n\nid: 1\ndata: event 1\n\nid: 2\ndata: event 2\n\nid: 3\ndata: event 3\n\n\
                      id: 4\ndata: event 4\n\n";
/// How many events `/steps` of the apps sends.
const STEPS: usize = 5;
/// A close code that stands for nothing but itself, and the reason that the apps give with it.
const OWN_CODE: u16 = 4_002;
const REASON: &str = "as you wish";

async fn stream_of(address: SocketAddr, target: &str) -> Incoming {
    let mut sender = connect(address).await;
    let asked = sender.send_request(request(Method::GET, target, Bytes::new()));
    let response = timeout(WAIT, asked).await.expect("an answer in time").expect("a stream of events");
    assert_eq!(response.status(), 200);
    let kind = response.headers()["content-type"].to_str().expect("it is text");
    assert!(kind.starts_with("text/event-stream"), "{kind}");
    response.into_body()
}

/// Events come as they were sent, and one by one: were they held back, the first would come with the last.
pub(crate) async fn check_events(address: SocketAddr) {
    let mut body = stream_of(address, "/sse").await;
    let mut heard: Vec<Bytes> = Vec::new();
    while let Some(frame) = timeout(WAIT, body.frame()).await.expect("an event in time") {
        heard.extend(frame.expect("the stream ends in order").into_data());
    }
    assert_eq!(heard.concat(), EVENTS.as_bytes());
    assert!(heard.len() >= 3, "the events came in {} pieces: they were held back", heard.len());
}

/// The app sends an event only when the one before has arrived here. No clock is asked: what is held back hangs.
pub(crate) async fn check_steps(address: SocketAddr) {
    let mut body = stream_of(address, "/steps").await;
    for n in 0..STEPS {
        let expected = format!("id: {n}\ndata: step {n}\n\n");
        let mut heard = Vec::new();
        while heard.len() < expected.len() {
            let frame = timeout(WAIT, body.frame()).await.expect("no event is held back until the next one");
            let frame = frame.expect("there is one more event").expect("the stream does not break off");
            heard.extend(frame.into_data().expect("it is data"));
        }
        assert_eq!(heard, expected.as_bytes());
        if n + 1 < STEPS {
            assert_eq!(Client::of(address).post("/step").await.0, 200);
        }
    }
    let end = timeout(WAIT, body.frame()).await.expect("the end comes in time");
    assert!(end.is_none(), "the stream ends after the last event: {end:?}");
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn open(address: SocketAddr) -> Socket {
    let (socket, response) =
        tokio_tungstenite::connect_async(format!("ws://{address}/ws")).await.expect("a websocket");
    assert_eq!(response.status(), 101);
    socket
}

async fn say(socket: &mut Socket, message: Message) {
    socket.send(message).await.expect("the websocket is open");
}

async fn hear(socket: &mut Socket) -> Message {
    socket.next().await.expect("there is an answer").expect("the websocket does not break off")
}

/// Whole messages and one in pieces with a ping between them, then a close that the client begins, then one that the
/// app begins.
pub(crate) async fn check_websocket(address: SocketAddr) {
    let talk = async {
        let mut socket = open(address).await;
        whole_messages(&mut socket).await;
        a_message_in_pieces(&mut socket).await;
        close_from_here(address, socket).await;
        close_from_the_app(&mut open(address).await).await;
    };
    timeout(WAIT, talk).await.expect("the talk ends in time");
}

/// A binary message of 70,000 bytes: its length takes eight bytes in its frame.
async fn whole_messages(socket: &mut Socket) {
    let long: Vec<u8> = (0..70_000_u32).map(|i| i as u8).collect();
    for message in [Message::text("hello"), Message::text("x".repeat(300)), Message::binary(long)] {
        say(socket, message.clone()).await;
        assert_eq!(hear(socket).await, message);
    }
    let ping = Bytes::from_static(b"?");
    say(socket, Message::Ping(ping.clone())).await;
    assert_eq!(hear(socket).await, Message::Pong(ping));
}

/// A ping may stand between the pieces; the pong must not wait for the last of them.
async fn a_message_in_pieces(socket: &mut Socket) {
    let piece =
        |text: &'static str, of, is_last| Message::Frame(Frame::message(text, OpCode::Data(of), is_last));
    say(socket, piece("one ", Data::Text, false)).await;
    say(socket, piece("two ", Data::Continue, false)).await;
    say(socket, Message::Ping(Bytes::from_static(b"between"))).await;
    assert_eq!(hear(socket).await, Message::Pong(Bytes::from_static(b"between")));
    say(socket, piece("three", Data::Continue, true)).await;
    assert_eq!(hear(socket).await, Message::text("one two three"));
}

async fn close_from_here(address: SocketAddr, mut socket: Socket) {
    let close = CloseFrame { code: CloseCode::from(OWN_CODE), reason: "enough".into() };
    socket.close(Some(close)).await.expect("the websocket is open");
    while let Some(rest) = socket.next().await {
        assert!(rest.expect("an orderly close").is_close());
    }
    // Some apps are told of a close only when the connection has ended, too.
    drop(socket);
    eventually("the app has heard the close code", async || {
        let (_, heard) = Client::of(address).get("/closes").await;
        let codes = json(&heard);
        let is_ours = |code: &serde_json::Value| code.as_u64() == Some(OWN_CODE.into());
        codes.as_array().expect("it is a list").iter().any(is_ours).then_some(())
    })
    .await;
}

async fn close_from_the_app(socket: &mut Socket) {
    say(socket, Message::text(format!("close {OWN_CODE}"))).await;
    let heard = hear(socket).await;
    let expected = CloseFrame { code: CloseCode::from(OWN_CODE), reason: REASON.into() };
    assert_eq!(heard, Message::Close(Some(expected)));
    while let Some(rest) = socket.next().await {
        assert!(rest.expect("an orderly close").is_close());
    }
}
