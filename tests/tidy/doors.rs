//! One crate, one door: which rooms may name which dependency, and what the engine may not name at all.

use crate::source::{Fault, File, Named, named};

/// Pure types and texts, which lead nowhere.
const ALL: &[&str] = &[
    "engine",
    "clock",
    "config",
    "recorder",
    "pack",
    "https",
    "proxy",
    "supervisor",
    "prober",
    "host",
    "peers",
    "platform",
    "store",
    "registry",
    "notify",
    "admin",
    "agent",
    "stage",
    "ops",
    "offline",
    "cli",
];

/// Every room but the engine.
const ABOVE_THE_ENGINE: &[&str] = ALL.split_at(1).1;

/// What the data path, the control plane and the command line share: everything that may touch the world.
const LIMBS_UP: &[&str] = ALL.split_at(6).1;

/// What speaks HTTP.
const HTTP: &[&str] = &["proxy", "prober", "peers", "platform", "notify", "admin", "stage", "cli"];

/// What has a written form of its own, or reads somebody else's.
const WRITTEN: &[&str] = &[
    "config", "prober", "peers", "platform", "store", "registry", "notify", "admin", "agent", "stage", "ops",
    "offline", "cli",
];

/// Every dependency and the rooms that may name it; `main` may name any. A dependency without a line fails.
const DOORS: &[(&str, &[&str])] = &[
    ("anyhow", &["agent", "stage", "ops", "cli"]),
    ("arc-swap", &["proxy", "admin", "agent"]),
    ("axum", &["admin"]),
    ("base64", &["offline"]),
    ("bytes", ABOVE_THE_ENGINE),
    ("clap", &["cli"]),
    ("fastrand", LIMBS_UP),
    ("flate2", &["pack", "offline"]),
    ("futures-util", LIMBS_UP),
    ("hdrhistogram", &["engine", "recorder", "store", "admin", "stage", "offline"]),
    ("http", ABOVE_THE_ENGINE),
    ("http-body", HTTP),
    ("http-body-util", HTTP),
    ("httpdate", &["proxy"]),
    ("humantime", ALL),
    ("hyper", HTTP),
    ("hyper-util", HTTP),
    ("libm", &["engine"]),
    ("nix", &["proxy", "supervisor", "prober", "host", "peers", "platform", "store", "stage", "cli"]),
    ("prometheus", &["admin"]),
    ("redis", &["prober"]),
    ("reqwest", &["https"]),
    ("ring", &["prober", "peers", "https", "notify"]),
    ("rusqlite", &["store", "registry"]),
    ("rustls", &["prober", "https"]),
    ("serde", WRITTEN),
    ("serde_json", WRITTEN),
    ("sha1", &["prober"]),
    ("sha2", &["config", "supervisor", "prober", "platform", "store", "admin", "agent", "stage", "cli"]),
    ("subtle", &["config"]),
    ("thiserror", ABOVE_THE_ENGINE),
    ("tokio", ABOVE_THE_ENGINE),
    ("tokio-postgres", &["prober"]),
    ("tokio-postgres-rustls", &["prober"]),
    ("tokio-rustls", &["prober"]),
    ("tokio-util", LIMBS_UP),
    ("toml", &["config"]),
    ("tracing", LIMBS_UP),
    ("tracing-subscriber", &["cli"]),
    ("twox-hash", &["proxy"]),
    ("url", &["config", "https", "platform", "notify", "cli"]),
    ("webpki-roots", &["prober", "https"]),
    ("x509-cert", &["prober"]),
];

/// Beyond the doors above: the parts of the standard library that read the world.
const NOT_IN_THE_ENGINE: &[&[&str]] = &[
    &["std", "env"],
    &["std", "fs"],
    &["std", "io"],
    &["std", "net"],
    &["std", "os"],
    &["std", "process"],
    &["std", "thread"],
    &["std", "time", "Instant"],
    &["tokio"],
    &["tracing"],
    &["rand"],
    &["fastrand"],
    &["serde"],
    &["serde_json"],
];

/// The entrances may name everything.
const ENTRANCES: [&str; 2] = ["main", "lib"];

pub(crate) fn check(file: &File) -> Vec<Fault> {
    let room = file.room();
    if ENTRANCES.contains(&room) {
        return Vec::new();
    }
    let mut faults = Vec::new();
    for path in named(file) {
        let [root, _, ..] = path.segments.as_slice() else { continue };
        let door = DOORS.iter().find(|(name, _)| name.replace('-', "_") == *root);
        if let Some((name, rooms)) = door
            && !rooms.contains(&room)
        {
            faults.push(file.fault(path.line, format!("`{name}` may be named in {} only", rooms.join(", "))));
        }
    }
    faults
}

pub(crate) fn engine(file: &File) -> Vec<Fault> {
    let banned = |path: &Named| {
        NOT_IN_THE_ENGINE.iter().any(|banned| path.starts_with(banned))
            || path.ends_with(&["Instant", "now"])
            || path.ends_with(&["SystemTime", "now"])
            || path.ends_with(&["RandomState"])
    };
    let fault =
        |p: Named| file.fault(p.line, format!("the engine must not name `{}`", p.segments.join("::")));
    named(file).into_iter().filter(banned).map(fault).collect()
}

/// `manifest`: the text of `Cargo.toml`. Dependencies of tests need no door.
pub(crate) fn without_door(manifest: &File) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut inside = false;
    for (i, line) in manifest.text.lines().enumerate() {
        if line.starts_with('[') {
            inside = line.trim() == "[dependencies]";
            continue;
        }
        let Some((name, _)) = line.split_once('=') else { continue };
        let name = name.trim().trim_end_matches(".workspace");
        let is_entry = inside && line.starts_with(|c: char| c.is_ascii_alphabetic());
        if is_entry && !DOORS.iter().any(|(known, _)| *known == name) {
            faults.push(
                manifest.fault(i + 1, format!("`{name}` has no door: name its rooms in tests/tidy/doors.rs")),
            );
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_is_refused_away_from_its_door() {
        for text in
            ["use rusqlite::Connection;", "fn f() -> rusqlite::Result<()> {}", "use ::rusqlite::{Row};"]
        {
            assert_eq!(check(&File::new("src/admin/api.rs", text)).len(), 1, "{text}");
            assert!(check(&File::new("src/store/mod.rs", text)).is_empty(), "{text}");
        }
        assert_eq!(
            check(&File::new("src/cli/mod.rs", "use tracing_subscriber::fmt; use axum::Router;")).len(),
            1
        );
    }

    #[test]
    fn the_engine_may_not_touch_the_world() {
        for text in [
            "use std::time::Instant;",
            "use std::time::{Duration, Instant};",
            "fn f() { SystemTime::now(); }",
            "use std::{collections::BTreeMap, fs};",
            "use tokio::sync::mpsc;",
            "fn f() { tracing::info!(\"x\"); }",
            "#[derive(serde::Serialize)] struct S;",
            "fn f() { fastrand::u8(..); }",
            "use std::net::SocketAddr;",
        ] {
            assert_eq!(engine(&File::new("src/engine/x.rs", text)).len(), 1, "{text}");
        }
        assert!(
            engine(&File::new(
                "src/engine/x.rs",
                "use std::time::Duration; fn f() { std::time::SystemTime::UNIX_EPOCH; }"
            ))
            .is_empty()
        );
    }

    #[test]
    fn a_dependency_without_a_door_is_refused() {
        let text = "[package]\nname = \"x\"\n[dependencies]\n# why\ntokio = \"1\"\nleftpad = \"1\"\n[dev-dependencies]\nother = \"1\"\n";
        let faults = without_door(&File::new("Cargo.toml", text));
        assert_eq!(faults.iter().map(|f| f.line).collect::<Vec<_>>(), [6]);
    }
}
