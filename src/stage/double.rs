//! A test double of the agent: the test binary itself, started as the stage starts an agent.
//!
//! It does the least of what the stage relies on: says where it listens, answers the health path, runs the app as its
//! child, forwards requests to it, hands SIGTERM on, and ends with the app's code.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::process::exit;
use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::Full;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::stage::app::{AppOptions, AppPlan, run};
use crate::stage::http::{Client, json, serve};
use crate::stage::leash;

/// How the stage calls Outrigger in the tests: this test binary, asked to run the one test that is the double.
pub(super) fn outrigger() -> Vec<OsString> {
    let program = std::env::current_exe().unwrap().into_os_string();
    let leading = ["--ignored", "--exact", "stage::double::process", "--nocapture", "--"];
    std::iter::once(program).chain(leading.map(OsString::from)).collect()
}

#[test]
#[ignore = "the double's own process, started by other tests"]
fn process() {
    let all: Vec<String> = std::env::args().collect();
    let Some(start) = all.iter().position(|a| a == "--") else { return };
    let arguments = &all[start + 1..];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match arguments.first().map(String::as_str) {
        Some(leash::SUBCOMMAND) => {
            let command: Vec<OsString> = arguments[4..].iter().map(OsString::from).collect();
            let error = leash::exec(arguments[2].parse().unwrap(), &command);
            eprintln!("{error}");
            exit(70);
        }
        Some("run") => exit(runtime.block_on(agent(arguments))),
        Some("demo-app") => exit(runtime.block_on(app(arguments))),
        Some(_) | None => {}
    }
}

fn option<'a>(arguments: &'a [String], name: &str) -> &'a str {
    let place = arguments.iter().position(|a| a == name).unwrap();
    &arguments[place + 1]
}

async fn app(arguments: &[String]) -> i32 {
    let plan = AppPlan {
        behave: option(arguments, "--behave").parse().unwrap(),
        after: humantime::parse_duration(option(arguments, "--after")).unwrap(),
        seed: option(arguments, "--seed").parse().unwrap(),
    };
    let port = option(arguments, "--port").parse().unwrap();
    let release = option(arguments, "--release").to_owned();
    i32::from(run(AppOptions { port, release, plan, database: None }).await.unwrap())
}

async fn agent(arguments: &[String]) -> i32 {
    let config = std::fs::read_to_string(option(arguments, "--config")).unwrap();
    // A release that never becomes healthy.
    let sick = config.contains("release = \"sick\"");
    // One that does not end when asked to.
    let stubborn = config.contains("release = \"stubborn\"");
    let data = std::path::PathBuf::from(option(arguments, "--data"));
    let boots = std::fs::read_to_string(data.join("boots")).unwrap_or_default();
    std::fs::write(data.join("boots"), boots + "x").unwrap();
    let mut terminate = signal(SignalKind::terminate()).unwrap();
    let port: u16 = config.lines().find_map(|l| l.strip_prefix("port = ")).unwrap().parse().unwrap();
    let end = arguments.iter().position(|a| a == "--").unwrap();
    let command = arguments[end + 1..].iter().map(|a| a.replace("{port}", &port.to_string()));
    let command: Vec<String> = command.collect();
    let mut child = Command::new(&command[0]).args(&command[1..]).spawn().unwrap();
    let upstream = SocketAddr::from(([127, 0, 0, 1], port));
    let client = Client::default();
    let public = TcpListener::bind(option(arguments, "--listen")).await.unwrap();
    let admin = TcpListener::bind(option(arguments, "--admin")).await.unwrap();
    let (public_address, admin_address) = (public.local_addr().unwrap(), admin.local_addr().unwrap());
    eprintln!(r#"{{"message":"listening","public":"{public_address}","admin":"{admin_address}"}}"#);
    let stop = CancellationToken::new();
    let handler = move |request: Request<hyper::body::Incoming>| {
        let client = client.clone();
        async move {
            let health = request.uri().path() == "/api/health";
            if health && sick {
                return json(StatusCode::SERVICE_UNAVAILABLE, &serde_json::json!({}));
            }
            let path = request.uri().path().to_owned();
            match client.get(upstream, &path, "app", Duration::from_secs(60)).await {
                Ok(reply) if !health => reply.map(Full::new),
                Ok(_) => json(StatusCode::OK, &serde_json::json!({})),
                Err(_) => json(StatusCode::BAD_GATEWAY, &serde_json::json!({})),
            }
        }
    };
    tokio::spawn(serve(public, stop, Duration::from_secs(5), handler));
    loop {
        tokio::select! {
            ended = child.wait() => return ended.unwrap().code().unwrap_or(137),
            _ = terminate.recv() => if !stubborn {
                let _ = kill(Pid::from_raw(child.id().unwrap() as i32), Signal::SIGTERM);
            }
        }
    }
}
