//! A client that sends what a case says and reads replies by their framing.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::wire::{Body, End, Framing, Head, Wire, crlf};

/// Whoever has room for a connection takes it in this time.
const KNOCK: Duration = Duration::from_millis(200);

/// One reply, or one interim reply.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) head: Head,
    pub(crate) body: Body,
}

impl Reply {
    pub(crate) fn status(&self) -> u16 {
        self.head.status()
    }

    pub(crate) fn is_interim(&self) -> bool {
        (100..200).contains(&self.status()) && self.status() != 101
    }

    /// Whether it is a good reply with this body, whole.
    pub(crate) fn is_ok(&self, body: &[u8]) -> bool {
        self.status() == 200 && self.body.whole && self.body.data == body
    }
}

/// One connection to the proxy.
pub(crate) struct Client {
    pub(crate) wire: Wire,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr, patience: Duration) -> Self {
        let stream = TcpStream::connect_timeout(&address, patience).unwrap();
        Self { wire: Wire::new(stream, patience) }
    }

    /// As `connect`, where nobody may be listening to so many.
    pub(crate) fn try_connect(address: SocketAddr, patience: Duration) -> Option<Self> {
        let stream = TcpStream::connect_timeout(&address, KNOCK).ok()?;
        Some(Self { wire: Wire::new(stream, patience) })
    }

    /// Sends, with `|` for a line's end.
    pub(crate) fn send(&mut self, text: &[u8]) -> &mut Self {
        self.wire.send(&crlf(text));
        self
    }

    /// The next reply, interim ones among them. `to`: the method that it answers.
    pub(crate) fn next_reply(&mut self, to: &[u8]) -> Option<Reply> {
        let head = self.wire.head()?;
        let status = head.status();
        let framing = if to == b"HEAD" || status < 200 || status == 204 || status == 304 {
            Framing::Length(0)
        } else if head.is_chunked() {
            Framing::Chunked
        } else {
            head.length().map_or(Framing::Close, Framing::Length)
        };
        let body = self.wire.body(framing);
        Some(Reply { head, body })
    }

    /// The next final reply, and the interim ones before it.
    pub(crate) fn reply_to(&mut self, to: &[u8]) -> (Vec<Reply>, Option<Reply>) {
        let mut interim = Vec::new();
        loop {
            match self.next_reply(to) {
                Some(reply) if reply.is_interim() => interim.push(reply),
                last => return (interim, last),
            }
        }
    }

    /// The next final reply.
    pub(crate) fn reply(&mut self) -> Option<Reply> {
        self.reply_to(b"GET").1
    }

    /// Sends and gives the final reply.
    pub(crate) fn ask(&mut self, text: &[u8]) -> Option<Reply> {
        self.send(text).reply()
    }

    /// Everything up to the end, and how it ended.
    pub(crate) fn rest(&mut self) -> (Vec<u8>, End) {
        self.wire.drain()
    }

    /// A wait of at most so long for something to come; whether it came.
    pub(crate) fn hears_within(&mut self, time: Duration) -> bool {
        let before = self.wire.stream.read_timeout().unwrap();
        self.wire.stream.set_read_timeout(Some(time)).unwrap();
        let came = self.wire.more();
        self.wire.stream.set_read_timeout(before).unwrap();
        came || matches!(self.wire.end, Some(End::Fin | End::Reset))
    }
}
