//! A probe at work: started as the agent starts it, and waited for until it says what is expected.

use std::sync::Arc;
use std::time::Duration;

use outrigger::clock::Clock;
use outrigger::config::Origin;
use outrigger::config::probes::{Ask, Probe, Why};
use outrigger::engine::health::{Fact, FactValue, Health, HealthChange, ProbeState};
use outrigger::prober::{Adopt, Prober};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Whatever is waited for comes within this time on a slow machine, or never.
pub(crate) const WAIT: Duration = Duration::from_secs(60);

/// A probe with thresholds and times that suit tests: they are a tenth of the defaults, and the timeout a quarter.
pub(crate) fn options(name: &str, target: &str, ask: Ask) -> Probe {
    Probe {
        name: name.to_owned(),
        why: Why::Configured(Origin::Default),
        target: target.to_owned(),
        ask,
        interval: Duration::from_millis(300),
        timeout: Duration::from_secs(1),
        failure_threshold: 3,
        success_threshold: 2,
        critical: true,
        degraded_above: None,
        failed_above: None,
    }
}

/// One probe that runs; it ends with this value.
pub(crate) struct Asked {
    pub(crate) prober: Prober,
    /// Every change of state, in order.
    pub(crate) changes: mpsc::Receiver<HealthChange>,
    shutdown: CancellationToken,
}

impl Asked {
    pub(crate) fn start(options: Probe) -> Self {
        let (changes_in, changes) = mpsc::channel(64);
        let shutdown = CancellationToken::new();
        let adopt: Adopt = Arc::new(|spawn| spawn().map(|_| Box::new(()) as Box<dyn Send>));
        let prober = Prober::start(&[options], Clock::start(), &adopt, &changes_in, &shutdown);
        Self { prober, changes, shutdown }
    }

    /// What is known now.
    pub(crate) fn state(&self) -> Arc<ProbeState> {
        self.prober.states().remove(0)
    }

    /// Waits for a round that ended after this call and that `holds` of.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&ProbeState) -> bool) -> Arc<ProbeState> {
        let waited = timeout(WAIT, async {
            let mut seen = self.rounds();
            loop {
                // A round anew each time; its end is the event that is waited for.
                let state = self.prober.fresh(Duration::ZERO, WAIT).await.remove(0);
                let rounds: u64 = state.rounds.iter().sum();
                if rounds > seen && holds(&state) {
                    return state;
                }
                seen = seen.max(rounds);
            }
        });
        match waited.await {
            Ok(state) => state,
            Err(_late) => panic!("waited {WAIT:?} in vain until {what}; last: {:#?}", self.state()),
        }
    }

    /// Waits until the state is `health`.
    pub(crate) async fn until_health(&self, health: Health) -> Arc<ProbeState> {
        self.until(health.label(), |state| state.health == health).await
    }

    fn rounds(&self) -> u64 {
        self.state().rounds.iter().sum()
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// The words of the last round.
pub(crate) fn why(state: &ProbeState) -> &str {
    state.last.as_ref().map_or("", |round| round.why.as_str())
}

/// A fact of the last round.
pub(crate) fn fact<'a>(state: &'a ProbeState, name: &str) -> &'a FactValue {
    let facts: &[Fact] = state.last.as_ref().map_or(&[], |round| round.facts.as_slice());
    let found = facts.iter().find(|fact| fact.name == name).map(|fact| &fact.value);
    found.unwrap_or_else(|| panic!("no fact `{name}` in {facts:#?}"))
}

/// A fact that is a number.
pub(crate) fn number(state: &ProbeState, name: &str) -> f64 {
    let value = fact(state, name);
    let FactValue::Number(number) = value else { panic!("`{name}` is no number: {value:?}") };
    *number
}
