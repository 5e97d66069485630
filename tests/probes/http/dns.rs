//! Names, with a name server of the test's own that may fall silent.

use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use outrigger::config::probes::{Ask, Dns, Probe, Server};
use outrigger::engine::health::{FactValue, Health};
use tokio::net::UdpSocket;

use crate::asked::{Asked, fact, why};
use crate::http::at_once;
use crate::http::place::{here, run_in};

/// The one name that it knows, and its address.
const NAME: &str = "api.example.test";
const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);

/// A name server that knows one name.
struct NameServer {
    is_silent: Arc<AtomicBool>,
}

impl NameServer {
    async fn start(at: &str) -> Self {
        // A resolver asks this port, and nothing can tell it another. The address is this test's own.
        let socket = UdpSocket::bind((at, 53)).await.unwrap();
        let is_silent = Arc::new(AtomicBool::new(false));
        let silence = Arc::clone(&is_silent);
        tokio::spawn(async move {
            let mut query = [0; 512];
            loop {
                let (len, from) = socket.recv_from(&mut query).await.unwrap();
                if !silence.load(Ordering::SeqCst) {
                    socket.send_to(&answer(&query[..len]), from).await.unwrap();
                }
            }
        });
        Self { is_silent }
    }

    fn silent(&self, is_silent: bool) {
        self.is_silent.store(is_silent, Ordering::SeqCst);
    }
}

/// The answer to a query with one question.
fn answer(query: &[u8]) -> Vec<u8> {
    const ADDRESS_V4: [u8; 2] = [0, 1];
    let labels = NAME.split('.').flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat());
    let name: Vec<u8> = labels.chain([0]).collect();
    let question = &query[12..];
    let is_known = question.starts_with(&name);
    let end = question.iter().position(|&byte| byte == 0).unwrap() + 5;
    let has_address = is_known && question[name.len()..].starts_with(&ADDRESS_V4);
    let (no_such_name, answers) = (u8::from(!is_known) * 3, u8::from(has_address));
    let mut answer = [&query[..2], &[0x81, 0x80 | no_such_name, 0, 1, 0, answers, 0, 0, 0, 0]].concat();
    answer.extend_from_slice(&question[..end]);
    if has_address {
        // The name of the question, an address of the internet, to be kept for no time, four bytes long.
        answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        answer.extend_from_slice(&ADDRESS.octets());
    }
    answer
}

/// How many threads of this process are at the resolver.
fn resolving() -> usize {
    let threads = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let names = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok());
    names.filter(|name| name.trim() == "resolver").count()
}

fn probe(name: &str, expect: &[&str]) -> Probe {
    let expect = expect.iter().map(|address| address.parse().unwrap()).collect();
    let ask = Ask::Dns(Dns { name: name.to_owned(), expect });
    Probe { timeout: Duration::from_millis(800), ..at_once(ask) }
}

/// Runs this test with a name server that is its own.
async fn with_a_name_server() {
    let at = format!("127.{}.{}.53", fastrand::u8(1..), fastrand::u8(..));
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let text = format!("nameserver {at}\noptions timeout:2 attempts:2\n");
    std::fs::write(folder.path().join("resolv.conf"), text).unwrap();
    std::fs::write(folder.path().join("nsswitch.conf"), "hosts: files dns\n").unwrap();
    let mounts = "mount --bind \"$0/resolv.conf\" /etc/resolv.conf \
        && { [ ! -e /etc/nsswitch.conf ] || mount --bind \"$0/nsswitch.conf\" /etc/nsswitch.conf; } && exec \"$@\"";
    let before = ["unshare", "--mount", "sh", "-c", mounts].map(AsRef::as_ref);
    let before = [&before[..], &[folder.path().as_os_str()]].concat();
    run_in(&before, &at, "http::dns::names_are_asked_for_and_a_dead_resolver_is_seen_and_holds_one_thread")
        .await;
}

#[tokio::test]
async fn names_are_asked_for_and_a_dead_resolver_is_seen_and_holds_one_thread() {
    let Some(at) = here() else { return with_a_name_server().await };
    let names = NameServer::start(&at).await;
    let asked = Asked::start(probe(NAME, &["127.0.0.1"]));
    let state = asked.until_health(Health::Ok).await;
    assert_eq!(fact(&state, "addresses"), &FactValue::Text(ADDRESS.to_string()));
    assert!(state.last.as_ref().unwrap().latency.is_some());

    let moved = Asked::start(probe(NAME, &["127.0.0.1", "192.0.2.8"]));
    let state = moved.until_health(Health::Failed).await;
    assert_eq!(why(&state), format!("`{NAME}` resolves to 127.0.0.1; 192.0.2.8 is expected"));
    drop(moved);
    let unknown = Asked::start(probe("nowhere.example.test", &[]));
    let state = unknown.until_health(Health::Failed).await;
    let told = "the name `nowhere.example.test` was not resolved: failed to lookup address information: Name or service \
                not known";
    assert_eq!(why(&state), told);
    drop(unknown);

    let listener = std::net::TcpListener::bind((ADDRESS, 0)).unwrap();
    let server = Server { host: NAME.to_owned(), port: listener.local_addr().unwrap().port() };
    let by_name = Asked::start(Probe { timeout: Duration::from_millis(800), ..at_once(Ask::Tcp(server)) });
    by_name.until_health(Health::Ok).await;

    names.silent(true);
    for asked in [&asked, &by_name] {
        let state = asked.until("the silence is seen", |state| why(state).contains("did not come")).await;
        assert_eq!(state.health, Health::Failed);
        assert_eq!(why(&state), format!("the address of `{NAME}` did not come within 800ms"));
        asked.until("it failed four times", |state| state.failed_in_a_row() >= 4).await;
        assert!(resolving() <= 2, "one thread for each of the two probes, not {}", resolving());
    }
    the_end_of_a_runtime_does_not_wait_for_the_resolver().await;
    names.silent(false);
    asked.until_health(Health::Ok).await;
    by_name.until_health(Health::Ok).await;
}

async fn the_end_of_a_runtime_does_not_wait_for_the_resolver() {
    let ended = tokio::task::spawn_blocking(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let asked = Asked::start(probe("other.example.test", &[]));
            asked.until("it waited in vain", |state| why(state).contains("did not come")).await;
        });
        let clock = outrigger::clock::Clock::start();
        drop(runtime);
        clock.uptime()
    });
    let took = ended.await.unwrap();
    assert!(took < Duration::from_millis(500), "{took:?}");
}
