//! One question to the API and its answer. It owns the token's header, the bounds and the errors' meaning; it repeats
//! nothing and decides nothing.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use url::Url;

use crate::clock::Clock;
use crate::config::{RailwayToken, TokenKind};
use crate::https::{Https, chain};
use crate::platform::printable;
use crate::platform::railway::documents::Document;
use crate::platform::railway::examination::Quota;
use crate::platform::railway::fault::{ApiError, Complaint, cut, of_complaints, of_status};
use crate::platform::railway::gauge::{Gauge, Purpose};

/// How long one request may take; an order's own limit counts, too.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// The header of a project's token; an account's goes into `Authorization`.
const PROJECT_TOKEN: HeaderName = HeaderName::from_static("project-access-token");

/// Asks the API.
pub(super) struct Client {
    https: Result<Https, String>,
    url: Url,
    token: RailwayToken,
    clock: Clock,
    gauge: Mutex<Gauge>,
}

#[derive(Deserialize)]
struct Envelope {
    data: Option<Value>,
    #[serde(default)]
    errors: Option<Vec<Complaint>>,
}

impl Client {
    pub(super) fn new(url: Url, token: RailwayToken, per_hour: u32, clock: Clock) -> Self {
        let https = Https::new(None).map_err(|error| chain(&error));
        let gauge = Mutex::new(Gauge::new(per_hour, clock.uptime()));
        Self { https, url, token, clock, gauge }
    }

    /// What is left of the API's own limit, by its last reply.
    pub(super) fn quota(&self) -> Option<Quota> {
        self.gauge().quota()
    }

    /// Whether our own limit leaves room for so many looks.
    pub(super) fn has_room(&self, looks: u32) -> bool {
        self.gauge().has_room(self.clock.uptime(), looks)
    }

    /// Asks, within `limit` and [`REQUEST_TIMEOUT`].
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        document: Document,
        variables: Value,
        purpose: Purpose,
        limit: Duration,
    ) -> Result<T, ApiError> {
        let name = document.name;
        let https = self.https.as_ref().map_err(|reason| ApiError::Setup(reason.clone()))?;
        self.gauge().take(self.clock.uptime(), purpose)?;
        let body = json!({"query": document.text, "variables": variables}).to_string().into_bytes();
        let limit = limit.min(REQUEST_TIMEOUT);
        let reply = https.post_json(&self.url, self.headers()?, body, limit).await;
        let reply = reply.map_err(|source| ApiError::Call { document: name, source })?;
        self.gauge().note(&reply.headers);
        let answer = self.answer(name, reply.status, &reply.body);
        match answer {
            Ok(value) => serde_json::from_value(value).map_err(|error| ApiError::NotUnderstood {
                document: name,
                status: reply.status,
                what: cut(&error.to_string()),
            }),
            // Only the status is about requests: the same words may be about deployments.
            Err(ApiError::RateLimited { said, .. }) if reply.status == StatusCode::TOO_MANY_REQUESTS => {
                let rest = self.gauge().hold_off(self.clock.uptime(), &reply.headers);
                Err(ApiError::RateLimited { said, retry_after: Some(rest) })
            }
            Err(error) => Err(error),
        }
    }

    fn answer(&self, name: &'static str, status: StatusCode, body: &[u8]) -> Result<Value, ApiError> {
        let kind = self.token.kind;
        let Ok(envelope) = serde_json::from_slice::<Envelope>(body) else {
            let of_status = of_status(name, status, kind, &self.tidy(&String::from_utf8_lossy(body)));
            let what = "it is not GraphQL's JSON".to_owned();
            return Err(of_status.unwrap_or(ApiError::NotUnderstood { document: name, status, what }));
        };
        let complaints = envelope.errors.unwrap_or_default();
        if !complaints.is_empty() {
            return Err(of_complaints(name, status, kind, &complaints, |text| self.tidy(text)));
        }
        if let Some(error) = of_status(name, status, kind, "") {
            return Err(error);
        }
        let missing =
            || ApiError::NotUnderstood { document: name, status, what: "it holds no data".to_owned() };
        envelope.data.filter(|data| !data.is_null()).ok_or_else(missing)
    }

    /// Somebody else's text, fit for a record: should it echo the token, that is left out.
    fn tidy(&self, text: &str) -> String {
        printable(text.as_bytes()).replace(self.token.secret.expose(), "[secret]")
    }

    fn headers(&self) -> Result<HeaderMap, ApiError> {
        let secret = self.token.secret.expose();
        let (name, text) = match self.token.kind {
            TokenKind::Project => (PROJECT_TOKEN, secret.to_owned()),
            TokenKind::Account => (header::AUTHORIZATION, format!("Bearer {secret}")),
        };
        let unfit = |_| ApiError::Setup("the token does not fit into a header".to_owned());
        let mut value = HeaderValue::from_str(&text).map_err(unfit)?;
        value.set_sensitive(true);
        Ok(HeaderMap::from_iter([(name, value)]))
    }

    fn gauge(&self) -> MutexGuard<'_, Gauge> {
        self.gauge.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
