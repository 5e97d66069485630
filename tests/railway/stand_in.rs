//! The stand-in's process: how it is started, what it is told to do wrong, and what it was asked.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use outrigger::config::Secret;
use outrigger::stage::http::{Client, ClientError};
use serde_json::{Value, json};

use crate::process::WAIT;

/// What agents call with. Searched for in everything that was written.
pub(crate) const PROJECT_TOKEN: &str = "planted-project-token-4f1c";
pub(crate) const ACCOUNT_TOKEN: &str = "planted-account-token-9a2d";

/// A running stand-in. It ends with this: its input is closed then.
pub(crate) struct StandIn {
    address: SocketAddr,
    client: Client,
    child: Child,
    _input: ChildStdin,
}

/// One operation as it was logged.
pub(crate) type Entry = Value;

impl StandIn {
    /// None where these tests are left out.
    pub(crate) async fn start() -> Option<Self> {
        if variable("RAILWAY").is_some_and(|value| value == "off") {
            eprintln!("SKIPPED: RAILWAY=off");
            return None;
        }
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let python = root.join("target/test-kit/venv/bin/python");
        assert!(python.exists(), "{} is missing: run scripts/test, or set RAILWAY=off", python.display());
        let mut child = Command::new(python)
            .arg("-B")
            .arg(root.join("tests/railway/api.py"))
            .arg(root.join("tests/fixtures/railway/schema.graphql"))
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let told = json!({ "project_token": PROJECT_TOKEN, "account_token": ACCOUNT_TOKEN });
        writeln!(input, "{told}").unwrap();
        let output = child.stdout.take().unwrap();
        let line = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            BufReader::new(output).read_line(&mut line).map(|_| line)
        });
        let line = tokio::time::timeout(WAIT, line).await.unwrap().unwrap().unwrap();
        let port = line.trim().strip_prefix("listening ").and_then(|port| port.parse::<u16>().ok());
        let port = port.unwrap_or_else(|| panic!("the stand-in did not start: `{line}`"));
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        Some(Self { address, client: Client::default(), child, _input: input })
    }

    /// As agents are told it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/graphql/v2", self.address)
    }

    /// Whose deployments it is to show.
    pub(crate) async fn stands_before(&self, stage: SocketAddr) {
        self.tell("/_stage", &json!({ "address": stage.to_string() })).await;
    }

    /// What goes wrong from now on, in place of what did.
    pub(crate) async fn faults(&self, faults: Value) {
        self.tell("/_faults", &faults).await;
    }

    /// All that was asked so far.
    pub(crate) async fn log(&self) -> Vec<Entry> {
        let reply = self.client.get(self.address, "/_log", "railway", WAIT).await.unwrap();
        serde_json::from_slice(reply.body()).unwrap()
    }

    /// Mutations that were asked for, as the names of their fields.
    pub(crate) async fn mutations(&self) -> Vec<String> {
        let log = self.log().await;
        let mutations = log.iter().filter(|entry| entry["kind"] == "mutation");
        let fields = mutations.flat_map(|entry| entry["fields"].as_array().unwrap());
        fields.map(|field| field.as_str().unwrap().to_owned()).collect()
    }

    /// How often a mutation was asked for.
    pub(crate) async fn asked_for(&self, mutation: &str) -> usize {
        self.mutations().await.iter().filter(|name| *name == mutation).count()
    }

    /// One GraphQL operation, with whatever header.
    pub(crate) async fn ask(&self, token: (&str, &str), query: &str, variables: Value) -> (u16, Value) {
        let body = json!({ "query": query, "variables": variables });
        let reply = self.post("/graphql/v2", token, &body).await.unwrap();
        let status = reply.status().as_u16();
        (status, serde_json::from_slice(reply.body()).unwrap_or(Value::Null))
    }

    async fn tell(&self, path: &str, body: &Value) {
        let reply = self.post(path, ("x-none", ""), body).await.unwrap();
        assert_eq!(reply.status().as_u16(), 200, "{path}: {body}");
    }

    pub(crate) async fn post(
        &self,
        path: &str,
        token: (&str, &str),
        body: &Value,
    ) -> Result<Response<Bytes>, ClientError> {
        let request = Request::post(path)
            .header("host", "railway")
            .header("content-type", "application/json")
            .header(token.0, token.1)
            .body(Full::from(body.to_string()))
            .unwrap();
        tokio::time::timeout(WAIT, self.client.send(self.address, request)).await.expect("it answers")
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        // It may have ended already, which is as well.
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// What an agent calls with, as the stage hands it over.
pub(crate) fn token() -> Secret {
    Secret::new(PROJECT_TOKEN.to_owned())
}

/// How long an agent waits for a reply: voters keep to what they granted for as long.
pub(crate) const CALL: Duration = Duration::from_secs(8);

#[expect(clippy::disallowed_methods, reason = "tests have no configuration: the environment is theirs")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
