//! What is deployed, and putting a release back: the only door to the platform.
//!
//! It owns the meaning of each platform's answer: whether an order was taken, was refused for certain, or may or may
//! not have been carried out. It does not decide, does not repeat an order, and does not wait until the target is live:
//! that is asked for separately, for an order may outlive the agent that gave it.
//!
//! **In doubt the answer is `Unknown`.** `Refused` claims that nothing was done; after it a person is told so. So it is
//! only said where the order cannot have reached anybody, or where the platform said no in so many words.

mod command;
mod dry_run;
#[doc(hidden)]
pub mod fuzz;
mod local;
pub mod railway;

use std::io;
use std::pin::Pin;
use std::sync::Arc;

use crate::config;
use crate::engine::record::{ActStep, Acted, Known, Live, Order, Readiness, Sight, StepOutcome};
use crate::platform::command::Command;
use crate::platform::dry_run::DryRun;
use crate::platform::local::Local;
use crate::platform::railway::Railway;

/// A future that can be handed about, as `dyn` traits need it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Spawns a child of ours by the closure it is given, which returns the child's id, and keeps whoever reaps orphans
/// from taking its status as long as the result lives. It calls the closure once, and lets nobody reap meanwhile: a
/// child may end before its id is known.
pub type Adopt = Arc<dyn Fn(&mut dyn FnMut() -> io::Result<u32>) -> io::Result<Box<dyn Send>> + Send + Sync>;

/// What can be asked of a platform.
pub trait Platform: Send + Sync {
    /// Its name in logs, metrics and on the page.
    fn kind(&self) -> &'static str;

    /// Orders the rollback and says what became of the order. Bounded by the platform's own time-out. Where that takes
    /// several steps, each is told when it begins and when it has ended.
    fn roll_back<'a>(
        &'a self,
        order: &'a Order,
        known: &'a Known,
        journal: &'a Journal,
    ) -> BoxFuture<'a, Acted>;

    /// Says which release is live.
    fn current<'a>(&'a self, known: &'a Known) -> BoxFuture<'a, Live>;

    /// Says whether a rollback would be possible now; `None` where the platform has no means to tell.
    fn readiness<'a>(&'a self, _known: &'a Known) -> BoxFuture<'a, Option<Readiness>> {
        Box::pin(async { None })
    }

    /// Says how the replicas of what is live are; `None` where the platform has no means to tell, or could not be read.
    fn sight(&self) -> BoxFuture<'_, Option<Sight>> {
        Box::pin(async { None })
    }
}

/// Where the steps of an order are told, in their order.
#[derive(Clone)]
pub struct Journal(Arc<dyn Fn(ActStep, StepOutcome) + Send + Sync>);

impl Journal {
    /// Tells each step to `told`, which must not block.
    pub fn new(told: impl Fn(ActStep, StepOutcome) + Send + Sync + 'static) -> Self {
        Self(Arc::new(told))
    }

    /// Tells nobody.
    pub fn silent() -> Self {
        Self::new(|_, _| {})
    }

    /// The step is about to be taken.
    pub fn begun(&self, step: ActStep) {
        (self.0)(step, StepOutcome::Begun);
    }

    /// It was taken.
    pub fn done(&self, step: ActStep, detail: impl Into<String>) {
        (self.0)(step, StepOutcome::Done { detail: detail.into() });
    }

    /// It could not be taken.
    pub fn failed(&self, step: ActStep, reason: impl Into<String>) {
        (self.0)(step, StepOutcome::Failed { reason: reason.into() });
    }
}

/// The platform that was configured. `adopt` is how children are spawned, where it needs any.
pub fn build(config: &config::Platform, adopt: Adopt) -> Arc<dyn Platform> {
    match config {
        config::Platform::DryRun => Arc::new(DryRun),
        config::Platform::Command { roll_back, current, timeout } => {
            Arc::new(Command::new(roll_back.clone(), current.clone(), *timeout, adopt))
        }
        config::Platform::Local { address, timeout } => Arc::new(Local::new(address.clone(), *timeout)),
        config::Platform::Railway(railway) => Arc::new(Railway::new(railway)),
    }
}

/// Text of somebody else, made fit for a record: no control characters but line ends and tabs, no blank ends.
fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let fit = |c: &char| !c.is_control() || matches!(c, '\n' | '\t');
    text.chars().filter(fit).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::engine::policy::Mode;
    use crate::engine::release::{RecordId, Release};
    use crate::engine::time::Time;

    pub(super) fn order() -> Order {
        Order {
            record: RecordId::from_stored("0mia9y8g0000101"),
            from: Release::new("v2").unwrap(),
            to: Release::new("v1").unwrap(),
            mode: Mode::Enforce,
            breach: "catastrophe_errors",
            at: Time::from_millis(1_763_848_800_123),
            not_after: None,
        }
    }

    /// As the agent does it, but that nobody reaps here.
    pub(super) fn adopt() -> Adopt {
        Arc::new(|spawn| {
            let pid = spawn()?;
            Ok(Box::new(pid))
        })
    }

    #[test]
    fn the_configuration_picks_the_platform() {
        let timeout = Duration::from_secs(1);
        let command = config::Platform::Command { roll_back: vec!["true".into()], current: vec![], timeout };
        let local = config::Platform::Local { address: "127.0.0.1:1".into(), timeout };
        for (config, kind) in [(config::Platform::DryRun, "dry_run"), (command, "command"), (local, "local")]
        {
            assert_eq!(build(&config, adopt()).kind(), kind);
        }
    }

    #[tokio::test]
    async fn a_dry_run_says_what_it_would_have_done_and_knows_nothing() {
        let platform = build(&config::Platform::DryRun, adopt());
        let Acted::DryRun { detail } =
            platform.roll_back(&order(), &Known::default(), &Journal::silent()).await
        else {
            panic!("it is a rehearsal")
        };
        assert!(
            detail.contains("v2") && detail.contains("v1") && detail.contains("0mia9y8g0000101"),
            "{detail}"
        );
        assert!(matches!(platform.current(&Known::default()).await, Live::Unknown { .. }));
    }

    #[test]
    fn a_record_gets_no_control_characters() {
        assert_eq!(printable(b" \x1b[31mred\x07\nline\t2\r\n\xff"), "[31mred\nline\t2\n\u{fffd}");
    }
}
