//! The app of these tests: an HTTP server in this test binary, started again as a process of its own. What it does, it
//! writes down, a line each, into the file that TOLD names.
//!
//! It listens on PORT, or on the socket that SOCKET names. It ends on SIGTERM and SIGINT when its open exchanges have ended,
//! with the code that CODE names; `/crash` ends it at once with 3.

use std::ffi::OsString;
use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

/// The app's command.
pub(crate) fn command() -> Vec<OsString> {
    let exe = std::env::current_exe().unwrap();
    let mut command = vec![exe.into_os_string()];
    command.extend(["--exact", "app::serve", "--ignored", "--nocapture", "--quiet"].map(OsString::from));
    command
}

/// The same for a shell.
pub(crate) fn shell_command() -> String {
    command().iter().map(|word| format!("'{}'", word.to_str().unwrap())).collect::<Vec<_>>().join(" ")
}

#[expect(clippy::disallowed_methods, reason = "a message from one test process to another, no option")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn tell(line: &str) {
    let Some(path) = variable("TOLD") else { return };
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
    file.write_all(format!("{line}\n").as_bytes()).unwrap();
}

static OPEN: AtomicUsize = AtomicUsize::new(0);
static ENDED: Notify = Notify::const_new();

/// One open exchange.
struct Exchange;

impl Exchange {
    fn begin() -> Self {
        OPEN.fetch_add(1, Ordering::SeqCst);
        Self
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::SeqCst);
        ENDED.notify_waiters();
    }
}

#[tokio::test]
#[ignore = "the app of the other tests"]
async fn serve() {
    let Some(port) = variable("PORT") else { return };
    for (kind, name) in [
        (SignalKind::hangup(), "HUP"),
        (SignalKind::quit(), "QUIT"),
        (SignalKind::user_defined1(), "USR1"),
        (SignalKind::user_defined2(), "USR2"),
        (SignalKind::window_change(), "WINCH"),
    ] {
        let mut stream = signal(kind).unwrap();
        tokio::spawn(async move {
            while stream.recv().await.is_some() {
                tell(&format!("got {name}"));
            }
        });
    }
    let mut term = signal(SignalKind::terminate()).unwrap();
    let mut int = signal(SignalKind::interrupt()).unwrap();
    let listener = Listener::bind(&port).await;
    tell(&format!("up {}", std::process::id()));
    let mut asked = false;
    loop {
        let ended = ENDED.notified();
        tokio::select! {
            accepted = listener.accept() => {
                tokio::spawn(converse(accepted));
            }
            _ = term.recv() => { tell("got TERM"); asked = true; }
            _ = int.recv() => { tell("got INT"); asked = true; }
            () = ended => {}
        }
        if asked && OPEN.load(Ordering::SeqCst) == 0 {
            // A signal that comes twice does so at once, or it is no double.
            tokio::time::sleep(Duration::from_millis(200)).await;
            while let Ok(Some(())) = tokio::time::timeout(Duration::ZERO, term.recv()).await {
                tell("got TERM");
            }
            tell("down");
            std::process::exit(variable("CODE").map_or(0, |code| code.parse().unwrap()));
        }
    }
}

/// A port or a socket.
enum Listener {
    Port(TcpListener),
    Socket(UnixListener),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Listener {
    async fn bind(port: &str) -> Self {
        match variable("SOCKET") {
            Some(path) => Self::Socket(UnixListener::bind(path).unwrap()),
            None => Self::Port(TcpListener::bind(format!("127.0.0.1:{port}")).await.unwrap()),
        }
    }

    async fn accept(&self) -> Box<dyn Stream> {
        match self {
            Self::Port(listener) => Box::new(listener.accept().await.unwrap().0),
            Self::Socket(listener) => Box::new(listener.accept().await.unwrap().0),
        }
    }
}

async fn converse(mut stream: Box<dyn Stream>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let _exchange = Exchange::begin();
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap();
    tell(&format!("asked for {path}"));
    // A client that has gone ends the exchange like one that was served.
    let _ = answer(&mut stream, path).await;
}

async fn answer(stream: &mut Box<dyn Stream>, path: &str) -> std::io::Result<()> {
    let hello = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";
    match path {
        "/crash" => std::process::exit(3),
        "/endless" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
            loop {
                stream.write_all(b"5\r\nhello\r\n").await?;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        "/tunnel" => {
            let switch = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
            stream.write_all(switch).await?;
            let (mut from, mut to) = tokio::io::split(stream);
            tokio::io::copy(&mut from, &mut to).await.map(drop)
        }
        "/never" => std::future::pending().await,
        _ => stream.write_all(hello).await,
    }
}
