//! How the demo's app asks the demo's database: over a pool, with a limit on each wait.

use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Connections of the pool; who finds none free waits.
const POOL: usize = 100;
/// How long a request may wait for a connection, and for one answer; then it fails.
const WITHIN: Duration = Duration::from_secs(1);

/// The pool.
#[derive(Debug)]
pub(crate) struct Queries {
    address: SocketAddr,
    places: Semaphore,
    idle: Mutex<Vec<BufReader<TcpStream>>>,
}

impl Queries {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, places: Semaphore::new(POOL), idle: Mutex::new(Vec::new()) }
    }

    /// Asks so many times, one after the other.
    pub(crate) async fn ask(&self, times: u32) -> io::Result<()> {
        let _place = timeout(WITHIN, self.places.acquire())
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no connection of the pool was free"))?
            .map_err(io::Error::other)?;
        let kept = self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
        let mut connection = match kept {
            Some(connection) => connection,
            None => BufReader::new(timeout(WITHIN, TcpStream::connect(self.address)).await??),
        };
        for _ in 0..times {
            timeout(WITHIN, one(&mut connection)).await??;
        }
        self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(connection);
        Ok(())
    }
}

async fn one(connection: &mut BufReader<TcpStream>) -> io::Result<()> {
    connection.write_all(b"EXISTS item\r\n").await?;
    let mut answer = String::new();
    connection.read_line(&mut answer).await?;
    if answer.starts_with(':') { Ok(()) } else { Err(io::Error::other("the database gave no answer")) }
}
