//! What a probe is: one way of asking one dependency, and what it may answer.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::engine::health::{Fact, FactValue, Phase};

/// A future of a trait object.
pub(crate) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The most facts of one answer that are kept; the others are dropped.
pub(crate) const FACTS_MAX: usize = 24;
/// The longest text of a fact or of an error, in bytes; what is longer is cut.
pub(crate) const TEXT_LEN_MAX: usize = 300;

/// One way of asking one dependency.
///
/// It may keep one session open from round to round, and no more than one beside it while it makes a new one.
pub(crate) trait Probe: Send {
    /// Asks once. The caller drops the future at the probe's time limit; then [`Probe::stage`] says how far it had come, and
    /// [`Probe::give_up`] is called before the next round.
    fn ask(&mut self) -> BoxFuture<'_, Result<Reply, Failure>>;

    /// What was being waited for last, such as `a connection to 10.0.0.5:5432` or `the answer to the query`.
    fn stage(&self) -> &str;

    /// Drops what may be half done: sessions, connections.
    fn give_up(&mut self);

    /// What was asked of the dependency since the last round, as [`Reply::load`], where a round that failed could still
    /// measure it over a session made before. Asked for after such a round, and told once.
    fn load(&mut self) -> Option<u64> {
        None
    }
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Reply {
    /// How long the dependency took to answer the question itself: what is compared with thresholds and with the past.
    pub(crate) latency: Duration,
    /// Where the whole round's time went, in order.
    pub(crate) phases: Vec<Phase>,
    /// What else was learnt.
    pub(crate) facts: Vec<Fact>,
    /// What was asked of the dependency by all its clients since the last round (queries, commands); `None` where it does
    /// not tell.
    pub(crate) load: Option<u64>,
    /// What is to be said against it although it answered: the first thing is the one that is told.
    pub(crate) concerns: Vec<String>,
}

/// No answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Failure {
    /// The dependency did not answer as it should: the words say what was tried and what came back.
    Down(String),
    /// The question could not be put, for reasons of our own: the words say which.
    Unable(String),
}

impl Reply {
    /// Adds a number.
    pub(crate) fn number(&mut self, name: &'static str, value: f64) {
        self.facts.push(Fact { name, value: FactValue::Number(value) });
    }

    /// Adds words.
    pub(crate) fn text(&mut self, name: &'static str, value: impl Into<String>) {
        self.facts.push(Fact { name, value: FactValue::Text(value.into()) });
    }

    /// Adds yes or no.
    pub(crate) fn truth(&mut self, name: &'static str, value: bool) {
        self.facts.push(Fact { name, value: FactValue::Truth(value) });
    }

    /// Adds a part of the round.
    pub(crate) fn phase(&mut self, name: &'static str, took: Duration) {
        self.phases.push(Phase { name, took });
    }

    /// Adds something to be said against the dependency.
    pub(crate) fn concern(&mut self, what: impl Into<String>) {
        self.concerns.push(what.into());
    }
}

/// The error and all its causes on one line, without repeating a cause that its parent's text ends with.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        if text.ends_with(&cause) { text } else { format!("{text}: {cause}") }
    })
}

/// Cuts a text to [`TEXT_LEN_MAX`] bytes, at a character, and makes one line of it.
pub(crate) fn cut(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match line.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|&end| end <= TEXT_LEN_MAX).last() {
        Some(end) if end < line.len() => format!("{}…", &line[..end]),
        _ => line,
    }
}
