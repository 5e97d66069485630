//! A web server of the tests' own: it answers as it is told to, badly too, and knows which connections are open.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::server::eventually;

/// How it answers.
#[derive(Clone)]
pub(crate) enum Answer {
    /// With these bytes, and then the connection's end.
    Bytes(Vec<u8>),
    /// With these bytes, and then the connection's end without TLS's goodbye.
    Cut(Vec<u8>),
    /// With these bytes, and then a reset.
    Reset(Vec<u8>),
    /// With these bytes, and then nothing.
    Silent(Vec<u8>),
    /// With these bytes after this time.
    Late(Duration, Vec<u8>),
    /// With a body of so many bytes, all of them `x`.
    Long(usize),
    /// With nothing, not even to a TLS handshake.
    Frozen,
}

/// A server on a port of its own.
pub(crate) struct Web {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    tls: Option<Arc<ServerConfig>>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    answer: Mutex<Answer>,
    requests: Mutex<Vec<String>>,
    open: AtomicUsize,
    written: AtomicUsize,
}

/// An answer with status 200 and this body.
pub(crate) fn ok(body: &str) -> Answer {
    status("200 OK", body)
}

/// An answer with this status and this body.
pub(crate) fn status(status: &str, body: &str) -> Answer {
    let len = body.len();
    Answer::Bytes(format!("HTTP/1.1 {status}\r\ncontent-length: {len}\r\n\r\n{body}").into_bytes())
}

impl Web {
    /// A plain one that answers well.
    pub(crate) async fn start() -> Self {
        Self::start_with(None).await
    }

    /// One that answers well, over TLS where there is `tls`.
    pub(crate) async fn start_with(tls: Option<ServerConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shared = Arc::new(Shared {
            answer: Mutex::new(ok("well")),
            requests: Mutex::default(),
            open: AtomicUsize::new(0),
            written: AtomicUsize::new(0),
        });
        let address = listener.local_addr().unwrap();
        let mut web = Self { address, shared, tls: tls.map(Arc::new), accepting: None };
        web.accept(listener);
        web
    }

    fn accept(&mut self, listener: TcpListener) {
        let (shared, tls) = (Arc::clone(&self.shared), self.tls.clone().map(TlsAcceptor::from));
        self.accepting = Some(tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (shared, tls) = (Arc::clone(&shared), tls.clone());
                tokio::spawn(async move {
                    shared.open.fetch_add(1, Ordering::SeqCst);
                    shared.serve(stream, tls).await;
                    shared.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        }));
    }

    /// How it answers from now on.
    pub(crate) fn set(&self, answer: Answer) {
        *self.shared.answer.lock().unwrap() = answer;
    }

    /// Nobody listens any more.
    pub(crate) async fn stop(&mut self) {
        let accepting = self.accepting.take().unwrap();
        accepting.abort();
        let _ = accepting.await;
    }

    /// What it shows from its next start on.
    pub(crate) fn secure_with(&mut self, tls: ServerConfig) {
        self.tls = Some(Arc::new(tls));
    }

    /// It listens again, where it did before.
    pub(crate) async fn start_again(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.accept(listener);
    }

    /// What it was asked, heads only.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// How many bytes of long bodies it could send.
    pub(crate) fn written(&self) -> usize {
        self.shared.written.load(Ordering::SeqCst)
    }

    /// Connections that are open, as the server sees it.
    pub(crate) fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// Waits until no connection is open any more.
    pub(crate) async fn until_none_is_open(&self) {
        eventually("no connection is left", async || (self.open() == 0).then_some(())).await;
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        if let Some(accepting) = &self.accepting {
            accepting.abort();
        }
    }
}

impl Shared {
    async fn serve(&self, mut stream: TcpStream, tls: Option<TlsAcceptor>) {
        let answer = self.answer.lock().unwrap().clone();
        if matches!(answer, Answer::Frozen) {
            return ended(&mut stream).await;
        }
        if matches!(answer, Answer::Reset(_)) {
            stream.set_zero_linger().unwrap();
        }
        match tls {
            None => self.answer(stream, answer).await,
            Some(tls) => {
                // Who does not take the certificate ends the connection.
                if let Ok(stream) = tls.accept(stream).await {
                    self.answer(stream, answer).await;
                }
            }
        }
    }

    async fn answer(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: Answer) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        self.requests.lock().unwrap().push(String::from_utf8(head).unwrap());
        match answer {
            Answer::Bytes(bytes) => write(&mut stream, &bytes).await,
            Answer::Late(pause, bytes) => {
                // Slowness is what is tested: there is no event to wait for.
                tokio::time::sleep(pause).await;
                write(&mut stream, &bytes).await;
            }
            // The socket is dropped: without TLS's goodbye, and with a reset where that was prepared.
            Answer::Cut(bytes) | Answer::Reset(bytes) => {
                let _ = stream.write_all(&bytes).await;
                let _ = stream.flush().await;
            }
            Answer::Silent(bytes) => {
                let _ = stream.write_all(&bytes).await;
                let _ = stream.flush().await;
                ended(&mut stream).await;
            }
            Answer::Long(len) => self.write_long(&mut stream, len).await,
            Answer::Frozen => unreachable!("it does not come so far"),
        }
    }

    async fn write_long(&self, stream: &mut (impl AsyncWrite + Unpin), len: usize) {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {len}\r\n\r\n");
        let _ = stream.write_all(head.as_bytes()).await;
        let chunk = vec![b'x'; 64 * 1024];
        let mut left = len;
        while left > 0 {
            let Ok(written) = stream.write(&chunk[..left.min(chunk.len())]).await else { return };
            self.written.fetch_add(written, Ordering::SeqCst);
            left -= written;
        }
    }
}

/// Writes, says that nothing more will come, and waits for the other's end.
async fn write(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), bytes: &[u8]) {
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    ended(stream).await;
}

/// Waits until the other side has ended the connection.
async fn ended(stream: &mut (impl AsyncRead + Unpin)) {
    let mut ignored = [0; 1024];
    while let Ok(1..) = stream.read(&mut ignored).await {}
}
