//! What must be remembered of a request until its reply, and the head that the app is sent.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use crate::engine::observation;
use crate::engine::time::Time;
use crate::proxy::account::{Account, method_of};
use crate::proxy::client::Line;
use crate::proxy::connect;
use crate::proxy::h1::{self, Added, Framing, Request};
use crate::proxy::plan::{Phase, Plan};
use crate::proxy::split::{
    self, ArmId, Body, Choice, Chosen, Facts, Failure, Scheme, Split, crossing, mirror,
};
use crate::proxy::worker::Worker;
use crate::recorder::{self, Traffic};

/// The host that the platform's health check names.
const HEALTH_HOST: &[u8] = b"healthcheck.railway.app";

/// One request on its way.
#[derive(Debug)]
pub(super) struct Asked {
    /// Its entry in the recorder.
    pub(super) account: Account,
    /// The head that the app is sent.
    pub(super) head: Vec<u8>,
    pub(super) method: observation::Method,
    /// Of the client's version: 0 or 1.
    pub(super) minor: u8,
    pub(super) framing: Framing,
    /// The client would send another request on this connection.
    pub(super) keep_alive: bool,
    pub(super) expects_continue: bool,
    /// It asks to switch protocols.
    pub(super) upgrades: bool,
    /// Where it goes.
    pub(super) arm: ArmId,
    /// The cookie that its reply should set.
    pub(super) cookie: Option<String>,
    /// The plan by which it may still go to the other app.
    pub(super) plan: Option<Arc<Plan>>,
    class: Traffic,
}

impl Asked {
    /// Whether it has no body.
    pub(super) const fn is_whole(&self) -> bool {
        matches!(self.framing, Framing::None | Framing::Length(0))
    }

    /// Whether sending it twice does no harm: safe by its method, and without a body.
    pub(super) const fn is_repeatable(&self) -> bool {
        use observation::Method::{Get, Head, Options};
        self.is_whole() && matches!(self.method, Get | Head | Options)
    }

    /// Whether its reply has no body, whatever its head says.
    pub(super) fn is_head(&self) -> bool {
        self.method == observation::Method::Head
    }

    /// A field of the head that the app is sent.
    pub(super) fn field(&self, name: &str) -> Option<&[u8]> {
        let lines = self.head.split(|&b| b == b'\n').skip(1);
        let fields = lines.filter_map(|line| {
            let colon = line.iter().position(|&b| b == b':')?;
            Some((&line[..colon], line[colon + 1..].trim_ascii()))
        });
        let mut named = fields.filter(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()));
        named.next().map(|(_, value)| value)
    }

    /// What the rules of a split look at.
    fn as_crossing(&self) -> crossing::Asked<'_> {
        let line = self.head.split(|&b| b == b'\r').next().unwrap_or_default();
        let mut words = line.split(|&b| b == b' ');
        let body = match self.framing {
            Framing::None | Framing::Length(0) => Body::Empty,
            Framing::Length(length) => Body::Length(length),
            Framing::Chunked | Framing::Close => Body::Unknown,
        };
        crossing::Asked {
            method: words.next().unwrap_or_default(),
            path: words.next().unwrap_or_default(),
            body,
            is_upgrade: self.upgrades,
            is_copy: self.field(mirror::MARK).is_some(),
        }
    }

    /// The split by which it may still go to the other app.
    pub(super) fn split(&self) -> Option<&Split> {
        self.plan.as_ref()?.split.as_ref()
    }

    /// Whether the candidate's failure is mended by the stable app.
    pub(super) fn is_rescued(&self, split: &Split, failure: Failure) -> bool {
        split::may_rescue(split, self.arm, &self.as_crossing(), failure)
    }

    /// Whether the other app is asked instead of passing on a reply with this status.
    pub(super) fn is_asked_elsewhere(&self, split: &Split, status: u16) -> bool {
        split::may_fall_back(split, self.arm, &self.as_crossing(), status)
            || self.is_rescued(split, Failure::Status(status))
    }

    /// Sends it to the other app: the entry with the first is closed, and one with the other is opened. From then on it
    /// crosses no more.
    pub(super) fn cross(&mut self, worker: &Worker, status: u16, outcome: observation::Outcome) {
        self.account.refuse(status, outcome);
        self.arm = self.arm.other();
        self.plan = None;
        let crossing = self.as_crossing();
        let path = crossing.path.split(|&b| b == b'?').next().unwrap_or_default();
        let asked = recorder::Asked { method: self.method, path, class: self.class };
        let now_us = worker.clock.micros();
        let whole = self.is_whole().then_some(now_us);
        let shard = worker.shard_of(self.arm);
        self.account = Account::open(shard, worker.clock, &worker.cutting, &asked, now_us, whole);
    }

    /// Sends a copy to the candidate, where the plan says so. Nobody waits for it.
    fn mirror(&self, worker: &Rc<Worker>, split: &Split, body: &[u8]) {
        let Some(rules) = &split.mirror else { return };
        // No body is gathered for a copy: what is safe seldom has one, and a short one comes with its head.
        let length = match self.framing {
            Framing::None => Some(0),
            Framing::Length(length) => usize::try_from(length).ok(),
            Framing::Chunked | Framing::Close => None,
        };
        let Some(body) = length.and_then(|length| body.get(..length)) else { return };
        if !split::should_mirror(split, self.arm, &self.as_crossing(), &worker.mirrored) {
            return;
        }
        let Some(place) = worker.copies.begin() else { return };
        let mut copy = mirror::copy_of(&self.head, rules);
        copy.extend_from_slice(body);
        let (worker, arm) = (Rc::clone(worker), split.candidate.clone());
        tokio::task::spawn_local(async move {
            if let Ok(socket) = connect::once(&worker, ArmId::Candidate, &arm).await {
                let outcome = mirror::send_on(socket, copy).await;
                tracing::trace!(?outcome, "copy of a request ended");
            }
            drop(place);
        });
    }
}

/// Chooses the app, opens the request's entry, and renders the head for the app. `body`: what has come of it.
pub(super) fn take(line: &Line, request: &Request<'_>, body: &[u8], began_us: u64) -> Asked {
    let worker = &line.worker;
    let plan = worker.plan.load();
    let chosen = plan.split.as_ref().map(|split| choose(line, request, split));
    let arm = chosen.map_or(ArmId::Stable, |chosen| chosen.arm);
    let method = method_of(request.method);
    let whole = matches!(request.framing, Framing::None | Framing::Length(0));
    // While the app starts, the wait for it is not its thinking time: that begins when the request is sent.
    let starting =
        worker.arm(&plan, arm).is_some_and(|arm| matches!(arm.phase, Phase::Starting | Phase::Warming));
    let awaited_us = (whole && !starting).then_some(began_us);
    let class = class_of(line, request, method);
    let asked = recorder::Asked { method, path: request.path(), class };
    let account =
        Account::open(worker.shard_of(arm), worker.clock, &worker.cutting, &asked, began_us, awaited_us);
    let asked = Asked {
        account,
        head: render(line, request),
        method,
        minor: request.minor,
        framing: request.framing,
        keep_alive: request.keep_alive,
        expects_continue: request.expects_continue,
        upgrades: request.upgrade.is_some(),
        arm,
        cookie: cookie(plan.split.as_ref(), chosen, request),
        plan: plan.split.is_some().then(|| Arc::clone(&plan)),
        class,
    };
    if let Some(split) = &plan.split {
        asked.mirror(worker, split, body);
    }
    asked
}

fn choose(line: &Line, request: &Request<'_>, split: &Split) -> Chosen {
    let facts = Facts {
        field: &|name| request.field(name),
        cookie: &|name| request.cookie(name),
        peer: line.peer.ip(),
    };
    split::choose(split, &facts, &line.worker.chosen)
}

/// The value of the `Set-Cookie` that the reply should carry.
fn cookie(split: Option<&Split>, chosen: Option<Chosen>, request: &Request<'_>) -> Option<String> {
    let (split, bucket) = (split?, chosen?.bucket?);
    let Choice::Cookie { max_age } = split.choice else { return None };
    let scheme = Scheme::of(request.field("x-forwarded-proto"));
    Some(split::set_cookie(bucket, scheme, max_age))
}

fn render(line: &Line, request: &Request<'_>) -> Vec<u8> {
    let worker = &line.worker;
    let mut head = worker.buffers.text();
    let id = (!request.has_request_id).then(|| request_id(worker.clock.now(), fastrand::u128(..)));
    let added = Added {
        request_id: id.as_ref().map(|id| id.as_slice()),
        forwarded_for: (!request.has_forwarded_for).then(|| line.address().as_bytes()),
        forwarded_proto: (!request.has_forwarded_proto).then_some(b"http"),
        forwarded_host: request.host.filter(|_| !request.has_forwarded_host),
        drop_cookie: Some(split::COOKIE),
        close: false,
    };
    h1::request_head(request, &added, request.upgrade.is_some(), &mut head);
    head
}

/// The platform's health check is in nobody's figures. It is known by its method, its host and where it comes from: a
/// user can write the host, but does not come from there.
fn class_of(line: &Line, request: &Request<'_>, method: observation::Method) -> Traffic {
    let is_check = request.host == Some(HEALTH_HOST)
        && matches!(method, observation::Method::Get | observation::Method::Head)
        && is_of_the_platform(line.peer.ip().to_canonical());
    if is_check { Traffic::Health } else { Traffic::User }
}

/// Whether an address is loopback or of the shared range that the platform checks from (RFC 6598).
fn is_of_the_platform(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || (v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64),
        IpAddr::V6(v6) => v6.is_loopback(),
    }
}

/// A UUID of version 7 (RFC 9562, 5.7) from the time and `random`.
pub(super) fn request_id(now: Time, random: u128) -> [u8; 36] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let millis = u128::from(now.as_millis()) & 0xffff_ffff_ffff;
    let bits = (millis << 80) | (0x7 << 76) | (random & 0x0fff_3fff_ffff_ffff_ffff) | (0b10 << 62);
    let mut id = [b'-'; 36];
    let places = (0..36).filter(|place| ![8, 13, 18, 23].contains(place));
    for (nibble, place) in places.enumerate() {
        let shift = 124 - 4 * nibble;
        id[place] = HEX[(bits >> shift) as usize & 0xf];
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_is_a_uuid_of_version_7() {
        let id = |random| String::from_utf8(request_id(Time::from_millis(0x0123_4567_89ab), random).to_vec());
        assert_eq!(id(u128::MAX).unwrap(), "01234567-89ab-7fff-bfff-ffffffffffff");
        assert_eq!(id(0).unwrap(), "01234567-89ab-7000-8000-000000000000");
    }

    #[test]
    fn the_platform_is_known_by_its_addresses() {
        let of = |text: &str| is_of_the_platform(text.parse().unwrap());
        assert!(of("127.0.0.1") && of("::1") && of("100.64.0.1") && of("100.127.255.255"));
        assert!(!of("100.128.0.1") && !of("100.63.0.1") && !of("10.0.0.1") && !of("fd12::1"));
    }
}
