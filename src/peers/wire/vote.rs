//! Requests for votes, votes, and which shares somebody has, as documents.

use serde::{Deserialize, Serialize};

use crate::engine::ballot::{Abstention, Answer, Ask, Key, Objection, Opinion};
use crate::engine::evidence::{Seen, Slot};
use crate::pack::Damaged;
use crate::peers::wire::document::{figure, hex};
use crate::peers::wire::hello::{PeerDocument, deployment, release};

/// Peers whose shares one document tells of: those of two deployments at their largest. More are damage.
const SEEN_MAX: usize = 256;

#[derive(Serialize, Deserialize)]
pub(super) struct SeenAll {
    seen: Vec<SeenDocument>,
}

#[derive(Serialize, Deserialize)]
struct SeenDocument {
    of: PeerDocument,
    newest: u64,
    have: u16,
}

impl SeenAll {
    pub(super) fn of(seen: &[Seen]) -> Self {
        let one = |s: &Seen| SeenDocument { of: PeerDocument::of(&s.of), newest: s.newest.0, have: s.have };
        Self { seen: seen.iter().take(SEEN_MAX).map(one).collect() }
    }

    pub(super) fn parse(self) -> Result<Vec<Seen>, Damaged> {
        if self.seen.len() > SEEN_MAX {
            return Err(Damaged("a list too long"));
        }
        let one =
            |s: SeenDocument| Ok(Seen { of: s.of.parse()?, newest: Slot(figure(s.newest)?), have: s.have });
        self.seen.into_iter().map(one).collect()
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct AskDocument {
    deployment: String,
    epoch: u64,
    target: String,
    candidate: PeerDocument,
    #[serde(with = "hex")]
    roster: u64,
    #[serde(with = "hex")]
    policy: u64,
    #[serde(with = "hex")]
    baseline: u64,
}

impl AskDocument {
    pub(super) fn of(ask: &Ask) -> Self {
        Self {
            deployment: ask.key.deployment.as_str().to_owned(),
            epoch: ask.epoch,
            target: ask.target.as_str().to_owned(),
            candidate: PeerDocument::of(&ask.candidate),
            roster: ask.roster,
            policy: ask.policy,
            baseline: ask.baseline,
        }
    }

    pub(super) fn parse(self) -> Result<Ask, Damaged> {
        Ok(Ask {
            key: Key { deployment: deployment(&self.deployment)? },
            epoch: figure(self.epoch)?,
            target: release(&self.target)?,
            candidate: self.candidate.parse()?,
            roster: self.roster,
            policy: self.policy,
            baseline: self.baseline,
        })
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct AnswerDocument {
    deployment: String,
    epoch: u64,
    candidate: PeerDocument,
    voter: PeerDocument,
    opinion: String,
    #[serde(default)]
    why: String,
    seen: u64,
}

const OBJECTIONS: [(&str, Objection); 13] = [
    ("not_degraded", Objection::NotDegraded),
    ("not_blamed", Objection::NotBlamed),
    ("target", Objection::Target),
    ("not_current", Objection::NotCurrent),
    ("paused", Objection::Paused),
    ("acted_before", Objection::ActedBefore),
    ("mode", Objection::Mode),
    ("policy", Objection::Policy),
    ("other_policy", Objection::OtherPolicy),
    ("other_baseline", Objection::OtherBaseline),
    ("other_roster", Objection::OtherRoster),
    ("granted", Objection::Granted),
    ("stale", Objection::Stale),
];

const ABSTENTIONS: [(&str, Abstention); 5] = [
    ("quiet", Abstention::Quiet),
    ("tilt", Abstention::Tilt),
    ("no_vote", Abstention::NoVote),
    ("warming_up", Abstention::WarmingUp),
    ("not_durable", Abstention::NotDurable),
];

/// Every opinion has a name: a test holds each against the type.
fn label<T: PartialEq>(labels: &[(&'static str, T)], of: &T) -> &'static str {
    labels.iter().find(|(_, it)| it == of).map_or("", |(label, _)| label)
}

fn named<T: Copy>(labels: &[(&str, T)], label: &str) -> Option<T> {
    labels.iter().find(|(name, _)| *name == label).map(|&(_, it)| it)
}

impl AnswerDocument {
    pub(super) fn of(answer: &Answer) -> Self {
        let (opinion, why) = match &answer.opinion {
            Opinion::Yes => ("yes", ""),
            Opinion::No(why) => ("no", label(&OBJECTIONS, why)),
            Opinion::Abstain(why) => ("abstain", label(&ABSTENTIONS, why)),
        };
        Self {
            deployment: answer.key.deployment.as_str().to_owned(),
            epoch: answer.epoch,
            candidate: PeerDocument::of(&answer.candidate),
            voter: PeerDocument::of(&answer.voter),
            opinion: opinion.to_owned(),
            why: why.to_owned(),
            seen: answer.seen,
        }
    }

    pub(super) fn parse(self) -> Result<Answer, Damaged> {
        // A newer agent may have reasons that are unknown here: that it is no yes is what counts.
        let opinion = match self.opinion.as_str() {
            "yes" => Opinion::Yes,
            "no" => Opinion::No(named(&OBJECTIONS, &self.why).unwrap_or(Objection::Policy)),
            "abstain" => Opinion::Abstain(named(&ABSTENTIONS, &self.why).unwrap_or(Abstention::NoVote)),
            _ => return Err(Damaged("an unknown opinion")),
        };
        Ok(Answer {
            key: Key { deployment: deployment(&self.deployment)? },
            epoch: figure(self.epoch)?,
            candidate: self.candidate.parse()?,
            voter: self.voter.parse()?,
            opinion,
            seen: figure(self.seen)?,
        })
    }
}
