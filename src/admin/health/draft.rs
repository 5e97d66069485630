//! The deep page in the form of draft-inadarei-api-health-check-06: three words, checks as lists under `name:measurement`.

use serde_json::{Map, Value, json};

use crate::admin::health::Detail;
use crate::admin::health::checks::{Check, Checks, millis};
use crate::admin::live::Live;
use crate::admin::view::rfc3339;
use crate::engine::time::Time;

/// The draft's word for a status of ours.
pub(super) fn word(status: &str) -> &'static str {
    match status {
        "healthy" | "ok" => "pass",
        "degraded" | "draining" | "unknown" => "warn",
        _ => "fail",
    }
}

pub(super) fn page(status: &str, live: Option<&Live>, checks: &Checks, detail: Detail, now: Time) -> Value {
    let release = live.map(|live| live.engine.release.as_str());
    let listed = checks.0.iter().map(|(name, check)| one(name, check, detail));
    json!({
        "status": word(status),
        "version": release,
        "releaseId": release,
        "serviceId": live.map(|live| live.service.name.as_str()),
        "description": live.map(|live| format!("{} in {}", live.service.name, live.service.environment)),
        "checks": listed.collect::<Map<_, _>>(),
        "time": rfc3339(now),
    })
}

fn one(name: &str, check: &Check, detail: Detail) -> (String, Value) {
    let measurement = if check.latency.is_some() { "responseTime" } else { "status" };
    let mut json = Map::new();
    json.insert("componentId".to_owned(), name.into());
    json.insert("componentType".to_owned(), check.component.into());
    json.insert("status".to_owned(), word(check.status).into());
    if let Some(latency) = check.latency {
        json.insert("observedValue".to_owned(), millis(latency).into());
        json.insert("observedUnit".to_owned(), "ms".into());
    }
    if let Some(at) = check.at.or(check.since) {
        json.insert("time".to_owned(), rfc3339(at).into());
    }
    if let Some(error) = check.error.as_ref().filter(|_| detail == Detail::All) {
        json.insert("output".to_owned(), error.clone().into());
    }
    (format!("{name}:{measurement}"), Value::Array(vec![json.into()]))
}
