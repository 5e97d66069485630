//! One request's entry in the recorder: opened when its head was read, closed exactly once, however it ends.
//!
//! [`Progress`] is shared by those who see a part of it (the request's body, the exchange with the app); [`Account`] is
//! owned by one at a time, first by the service and then by the reply's body. Dropped unclosed, the client has left: a
//! hyper service's future is dropped when its connection ends.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use crate::clock::Clock;
use crate::engine::observation::{Method, Outcome};
use crate::recorder::{Asked, Ended, Shard, Ticket, Traffic};

/// How far a request is.
#[derive(Debug)]
pub(super) struct Progress {
    shard: Arc<Shard>,
    clock: Clock,
    ticket: RefCell<Option<Ticket>>,
    awaited_us: Cell<Option<u64>>,
    answered: Cell<bool>,
    body_failed: Cell<bool>,
    waiting: RefCell<Option<Waker>>,
}

impl Progress {
    /// The app has been handed the whole request.
    pub(super) fn sent(&self) {
        if self.awaited_us.get().is_some() {
            return;
        }
        let now_us = self.clock.micros();
        self.awaited_us.set(Some(now_us));
        if let (Some(ticket), false) = (&*self.ticket.borrow(), self.answered.get()) {
            self.shard.sent(ticket, now_us);
        }
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    /// Whether the app has been handed the whole request.
    pub(super) fn is_sent(&self) -> bool {
        self.awaited_us.get().is_some()
    }

    /// Waits until the app has been handed the whole request.
    pub(super) async fn until_sent(&self) {
        std::future::poll_fn(|cx| {
            if self.is_sent() {
                return Poll::Ready(());
            }
            *self.waiting.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// The client's body broke off.
    pub(super) fn body_failed(&self) {
        self.body_failed.set(true);
    }

    /// Whether the client's body broke off.
    pub(super) fn has_body_failed(&self) -> bool {
        self.body_failed.get()
    }

    /// The reply's head came. A head that came before the request was sent says nothing about the app's speed.
    pub(super) fn answered(&self) {
        if self.answered.replace(true) {
            return;
        }
        if let (Some(ticket), Some(since_us)) = (&*self.ticket.borrow(), self.awaited_us.get()) {
            self.shard.answered(ticket, self.clock.micros().saturating_sub(since_us));
        }
    }
}

/// The right and the duty to close a request's entry.
#[derive(Debug)]
pub(super) struct Account {
    progress: Rc<Progress>,
    cutting: Rc<Cell<bool>>,
    status: u16,
    outcome_if_left: Outcome,
}

impl Account {
    /// Opens an entry. `awaited_us`: since when the app has the whole request, where it has. `cutting` is set by the
    /// worker when it ends connections at a deadline.
    pub(super) fn open(
        shard: &Arc<Shard>,
        clock: Clock,
        cutting: &Rc<Cell<bool>>,
        method: Method,
        awaited_us: Option<u64>,
    ) -> Self {
        let asked = Asked { method, path: b"", class: Traffic::User };
        let ticket = shard.arrived(&asked, awaited_us);
        let progress = Progress {
            shard: Arc::clone(shard),
            clock,
            ticket: RefCell::new(Some(ticket)),
            awaited_us: Cell::new(awaited_us),
            answered: Cell::new(false),
            body_failed: Cell::new(false),
            waiting: RefCell::new(None),
        };
        Self {
            progress: Rc::new(progress),
            cutting: Rc::clone(cutting),
            status: 0,
            outcome_if_left: Outcome::ClientAborted,
        }
    }

    /// How far the request is.
    pub(super) fn progress(&self) -> &Rc<Progress> {
        &self.progress
    }

    /// A head with this status goes to the client; `ends_as` is how the request is counted when all goes well.
    pub(super) fn head(&mut self, status: u16, ends_as: Outcome) {
        self.status = status;
        // An error of the app stays one, whoever leaves.
        self.outcome_if_left = if ends_as == Outcome::Answered { Outcome::ClientLeft } else { ends_as };
    }

    /// Closes the entry with the status of the head.
    pub(super) fn end(self, outcome: Outcome) {
        self.close(self.status, outcome);
    }

    fn close(&self, status: u16, outcome: Outcome) {
        if let Some(ticket) = self.progress.ticket.take() {
            let now_us = self.progress.clock.micros();
            let (reached_us, total_us, retried, is_stream) = (None, None, false, false);
            let ended = Ended { status, outcome, now_us, reached_us, total_us, retried, is_stream };
            self.progress.shard.end(ticket, &ended);
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
            self.outcome_if_left
        };
        self.close(self.status, outcome);
    }
}

/// The closed set that labels a method.
pub(super) fn method_of(method: &http::Method) -> Method {
    Method::ALL.into_iter().find(|m| m.label() == method.as_str()).unwrap_or(Method::Other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::observation::StatusClass;
    use crate::engine::time::Time;
    use crate::recorder::Recorder;

    #[test]
    fn an_unclosed_account_is_a_client_that_left() {
        let mut recorder = Recorder::new(1, Time::from_millis(0));
        let shard = recorder.shards()[0].clone();
        let cutting = Rc::new(Cell::new(false));
        let open = || Account::open(&shard, Clock::start(), &cutting, Method::Get, Some(0));
        drop(open());
        let mut answering = open();
        answering.progress().answered();
        answering.head(200, Outcome::Answered);
        drop(answering);
        let mut failing = open();
        failing.head(500, Outcome::AppError);
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
        assert_eq!(method_of(&http::Method::PATCH), Method::Patch);
        assert_eq!(method_of(&http::Method::from_bytes(b"get").unwrap()), Method::Other);
    }
}
