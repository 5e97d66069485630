//! Several agents as who looks on sees them: whom each has met, whose baseline it holds, what it thinks, and the vote.
//!
//! Owns the look at all of them, several times a second, and what has changed since the look before. It deliberately does not
//! know what is right; and it is lenient, as `view` is: what an agent does not show is not told.

mod sight;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::stage::fleet::sight::Sight;
use crate::stage::http::Client;
use crate::stage::platform::Platform;

/// How often each agent is looked at: a vote takes less than a second.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Sights not yet taken; at the bound the look waits.
const SIGHTS_MAX: usize = 64;

/// Something changed among the agents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FleetEvent {
    /// An agent met others.
    Met {
        /// The agent.
        agent: String,
        /// Whom it had not met before.
        peers: Vec<String>,
    },
    /// An agent holds a baseline that it did not learn itself.
    Handover {
        /// The agent.
        agent: String,
        /// The baseline's release.
        release: String,
        /// How many requests are in it.
        requests: u64,
        /// From whom, where the agent says so.
        from: Option<String>,
    },
    /// An agent finds its release degraded, or not any more.
    Verdict {
        /// The agent.
        agent: String,
        /// The verdict's label.
        verdict: String,
        /// By what.
        detail: String,
    },
    /// An agent asks for votes.
    Asks {
        /// The agent.
        agent: String,
        /// In which epoch.
        epoch: u64,
        /// What it would put back.
        target: String,
    },
    /// An agent was answered.
    Answered {
        /// Who votes.
        voter: String,
        /// Whom it is for.
        agent: String,
        /// `yes`, `no` or `abstain`.
        opinion: String,
        /// Why not.
        reason: String,
    },
    /// An agent was elected.
    Elected {
        /// The agent.
        agent: String,
        /// Who agreed.
        voters: Vec<String>,
        /// Of how many.
        of: u64,
        /// In which epoch.
        epoch: u64,
    },
}

impl FleetEvent {
    /// The agent that shows it.
    pub fn agent(&self) -> &str {
        match self {
            Self::Met { agent, .. }
            | Self::Handover { agent, .. }
            | Self::Verdict { agent, .. }
            | Self::Asks { agent, .. }
            | Self::Elected { agent, .. } => agent,
            Self::Answered { voter, .. } => voter,
        }
    }

    /// The line for people, without the agent's name.
    pub fn text(&self) -> String {
        match self {
            Self::Met { peers, .. } => format!("met {}", peers.join(", ")),
            Self::Handover { release, requests, from: Some(from), .. } => {
                format!("handover: holds {release}'s baseline ({requests} requests) from {from}")
            }
            Self::Handover { release, requests, from: None, .. } => {
                format!("handover: holds {release}'s baseline ({requests} requests)")
            }
            Self::Verdict { verdict, detail, .. } if detail.is_empty() => format!("verdict {verdict}"),
            Self::Verdict { verdict, detail, .. } => format!("verdict {verdict}: {detail}"),
            Self::Asks { epoch, target, .. } => format!("asks to put {target} back (epoch {epoch})"),
            Self::Answered { agent, opinion, reason, .. } if reason.is_empty() => {
                format!("says {opinion} to {agent}")
            }
            Self::Answered { agent, opinion, reason, .. } => format!("says {opinion} to {agent}: {reason}"),
            Self::Elected { voters, of, .. } => {
                format!("was elected; agents agreed: {} of {of} ({})", voters.len(), voters.join(", "))
            }
        }
    }

    /// What belongs to it as JSON.
    pub(crate) fn json(&self) -> (&'static str, Value) {
        match self {
            Self::Met { agent, peers } => ("met", json!({ "agent": agent, "peers": peers })),
            Self::Handover { agent, release, requests, from } => (
                "handover",
                json!({ "agent": agent, "release": release, "requests": requests, "from": from }),
            ),
            Self::Verdict { agent, verdict, detail } => {
                ("verdict", json!({ "agent": agent, "verdict": verdict, "detail": detail }))
            }
            Self::Asks { agent, epoch, target } => {
                ("asks", json!({ "agent": agent, "epoch": epoch, "target": target }))
            }
            Self::Answered { voter, agent, opinion, reason } => {
                ("answered", json!({ "voter": voter, "agent": agent, "opinion": opinion, "reason": reason }))
            }
            Self::Elected { agent, voters, of, epoch } => {
                ("elected", json!({ "agent": agent, "voters": voters, "of": of, "epoch": epoch }))
            }
        }
    }
}

/// Looks at all agents until it is dropped.
#[derive(Debug)]
pub struct Watch {
    sights: mpsc::Receiver<Sight>,
    told: Told,
    /// Aborted with this.
    _task: JoinSet<()>,
}

impl Watch {
    /// Begins to look at the agents of `platform`.
    pub(crate) fn start(platform: Arc<Platform>) -> Self {
        let (sender, sights) = mpsc::channel(SIGHTS_MAX);
        let mut task = JoinSet::new();
        task.spawn(look(platform, sender));
        Self { sights, told: Told::default(), _task: task }
    }

    /// The next changes; none where an agent looks as before. May be dropped and called again.
    pub async fn next(&mut self) -> Vec<FleetEvent> {
        match self.sights.recv().await {
            Some(sight) => self.told.news(&sight),
            // The task ends with its receiver only.
            None => std::future::pending().await,
        }
    }
}

async fn look(platform: Arc<Platform>, sights: mpsc::Sender<Sight>) {
    let client = Client::default();
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let mut looks = JoinSet::new();
        for row in platform.agents() {
            let client = client.clone();
            looks.spawn(async move { sight::look(&client, &row).await });
        }
        while let Some(seen) = looks.join_next().await {
            if let Ok(Some(sight)) = seen
                && sights.send(sight).await.is_err()
            {
                return;
            }
        }
    }
}

/// What was told of each agent's process.
#[derive(Debug, Default)]
struct Told {
    agents: BTreeMap<(String, u32), ToldOf>,
}

#[derive(Debug, Default)]
struct ToldOf {
    met: BTreeSet<String>,
    baseline: Option<String>,
    verdict: String,
    asked: BTreeSet<u64>,
    answered: BTreeSet<(u64, String, String, String)>,
    elected: BTreeSet<u64>,
}

impl Told {
    fn news(&mut self, sight: &Sight) -> Vec<FleetEvent> {
        let agent = &sight.name;
        let told = self.agents.entry((agent.clone(), sight.pid)).or_default();
        let mut news = Vec::new();
        let new: Vec<String> =
            sight.met.iter().filter(|peer| told.met.insert((*peer).clone())).cloned().collect();
        if !new.is_empty() {
            news.push(FleetEvent::Met { agent: agent.clone(), peers: new });
        }
        if let Some(held) = &sight.baseline
            && held.release != sight.release
            && told.baseline.as_ref() != Some(&held.release)
        {
            told.baseline = Some(held.release.clone());
            let (release, requests, from) = (held.release.clone(), held.requests, held.from.clone());
            news.push(FleetEvent::Handover { agent: agent.clone(), release, requests, from });
        }
        // All begin undecided; that alone is no news.
        if (told.verdict == "degraded") != (sight.verdict == "degraded") {
            let (verdict, detail) = (sight.verdict.clone(), sight.detail.clone());
            news.push(FleetEvent::Verdict { agent: agent.clone(), verdict, detail });
        }
        told.verdict.clone_from(&sight.verdict);
        let Some(standing) = &sight.standing else { return news };
        let epoch = standing.epoch;
        if told.asked.insert(epoch) {
            news.push(FleetEvent::Asks { agent: agent.clone(), epoch, target: standing.target.clone() });
        }
        for (voter, opinion, reason) in standing.answers.iter().filter(|(voter, ..)| voter != agent) {
            if told.answered.insert((epoch, voter.clone(), opinion.clone(), reason.clone())) {
                let (voter, opinion, reason) = (voter.clone(), opinion.clone(), reason.clone());
                news.push(FleetEvent::Answered { voter, agent: agent.clone(), opinion, reason });
            }
        }
        let yes = standing.answers.iter().filter(|(_, opinion, _)| opinion == "yes");
        let voters: Vec<String> = yes.map(|(voter, ..)| voter.clone()).collect();
        if voters.len() as u64 >= standing.needed && told.elected.insert(epoch) {
            news.push(FleetEvent::Elected { agent: agent.clone(), voters, of: standing.votes, epoch });
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::sight::{Held, Standing};
    use super::*;

    fn sight() -> Sight {
        Sight { name: "r1-d2".to_owned(), pid: 7, release: "v2".to_owned(), ..Sight::default() }
    }

    #[test]
    fn what_has_changed_is_told_once() {
        let mut told = Told::default();
        assert!(told.news(&sight()).is_empty());
        let held = Held { release: "v1".to_owned(), requests: 4000, from: Some("r2-d1".to_owned()) };
        let mut now = sight();
        now.met = vec!["r2-d2".to_owned()];
        now.baseline = Some(held);
        now.verdict = "degraded".to_owned();
        let answers = vec![("r2-d2".to_owned(), "no".to_owned(), "paused".to_owned())];
        now.standing = Some(Standing { epoch: 1, target: "v1".to_owned(), answers, needed: 2, votes: 3 });
        let lines: Vec<String> = told.news(&now).iter().map(FleetEvent::text).collect();
        let expected = [
            "met r2-d2",
            "handover: holds v1's baseline (4000 requests) from r2-d1",
            "verdict degraded",
            "asks to put v1 back (epoch 1)",
            "says no to r1-d2: paused",
        ];
        assert_eq!(lines, expected);
        assert!(told.news(&now).is_empty(), "told once");
        let voter = ("r2-d2".to_owned(), "yes".to_owned(), String::new());
        now.standing.as_mut().unwrap().answers[0] = voter;
        now.met.push("r3-d2".to_owned());
        let lines: Vec<String> = told.news(&now).iter().map(FleetEvent::text).collect();
        assert_eq!(lines, ["met r3-d2", "says yes to r1-d2"]);
        let own = ("r1-d2".to_owned(), "yes".to_owned(), String::new());
        now.standing.as_mut().unwrap().answers.push(own);
        let lines: Vec<String> = told.news(&now).iter().map(FleetEvent::text).collect();
        assert_eq!(lines, ["was elected; agents agreed: 2 of 3 (r2-d2, r1-d2)"]);
    }

    #[test]
    fn an_own_baseline_is_no_handover_and_a_restarted_agent_is_told_of_anew() {
        let mut told = Told::default();
        let mut now = sight();
        now.baseline = Some(Held { release: "v2".to_owned(), requests: 1, from: None });
        now.met = vec!["r2-d2".to_owned()];
        assert_eq!(told.news(&now).len(), 1);
        now.pid = 8;
        assert_eq!(told.news(&now).len(), 1);
    }
}
