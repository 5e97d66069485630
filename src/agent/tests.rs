//! A control plane that fails under a real data path and a real child: requests, the drain and the app's code go on.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

use super::*;
use crate::agent::decider::Decider;
use crate::agent::life::Agent;
use crate::agent::start::{MakeDecider, start_with};
use crate::config::{Flags, Sources, load};
use crate::engine::memory::Memory;
use crate::engine::policy::Policy;
use crate::engine::snapshot::Snapshot;
use crate::engine::tick::Resources;
use crate::engine::time::Time;
use crate::engine::{Effect, Engine, Identity, Input};
use crate::supervisor::{CHILDREN_OF_TESTS, Signal, free_port};

const PATIENCE: Duration = Duration::from_secs(60);

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it happens within the test's patience")
}

/// An engine that panics at the first fact.
struct Panicking(Engine);

impl Decider for Panicking {
    fn step(&mut self, _now: Time, _input: Input) -> Vec<Effect> {
        panic!("the engine of this test fails")
    }

    fn snapshot(&self, now: Time) -> Snapshot {
        self.0.snapshot(now)
    }
}

fn panicking(
    now: Time,
    identity: Identity,
    policy: Policy,
    memory: Memory,
) -> (Box<dyn Decider>, Vec<Effect>) {
    let (engine, effects) = Engine::start(now, identity, policy, memory);
    (Box::new(Panicking(engine)), effects)
}

/// Lets a stuck thread go when the test is over, however it ends.
struct Release;

impl Drop for Release {
    fn drop(&mut self) {
        RELEASED.store(true, Ordering::Release);
    }
}

static STUCK: AtomicBool = AtomicBool::new(false);
static RELEASED: AtomicBool = AtomicBool::new(false);

/// An engine that never comes back, until the test is over.
struct Endless(Engine);

impl Decider for Endless {
    fn step(&mut self, _now: Time, _input: Input) -> Vec<Effect> {
        STUCK.store(true, Ordering::Release);
        while !RELEASED.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        Vec::new()
    }

    fn snapshot(&self, now: Time) -> Snapshot {
        self.0.snapshot(now)
    }
}

fn endless(now: Time, identity: Identity, policy: Policy, memory: Memory) -> (Box<dyn Decider>, Vec<Effect>) {
    let (engine, effects) = Engine::start(now, identity, policy, memory);
    (Box::new(Endless(engine)), effects)
}

/// What the sealed windows said that the app used.
static USED: Mutex<Vec<Resources>> = Mutex::new(Vec::new());

/// An engine that tells what it hears of the app's resources.
struct Telling(Engine);

impl Decider for Telling {
    fn step(&mut self, now: Time, input: Input) -> Vec<Effect> {
        if let Input::Sealed(window) = &input {
            USED.lock().unwrap().push(window.resources);
        }
        self.0.step(now, input)
    }

    fn snapshot(&self, now: Time) -> Snapshot {
        self.0.snapshot(now)
    }
}

fn telling(now: Time, identity: Identity, policy: Policy, memory: Memory) -> (Box<dyn Decider>, Vec<Effect>) {
    let (engine, effects) = Engine::start(now, identity, policy, memory);
    (Box::new(Telling(engine)), effects)
}

/// The port of an app that answers every request; the child beside it is a shell, which only lives and ends.
async fn hello() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                // The prober connects and hangs up; that is no failure.
                let _ = stream.read(&mut [0; 4096]).await;
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";
                let _ = stream.write_all(answer).await;
            });
        }
    });
    port
}

async fn get(address: SocketAddr, path: &str) -> String {
    soon(async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    })
    .await
}

/// The control plane's runtime, left to itself at the end: what is stuck there would be waited for.
struct Control(Option<Runtime>);

impl Control {
    fn new() -> Self {
        Self(Some(Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()))
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.0.take().expect("it is dropped once").shutdown_background();
    }
}

/// An agent over a shell's `script`, with `endless` or `panicking` in the engine's place; its admin address.
async fn agent(folder: &TempDir, script: &str, make: MakeDecider, control: &Control) -> (Agent, SocketAddr) {
    let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port().unwrap()));
    let env = [
        ("OUTRIGGER__LISTEN__PUBLIC", "127.0.0.1:0".to_owned()),
        ("OUTRIGGER__LISTEN__ADMIN", admin.to_string()),
        ("OUTRIGGER__APP__PORT", hello().await.to_string()),
        ("OUTRIGGER__APP__DRAIN", "2s".to_owned()),
        ("OUTRIGGER__STORE__DIR", folder.path().join("data").display().to_string()),
    ];
    let env = env.into_iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect();
    let sources = Sources { file: None, directory: folder.path().to_owned(), env, flags: Flags::default() };
    let loaded = load(sources).unwrap();
    let mut command = ["/bin/sh", "-c", script, "sh"].map(OsString::from).to_vec();
    command.push(folder.path().join("go").into());
    let control = control.0.as_ref().expect("it is taken at the end only").handle().clone();
    let job = Job { loaded, command, env: Vec::new(), clock: Clock::start(), control };
    (start_with(job, make).await.unwrap(), admin)
}

const UNTIL_TOLD: &str = "while ! [ -e \"$1\" ]; do sleep 0.02; done; exit 7";

#[tokio::test]
async fn when_the_control_plane_panics_requests_go_on_and_the_apps_code_is_passed_on() {
    let _alone = CHILDREN_OF_TESTS.lock().await;
    let (folder, control) = (TempDir::new().unwrap(), Control::new());
    let (agent, admin) = agent(&folder, UNTIL_TOLD, panicking, &control).await;
    let (public, view) = (agent.data_path.address(), Arc::clone(&agent.view));
    let life = tokio::spawn(agent.serve());
    let failed = async {
        while !get(admin, "/api/snapshot").await.contains("the control plane failed") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon(failed).await;
    assert!(get(public, "/").await.ends_with("hello"));
    assert_eq!(view.load().phase, crate::admin::Phase::Ready, "the life went on");
    assert!(get(public, "/api/health").await.starts_with("HTTP/1.1 200 "));
    std::fs::write(folder.path().join("go"), "").unwrap();
    assert_eq!(soon(life).await.unwrap().unwrap(), 7);
}

#[tokio::test]
async fn when_the_control_plane_panics_a_drain_is_kept() {
    let _alone = CHILDREN_OF_TESTS.lock().await;
    let (folder, control) = (TempDir::new().unwrap(), Control::new());
    let script = "trap 'exit 5' TERM; while :; do sleep 0.02; done";
    let (mut agent, _) = agent(&folder, script, panicking, &control).await;
    let public = agent.data_path.address();
    let why = soon(life::failed(&mut agent.control)).await;
    agent.control_failed(why);
    assert!(get(public, "/").await.ends_with("hello"));
    assert_eq!(soon(agent.stop(Signal::SIGTERM)).await.unwrap(), 5);
}

#[tokio::test]
async fn when_the_control_plane_is_stuck_requests_and_the_drain_go_on() {
    let _alone = CHILDREN_OF_TESTS.lock().await;
    let (folder, control) = (TempDir::new().unwrap(), Control::new());
    let _release = Release;
    let script = "trap 'exit 5' TERM; while :; do sleep 0.02; done";
    let (agent, _) = agent(&folder, script, endless, &control).await;
    let public = agent.data_path.address();
    soon(async {
        while !STUCK.load(Ordering::Acquire) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert!(get(public, "/").await.ends_with("hello"));
    assert_eq!(soon(agent.stop(Signal::SIGTERM)).await.unwrap(), 5);
}

#[tokio::test]
async fn what_the_app_uses_is_in_one_window_of_a_tick() {
    let _alone = CHILDREN_OF_TESTS.lock().await;
    let (folder, control) = (TempDir::new().unwrap(), Control::new());
    let (agent, _) = agent(&folder, UNTIL_TOLD, telling, &control).await;
    let life = tokio::spawn(agent.serve());
    let windows = async {
        loop {
            let used = USED.lock().unwrap().clone();
            if used.len() >= 7 {
                return used;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let used = soon(windows).await;
    let sampled = used.iter().filter(|one| one.memory_bytes > Some(0) && one.descriptors > Some(0)).count();
    let silent = used.iter().filter(|one| **one == Resources::default()).count();
    assert!((1..=2).contains(&sampled) && sampled + silent == used.len(), "{used:?}");
    std::fs::write(folder.path().join("go"), "").unwrap();
    assert_eq!(soon(life).await.unwrap().unwrap(), 7);
}
