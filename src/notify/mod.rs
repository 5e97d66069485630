//! Telling people: an alert to a webhook or to Slack, and what came back.
//!
//! Owns each receiver's form and headers, what its answer means, and the rules of pace: when an alert is due at this
//! replica, when it is tried again, when several go as one. It deliberately does not know where alerts wait; whoever has
//! them asks [`pace`] what to do next and writes down what came of it.
//!
//! **Another receiver** is a [`Kind`], a document and the meaning of its answers; nothing else knows how many there are.
//!
//! Addresses are secrets: no error and no log names one.

pub mod pace;
mod slack;
#[cfg(test)]
mod tests;
mod webhook;

use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::config::Secret;
use crate::config::alerts::{Alerts, Hook};
use crate::engine::alert::Alert;
use crate::https::{self, Https, Reply, SetupError};

/// The longest that a receiver may ask us to wait; a longer wait is cut to this.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);
/// The shortest: who asks for none is asked again so soon all the same.
const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);
/// What is read of an answer's body at most, for what it says of a refusal.
const ANSWER_MAX: usize = 4096;
/// How long is waited where a receiver is busy and does not say for how long.
const BUSY: Duration = Duration::from_secs(30);
/// The longest word of an answer that is told on.
const WORD_MAX: usize = 64;

/// Who is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A program of the operator's.
    Webhook,
    /// A channel of Slack.
    Slack,
}

impl Kind {
    /// The name in metrics, logs and the outbox.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Slack => "slack",
        }
    }
}

/// One receiver.
#[derive(Clone, Debug)]
pub struct Channel {
    kind: Kind,
    hook: Hook,
    secret: Option<Secret>,
    timeout: Duration,
    https: Https,
}

/// What came of sending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It was taken.
    Told,
    /// The receiver is busy and says when to come again.
    Busy {
        /// After so long.
        after: Duration,
    },
    /// The receiver will not take it, as it seems.
    Refused {
        /// What it said.
        why: String,
    },
    /// It is not known whether it was taken, or surely was not: to be tried again.
    Failed {
        /// What is known.
        why: String,
    },
}

/// The receivers that are configured.
///
/// # Errors
///
/// TLS cannot be set up.
pub fn channels(config: &Alerts) -> Result<Vec<Channel>, SetupError> {
    let hooks = [(Kind::Webhook, &config.webhook), (Kind::Slack, &config.slack)];
    let hooks: Vec<(Kind, &Hook)> =
        hooks.into_iter().filter_map(|(kind, hook)| Some((kind, hook.as_ref()?))).collect();
    if hooks.is_empty() {
        return Ok(Vec::new());
    }
    let https = Https::new(None)?;
    let channel = |(kind, hook): (Kind, &Hook)| Channel {
        kind,
        hook: hook.clone(),
        secret: config.secret.clone(),
        timeout: config.timeout,
        https: https.clone(),
    };
    Ok(hooks.into_iter().map(channel).collect())
}

impl Channel {
    /// What it is.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// How long sending takes at most.
    pub const fn takes(&self) -> Duration {
        self.timeout.saturating_add(https::REST_TIMEOUT)
    }

    /// Sends it once. Its status alone says whether it was taken: a body that is lost changes nothing.
    pub async fn send(&self, alert: &Alert) -> Sent {
        let (headers, body) = match self.kind {
            Kind::Webhook => webhook::request(alert, self.secret.as_ref()),
            Kind::Slack => (HeaderMap::new(), slack::body(alert)),
        };
        match self.https.post_for_status(self.hook.expose(), headers, body, self.timeout, ANSWER_MAX).await {
            Ok(reply) => meaning(&reply),
            Err(error) => Sent::Failed { why: https::chain(&error) },
        }
    }
}

/// What an answer means; a redirect is not followed, for the secret in the address is not the other place's.
fn meaning(reply: &Reply) -> Sent {
    let status = reply.status;
    match () {
        () if status.is_success() => Sent::Told,
        () if status == StatusCode::TOO_MANY_REQUESTS => Sent::Busy { after: retry_after(&reply.headers) },
        () if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT => {
            Sent::Failed { why: format!("status {}", status.as_u16()) }
        }
        () => Sent::Refused { why: format!("status {}{}", status.as_u16(), word(&reply.body)) },
    }
}

/// Seconds; a date counts as none.
fn retry_after(headers: &HeaderMap) -> Duration {
    let seconds = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    seconds.map_or(BUSY, Duration::from_secs).clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX)
}

/// What Slack says of a refusal is one word, such as `no_service`. Longer answers may repeat what was sent, so they are not
/// told.
fn word(body: &[u8]) -> String {
    let is_word = |text: &&str| {
        let fits = |b: u8| b.is_ascii_lowercase() || b == b'_';
        !text.is_empty() && text.len() <= WORD_MAX && text.bytes().all(fits)
    };
    let text = std::str::from_utf8(body).ok().map(str::trim).filter(is_word);
    text.map_or_else(String::new, |text| format!(" ({text})"))
}

/// A header's value; what cannot stand in one is left out.
fn value(text: &str) -> HeaderValue {
    let visible: String = text.chars().filter(char::is_ascii_graphic).collect();
    HeaderValue::from_str(&visible).expect("visible ASCII is a header's value")
}
