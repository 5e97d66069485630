//! The scripted app: what it says to each connection, and a record of what arrived. It does not know who asks.

use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use tokio::net::TcpSocket;

use crate::wire::{Body, End, Framing, Head, Wire, crlf};

pub(crate) const OK: &[u8] = b"HTTP/1.1 200 OK|Content-Length: 2||ok";

/// More than the shortest queue holds.
const QUEUE_MAX: usize = 16;

/// What the app does with each connection.
#[derive(Clone, Copy)]
pub(crate) enum Play {
    /// Answers every request with 200 and `ok`.
    Ok,
    /// Answers the first request with these bytes, then goes on or closes; all others as `Ok`.
    Once(&'static [u8], Then),
    /// Whatever a case needs.
    Script(fn(&mut Conn)),
}

/// What follows the first reply.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Then {
    Keeps,
    Closes,
}

/// Where the app stands.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Stand {
    /// On 127.0.0.1.
    Open,
    /// As `Open`, but one connection at a time.
    Single,
    /// On `::1` alone.
    Six,
    /// Its port refuses until [`App::open`].
    Later,
    /// As `Open`, with the shortest queue, for [`App::stall`].
    Narrow,
}

/// One request that reached the app.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    /// Which connection it came on.
    pub(crate) on: usize,
    pub(crate) head: Head,
    pub(crate) body: Body,
}

#[derive(Default)]
struct State {
    arrivals: Vec<Arrival>,
    /// How each connection ended, as far as it has been read.
    ends: HashMap<usize, End>,
    open: HashMap<usize, TcpStream>,
    connections: usize,
    cues: BTreeMap<&'static str, usize>,
    /// The listener is to close.
    shut: bool,
    /// Nothing is accepted any more.
    stalled: bool,
    /// It is over: nobody waits any more.
    stopped: bool,
}

/// What the app's threads and the case share.
pub(crate) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    patience: Duration,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn until_stopped(&self) {
        drop(self.changed.wait_while(self.lock(), |s| !s.stopped));
    }

    /// Waits until it holds; whether it does.
    fn until(&self, holds: impl Fn(&State) -> bool) -> bool {
        let wait = self.changed.wait_timeout_while(self.lock(), self.patience, |s| !s.stopped && !holds(s));
        holds(&wait.expect("no holder of this lock panics").0)
    }
}

/// One connection of the app.
pub(crate) struct Conn {
    pub(crate) wire: Wire,
    pub(crate) index: usize,
    shared: Arc<Shared>,
}

impl Conn {
    /// The next request's head; from now on it has arrived.
    pub(crate) fn head(&mut self) -> Option<Head> {
        let Some(head) = self.wire.head() else {
            self.ended();
            return None;
        };
        let arrival = Arrival { on: self.index, head: head.clone(), body: Body::default() };
        self.shared.change(|s| s.arrivals.push(arrival));
        Some(head)
    }

    /// The body that belongs to a head.
    pub(crate) fn body(&mut self, head: &Head) -> Body {
        let framing =
            if head.is_chunked() { Framing::Chunked } else { Framing::Length(head.length().unwrap_or(0)) };
        let body = self.wire.body(framing);
        let (index, noted) = (self.index, body.clone());
        self.shared.change(|s| {
            if let Some(arrival) = s.arrivals.iter_mut().rev().find(|a| a.on == index) {
                arrival.body = noted;
            }
        });
        if !body.whole {
            self.ended();
        }
        body
    }

    /// The next whole request.
    pub(crate) fn request(&mut self) -> Option<Arrival> {
        let head = self.head()?;
        let body = self.body(&head);
        body.whole.then_some(Arrival { on: self.index, head, body })
    }

    /// Says it, with `|` for a line's end; whether it could.
    pub(crate) fn say(&mut self, text: &[u8]) -> bool {
        self.wire.send(&crlf(text))
    }

    /// Answers every request from now on.
    pub(crate) fn serve(&mut self) {
        while self.request().is_some() && self.say(OK) {}
    }

    /// How many requests have arrived at the app.
    pub(crate) fn arrivals(&self) -> usize {
        self.shared.lock().arrivals.len()
    }

    /// Reads until the other end closes; notes how it did.
    pub(crate) fn until_end(&mut self) -> End {
        let (_, end) = self.wire.drain();
        self.ended();
        end
    }

    fn ended(&self) {
        let end = self.wire.end.unwrap_or(End::Silent);
        self.shared.change(|s| {
            s.ends.insert(self.index, end);
        });
    }

    /// Tells the case that something has happened.
    pub(crate) fn cue(&self, name: &'static str) {
        self.shared.change(|s| *s.cues.entry(name).or_default() += 1);
    }

    /// Whether the case has said so, or is over.
    pub(crate) fn is_cued(&self, name: &'static str) -> bool {
        let state = self.shared.lock();
        state.stopped || state.cues.contains_key(name)
    }

    /// Waits for the case to say so for the `count`th time; whether it did.
    pub(crate) fn wait(&self, name: &'static str, count: usize) -> bool {
        self.shared.until(|s| s.cues.get(name).copied().unwrap_or(0) >= count)
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        // The last handle goes with the wire: what is unread then makes it a reset, as it does for any program.
        self.shared.change(|s| drop(s.open.remove(&self.index)));
    }
}

/// A running app; its threads end when it is dropped.
pub(crate) struct App {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    play: Play,
    single: bool,
    /// Keeps the port from others, and connections from it.
    _reserved: Option<TcpSocket>,
    /// Sit in the queue of an app that accepts no more.
    queued: Vec<TcpStream>,
}

impl App {
    pub(crate) fn start(play: Play, stand: Stand, patience: Duration) -> Self {
        let shared = Shared { state: Mutex::default(), changed: Condvar::new(), patience };
        let mut app = Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            shared: Arc::new(shared),
            play,
            single: stand == Stand::Single,
            _reserved: None,
            queued: Vec::new(),
        };
        match stand {
            Stand::Open | Stand::Single => app.listen(TcpListener::bind(app.address).unwrap()),
            Stand::Six => {
                let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
                app._reserved = Some(reserve(listener.local_addr().unwrap().port()));
                app.listen(listener);
            }
            Stand::Later => {
                let reserved = reserve(0);
                app.address = reserved.local_addr().unwrap();
                app._reserved = Some(reserved);
            }
            Stand::Narrow => app.listen(narrow()),
        }
        app
    }

    /// Opens the port of an app that was to come later.
    pub(crate) fn open(&mut self) {
        self.listen(TcpListener::bind(self.address).unwrap());
    }

    /// Stops listening; what is open stays open. The port stays reserved.
    pub(crate) fn close_listener(&mut self) {
        self._reserved = None;
        self.shared.change(|s| s.shut = true);
        drop(TcpStream::connect(self.address));
        self.shared.until(|s| s.cues.contains_key("closed"));
    }

    /// Ends every open connection.
    pub(crate) fn hang_up(&self) {
        for stream in self.shared.lock().open.values() {
            // It may have ended by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn listen(&mut self, listener: TcpListener) {
        self.address = listener.local_addr().unwrap();
        let (shared, play, single) = (Arc::clone(&self.shared), self.play, self.single);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.lock().shut {
                    break;
                }
                if shared.lock().stalled {
                    shared.change(|s| *s.cues.entry("stalled").or_default() += 1);
                    shared.until_stopped();
                    break;
                }
                let Ok(stream) = stream else { break };
                let conn = adopt(&shared, stream);
                let acts = move || act(play, conn);
                if single { acts() } else { drop(std::thread::spawn(acts)) }
            }
            drop(listener);
            shared.change(|s| *s.cues.entry("closed").or_default() += 1);
        });
    }

    /// Accepts no more and fills the queue, until a connect gets no answer.
    pub(crate) fn stall(&mut self) {
        self.shared.change(|s| s.stalled = true);
        let woken = TcpStream::connect(self.address).ok();
        self.wait("stalled", 1);
        let knock = || TcpStream::connect_timeout(&self.address, Duration::from_millis(200)).ok();
        self.queued = woken.into_iter().chain(std::iter::from_fn(knock).take(QUEUE_MAX)).collect();
    }

    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        self.shared.lock().arrivals.clone()
    }

    /// Waits for so many requests; what has arrived then.
    pub(crate) fn wait_arrivals(&self, count: usize) -> Vec<Arrival> {
        self.shared.until(|s| s.arrivals.len() >= count);
        self.arrivals()
    }

    /// Waits until the connection's other end has closed it; how it did.
    pub(crate) fn wait_end(&self, on: usize) -> Option<End> {
        self.shared.until(|s| s.ends.contains_key(&on));
        self.shared.lock().ends.get(&on).copied()
    }

    pub(crate) fn cue(&self, name: &'static str) {
        self.shared.change(|s| *s.cues.entry(name).or_default() += 1);
    }

    /// Waits for the app to say so for the `count`th time; whether it did.
    pub(crate) fn wait(&self, name: &'static str, count: usize) -> bool {
        self.shared.until(|s| s.cues.get(name).copied().unwrap_or(0) >= count)
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.shared.change(|s| {
            s.shut = true;
            s.stopped = true;
            for stream in s.open.values() {
                let _ = stream.shutdown(Shutdown::Both);
            }
        });
        // Wakes the acceptor, which then sees that it is over.
        drop(TcpStream::connect_timeout(&self.address, Duration::from_millis(100)));
    }
}

/// A port of 127.0.0.1 that is ours and refuses. Whoever sets `SO_REUSEADDR` can listen on it while it is held.
pub(crate) fn reserve(port: u16) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).unwrap();
    socket
}

/// A listener with the shortest queue that can be had.
fn narrow() -> TcpListener {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let _entered = runtime.enter();
    let listener = reserve(0).listen(1).unwrap().into_std().unwrap();
    listener.set_nonblocking(false).unwrap();
    listener
}

fn adopt(shared: &Arc<Shared>, stream: TcpStream) -> Conn {
    let handle = stream.try_clone().unwrap();
    let mut index = 0;
    shared.change(|s| {
        index = s.connections;
        s.connections += 1;
        s.open.insert(index, handle);
    });
    Conn { wire: Wire::new(stream, shared.patience), index, shared: Arc::clone(shared) }
}

fn act(play: Play, mut conn: Conn) {
    match play {
        Play::Ok => conn.serve(),
        Play::Script(script) => script(&mut conn),
        Play::Once(said, then) => {
            if conn.request().is_none() {
                return;
            }
            if conn.arrivals() > 1 {
                conn.say(OK);
            } else {
                conn.say(said);
                if then == Then::Closes {
                    return;
                }
            }
            conn.serve();
        }
    }
}
