//! The platform outside: it says what is live and carries out every order that it gets. Each agent has a door of its own,
//! so that it is known who came; what happens at the doors is told, and an order can be held open.

use std::net::{Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, StatusCode};
use outrigger::stage::http as stage_http;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

/// Knocks that a reader may fall behind.
const KNOCKS_MAX: usize = 4096;

/// Somebody came.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Knock {
    /// To read what is live.
    Read {
        /// Who.
        agent: String,
    },
    /// With an order, which is carried out.
    Ordered {
        /// Who.
        agent: String,
        /// What is to be put back.
        to: String,
    },
}

#[derive(Debug, Default)]
struct State {
    live: (String, String),
    orders: Vec<(String, String)>,
    deployments: usize,
}

/// The platform, until it is dropped.
pub(crate) struct Platform {
    host: Ipv6Addr,
    state: Arc<Mutex<State>>,
    knocks: broadcast::Sender<Knock>,
    /// While it is true no order is answered; what was ordered happens all the same.
    held: watch::Sender<bool>,
    stop: CancellationToken,
}

impl Platform {
    pub(crate) fn open(host: Ipv6Addr) -> Self {
        let (knocks, _) = broadcast::channel(KNOCKS_MAX);
        let held = watch::Sender::new(false);
        Self { host, state: Arc::default(), knocks, held, stop: CancellationToken::new() }
    }

    /// What is live now: a deployment and its release.
    pub(crate) fn live(&self, deployment: &str, release: &str) {
        let mut state = self.state.lock().unwrap();
        state.live = (deployment.to_owned(), release.to_owned());
        state.deployments += 1;
    }

    /// Holds every answer to an order back, or lets them go.
    pub(crate) fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// All orders so far: by whom, and what to put back. Each was carried out.
    pub(crate) fn orders(&self) -> Vec<(String, String)> {
        self.state.lock().unwrap().orders.clone()
    }

    /// Who comes from now on.
    pub(crate) fn knocks(&self) -> broadcast::Receiver<Knock> {
        self.knocks.subscribe()
    }

    /// A door for one agent.
    pub(crate) async fn door(&self, agent: &str) -> SocketAddr {
        let listener = TcpListener::bind(SocketAddr::from((self.host, 0))).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (agent, state, knocks) = (agent.to_owned(), self.state.clone(), self.knocks.clone());
        let held = self.held.subscribe();
        let handler = move |request: http::Request<hyper::body::Incoming>| {
            let (agent, state, knocks) = (agent.clone(), state.clone(), knocks.clone());
            let mut held = held.clone();
            async move {
                if request.method() == Method::GET {
                    let _nobody = knocks.send(Knock::Read { agent });
                    return stage_http::json(StatusCode::OK, &deployments(&state.lock().unwrap()));
                }
                let body = stage_http::body(request).await.unwrap_or_default();
                let order: Value = serde_json::from_slice(&body).unwrap_or_default();
                let to = order["to"].as_str().unwrap_or("?").to_owned();
                let deployment = take(&mut state.lock().unwrap(), &agent, &to);
                let _nobody = knocks.send(Knock::Ordered { agent, to });
                // The platform that goes away has no answer either.
                let _gone = held.wait_for(|held| !held).await;
                stage_http::json(StatusCode::ACCEPTED, &json!({ "deployment": deployment }))
            }
        };
        tokio::spawn(stage_http::serve(listener, self.stop.child_token(), Duration::ZERO, handler));
        address
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn deployments(state: &State) -> Value {
    let (live, release) = &state.live;
    json!({ "live": live, "deployments": [{ "id": live, "release": release, "status": "live", "created_at": "" }] })
}

/// Every order makes another deployment, which is live at once.
fn take(state: &mut State, agent: &str, to: &str) -> String {
    state.orders.push((agent.to_owned(), to.to_owned()));
    state.deployments += 1;
    let deployment = format!("d{}", state.deployments);
    state.live = (deployment.clone(), to.to_owned());
    deployment
}
