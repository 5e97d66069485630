//! A bad line between us and the server, and a server that is none.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use nix::libc::linger;
use nix::sys::socket::{setsockopt, sockopt};
use outrigger::engine::health::Health;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::asked::why;
use crate::redis::node::{Node, can_run, redis, start};

const PASS_ON: u8 = 0;
const RESET: u8 = 1;
const TALK: u8 = 2;
const CLOSE: u8 = 3;

/// A line to the server that passes on, resets after the first words, closes then, or talks nonsense.
async fn line(port: u16, mood: Arc<AtomicU8>) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("there is a port");
    let own = listener.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(carry(stream, port, Arc::clone(&mood)));
        }
    });
    own
}

async fn carry(mut stream: TcpStream, port: u16, mood: Arc<AtomicU8>) {
    let mut first = [0; 512];
    match mood.load(Ordering::Relaxed) {
        PASS_ON => {
            let mut server = TcpStream::connect(("127.0.0.1", port)).await.expect("it listens");
            let _ = copy_bidirectional(&mut stream, &mut server).await;
        }
        RESET => {
            let _ = stream.read(&mut first).await;
            setsockopt(&stream, sockopt::Linger, &linger { l_onoff: 1, l_linger: 0 })
                .expect("it is a socket");
        }
        CLOSE => {
            let _ = stream.read(&mut first).await;
        }
        _ => {
            let _ = stream.write_all(b"220 mail.example ESMTP\r\n").await;
            let _ = stream.read(&mut first).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_breaks_or_talks_nonsense_is_told() {
    if !can_run() {
        return;
    }
    let node = Node::start(&["--save", ""]).await;
    let mood = Arc::new(AtomicU8::new(PASS_ON));
    let port = line(node.port, Arc::clone(&mood)).await;
    let asked = start(redis("127.0.0.1", port));
    asked.until_health(Health::Ok).await;

    // One lost connection is no failure: it is made anew within the round.
    let failed = asked.state().rounds[2];
    node.tell(&["client", "kill", "type", "normal"]);
    let before = asked.state().rounds[0];
    let state = asked.until("it went on", |state| state.rounds[0] >= before + 3).await;
    assert_eq!(state.rounds[2], failed, "{}", why(&state));

    for (bad, words) in [
        (RESET, "Connection reset by peer (os error 104)"),
        (CLOSE, "the server closed it"),
        (TALK, "what came is not of Redis' protocol"),
    ] {
        mood.store(bad, Ordering::Relaxed);
        node.tell(&["client", "kill", "type", "normal"]);
        let state = asked.until_health(Health::Failed).await;
        let told =
            format!("the connection to 127.0.0.1:{port} ended before the answer to CLIENT SETNAME: {words}");
        assert_eq!(why(&state), told);
        mood.store(PASS_ON, Ordering::Relaxed);
        asked.until_health(Health::Ok).await;
        assert_eq!(node.ours(), 1);
    }
    node.nobody_is_left(asked).await;
}
