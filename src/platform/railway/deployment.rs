//! A deployment as Railway tells of it. It owns the meaning of its status and of what it was made from.

use serde::Deserialize;
use serde_json::Value;

use crate::engine::time::Time;
use crate::platform::railway::documents::lenient;
use crate::platform::railway::examination::Manifest;

/// How a deployment is. Railway's own list is not complete, so what is not known is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Building,
    Crashed,
    Deploying,
    Failed,
    Initializing,
    NeedsApproval,
    Queued,
    Removed,
    Removing,
    Skipped,
    Sleeping,
    Success,
    Waiting,
    Other(String),
}

const WORDS: [(&str, Status); 13] = [
    ("BUILDING", Status::Building),
    ("CRASHED", Status::Crashed),
    ("DEPLOYING", Status::Deploying),
    ("FAILED", Status::Failed),
    ("INITIALIZING", Status::Initializing),
    ("NEEDS_APPROVAL", Status::NeedsApproval),
    ("QUEUED", Status::Queued),
    ("REMOVED", Status::Removed),
    ("REMOVING", Status::Removing),
    ("SKIPPED", Status::Skipped),
    ("SLEEPING", Status::Sleeping),
    ("SUCCESS", Status::Success),
    ("WAITING", Status::Waiting),
];

impl Status {
    fn from_word(word: String) -> Self {
        let known = WORDS.iter().find(|(known, _)| *known == word);
        known.map_or(Self::Other(word), |(_, status)| status.clone())
    }

    /// Railway's word.
    pub(super) fn word(&self) -> &str {
        if let Self::Other(word) = self {
            return word;
        }
        WORDS.iter().find(|(_, status)| status == self).map_or("", |(word, _)| word)
    }

    /// It was live, or is; one that has never been live is none to go back to.
    pub(super) const fn was_live(&self) -> bool {
        matches!(self, Self::Removed | Self::Success)
    }

    /// It is on its way to be live by itself.
    pub(super) const fn is_moving(&self) -> bool {
        matches!(self, Self::Queued | Self::Building | Self::Initializing | Self::Deploying)
    }

    /// It may go live yet, by itself or when somebody says so.
    pub(super) const fn is_pending(&self) -> bool {
        self.is_moving() || matches!(self, Self::Waiting | Self::NeedsApproval)
    }
}

/// What a deployment was made from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) commit: Option<String>,
    pub(super) digest: Option<String>,
}

impl Image {
    /// Either tells that both are the same.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let same = |a: &Option<String>, b: &Option<String>| a.is_some() && a == b;
        same(&self.commit, &other.commit) || same(&self.digest, &other.digest)
    }

    /// Both are told and both are the same.
    pub(super) fn is_identical(&self, other: &Self) -> bool {
        self.commit.is_some() && self.digest.is_some() && self == other
    }
}

/// A deployment.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(from = "Wire")]
pub(super) struct Deployment {
    pub(super) id: String,
    pub(super) status: Status,
    pub(super) created_at: Option<Time>,
    /// When its status changed last: of one that was removed, when that was.
    pub(super) status_at: Option<Time>,
    pub(super) can_rollback: bool,
    pub(super) can_redeploy: bool,
    pub(super) image: Image,
    pub(super) manifest: Manifest,
    /// How many replicas run.
    pub(super) running: u32,
    /// Instances that run or may run soon.
    pub(super) up: u32,
    /// Instances that have ended and are not started again by now.
    pub(super) down: u32,
}

impl Deployment {
    /// Whether it was made after `other`; where either does not say when, no.
    pub(super) fn is_newer_than(&self, other: &Self) -> bool {
        matches!((self.created_at, other.created_at), (Some(own), Some(other)) if own > other)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    id: String,
    #[serde(default, deserialize_with = "lenient")]
    status: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    created_at: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    status_updated_at: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    can_rollback: Option<bool>,
    #[serde(default, deserialize_with = "lenient")]
    can_redeploy: Option<bool>,
    #[serde(default)]
    meta: Value,
    #[serde(default, deserialize_with = "lenient")]
    instances: Option<Vec<Instance>>,
}

#[derive(Deserialize)]
struct Instance {
    status: String,
}

impl From<Wire> for Deployment {
    fn from(wire: Wire) -> Self {
        let meta = unpacked(wire.meta);
        let text = |key: &str| meta.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        let instances = wire.instances.unwrap_or_default();
        let count = |is_one: &dyn Fn(&str) -> bool| {
            let of = instances.iter().filter(|instance| is_one(&instance.status));
            u32::try_from(of.count()).unwrap_or(u32::MAX)
        };
        // What was stopped or removed is neither: somebody wanted it so. A state that is not known may well serve.
        let is_down = |state: &str| ["CRASHED", "EXITED"].contains(&state);
        let is_gone = |state: &str| ["STOPPED", "REMOVED", "REMOVING", "SKIPPED"].contains(&state);
        Self {
            id: wire.id,
            status: Status::from_word(wire.status.unwrap_or_default()),
            created_at: wire.created_at.as_deref().and_then(time),
            status_at: wire.status_updated_at.as_deref().and_then(time),
            can_rollback: wire.can_rollback.unwrap_or(false),
            can_redeploy: wire.can_redeploy.unwrap_or(false),
            image: Image {
                commit: text("commitHash").map(str::to_owned),
                digest: text("imageDigest").map(str::to_owned),
            },
            manifest: manifest(&meta),
            running: count(&|state| state == "RUNNING"),
            up: count(&|state| !is_down(state) && !is_gone(state)),
            down: count(&is_down),
        }
    }
}

/// `meta` is an object, or the text of one.
fn unpacked(meta: Value) -> Value {
    match meta {
        Value::String(text) => serde_json::from_str(&text).unwrap_or_default(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => meta,
    }
}

fn manifest(meta: &Value) -> Manifest {
    let config_file = meta.get("configFile").and_then(Value::as_str).map(str::to_owned);
    let Some(deploy) = meta.pointer("/serviceManifest/deploy") else {
        return Manifest { config_file, ..Manifest::default() };
    };
    let number =
        |of: &Value, key: &str| of.get(key).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
    // Of a service with several regions, the plain number is always 1.
    let regions = deploy.get("multiRegionConfig").and_then(Value::as_object);
    let all = |regions: &serde_json::Map<String, Value>| {
        let counts = regions.values().filter_map(|region| number(region, "numReplicas"));
        counts.fold(0, u32::saturating_add)
    };
    let replicas = regions.map(all).filter(|&sum| sum > 0);
    Manifest {
        replicas: replicas.or_else(|| number(deploy, "numReplicas")),
        overlap: number(deploy, "overlapSeconds"),
        draining: number(deploy, "drainingSeconds"),
        health_path: deploy.get("healthcheckPath").and_then(Value::as_str).map(str::to_owned),
        sleeps: deploy.get("sleepApplication").and_then(Value::as_bool),
        config_file,
    }
}

fn time(text: &str) -> Option<Time> {
    let at = humantime::parse_rfc3339_weak(text).ok()?;
    let millis = at.duration_since(std::time::SystemTime::UNIX_EPOCH).ok()?.as_millis();
    u64::try_from(millis).ok().map(Time::from_millis)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn decoded(value: Value) -> Deployment {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn meta_is_an_object_or_the_text_of_one() {
        let meta = json!({
            "commitHash": "c1", "imageDigest": "sha256:d1", "configFile": "railway.toml",
            "serviceManifest": {"deploy": {"numReplicas": 1, "overlapSeconds": 20, "drainingSeconds": 0,
                "sleepApplication": false,
                "multiRegionConfig": {"us-west2": {"numReplicas": 2}, "europe-west4-drams3a": {"numReplicas": 1},
                    "gone": null}}},
        });
        let plain = decoded(json!({"id": "a", "status": "SUCCESS", "createdAt": "2026-11-23T10:00:00.250Z",
            "canRollback": true, "meta": meta, "instances": [{"status": "RUNNING"}, {"status": "CRASHED"}]}));
        let text = decoded(json!({"id": "a", "status": "SUCCESS", "createdAt": "2026-11-23T10:00:00.250Z",
            "canRollback": true, "meta": meta.to_string(),
            "instances": [{"status": "RUNNING"}, {"status": "CRASHED"}]}));
        assert_eq!(plain, text);
        assert_eq!(plain.image.commit.as_deref(), Some("c1"));
        assert_eq!(plain.manifest.replicas, Some(3), "the regions together, not the old number");
        assert_eq!((plain.manifest.overlap, plain.manifest.draining), (Some(20), Some(0)));
        assert_eq!((plain.running, plain.can_rollback, plain.can_redeploy), (1, true, false));
        assert_eq!(plain.created_at.unwrap().to_string(), "2026-11-23T10:00:00Z");
    }

    #[test]
    fn what_is_missing_strange_or_new_is_no_failure() {
        let strange =
            decoded(json!({"id": "a", "status": "CANCELLED", "createdAt": "yesterday", "meta": "{nonsense",
            "canRollback": "perhaps", "instances": 3, "somethingNew": {"x": [1]}}));
        assert_eq!(strange.status, Status::Other("CANCELLED".to_owned()));
        assert_eq!(strange.status.word(), "CANCELLED");
        assert_eq!(
            (strange.created_at, strange.can_rollback, strange.image),
            (None, false, Image::default())
        );
        assert!(!strange.status.was_live() && !strange.status.is_pending());
        let bare = decoded(json!({"id": "b"}));
        assert_eq!((bare.status, bare.running), (Status::Other(String::new()), 0));
        let null = decoded(json!({"id": "b", "status": null, "meta": null, "instances": null}));
        assert_eq!(null.manifest, Manifest::default());
        assert!(
            serde_json::from_value::<Deployment>(json!({"status": "SUCCESS"})).is_err(),
            "without an id it is none"
        );
    }

    #[test]
    fn each_known_word_is_its_own() {
        for (word, status) in WORDS {
            assert_eq!((Status::from_word(word.to_owned()), status.word()), (status.clone(), word));
        }
    }

    #[test]
    fn images_are_alike_by_what_both_tell() {
        let image = |commit: &str, digest: &str| Image {
            commit: (!commit.is_empty()).then(|| commit.to_owned()),
            digest: (!digest.is_empty()).then(|| digest.to_owned()),
        };
        assert!(image("c", "").is_like(&image("c", "d")) && image("c", "d").is_like(&image("x", "d")));
        assert!(!image("", "").is_like(&image("", "")) && !image("c", "").is_like(&image("", "d")));
        assert!(image("c", "d").is_identical(&image("c", "d")));
        assert!(
            !image("c", "").is_identical(&image("c", "")) && !image("c", "d").is_identical(&image("c", "e"))
        );
    }
}
