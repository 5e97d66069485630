//! Why the API did not do what it was asked, and what that means: was anything done, may it be asked again, what should a
//! person do.
//!
//! **GraphQL's errors come with HTTP 200**, and some with 400; the status alone says nothing.

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;

use crate::config::TokenKind;
use crate::https::CallError;

/// How much of what the API said is kept, in characters; the rest is cut off.
const SAID_MAX: usize = 400;
/// How many of a reply's errors are told; the others are left out.
const ERRORS_MAX: usize = 3;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    #[error("the client could not be set up: {0}")]
    Setup(String),
    #[error(
        "this agent's own limit of {per_hour} requests an hour (platform.requests_per_hour) is spent; there is room for \
         the next one in {}",
        humantime::format_duration(*after)
    )]
    Budget { per_hour: u32, after: Duration },
    #[error("Railway's limit of requests is spent; it is asked again in {}", humantime::format_duration(*after))]
    HeldOff { after: Duration },
    #[error("the question `{document}` got no answer")]
    Call {
        document: &'static str,
        #[source]
        source: CallError,
    },
    #[error("Railway does not allow `{document}` with this token ({said}); {}", remedy(said, *kind))]
    NotAuthorised { document: &'static str, said: String, kind: TokenKind },
    #[error("Railway's limit of requests is spent ({said}){}", again(*retry_after))]
    RateLimited { said: String, retry_after: Option<Duration> },
    #[error(
        "Railway's API does not understand `{document}`: {said}; the API has moved on, this version of Outrigger needs an \
         update"
    )]
    Schema { document: &'static str, said: String },
    #[error("Railway refused `{document}`: {said}")]
    Refused { document: &'static str, said: String },
    #[error("Railway failed at `{document}` ({status}): {said}")]
    Server { document: &'static str, status: StatusCode, said: String },
    #[error("Railway's answer to `{document}` ({status}) is not understood: {what}")]
    NotUnderstood { document: &'static str, status: StatusCode, what: String },
}

impl ApiError {
    /// Whether nothing was done for certain: it was not sent, or Railway said no.
    pub(super) const fn is_certain(&self) -> bool {
        match self {
            Self::Setup(_)
            | Self::Budget { .. }
            | Self::HeldOff { .. }
            | Self::NotAuthorised { .. }
            | Self::RateLimited { .. }
            | Self::Schema { .. }
            | Self::Refused { .. } => true,
            Self::Call { source, .. } => source.is_before_sending(),
            Self::Server { .. } | Self::NotUnderstood { .. } => false,
        }
    }
}

fn again(after: Option<Duration>) -> String {
    after.map_or_else(String::new, |after| {
        format!("; it says to ask again in {}", humantime::format_duration(after))
    })
}

/// Railway says "Not Authorized" of a token that is unknown and of one in the wrong header, and "Bad Access" of one that may
/// not do just this.
fn remedy(said: &str, kind: TokenKind) -> &'static str {
    match (has(said, "bad access"), kind) {
        (true, TokenKind::Project) => {
            "a project's token may not do this; an account's (RAILWAY_API_TOKEN) may"
        }
        (true, TokenKind::Account) => "the account has no right to do this in that project",
        (false, TokenKind::Project) => {
            "RAILWAY_TOKEN must hold a valid project token of this environment; a token of an account or a workspace \
             belongs into RAILWAY_API_TOKEN"
        }
        (false, TokenKind::Account) => {
            "RAILWAY_API_TOKEN must hold a valid token of an account or a workspace that sees the project; a project \
             token belongs into RAILWAY_TOKEN"
        }
    }
}

/// One of GraphQL's errors.
#[derive(Debug, Deserialize)]
pub(super) struct Complaint {
    #[serde(default)]
    message: String,
    #[serde(default)]
    extensions: serde_json::Value,
}

impl Complaint {
    fn code(&self) -> &str {
        self.extensions.get("code").and_then(serde_json::Value::as_str).unwrap_or_default()
    }
}

/// What errors in a reply mean. `tidy` makes somebody else's text fit for a record.
pub(super) fn of_complaints(
    document: &'static str,
    status: StatusCode,
    kind: TokenKind,
    complaints: &[Complaint],
    tidy: impl Fn(&str) -> String,
) -> ApiError {
    let told: Vec<&str> = complaints.iter().take(ERRORS_MAX).map(|it| it.message.as_str()).collect();
    let said = cut(&tidy(&told.join("; ")));
    let any = |test: &dyn Fn(&Complaint) -> bool| complaints.iter().any(test);
    if any(&|it| is_not_authorised(it)) {
        ApiError::NotAuthorised { document, said, kind }
    } else if status == StatusCode::TOO_MANY_REQUESTS || any(&|it| is_rate_limit(it)) {
        ApiError::RateLimited { said, retry_after: None }
    } else if any(&|it| is_validation(it)) {
        ApiError::Schema { document, said }
    } else if status.is_server_error() || any(&|it| is_of_the_server(it)) {
        ApiError::Server { document, status, said }
    } else {
        ApiError::Refused { document, said }
    }
}

/// What a reply means that is not GraphQL's; `None`: its status says nothing.
pub(super) fn of_status(
    document: &'static str,
    status: StatusCode,
    kind: TokenKind,
    text: &str,
) -> Option<ApiError> {
    let said = if text.is_empty() { status.to_string() } else { cut(text) };
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Some(ApiError::NotAuthorised { document, said, kind })
        }
        StatusCode::TOO_MANY_REQUESTS => Some(ApiError::RateLimited { said, retry_after: None }),
        status if status.is_server_error() => Some(ApiError::Server { document, status, said }),
        _ => None,
    }
}

pub(super) fn cut(text: &str) -> String {
    text.chars().take(SAID_MAX).collect()
}

fn has(text: &str, part: &str) -> bool {
    text.to_ascii_lowercase().contains(part)
}

fn is_not_authorised(complaint: &Complaint) -> bool {
    let words =
        ["not authorized", "not authorised", "unauthorized", "unauthenticated", "bad access", "forbidden"];
    matches!(complaint.code(), "UNAUTHENTICATED" | "FORBIDDEN")
        || words.iter().any(|word| has(&complaint.message, word))
}

fn is_rate_limit(complaint: &Complaint) -> bool {
    matches!(complaint.code(), "RATE_LIMITED" | "TOO_MANY_REQUESTS")
        || has(&complaint.message, "rate limit")
        || has(&complaint.message, "too many requests")
}

fn is_validation(complaint: &Complaint) -> bool {
    const STARTS: [&str; 7] = [
        "cannot query field",
        "unknown argument",
        "unknown type",
        "unknown fragment",
        "syntax error",
        "field \"",
        "variable \"$",
    ];
    matches!(complaint.code(), "GRAPHQL_VALIDATION_FAILED" | "GRAPHQL_PARSE_FAILED" | "BAD_USER_INPUT")
        || STARTS.iter().any(|start| complaint.message.to_ascii_lowercase().starts_with(start))
}

/// What Railway says instead of what went wrong within it; it may have been done all the same.
fn is_of_the_server(complaint: &Complaint) -> bool {
    complaint.code() == "INTERNAL_SERVER_ERROR"
        || complaint.message.is_empty()
        || ["problem processing request", "internal server error", "timed out", "timeout"]
            .iter()
            .any(|words| has(&complaint.message, words))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn classified(status: u16, message: &str, code: &str) -> ApiError {
        let complaint =
            serde_json::from_value(json!({"message": message, "extensions": {"code": code}})).unwrap();
        let status = StatusCode::from_u16(status).unwrap();
        of_complaints("x", status, TokenKind::Project, &[complaint], str::to_owned)
    }

    #[test]
    fn each_complaint_has_its_meaning() {
        for (status, message, code, expected) in [
            (200, "Not Authorized", "INTERNAL_SERVER_ERROR", "NotAuthorised"),
            (200, "Bad Access", "", "NotAuthorised"),
            (200, "Service deployment rate limit exceeded", "", "RateLimited"),
            (429, "Slow down", "", "RateLimited"),
            (400, "Cannot query field \"canRollbck\" on type \"Deployment\".", "", "Schema"),
            (400, "Something new", "GRAPHQL_VALIDATION_FAILED", "Schema"),
            (
                200,
                "Field \"deploymentRollback\" must not have a selection since type \"Boolean!\" has no subfields.",
                "",
                "Schema",
            ),
            (200, "Problem processing request", "INTERNAL_SERVER_ERROR", "Server"),
            (200, "", "", "Server"),
            (502, "Deployment is not rollbackable", "", "Server"),
            (200, "Deployment is not rollbackable", "", "Refused"),
            (400, "Deployment not found", "NOT_FOUND", "Refused"),
        ] {
            let error = classified(status, message, code);
            assert!(format!("{error:?}").starts_with(expected), "{message}: {error:?}");
            assert_eq!(error.is_certain(), expected != "Server", "{error}");
        }
    }

    #[test]
    fn the_field_that_is_gone_and_the_remedy_are_told() {
        let gone =
            classified(400, "Cannot query field \"canRollback\" on type \"Deployment\".", "").to_string();
        assert!(gone.contains("\"canRollback\"") && gone.contains("needs an update"), "{gone}");
        let wrong = classified(200, "Not Authorized", "").to_string();
        assert!(wrong.contains("RAILWAY_TOKEN") && wrong.contains("RAILWAY_API_TOKEN"), "{wrong}");
        let narrow = classified(200, "Bad Access", "").to_string();
        assert!(narrow.contains("a project's token may not do this"), "{narrow}");
    }
}
