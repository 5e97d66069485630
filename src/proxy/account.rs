//! One request's entry in the recorder: opened when its head was read, closed exactly once, however it ends.
//!
//! Dropped unclosed, the client has left: a connection's task is dropped when its connection is cut, and an exchange
//! when its client is gone. The parts of an exchange share it, so it is written through cells.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use crate::clock::Clock;
use crate::engine::observation::{Method, Outcome};
use crate::recorder::{Asked, Ended, Shard, Ticket};

/// The right and the duty to close a request's entry.
#[derive(Debug)]
pub(super) struct Account {
    shard: Arc<Shard>,
    clock: Clock,
    /// The worker ends connections at a deadline.
    cutting: Rc<Cell<bool>>,
    ticket: RefCell<Option<Ticket>>,
    status: Cell<u16>,
    outcome_if_left: Cell<Outcome>,
    /// When the head's first byte was read.
    began_us: u64,
    reached_us: Cell<Option<u64>>,
    awaited_us: Cell<Option<u64>>,
    answered: Cell<bool>,
    retried: Cell<bool>,
    streams: Cell<bool>,
}

impl Account {
    /// Opens an entry. `awaited_us`: since when the app has the whole request, where it has.
    pub(super) fn open(
        shard: &Arc<Shard>,
        clock: Clock,
        cutting: &Rc<Cell<bool>>,
        asked: &Asked<'_>,
        began_us: u64,
        awaited_us: Option<u64>,
    ) -> Self {
        Self {
            ticket: RefCell::new(Some(shard.arrived(asked, awaited_us))),
            shard: Arc::clone(shard),
            clock,
            cutting: Rc::clone(cutting),
            status: Cell::new(0),
            outcome_if_left: Cell::new(Outcome::ClientAborted),
            began_us,
            reached_us: Cell::new(None),
            awaited_us: Cell::new(awaited_us),
            answered: Cell::new(false),
            retried: Cell::new(false),
            streams: Cell::new(false),
        }
    }

    /// A connection to the app is at hand, since `now_us`.
    pub(super) fn reached(&self, now_us: u64) {
        self.reached_us.set(Some(now_us.saturating_sub(self.began_us)));
    }

    /// The request is sent once more.
    pub(super) fn retried(&self) {
        self.retried.set(true);
    }

    /// The app has been handed the whole request.
    pub(super) fn sent(&self) {
        if self.is_sent() {
            return;
        }
        let now_us = self.clock.micros();
        self.awaited_us.set(Some(now_us));
        if !self.answered.get() {
            self.with_ticket(|ticket| self.shard.sent(ticket, now_us));
        }
    }

    /// Whether the app has been handed the whole request.
    pub(super) fn is_sent(&self) -> bool {
        self.awaited_us.get().is_some()
    }

    /// The reply's head came and goes to the client with this status; `ends_as` is how the request is counted when all
    /// goes well. A head that came before the request was sent says nothing about the app's speed.
    pub(super) fn answered(&self, status: u16, ends_as: Outcome) {
        if !self.answered.replace(true)
            && let Some(since_us) = self.awaited_us.get()
        {
            let latency_us = self.clock.micros().saturating_sub(since_us);
            self.with_ticket(|ticket| self.shard.answered(ticket, latency_us));
        }
        self.head(status, ends_as);
    }

    /// The reply goes on for as long as the app likes: how long says nothing.
    pub(super) fn streams(&self) {
        self.streams.set(true);
    }

    /// A head with this status goes to the client.
    fn head(&self, status: u16, ends_as: Outcome) {
        self.status.set(status);
        // An error of the app stays one, whoever leaves.
        let left = if ends_as == Outcome::Answered { Outcome::ClientLeft } else { ends_as };
        self.outcome_if_left.set(left);
    }

    /// Closes the entry: all of the reply was handed over, or what was sent of it is all that there will be.
    pub(super) fn end(&self, outcome: Outcome) {
        self.close(outcome, outcome == Outcome::Answered);
    }

    /// Closes the entry of a request that we answer with `status` in the app's place.
    pub(super) fn refuse(&self, status: u16, outcome: Outcome) {
        self.status.set(status);
        self.close(outcome, false);
    }

    fn close(&self, outcome: Outcome, whole: bool) {
        let Some(ticket) = self.ticket.take() else { return };
        let now_us = self.clock.micros();
        let total_us = (whole && !self.streams.get()).then(|| now_us.saturating_sub(self.began_us));
        let ended = Ended {
            status: self.status.get(),
            outcome,
            now_us,
            reached_us: self.reached_us.get(),
            total_us,
            retried: self.retried.get(),
            is_stream: self.streams.get(),
        };
        self.shard.end(ticket, &ended);
    }

    fn with_ticket(&self, act: impl FnOnce(&Ticket)) {
        if let Some(ticket) = &*self.ticket.borrow() {
            act(ticket);
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let outcome = if self.cutting.get() {
            Outcome::Draining
        } else if std::thread::panicking() {
            Outcome::Shed
        } else {
            self.outcome_if_left.get()
        };
        self.close(outcome, false);
    }
}

/// The closed set that labels a method.
pub(super) fn method_of(method: &[u8]) -> Method {
    match method {
        b"GET" => Method::Get,
        b"HEAD" => Method::Head,
        b"POST" => Method::Post,
        b"PUT" => Method::Put,
        b"PATCH" => Method::Patch,
        b"DELETE" => Method::Delete,
        b"OPTIONS" => Method::Options,
        b"TRACE" => Method::Trace,
        _ => Method::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::observation::StatusClass;
    use crate::engine::time::Time;
    use crate::recorder::{Recorder, Traffic};

    #[test]
    fn an_unclosed_account_is_a_client_that_left() {
        let mut recorder = Recorder::new(1, Time::from_millis(0));
        let shard = recorder.shards()[0].clone();
        let cutting = Rc::new(Cell::new(false));
        let asked = Asked { method: Method::Get, path: b"/", class: Traffic::User };
        let open = || Account::open(&shard, Clock::start(), &cutting, &asked, 0, Some(0));
        drop(open());
        let answering = open();
        answering.answered(200, Outcome::Answered);
        drop(answering);
        let failing = open();
        failing.answered(500, Outcome::AppError);
        drop(failing);
        cutting.set(true);
        drop(open());
        let window = recorder.seal(Time::from_millis(1), 1, false);
        let outcomes: Vec<_> = window.counts.iter().map(|c| (c.outcome, c.status, c.count)).collect();
        assert_eq!(
            outcomes,
            [
                (Outcome::ClientAborted, StatusClass::None, 1),
                (Outcome::Draining, StatusClass::None, 1),
                (Outcome::ClientLeft, StatusClass::Success, 1),
                (Outcome::AppError, StatusClass::ServerError, 1),
            ]
        );
        assert_eq!(window.in_flight, 0);
    }

    #[test]
    fn methods_keep_their_case() {
        assert_eq!(method_of(b"PATCH"), Method::Patch);
        assert_eq!(method_of(b"get"), Method::Other);
        for method in Method::ALL {
            assert_eq!(method_of(method.label().as_bytes()), method);
        }
    }
}
