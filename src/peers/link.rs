//! One connection to one agent: the handshake in which both prove that they have the key and speak now, and then frames in
//! both directions until one side ends it or falls silent.
//!
//! The dialler says hello with a number drawn at random; the other repeats it, sealed for the dialler's boot, with a number
//! of its own; the dialler repeats that, sealed for the other's boot. Only then anything is told. It knows nothing of who
//! else is connected.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, mpsc};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::engine::peer::{Boot, Peer};
use crate::peers::counters::{Counters, add};
use crate::peers::envelope::{HANDSHAKE, Open, Refused, Seal};
use crate::peers::hub::Heard;
use crate::peers::outbox::{Lane, Outbox};
use crate::peers::wire::{self, Frame, Opening};

/// The longest frame: an item of the greatest length that could not be squeezed, with its envelope. A longer one ends the
/// connection.
pub(super) const FRAME_MAX: usize = (12 << 20) / 10;
/// The longest frame before the other side has proved anything.
pub(super) const FRAME_BEFORE_MAX: usize = 8 << 10;
/// A connect that takes longer has failed.
const CONNECT: Duration = Duration::from_secs(1);
/// A handshake that takes longer has failed.
pub(super) const HANDSHAKE_TIME: Duration = Duration::from_secs(3);
/// A frame that cannot be written within this time ends the connection.
const WRITE: Duration = Duration::from_secs(3);
/// So long the other side may take to close its half.
const LINGER: Duration = Duration::from_secs(2);
/// Refusals of one kind are told once in so long a time.
const TOLD_AGAIN: Duration = Duration::from_secs(60);
/// The buffer grows by so much at a time, however long the frame claims to be.
const READ_STEP: usize = 16 << 10;

/// What all connections of this agent share.
pub(super) struct Context {
    pub(super) me: Boot,
    pub(super) seal: Mutex<Seal>,
    pub(super) open: Mutex<Open>,
    pub(super) counters: Counters,
    pub(super) clock: Clock,
    pub(super) hub: mpsc::Sender<Heard>,
    /// The lowest and the highest version that is spoken.
    pub(super) versions: (u8, u8),
    pub(super) links: AtomicU64,
    pub(super) told: Mutex<[Option<Duration>; Refused::ALL.len()]>,
}

impl Context {
    fn seal(&self) -> MutexGuard<'_, Seal> {
        self.seal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts it, and tells of it unless the same was told a short while ago.
    pub(super) fn refuse(&self, why: Refused, address: SocketAddr) {
        self.counters.refuse(why);
        let at = Refused::ALL.iter().position(|it| *it == why).unwrap_or_default();
        let now = self.clock.uptime();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told[at].is_none_or(|before| now.saturating_sub(before) >= TOLD_AGAIN) {
            told[at] = Some(now);
            drop(told);
            tracing::warn!(%address, reason = why.label(), "a peer was refused");
        } else {
            drop(told);
            tracing::debug!(%address, reason = why.label(), "a peer was refused again");
        }
    }

    fn opening(&self, echo: u64) -> Opening {
        let (lowest, highest) = self.versions;
        Opening { lowest, highest, nonce: nonce(), echo }
    }

    /// The highest version that both speak.
    fn agree(&self, opening: &Opening) -> Result<u8, Refused> {
        let (lowest, highest) = self.versions;
        let version = highest.min(opening.highest);
        if version >= lowest.max(opening.lowest) { Ok(version) } else { Err(Refused::Version) }
    }
}

/// Never zero, which stands for none.
fn nonce() -> u64 {
    use ring::rand::SecureRandom as _;
    let mut bytes = [0; 8];
    let filled = ring::rand::SystemRandom::new().fill(&mut bytes);
    filled.expect("the kernel gives random bytes once it has started");
    u64::from_be_bytes(bytes).max(1)
}

/// A connection whose handshake is done.
pub(super) struct Link {
    pub(super) id: u64,
    pub(super) peer: Peer,
    pub(super) address: SocketAddr,
    /// By this agent.
    pub(super) is_dialled: bool,
    version: u8,
    /// Microseconds of the agent's clock: when the handshake was done, when anything last came, or went.
    pub(super) up: u64,
    heard: AtomicU64,
    sent: AtomicU64,
    pub(super) wake: Arc<Notify>,
    is_ping_due: AtomicBool,
    ping: AtomicU64,
    pong: AtomicU64,
    round_trip: AtomicU64,
    /// The other side ended it.
    is_ended: AtomicBool,
    /// Send what waits, then end it.
    pub(super) retire: CancellationToken,
    /// End it now.
    pub(super) stop: CancellationToken,
}

impl Link {
    fn new(context: &Context, peer: Peer, address: SocketAddr, is_dialled: bool, version: u8) -> Self {
        let now = context.clock.micros();
        Self {
            id: context.links.fetch_add(1, Ordering::Relaxed),
            peer,
            address,
            is_dialled,
            version,
            up: now,
            heard: now.into(),
            sent: now.into(),
            wake: Arc::new(Notify::new()),
            is_ping_due: false.into(),
            ping: 0.into(),
            pong: 0.into(),
            round_trip: 0.into(),
            is_ended: false.into(),
            retire: CancellationToken::new(),
            stop: CancellationToken::new(),
        }
    }

    pub(super) fn heard_ago(&self, clock: &Clock) -> Duration {
        Duration::from_micros(clock.micros().saturating_sub(self.heard.load(Ordering::Relaxed)))
    }

    pub(super) fn sent_ago(&self, clock: &Clock) -> Duration {
        Duration::from_micros(clock.micros().saturating_sub(self.sent.load(Ordering::Relaxed)))
    }

    pub(super) fn round_trip(&self) -> Option<Duration> {
        let micros = self.round_trip.load(Ordering::Relaxed);
        (micros > 0).then(|| Duration::from_micros(micros))
    }

    pub(super) fn ask_for_life(&self) {
        self.is_ping_due.store(true, Ordering::Relaxed);
        self.wake.notify_one();
    }

    fn hear(&self, clock: &Clock) {
        self.heard.store(clock.micros(), Ordering::Relaxed);
    }

    fn hear_pong(&self, number: u64, clock: &Clock) {
        if number != 0 && self.ping.compare_exchange(number, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            let took = clock.micros().saturating_sub(number).max(1);
            self.round_trip.store(took, Ordering::Relaxed);
        }
    }
}

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Nobody is there.
    #[error("connect")]
    Connect(#[source] io::Error),
    /// The connection broke.
    #[error("shake hands")]
    Broken(#[source] io::Error),
    /// The other side took too long.
    #[error("it took too long")]
    Late,
    /// What it said is refused.
    #[error("what it said was refused")]
    Refused(#[source] Refused),
    /// It is this agent.
    #[error("it is this agent itself")]
    Myself,
}

impl From<Refused> for Failure {
    fn from(why: Refused) -> Self {
        Self::Refused(why)
    }
}

/// Both halves of a connection, and what was read and not yet looked at.
pub(super) struct Wire {
    reads: OwnedReadHalf,
    writes: OwnedWriteHalf,
    buffer: BytesMut,
}

impl Wire {
    fn new(stream: TcpStream) -> Self {
        // Without either the connection works all the same, only later.
        let _ = stream.set_nodelay(true);
        let _ = nix::sys::socket::setsockopt(
            &stream,
            nix::sys::socket::sockopt::TcpUserTimeout,
            &USER_TIMEOUT_MS,
        );
        let (reads, writes) = stream.into_split();
        Self { reads, writes, buffer: BytesMut::new() }
    }
}

/// The kernel gives a connection up when nothing of what was sent is acknowledged for so long.
const USER_TIMEOUT_MS: u32 = 3_000;

/// Dials an address and shakes hands.
pub(super) async fn dial(context: &Context, address: SocketAddr) -> Result<(Link, Wire), Failure> {
    let connect = timeout(CONNECT, TcpStream::connect(address)).await;
    let stream = connect.map_err(|_| Failure::Late)?.map_err(Failure::Connect)?;
    let mut wire = Wire::new(stream);
    let shake = async {
        let opening = context.opening(0);
        say(context, &mut wire, None, &Frame::Hello(opening)).await?;
        let bytes = read_frame(&wire.reads, &mut wire.buffer, FRAME_BEFORE_MAX).await?;
        let (peer, frame) = open(context, &bytes)?;
        let Frame::Welcome(theirs) = frame else { return Err(Failure::Refused(Refused::Malformed)) };
        if theirs.echo != opening.nonce {
            return Err(Failure::Refused(Refused::Replay));
        }
        let version = context.agree(&theirs)?;
        say(context, &mut wire, Some(peer.boot), &Frame::Confirm { echo: theirs.nonce }).await?;
        Ok((peer, version))
    };
    let (peer, version) = timeout(HANDSHAKE_TIME, shake).await.map_err(|_| Failure::Late)??;
    Ok((Link::new(context, peer, address, true, version), wire))
}

/// Shakes hands with who dialled.
pub(super) async fn accept(
    context: &Context,
    stream: TcpStream,
    address: SocketAddr,
) -> Result<(Link, Wire), Failure> {
    let mut wire = Wire::new(stream);
    let shake = async {
        let bytes = read_frame(&wire.reads, &mut wire.buffer, FRAME_BEFORE_MAX).await?;
        let peer;
        let theirs = {
            let guard = context.open.lock().unwrap_or_else(PoisonError::into_inner);
            let opened = guard.open_first(&bytes)?;
            if opened.from.boot == context.me {
                return Err(Failure::Myself);
            }
            peer = opened.from;
            let Ok(Frame::Hello(opening)) = wire::read(opened.body) else {
                return Err(Failure::Refused(Refused::Malformed));
            };
            opening
        };
        let opening = context.opening(theirs.nonce);
        // Said even where no version fits, so that both sides learn why.
        say(context, &mut wire, Some(peer.boot), &Frame::Welcome(opening)).await?;
        let version = context.agree(&theirs)?;
        let bytes = read_frame(&wire.reads, &mut wire.buffer, FRAME_BEFORE_MAX).await?;
        match open(context, &bytes)? {
            (from, Frame::Confirm { echo }) if from == peer && echo == opening.nonce => Ok((peer, version)),
            _ => Err(Failure::Refused(Refused::Replay)),
        }
    };
    let (peer, version) = timeout(HANDSHAKE_TIME, shake).await.map_err(|_| Failure::Late)??;
    Ok((Link::new(context, peer, address, false, version), wire))
}

fn open(context: &Context, bytes: &[u8]) -> Result<(Peer, Frame), Refused> {
    let mut guard = context.open.lock().unwrap_or_else(PoisonError::into_inner);
    let opened = guard.open(bytes)?;
    drop(guard);
    if opened.version != HANDSHAKE {
        return Err(Refused::Malformed);
    }
    let frame = wire::read(opened.body).map_err(|_| Refused::Malformed)?;
    Ok((opened.from, frame))
}

/// Says something before a version is agreed on.
async fn say(context: &Context, wire: &mut Wire, to: Option<Boot>, frame: &Frame) -> Result<(), Failure> {
    let sealed = context.seal().seal_as(HANDSHAKE, to, &wire::write(frame));
    write_frame(context, &mut wire.writes, &sealed).await.map_err(Failure::Broken)
}

async fn write_frame(context: &Context, writes: &mut OwnedWriteHalf, sealed: &[u8]) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(4 + sealed.len());
    bytes.extend_from_slice(&(sealed.len() as u32).to_be_bytes());
    bytes.extend_from_slice(sealed);
    writes.write_all(&bytes).await?;
    add(&context.counters.sent_bytes, bytes.len() as u64);
    Ok(())
}

/// A whole frame at the front of the buffer.
fn take_frame(buffer: &mut BytesMut, max: usize) -> Result<Option<Bytes>, Refused> {
    let Some(length) = buffer.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes) as usize) else {
        return Ok(None);
    };
    if length > max {
        return Err(Refused::TooLong);
    }
    if buffer.len() < 4 + length {
        return Ok(None);
    }
    buffer.advance(4);
    Ok(Some(buffer.split_to(length).freeze()))
}

/// Some more bytes; none at the end.
async fn read_some(reads: &OwnedReadHalf, buffer: &mut BytesMut) -> io::Result<usize> {
    loop {
        // Nothing is kept ready for a connection that says nothing.
        reads.readable().await?;
        buffer.reserve(READ_STEP);
        match reads.try_read_buf(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return done,
        }
    }
}

async fn read_frame(reads: &OwnedReadHalf, buffer: &mut BytesMut, max: usize) -> Result<Bytes, Failure> {
    loop {
        if let Some(frame) = take_frame(buffer, max)? {
            return Ok(frame);
        }
        if read_some(reads, buffer).await.map_err(Failure::Broken)? == 0 {
            return Err(Failure::Broken(io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

/// Carries frames until the connection ends.
pub(super) async fn run(context: &Context, link: &Arc<Link>, wire: Wire, outbox: &Outbox) {
    let Wire { reads, mut writes, buffer } = wire;
    let is_written = Notify::new();
    let write = async {
        if write_all(context, link, &mut writes, outbox).await.is_ok() && writes.shutdown().await.is_ok() {
            is_written.notify_one();
        } else {
            link.stop.cancel();
        }
    };
    let read = async {
        if let Err(why) = read_all(context, link, &reads, buffer).await {
            context.refuse(why, link.address);
            link.stop.cancel();
        }
        link.is_ended.store(true, Ordering::Relaxed);
        link.retire.cancel();
    };
    let lingered = async {
        is_written.notified().await;
        sleep(LINGER).await;
    };
    tokio::select! {
        () = link.stop.cancelled() => {}
        () = lingered => {}
        _ = async { tokio::join!(write, read) } => {}
    }
}

async fn write_all(
    context: &Context,
    link: &Link,
    writes: &mut OwnedWriteHalf,
    outbox: &Outbox,
) -> Result<(), ()> {
    loop {
        let Some((lane, body)) = next(context, link, outbox) else {
            if link.retire.is_cancelled() {
                return Ok(());
            }
            tokio::select! {
                () = link.wake.notified() => {}
                () = link.retire.cancelled() => {}
            }
            continue;
        };
        let sealed = context.seal().seal_as(link.version, Some(link.peer.boot), &body);
        let written = timeout(WRITE, write_frame(context, writes, &sealed)).await;
        if !matches!(written, Ok(Ok(()))) {
            if let Some(lane) = lane {
                // The other side cannot have read all of it.
                outbox.put_back(lane, body);
            }
            return Err(());
        }
        link.sent.store(context.clock.micros(), Ordering::Relaxed);
    }
}

/// What to send next: answers, questions, then what waits, with its lane.
fn next(context: &Context, link: &Link, outbox: &Outbox) -> Option<(Option<Lane>, Bytes)> {
    if link.is_ended.load(Ordering::Relaxed) {
        return None;
    }
    let pong = link.pong.swap(0, Ordering::Relaxed);
    if pong != 0 {
        return Some((None, wire::write(&Frame::Pong(pong)).into()));
    }
    if link.is_ping_due.swap(false, Ordering::Relaxed) {
        let number = context.clock.micros().max(1);
        link.ping.store(number, Ordering::Relaxed);
        return Some((None, wire::write(&Frame::Ping(number)).into()));
    }
    outbox.pop(link.id).map(|(lane, body)| (Some(lane), body))
}

/// Reads until the other side ends it, or says what is refused.
async fn read_all(
    context: &Context,
    link: &Arc<Link>,
    reads: &OwnedReadHalf,
    mut buffer: BytesMut,
) -> Result<(), Refused> {
    loop {
        while let Some(bytes) = take_frame(&mut buffer, FRAME_MAX)? {
            add(&context.counters.received_bytes, 4 + bytes.len() as u64);
            take(context, link, &bytes).await?;
        }
        if buffer.is_empty() {
            buffer = BytesMut::new();
        }
        match read_some(reads, &mut buffer).await {
            Ok(0) | Err(_) => return Ok(()),
            Ok(_) => link.hear(&context.clock),
        }
    }
}

/// Takes one frame in. What was heard before is passed over; anything else that is refused ends the connection.
async fn take(context: &Context, link: &Arc<Link>, bytes: &[u8]) -> Result<(), Refused> {
    let frame = {
        let mut guard = context.open.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = match guard.open(bytes) {
            Ok(opened) => opened,
            Err(Refused::Replay) => {
                drop(guard);
                context.refuse(Refused::Replay, link.address);
                return Ok(());
            }
            Err(why) => return Err(why),
        };
        drop(guard);
        if opened.from != link.peer || opened.version != link.version {
            return Err(Refused::Malformed);
        }
        match wire::read(opened.body) {
            Ok(frame) => frame,
            Err(error) => {
                context.refuse(Refused::Malformed, link.address);
                tracing::debug!(peer = %link.peer, error = &error as &dyn std::error::Error, "a frame was passed over");
                return Ok(());
            }
        }
    };
    match frame {
        Frame::Ping(number) => {
            link.pong.store(number, Ordering::Relaxed);
            link.wake.notify_one();
        }
        Frame::Pong(number) => link.hear_pong(number, &context.clock),
        Frame::Unknown(_) => add(&context.counters.skipped, 1),
        Frame::Hello(_) | Frame::Welcome(_) | Frame::Confirm { .. } => return Err(Refused::Malformed),
        Frame::Introduction(_)
        | Frame::Message(_)
        | Frame::AskMemory
        | Frame::Items { .. }
        | Frame::Addresses(_) => {
            // Waits while the agent does not keep up; the other side then keeps its newest evidence.
            let _ = context.hub.send(Heard::Said(Arc::clone(link), Box::new(frame))).await;
        }
    }
    Ok(())
}
