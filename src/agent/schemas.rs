//! The versions of databases' schemas, as their probes find them, handed to the engine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::agent::control::Control;
use crate::engine::Input;
use crate::engine::health::{FactValue, Found, ProbeState};
use crate::engine::time::Time;

/// The fact by which a probe tells the version.
const FACT: &str = "schema_version";
/// What has not changed is said again after so long: how long a release has lived with it counts.
const SAY_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// What was said of each probe, and when.
#[derive(Debug, Default)]
pub(super) struct Schemas {
    said: BTreeMap<Arc<str>, (Arc<str>, Time)>,
}

impl Schemas {
    /// What is to be said now.
    fn news(&mut self, now: Time, states: &[Arc<ProbeState>]) -> Vec<Input> {
        let mut news = Vec::new();
        for (probe, version) in states.iter().filter_map(|state| version(state)) {
            let said = self.said.get(&probe);
            if said.is_some_and(|(is, at)| *is == version && now.since(*at) < SAY_AGAIN_AFTER) {
                continue;
            }
            self.said.insert(Arc::clone(&probe), (Arc::clone(&version), now));
            news.push(Input::SchemaSeen { probe, version });
        }
        news
    }
}

impl Control {
    /// Tells the engine which schemas the probes saw.
    pub(super) async fn tell_schemas(&mut self) {
        let (now, states) = (self.set.clock.now(), self.set.prober.states());
        for input in self.schemas.news(now, &states) {
            self.step(input).await;
        }
    }
}

/// As the last round that had an answer found it.
fn version(state: &ProbeState) -> Option<(Arc<str>, Arc<str>)> {
    let round = state.last.as_ref().filter(|round| matches!(round.found, Found::Well | Found::Impaired))?;
    let fact = round.facts.iter().find(|fact| fact.name == FACT)?;
    match &fact.value {
        FactValue::Text(version) => Some((Arc::clone(&state.name), version.as_str().into())),
        FactValue::Number(_) | FactValue::Truth(_) => None,
    }
}
