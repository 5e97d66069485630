//! A little name service: one name, and for each replica one record of its IPv6 address. It can be told to lie.

use std::net::{Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::agent::WAIT;

/// The type of a question for IPv6 addresses.
const AAAA: u16 = 28;
/// A question's head.
const HEAD: usize = 12;

/// What is answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answers {
    /// These addresses, right or wrong; none: the name is there and has no address.
    pub(crate) addresses: Vec<Ipv6Addr>,
    /// After this time.
    pub(crate) after: Duration,
}

/// The name service, until it is dropped.
pub(crate) struct Names {
    answers: Arc<Mutex<Answers>>,
    asked: watch::Receiver<u64>,
    _server: JoinSet<()>,
}

impl Names {
    /// Listens at `host`, at the port that every resolver asks.
    pub(crate) async fn open(host: Ipv6Addr) -> Self {
        let socket = UdpSocket::bind(SocketAddr::from((host, 53))).await.unwrap();
        let answers = Arc::new(Mutex::new(Answers::default()));
        let (asked_set, asked) = watch::channel(0);
        let mut server = JoinSet::new();
        server.spawn(serve(Arc::new(socket), answers.clone(), asked_set));
        Self { answers, asked, _server: server }
    }

    /// From now on.
    pub(crate) fn answer(&self, answers: Answers) {
        *self.answers.lock().unwrap() = answers;
    }

    /// Until so many more questions have come.
    pub(crate) async fn asked(&self, more: u64) {
        let mut asked = self.asked.clone();
        let enough = *asked.borrow() + more;
        let come = asked.wait_for(|asked| *asked >= enough);
        timeout(WAIT, come).await.expect("names are asked for again and again").unwrap();
    }
}

async fn serve(socket: Arc<UdpSocket>, answers: Arc<Mutex<Answers>>, asked: watch::Sender<u64>) {
    let mut late = JoinSet::new();
    let mut question = [0; 512];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut question).await else { continue };
        asked.send_modify(|asked| *asked += 1);
        let now = answers.lock().unwrap().clone();
        let Some(reply) = reply(&question[..length], &now.addresses) else { continue };
        let socket = socket.clone();
        late.spawn(async move {
            if !now.after.is_zero() {
                tokio::time::sleep(now.after).await;
            }
            let _unheard = socket.send_to(&reply, from).await;
        });
        while late.try_join_next().is_some() {}
    }
}

/// The question again, with all records behind it.
fn reply(question: &[u8], addresses: &[Ipv6Addr]) -> Option<Vec<u8>> {
    let mut end = HEAD;
    while *question.get(end)? != 0 {
        end += usize::from(question[end]) + 1;
    }
    let kind = u16::from_be_bytes([*question.get(end + 1)?, *question.get(end + 2)?]);
    let asked = question.get(..end + 5)?;
    let records = if kind == AAAA { addresses } else { &[] };
    let mut reply = asked.to_vec();
    // An answer, authoritative; one question, so many records, nothing besides.
    reply[2..4].copy_from_slice(&[0x85, 0x80]);
    reply[6..8].copy_from_slice(&u16::try_from(records.len()).ok()?.to_be_bytes());
    reply[8..12].fill(0);
    for address in records {
        // The name of the question, of this type, in the internet, not to be kept, 16 bytes long.
        reply.extend([0xc0, HEAD as u8, 0, AAAA as u8, 0, 1, 0, 0, 0, 0, 0, 16]);
        reply.extend(address.octets());
    }
    Some(reply)
}
