//! The platform's HTTP API on loopback: what is deployed, and putting a release back.
//!
//! `GET /v1/deployments` answers `{"live": id|null, "deployments": [{"id", "release", "status", "created_at"}]}`.
//! `POST /v1/rollbacks` with `{"decision", "from", "to"}` answers 202 `{"deployment": id}`, the same for the same
//! decision however often it is asked, or 409 `{"error"}`.
//!
//! What stands before a stand-in of a hosted platform's own API needs more: `GET /v1/service` answers with everything that is so;
//! `POST /v1/orders` with `{"order": "roll_back"|"redeploy"|"cancel"|"restart", "deployment"}` and `POST /v1/variables` with
//! `{"set": {NAME: VALUE|null}, "replace", "deploy"}` answer 202 `{"deployment": id|null}` or 409 `{"error"}`.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::stage::StageError;
use crate::stage::http::{self as stage_http, Reply};
use crate::stage::platform::Platform;

/// How long open calls are given when the stage ends.
const DRAIN: Duration = Duration::from_secs(1);

/// A rollback as it is ordered.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct RollbackOrder {
    /// The decision's record: an order with the same is the same order.
    pub decision: String,
    /// The accused release; it must be live.
    pub from: String,
    /// The release to put back; it must have been live.
    pub to: String,
}

/// Serves until `stop`.
pub async fn serve(listener: TcpListener, platform: Arc<Platform>, stop: CancellationToken) {
    let handler = move |request| {
        let platform = platform.clone();
        async move { answer(&platform, request).await }
    };
    stage_http::serve(listener, stop, DRAIN, handler).await;
}

async fn answer(platform: &Arc<Platform>, request: Request<Incoming>) -> Reply {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/v1/deployments") => stage_http::json(StatusCode::OK, &deployments(platform)),
        (&Method::POST, "/v1/rollbacks") => roll_back(platform, request).await,
        (&Method::GET, "/v1/service") => stage_http::json(StatusCode::OK, &platform.service()),
        (&Method::POST, "/v1/orders") => {
            let order = |order| platform.carry_out(&order).map(Some);
            answer_with(request, order).await
        }
        (&Method::POST, "/v1/variables") => answer_with(request, |edit| platform.edit(&edit)).await,
        _ => stage_http::json(StatusCode::NOT_FOUND, &json!({ "error": "no such resource" })),
    }
}

fn deployments(platform: &Platform) -> serde_json::Value {
    let rows = platform.deployments().into_iter().map(|row| {
        json!({
            "id": row.id,
            "release": row.release,
            "status": row.status.label(),
            "created_at": row.created_at.to_string(),
        })
    });
    json!({ "live": platform.live().map(|live| live.deployment), "deployments": rows.collect::<Vec<_>>() })
}

async fn roll_back(platform: &Arc<Platform>, request: Request<Incoming>) -> Reply {
    answer_with(request, |order: RollbackOrder| platform.roll_back(order).map(Some)).await
}

/// Reads what is ordered, carries it out, and answers with the deployment that it made.
async fn answer_with<T: DeserializeOwned>(
    request: Request<Incoming>,
    carry_out: impl FnOnce(T) -> Result<Option<String>, StageError>,
) -> Reply {
    let bad = |error: String| stage_http::json(StatusCode::BAD_REQUEST, &json!({ "error": error }));
    let body = match stage_http::body(request).await {
        Ok(body) => body,
        Err(error) => return bad(error.to_string()),
    };
    let order: T = match serde_json::from_slice(&body) {
        Ok(order) => order,
        Err(error) => return bad(error.to_string()),
    };
    match carry_out(order) {
        Ok(deployment) => stage_http::json(StatusCode::ACCEPTED, &json!({ "deployment": deployment })),
        Err(error) => stage_http::json(StatusCode::CONFLICT, &json!({ "error": error.to_string() })),
    }
}
