//! What the script has seen happen: on the stage, among several agents, and in what the live one shows.

use crate::stage::app::Behaviour;
use crate::stage::event::StageEvent;
use crate::stage::fleet::{FleetEvent, Watch};
use crate::stage::script::{FIRST, SECOND, Script};
use crate::stage::timeline::What;
use crate::stage::view::{AgentView, Election, RecordView};

impl Script<'_> {
    pub(super) async fn stage_event(&mut self, event: StageEvent) {
        let now = self.now();
        let seen = &mut self.seen;
        let accused = |id: &String| seen.second_deployment.as_ref() == Some(id);
        match &event {
            StageEvent::Created { id, release, .. } if release == SECOND => {
                seen.second_deployment = Some(id.clone());
            }
            StageEvent::FaultBegan { id, .. } if accused(id) => {
                seen.onset.get_or_insert(now);
            }
            StageEvent::Exited { id, exit, .. } if accused(id) && exit.code != Some(0) => {
                // The fault of a crashing app is its end, whoever noticed first.
                if self.plan.scenario == Behaviour::Crash {
                    seen.onset.get_or_insert(now);
                }
            }
            StageEvent::Crashed { id, .. } if accused(id) => {
                seen.crashed += 1;
                seen.gave_up = seen.crashed >= self.plan.replicas;
            }
            StageEvent::RollbackTaken { .. } => {
                seen.ordered.get_or_insert(now);
            }
            StageEvent::WentLive { release, .. } if release == FIRST && seen.ordered.is_some() => {
                // A good second before it, by chance, is no recovery.
                if seen.restored.replace(seen.restored.unwrap_or(now)).is_none() {
                    seen.recent.clear();
                }
            }
            StageEvent::Created { .. }
            | StageEvent::Listening { .. }
            | StageEvent::WentLive { .. }
            | StageEvent::Unhealthy { .. }
            | StageEvent::Terminating { .. }
            | StageEvent::Killed { .. }
            | StageEvent::Exited { .. }
            | StageEvent::Restarting { .. }
            | StageEvent::Crashed { .. }
            | StageEvent::Removed { .. }
            | StageEvent::FaultBegan { .. }
            | StageEvent::RollbackRepeated { .. }
            | StageEvent::RollbackRefused { .. } => {}
        }
        self.tell(What::Stage(event)).await;
    }

    pub(super) async fn agent_seen(&mut self, agent: &AgentView) {
        if agent.release == SECOND && agent.verdict == "degraded" {
            let now = self.now();
            self.seen.verdict.get_or_insert(now);
            if !agent.diagnosis.0.is_empty() {
                self.seen.diagnosis = Some(agent.diagnosis.clone());
            }
        }
        if agent.known_good {
            self.seen.known_good.insert(agent.release.clone(), true);
        }
        // Newest first as they come; told in the order in which they happened.
        let mut records: Vec<RecordView> = agent.records.clone();
        records.sort_by(|a, b| a.id.cmp(&b.id));
        for record in records {
            let back = record.decision.as_deref() == Some("roll_back");
            // The agent may be replaced before it is looked at again; its record is the same.
            if let Some(whose) = record.diagnosis.as_ref().filter(|_| self.seen.diagnosis.is_none()) {
                let label = whose.split(' ').next().unwrap_or_default().to_owned();
                self.seen.diagnosis = Some((label, whose.clone()));
            }
            if let Some(election) = &record.election {
                self.elected(election.clone(), record.target.clone().unwrap_or_default()).await;
            }
            self.seen.succeeded |= back && record.progress.as_deref() == Some("succeeded");
            let told = self.seen.told.insert(record.id.clone(), record.progress.clone());
            if told.as_ref() != Some(&record.progress) {
                self.tell(What::Record(record)).await;
            }
        }
    }

    /// A record proves an election. One that took less time than passes between two looks is told from this alone.
    async fn elected(&mut self, election: Election, target: String) {
        if self.seen.election.as_ref().is_some_and(|seen| seen.epoch == election.epoch) {
            return;
        }
        let Election { agent, voters, of, epoch } = election.clone();
        let mut news = Vec::new();
        let was_seen_asking = self.seen.asked.contains(&(agent.clone(), epoch));
        if !was_seen_asking {
            news.push(FleetEvent::Asks { agent: agent.clone(), epoch, target });
        }
        // It may have been seen asking, and elected before it was looked at again.
        let was_seen =
            |voter: &String| was_seen_asking && self.seen.agreed.contains(&(agent.clone(), voter.clone()));
        let unseen = voters.iter().filter(|voter| **voter != agent && !was_seen(voter)).cloned();
        let (opinion, reason) = ("yes".to_owned(), String::new());
        news.extend(unseen.map(|voter| FleetEvent::Answered {
            voter,
            agent: agent.clone(),
            opinion: opinion.clone(),
            reason: reason.clone(),
        }));
        news.push(FleetEvent::Elected { agent, voters, of, epoch });
        self.fleet_changed(news).await;
    }

    pub(super) async fn fleet_changed(&mut self, news: Vec<FleetEvent>) {
        let now = self.now();
        let trial = self.seen.second_deployment.clone().unwrap_or_default();
        let on_trial = |agent: &str| agent.ends_with(&format!("-{trial}")) && !trial.is_empty();
        for event in news {
            match &event {
                FleetEvent::Verdict { agent, verdict, .. } if on_trial(agent) && verdict == "degraded" => {
                    self.seen.verdict.get_or_insert(now);
                }
                FleetEvent::Handover { agent, from, .. } if on_trial(agent) => {
                    self.seen.baselines_from.insert(agent.clone(), from.clone().unwrap_or_default());
                }
                FleetEvent::Asks { agent, epoch, .. } => {
                    self.seen.asked.insert((agent.clone(), *epoch));
                    self.seen.agreed.retain(|(asker, _)| asker != agent);
                }
                FleetEvent::Answered { voter, agent, opinion, .. } => {
                    if opinion == "yes" {
                        self.seen.agreed.insert((agent.clone(), voter.clone()));
                    }
                }
                FleetEvent::Elected { agent, voters, of, epoch } => {
                    let (agent, voters) = (agent.clone(), voters.clone());
                    self.seen.election = Some(Election { agent, voters, of: *of, epoch: *epoch });
                }
                FleetEvent::Met { .. } | FleetEvent::Handover { .. } | FleetEvent::Verdict { .. } => {}
            }
            self.tell(What::Fleet(event)).await;
        }
    }
}

/// What changed among several agents; never, where there is one.
pub(super) async fn news(watch: &mut Option<Watch>) -> Vec<FleetEvent> {
    match watch {
        Some(watch) => watch.next().await,
        None => std::future::pending().await,
    }
}
