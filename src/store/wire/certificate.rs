//! The proof of an election on the wire: who asked for what, who said yes, and who could have.
//!
//! Starts of agents, digests and versions are 64 bits wide and written as text: JSON's readers round such numbers.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::engine::ballot::{Ask, Certificate, Key, Roster};
use crate::engine::peer::{Boot, Deployment, Peer};
use crate::store::wire::text::{DurationText, ReleaseText};

/// Sixteen hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HexText(pub u64);

impl Serialize for HexText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:016x}", self.0))
    }
}

impl<'de> Deserialize<'de> for HexText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16).map(Self).map_err(D::Error::custom)
    }
}

/// A deployment's name.
#[derive(Clone, Debug, PartialEq)]
pub struct DeploymentText(pub Deployment);

impl Serialize for DeploymentText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

impl<'de> Deserialize<'de> for DeploymentText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let named = Deployment::new(&name);
        named.map(Self).ok_or_else(|| D::Error::custom("a deployment is 1 to 128 visible ASCII characters"))
    }
}

/// An agent: its replica, and which of its starts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerDoc {
    /// The replica.
    pub replica: String,
    /// Its start.
    pub boot: HexText,
}

/// Who may vote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RosterDoc {
    /// Its version; from the configuration zero.
    pub version: HexText,
    /// The replicas of the accused deployment.
    pub replicas: u32,
    /// There is a watcher.
    pub watcher: bool,
    /// Replicas that the platform itself reported down.
    pub down: u32,
}

/// A request for a vote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AskDoc {
    /// The accused deployment.
    pub deployment: DeploymentText,
    /// Which election on it.
    pub epoch: u64,
    /// What would be put back.
    pub target: ReleaseText,
    /// Who asked.
    pub candidate: PeerDoc,
    /// The roster's version that it went by.
    pub roster: HexText,
    /// The digest of its policy.
    pub policy: HexText,
    /// The digest of its baseline.
    pub baseline: HexText,
}

/// The proof of an election.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CertificateDoc {
    /// What was asked.
    pub ask: AskDoc,
    /// Who said yes.
    pub voters: Vec<PeerDoc>,
    /// Who might have.
    pub roster: RosterDoc,
    /// When it began to ask, by its own clock since its start.
    pub began: DurationText,
    /// Until when it might begin to call, by the same clock.
    pub expires: DurationText,
}

impl From<&Peer> for PeerDoc {
    fn from(peer: &Peer) -> Self {
        Self { replica: peer.replica.to_string(), boot: HexText(peer.boot.0) }
    }
}

impl From<PeerDoc> for Peer {
    fn from(doc: PeerDoc) -> Self {
        Self { replica: doc.replica.into(), boot: Boot(doc.boot.0) }
    }
}

impl From<&Roster> for RosterDoc {
    fn from(of: &Roster) -> Self {
        Self { version: HexText(of.version), replicas: of.replicas, watcher: of.watcher, down: of.down }
    }
}

impl From<RosterDoc> for Roster {
    fn from(doc: RosterDoc) -> Self {
        Self { version: doc.version.0, replicas: doc.replicas, watcher: doc.watcher, down: doc.down }
    }
}

impl From<&Ask> for AskDoc {
    fn from(ask: &Ask) -> Self {
        Self {
            deployment: DeploymentText(ask.key.deployment.clone()),
            epoch: ask.epoch,
            target: ReleaseText(ask.target.clone()),
            candidate: (&ask.candidate).into(),
            roster: HexText(ask.roster),
            policy: HexText(ask.policy),
            baseline: HexText(ask.baseline),
        }
    }
}

impl From<AskDoc> for Ask {
    fn from(doc: AskDoc) -> Self {
        Self {
            key: Key { deployment: doc.deployment.0 },
            epoch: doc.epoch,
            target: doc.target.0,
            candidate: doc.candidate.into(),
            roster: doc.roster.0,
            policy: doc.policy.0,
            baseline: doc.baseline.0,
        }
    }
}

impl From<&Certificate> for CertificateDoc {
    fn from(of: &Certificate) -> Self {
        Self {
            ask: (&of.ask).into(),
            voters: of.voters.iter().map(PeerDoc::from).collect(),
            roster: (&of.roster).into(),
            began: DurationText(of.began),
            expires: DurationText(of.expires),
        }
    }
}

impl From<CertificateDoc> for Certificate {
    fn from(doc: CertificateDoc) -> Self {
        Self {
            ask: doc.ask.into(),
            voters: doc.voters.into_iter().map(Peer::from).collect(),
            roster: doc.roster.into(),
            began: doc.began.0,
            expires: doc.expires.0,
        }
    }
}
