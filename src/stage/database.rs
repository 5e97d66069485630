//! The demo's database: a small server that speaks enough of the Redis protocol for the demo's app and for a real probe.
//!
//! It has one processor, which it gives to its clients in turn, and a time that each command takes; so it is slow for
//! everybody when one asks too much, as a real one is. It can be taken down and brought up again.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Clients at once; one more is told so and closed.
const CLIENTS_MAX: usize = 256;
/// The longest line or argument, and the most arguments; whoever sends more is closed.
const TEXT_MAX: u64 = 1024;
const ARGUMENTS_MAX: usize = 16;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 256;
/// What the processor missed because its timer rang late may be made up for, up to this.
const CATCH_UP: Duration = Duration::from_millis(10);

/// The database of a stage. Dropping it takes it down.
#[derive(Debug)]
pub struct Database {
    address: SocketAddr,
    /// Bound and never listened on: the port stays the database's while it is down.
    _held: TcpSocket,
    server: Arc<Server>,
    up: std::sync::Mutex<Option<CancellationToken>>,
}

#[derive(Debug)]
struct Server {
    /// How long one command takes.
    service: Duration,
    commands: AtomicU64,
    clients: AtomicU64,
    /// When the processor is free again. Whoever waits for it is served in the order of coming.
    free_at: Mutex<Instant>,
}

/// The runtime's timer, by which the processor's time is slept.
#[expect(
    clippy::disallowed_methods,
    reason = "sleeps end by this timer, which tests can stop; no time is told by it"
)]
fn timer() -> Instant {
    Instant::now()
}

impl Database {
    /// Up, on a free port of loopback. Each command takes `service`.
    pub(crate) fn start(service: Duration) -> io::Result<Self> {
        let held = TcpSocket::new_v4()?;
        held.set_reuseaddr(true)?;
        held.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let address = held.local_addr()?;
        let server = Arc::new(Server {
            service,
            commands: AtomicU64::new(0),
            clients: AtomicU64::new(0),
            free_at: Mutex::new(timer()),
        });
        let database = Self { address, _held: held, server, up: std::sync::Mutex::new(None) };
        database.bring_up()?;
        Ok(database)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Brings it up, if it is down.
    pub fn bring_up(&self) -> io::Result<()> {
        let mut up = self.up.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if up.is_some() {
            return Ok(());
        }
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(self.address)?;
        let listener = socket.listen(BACKLOG)?;
        let stop = CancellationToken::new();
        tokio::spawn(serve(Arc::clone(&self.server), listener, stop.clone()));
        *up = Some(stop);
        Ok(())
    }

    /// Takes it down: its clients are cut off, new ones are refused.
    pub fn take_down(&self) {
        if let Some(stop) = self.up.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take() {
            stop.cancel();
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.take_down();
    }
}

async fn serve(server: Arc<Server>, listener: TcpListener, stop: CancellationToken) {
    let mut clients = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            Some(_) = clients.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let Ok((mut stream, _)) = accepted else { continue };
        if clients.len() >= CLIENTS_MAX {
            // It is closed either way.
            let _told = stream.write_all(b"-ERR max number of clients reached\r\n").await;
            continue;
        }
        let server = Arc::clone(&server);
        clients.spawn(async move {
            server.clients.fetch_add(1, Ordering::Relaxed);
            // A client that goes away, or breaks the protocol, is closed.
            let _ended = server.converse(stream).await;
            server.clients.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

impl Server {
    async fn converse(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut stream = BufReader::new(stream);
        while let Some(words) = command(&mut stream).await? {
            self.work().await;
            self.commands.fetch_add(1, Ordering::Relaxed);
            let reply = self.reply(&words);
            stream.write_all(reply.as_bytes()).await?;
        }
        Ok(())
    }

    /// The processor's time for one command.
    async fn work(&self) {
        let mut free_at = self.free_at.lock().await;
        let now = timer();
        let earliest = now.checked_sub(CATCH_UP).unwrap_or(now);
        *free_at = (*free_at).max(earliest) + self.service;
        tokio::time::sleep_until(*free_at).await;
    }

    fn reply(&self, words: &[String]) -> String {
        match words.first().map(|word| word.to_ascii_uppercase()).as_deref() {
            Some("PING") => "+PONG\r\n".to_owned(),
            Some("EXISTS") => ":1\r\n".to_owned(),
            Some("CLIENT" | "SELECT") => "+OK\r\n".to_owned(),
            Some("ROLE") => "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n".to_owned(),
            Some("INFO") => {
                let info = self.info();
                format!("${}\r\n{info}\r\n", info.len())
            }
            Some(other) => format!("-ERR unknown command '{other}'\r\n"),
            None => "-ERR empty command\r\n".to_owned(),
        }
    }

    fn info(&self) -> String {
        format!(
            "# Server\r\nredis_version:0.0.0-demo\r\n# Clients\r\nconnected_clients:{}\r\nmaxclients:{CLIENTS_MAX}\r\n\
             # Stats\r\ntotal_commands_processed:{}\r\n# Replication\r\nrole:master\r\nconnected_slaves:0\r\n",
            self.clients.load(Ordering::Relaxed),
            self.commands.load(Ordering::Relaxed),
        )
    }
}

/// The next command, as a line of words or as an array of texts; `None` where the client has ended.
async fn command(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Vec<String>>> {
    let Some(line) = line(stream).await? else { return Ok(None) };
    let Some(count) = line.strip_prefix('*') else {
        return Ok(Some(line.split_ascii_whitespace().map(str::to_owned).collect()));
    };
    let count = count.parse::<usize>().ok().filter(|&count| count <= ARGUMENTS_MAX).ok_or_else(broken)?;
    let mut words = Vec::with_capacity(count);
    for _ in 0..count {
        let head = self::line(stream).await?.ok_or_else(broken)?;
        let length = head.strip_prefix('$').and_then(|length| length.parse::<u64>().ok());
        let length = length.filter(|&length| length <= TEXT_MAX).ok_or_else(broken)?;
        let mut text = vec![0; length as usize + 2];
        stream.read_exact(&mut text).await?;
        text.truncate(length as usize);
        words.push(String::from_utf8_lossy(&text).into_owned());
    }
    Ok(Some(words))
}

async fn line(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<String>> {
    let mut line = String::new();
    let length = stream.take(TEXT_MAX).read_line(&mut line).await?;
    match line.strip_suffix('\n') {
        Some(whole) => Ok(Some(whole.trim_end_matches('\r').to_owned())),
        None if length == 0 => Ok(None),
        None => Err(broken()),
    }
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "that is no command")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn connect(database: &Database) -> BufReader<TcpStream> {
        BufReader::new(TcpStream::connect(database.address()).await.unwrap())
    }

    async fn ask(client: &mut BufReader<TcpStream>, words: &str) -> String {
        client.write_all(words.as_bytes()).await.unwrap();
        line(client).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn it_answers_in_both_forms_and_counts_what_it_is_asked() {
        let database = Database::start(Duration::from_micros(1)).unwrap();
        let mut client = connect(&database).await;
        assert_eq!(ask(&mut client, "PING\r\n").await, "+PONG");
        assert_eq!(ask(&mut client, "*1\r\n$4\r\nPING\r\n").await, "+PONG");
        assert_eq!(ask(&mut client, "EXISTS item\r\n").await, ":1");
        assert!(ask(&mut client, "*2\r\n$4\r\nEVAL\r\n$1\r\nx\r\n").await.starts_with("-ERR unknown"));
        let length: usize = ask(&mut client, "INFO\r\n").await.strip_prefix('$').unwrap().parse().unwrap();
        let mut info = vec![0; length];
        client.read_exact(&mut info).await.unwrap();
        assert!(String::from_utf8(info).unwrap().contains("total_commands_processed:5\r\n"));
    }

    #[tokio::test]
    async fn while_it_is_down_it_refuses_and_its_clients_are_cut_off() {
        let database = Database::start(Duration::from_micros(1)).unwrap();
        let mut client = connect(&database).await;
        assert_eq!(ask(&mut client, "PING\r\n").await, "+PONG");
        database.take_down();
        assert_eq!(client.read(&mut [0]).await.unwrap_or(0), 0);
        while TcpStream::connect(database.address()).await.is_ok() {
            tokio::task::yield_now().await;
        }
        database.bring_up().unwrap();
        assert_eq!(ask(&mut connect(&database).await, "PING\r\n").await, "+PONG");
    }

    #[tokio::test(start_paused = true)]
    async fn its_processor_serves_one_at_a_time_in_turn() {
        let database = Database::start(Duration::from_millis(50)).unwrap();
        let began = timer();
        let (a, b) = (&database.server, &database.server);
        tokio::join!(a.work(), b.work(), a.work(), b.work());
        assert!(timer().duration_since(began) >= Duration::from_millis(190));
    }
}
