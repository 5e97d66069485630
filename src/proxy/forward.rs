//! One request, from the client's head to the reply's head.
//!
//! The order is fixed: our own pages, the guard, the scrubbing, the exchange, the reply. Bodies pass by themselves after
//! that; see `body`.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version, request, response};
use hyper::body::{Body as _, Incoming};
use hyper::upgrade::OnUpgrade;

use crate::engine::observation::Outcome;
use crate::proxy::account::{Account, method_of};
use crate::proxy::body::{Observed, ReplyBody, RequestBody};
use crate::proxy::exchange::{self, Answer};
use crate::proxy::plan::{LocalRequest, Phase};
use crate::proxy::reply::Refusal;
use crate::proxy::tunnel::Tunnel;
use crate::proxy::worker::{Line, Worker};
use crate::proxy::{guard, headers};

const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// What must be remembered of the request until its reply.
struct Asked {
    method: Method,
    version: Version,
    id: HeaderValue,
    upgrade: Option<(HeaderValue, OnUpgrade)>,
}

/// Answers one request of a client's connection.
pub(super) async fn handle(line: Rc<Line>, request: Request<Incoming>) -> Response<ReplyBody> {
    let worker = &line.worker;
    let mut reply = match own_page(worker, &request) {
        Some(page) => page,
        None => proxied(&line, request).await,
    };
    if worker.control.draining.load(Ordering::Relaxed) && reply.status() != StatusCode::SWITCHING_PROTOCOLS {
        reply.headers_mut().insert(header::CONNECTION, CLOSE);
    }
    reply
}

fn own_page(worker: &Worker, request: &Request<Incoming>) -> Option<Response<ReplyBody>> {
    let accept = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let asked = LocalRequest { method: request.method(), path: request.uri().path(), accept };
    let mut page = (worker.local)(&asked)?;
    if *request.method() == Method::HEAD {
        let length = page.body().len();
        page.headers_mut().entry(header::CONTENT_LENGTH).or_insert(HeaderValue::from(length));
        *page.body_mut() = bytes::Bytes::new();
    }
    Some(page.map(ReplyBody::local))
}

async fn proxied(line: &Rc<Line>, request: Request<Incoming>) -> Response<ReplyBody> {
    let worker = &line.worker;
    let now_us = worker.clock.micros();
    worker.load().last_arrival_us.store(now_us, Ordering::Relaxed);
    let (mut parts, body) = request.into_parts();
    let method = method_of(&parts.method);
    if let Err(refusal) = guard::check(&parts) {
        worker.shard.refused(method, refusal.status(), refusal.outcome());
        return refusal.reply(&parts.method, parts.headers.get(&headers::X_REQUEST_ID).cloned());
    }
    let whole = body.is_end_stream();
    // While the app starts, the wait for it is not its thinking time: that begins when the request is sent.
    let starting = worker.plan.load().stable.phase == Phase::Starting;
    let awaited_us = (whole && !starting).then_some(now_us);
    let mut account = Account::open(&worker.shard, worker.clock, &worker.cutting, method, awaited_us);
    let progress = Rc::clone(account.progress());
    let asked = scrub(line, &mut parts, whole, body.size_hint().exact().is_none());
    let request = Request::from_parts(parts, RequestBody::new(body, Rc::clone(&progress)));
    let answer = exchange::send(worker, request, &progress, whole).await;
    let refusal = match answer.and_then(|answer| usable(answer, &asked)) {
        Ok(answer) => return relay(line, account, answer, asked),
        Err(refusal) => refusal,
    };
    let outcome = refusal.outcome_in(worker.plan.load().stable.phase);
    account.head(refusal.status(), outcome);
    account.end(outcome);
    let mut reply = refusal.reply(&asked.method, Some(asked.id));
    if !whole {
        // The rest of the body is not waited for, so nothing may follow it.
        reply.headers_mut().insert(header::CONNECTION, CLOSE);
    }
    reply
}

/// Makes the client's head into the one that the app sees.
fn scrub(line: &Line, parts: &mut request::Parts, whole: bool, unsized_body: bool) -> Asked {
    let version = parts.version;
    let on_upgrade = parts.extensions.remove::<OnUpgrade>();
    parts.extensions.clear();
    headers::drop_twins(&mut parts.headers);
    let hop = headers::strip_hop(&mut parts.headers);
    headers::to_origin_form(parts);
    if version == Version::HTTP_10 {
        parts.headers.remove(header::EXPECT);
    }
    // Without a host it cannot be a message of version 1.1.
    if parts.headers.contains_key(header::HOST) {
        parts.version = Version::HTTP_11;
    }
    let random = fastrand::u128(..);
    let id = headers::request_id(&mut parts.headers, line.worker.clock.now(), random);
    headers::add_forwarded(&mut parts.headers, line.peer.ip());
    if unsized_body && !whole {
        // hyper would send a GET's body of unknown length as none.
        parts.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    let may_upgrade = whole && parts.method == Method::GET && version == Version::HTTP_11;
    let upgrade = hop.upgrade.zip(on_upgrade).filter(|_| may_upgrade);
    if let Some((protocol, _)) = &upgrade {
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(header::UPGRADE, protocol.clone());
    } else if hop.trailers {
        parts.headers.insert(header::TE, HeaderValue::from_static("trailers"));
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
    }
    Asked { method: parts.method.clone(), version, id, upgrade }
}

/// Whether the reply can be passed on: no coding that hyper would take off silently, no switch that nobody asked for.
fn usable(answer: Answer, asked: &Asked) -> Result<Answer, Refusal> {
    let head = answer.response.headers();
    let mut codings = head.get_all(header::TRANSFER_ENCODING).iter();
    let plain = match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    };
    let switching = answer.response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let switch_is_asked =
        asked.upgrade.as_ref().is_some_and(|(protocol, _)| headers::same_protocol(protocol, head));
    if plain && (!switching || switch_is_asked) { Ok(answer) } else { Err(Refusal::BadReply) }
}

fn relay(line: &Rc<Line>, mut account: Account, answer: Answer, asked: Asked) -> Response<ReplyBody> {
    let worker = &line.worker;
    let Answer { response, mut lease } = answer;
    let (mut parts, body) = response.into_parts();
    let early = !account.progress().is_sent();
    account.progress().answered();
    let on_upgrade = parts.extensions.remove::<OnUpgrade>();
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        account.head(parts.status.as_u16(), Outcome::Answered);
        account.end(Outcome::Answered);
        if let Some(((_, client), app)) = asked.upgrade.zip(on_upgrade) {
            *line.tunnel.borrow_mut() = Some(Tunnel::new(client, app, lease));
        }
        parts.version = Version::HTTP_11;
        return Response::from_parts(parts, ReplyBody::Local(None));
    }
    let chunked = parts.headers.contains_key(header::TRANSFER_ENCODING);
    if (chunked && parts.headers.remove(header::CONTENT_LENGTH).is_some()) || early {
        lease.spend();
    }
    if let Some(seconds) = headers::keep_alive_timeout(&parts.headers) {
        worker.pool.heard_timeout(seconds);
    }
    headers::strip_hop(&mut parts.headers);
    if parts.status == StatusCode::NO_CONTENT {
        parts.headers.remove(header::CONTENT_LENGTH);
    }
    parts.version = Version::HTTP_11;
    if early {
        parts.headers.insert(header::CONNECTION, CLOSE);
    }
    let ends_as = outcome_of(&parts, worker.plan.load().stable.phase);
    account.head(parts.status.as_u16(), ends_as);
    let by_close = asked.version == Version::HTTP_10 && !has_end(&parts.headers, &body);
    let reset = by_close.then(|| Arc::clone(&line.reset));
    let observed = Observed::new(body, account, ends_as, lease, reset);
    Response::from_parts(parts, ReplyBody::App(Box::new(observed)))
}

/// Whether a client without chunks can tell a short reply from a whole one.
fn has_end(headers: &HeaderMap, body: &Incoming) -> bool {
    body.is_end_stream() || headers.contains_key(header::CONTENT_LENGTH)
}

fn outcome_of(parts: &response::Parts, phase: Phase) -> Outcome {
    match parts.status {
        StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED => Outcome::Answered,
        StatusCode::SERVICE_UNAVAILABLE
            if phase == Phase::Draining && parts.headers.contains_key(header::RETRY_AFTER) =>
        {
            Outcome::Draining
        }
        status if status.is_server_error() => Outcome::AppError,
        _ => Outcome::Answered,
    }
}
