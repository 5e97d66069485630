//! The client against a scripted API: headers, errors of every kind, limits, and that no token is told.

use super::*;
use crate::config::Secret;
use crate::platform::railway::documents::{self as form, HISTORY, LIVE, ROLL_BACK};
use crate::platform::railway::script::{Say, TOKEN, start};

const LONG: Duration = Duration::from_secs(10);

async fn asked(say: Say) -> Result<form::Live, ApiError> {
    let (config, _log) = start(move |_, _| say.clone()).await;
    let client = Client::new(config.url, config.token.unwrap(), 100, Clock::start());
    client.ask(LIVE, json!({}), Purpose::Read, LONG).await
}

fn raw(status: u16, head: &str, body: &str) -> Say {
    Say::Raw(status, head.to_owned(), body.to_owned())
}

#[tokio::test]
async fn each_kind_of_token_goes_into_its_own_header() {
    for (kind, expected) in [
        (TokenKind::Project, format!("project-access-token: {TOKEN}")),
        (TokenKind::Account, format!("authorization: bearer {TOKEN}")),
    ] {
        let (config, log) = start(|_, _| Say::Data(json!({"deploymentRollback": true}))).await;
        let token = RailwayToken { kind, secret: Secret::new(TOKEN.to_owned()) };
        let client = Client::new(config.url, token, 100, Clock::start());
        let taken: form::RolledBack =
            client.ask(ROLL_BACK, json!({"id": "d-1"}), Purpose::Act, LONG).await.unwrap();
        assert!(taken.deployment_rollback);
        let asked = log.all().remove(0);
        assert!(asked.head.contains(&expected), "{}", asked.head);
        let others =
            ["project-access-token", "authorization"].iter().filter(|it| asked.head.contains(**it)).count();
        assert_eq!((others, asked.variables), (1, json!({"id": "d-1"})));
    }
}

#[tokio::test]
async fn errors_come_with_any_status() {
    let gone =
        r#"{"errors":[{"message":"Cannot query field \"activeDeployments\" on type \"ServiceInstance\"."}]}"#;
    for (say, expected) in [
        (Say::Error("Not Authorized"), "NotAuthorised"),
        (Say::Error("Deployment is not rollbackable"), "Refused"),
        (Say::Error("Problem processing request"), "Server"),
        (raw(400, "", gone), "Schema"),
        (raw(200, "", gone), "Schema"),
        (raw(401, "", "no"), "NotAuthorised"),
        (raw(403, "", "{}"), "NotAuthorised"),
        (raw(502, "", "<html>Bad gateway</html>"), "Server"),
        (raw(200, "", "<html>hello</html>"), "NotUnderstood"),
        (raw(200, "", "{}"), "NotUnderstood"),
        (raw(200, "", r#"{"data":null}"#), "NotUnderstood"),
        (raw(200, "", r#"{"data":{"serviceInstance":{"activeDeployments":7}}}"#), "NotUnderstood"),
        (raw(404, "", "nothing here"), "NotUnderstood"),
        (Say::Half, "Call"),
        (raw(200, "", &"x".repeat(5 * 1024 * 1024)), "Call"),
    ] {
        let error = asked(say).await.unwrap_err();
        assert!(format!("{error:?}").starts_with(expected), "expected {expected}: {error:?}");
        let is_certain = matches!(expected, "NotAuthorised" | "Refused" | "Schema");
        assert_eq!(error.is_certain(), is_certain, "{error:?}");
    }
}

#[tokio::test]
async fn a_field_that_is_gone_is_named() {
    let gone =
        r#"{"errors":[{"message":"Cannot query field \"activeDeployments\" on type \"ServiceInstance\"."}]}"#;
    let text = asked(raw(400, "", gone)).await.unwrap_err().to_string();
    assert!(text.contains("activeDeployments") && text.contains("needs an update"), "{text}");
}

#[tokio::test]
async fn silence_ends_with_the_limit_and_is_no_certain_no() {
    let (config, _log) = start(|_, _| Say::Silence).await;
    let client = Client::new(config.url, config.token.unwrap(), 100, Clock::start());
    let limit = Duration::from_millis(50);
    let late = client.ask::<form::Live>(LIVE, json!({}), Purpose::Act, limit).await.unwrap_err();
    assert!(
        matches!(late, ApiError::Call { source: crate::https::CallError::TimedOut { .. }, .. }),
        "{late:?}"
    );
    assert!(!late.is_certain());
    let closed = Url::parse("http://127.0.0.1:1/").unwrap();
    let token = RailwayToken { kind: TokenKind::Project, secret: Secret::new(TOKEN.to_owned()) };
    let client = Client::new(closed, token, 100, Clock::start());
    let refused = client.ask::<form::Live>(LIVE, json!({}), Purpose::Act, LONG).await.unwrap_err();
    assert!(refused.is_certain(), "nothing was sent: {refused:?}");
}

#[tokio::test]
async fn after_too_many_requests_no_read_is_sent_and_an_act_is() {
    let (config, log) = start(|_, before| match before {
        0 => raw(429, "retry-after: 30\r\nx-ratelimit-limit: 1000\r\nx-ratelimit-remaining: 0\r\n", "{}"),
        _ => Say::Data(json!({"serviceInstance": {"activeDeployments": []}})),
    })
    .await;
    let client = Client::new(config.url, config.token.unwrap(), 100, Clock::start());
    let first = client.ask::<form::Live>(LIVE, json!({}), Purpose::Read, LONG).await.unwrap_err();
    assert!(first.to_string().contains("ask again in 30s"), "{first}");
    let held = client.ask::<form::Live>(LIVE, json!({}), Purpose::Read, LONG).await.unwrap_err();
    assert!(matches!(held, ApiError::HeldOff { .. }), "{held:?}");
    assert_eq!(log.count("Live"), 1);
    assert_eq!(client.quota(), Some(Quota { limit: Some(1000), remaining: 0 }));
    client.ask::<form::Live>(LIVE, json!({}), Purpose::Act, LONG).await.unwrap();
    assert_eq!(log.count("Live"), 2);
}

#[tokio::test]
async fn words_about_a_limit_of_deployments_do_not_stop_reading() {
    let (config, log) = start(|_, before| match before {
        0 => Say::Error("Service deployment rate limit exceeded"),
        _ => Say::Data(json!({"serviceInstance": {"activeDeployments": []}})),
    })
    .await;
    let client = Client::new(config.url, config.token.unwrap(), 100, Clock::start());
    let first = client.ask::<form::Live>(LIVE, json!({}), Purpose::Read, LONG).await.unwrap_err();
    assert!(matches!(first, ApiError::RateLimited { retry_after: None, .. }), "{first:?}");
    client.ask::<form::Live>(LIVE, json!({}), Purpose::Read, LONG).await.unwrap();
    assert_eq!(log.count("Live"), 2);
}

#[tokio::test]
async fn nothing_that_is_told_holds_the_token() {
    let echo = format!(r#"{{"errors":[{{"message":"token {TOKEN} is \u001b[31mbad"}}]}}"#);
    let errors = [
        asked(raw(200, "", &echo)).await.unwrap_err(),
        asked(raw(500, "", &format!("<p>{TOKEN}</p>"))).await.unwrap_err(),
        asked(Say::Half).await.unwrap_err(),
    ];
    for error in errors {
        let text = format!("{error:?} {}", chain(&error));
        assert!(!text.contains(TOKEN) && !text.contains('\u{1b}'), "{text}");
    }
}

#[tokio::test]
async fn deployments_are_read_whatever_else_they_hold() {
    let node = |id: &str, status: &str, meta: Value| {
        json!({"node": {"id": id, "status": status, "createdAt": "2026-11-23T10:00:00.000Z", "canRollback": true,
            "canRedeploy": true, "meta": meta, "statusUpdatedAt": null, "new": 1}})
    };
    let data = json!({"deployments": {"edges": [
        node("a", "CANCELLED", json!("{\"commitHash\":\"c1\"}")),
        node("b", "REMOVED", json!({"commitHash": "c2", "imageDigest": 7})),
        node("c", "SUCCESS", Value::Null),
    ]}});
    let (config, _log) = start(move |_, _| Say::Data(data.clone())).await;
    let client = Client::new(config.url, config.token.unwrap(), 100, Clock::start());
    let read: form::History = client.ask(HISTORY, json!({}), Purpose::Read, LONG).await.unwrap();
    let commits: Vec<_> = read.deployments.into_nodes().into_iter().map(|it| it.image.commit).collect();
    assert_eq!(commits, [Some("c1".to_owned()), Some("c2".to_owned()), None]);
}
