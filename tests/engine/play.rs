//! A script's verbs: what happened, a line each.

use std::time::Duration;

use outrigger::engine::Input;
use outrigger::engine::record::{Acted, Live, Lock, Pause};

use crate::world::{HEALTHY, Load, World, release};

/// When a script begins, after the world.
pub(crate) const START: Duration = Duration::from_secs(3 * 3600);

pub(crate) fn continue_with(mut w: World, script: &str) -> (World, Vec<String>) {
    for line in script.lines().map(str::trim).filter(|l| !l.is_empty()) {
        command(&mut w, line);
    }
    let said = w.log.iter().map(|(at, l)| format!("{}s {l}", at.saturating_sub(START).as_secs())).collect();
    (w, said)
}

fn command(w: &mut World, line: &str) {
    let mut words = line.split_whitespace();
    let verb = words.next().expect("the script is well-formed");
    let rest: Vec<&str> = words.collect();
    match verb {
        "ready" => w.ready(),
        "crash" => w.crash(),
        "run" => {
            w.run(humantime::parse_duration(rest[0]).expect("the script is well-formed"), load(&rest[1..]))
        }
        "accepted" => w.acted(Acted::Accepted { detail: "ok".into() }),
        "refused" => w.acted(Acted::Refused { reason: "no".into() }),
        "lost-reply" => w.acted(Acted::Unknown { reason: "timed out".into() }),
        "rehearsed" => w.acted(Acted::DryRun { detail: "would".into() }),
        "live" => w.live(Live::Release(release(rest[0]))),
        "cannot-tell" => w.live(Live::Unknown { reason: "no current command".into() }),
        "pause" => {
            let until =
                rest.get(1).map(|d| w.now + humantime::parse_duration(d).expect("the script is well-formed"));
            let pause = Pause { by: rest[0].into(), reason: "test".into(), since: w.now, until };
            w.step(Input::Paused(pause));
        }
        "resume" => w.step(Input::Resumed { by: rest[0].into() }),
        "lock" => {
            let until =
                rest.get(1).map(|d| w.now + humantime::parse_duration(d).expect("the script is well-formed"));
            let lock = Lock { by: rest[0].into(), reason: "test".into(), since: w.now, until };
            w.step(Input::Locked(lock));
        }
        "unlock" => w.step(Input::Unlocked { by: rest[0].into() }),
        "schema" => w.step(Input::SchemaSeen { probe: "postgres".into(), version: rest[0].into() }),
        "ask" => {
            let to = rest.get(1).map(|name| release(name));
            w.step(Input::RollBackAsked { by: rest[0].into(), why: "test".into(), to });
        }
        "record-lost" => {
            let record = w.engine.snapshot(w.now).last_decision.expect("the script is well-formed").id;
            w.step(Input::RecordLost { record });
        }
        other => panic!("no such command: {other}"),
    }
}

fn load(words: &[&str]) -> Load {
    let mut load = HEALTHY;
    for word in words {
        match word.split_once('=') {
            Some(("errors", share)) => {
                load.errors =
                    share.trim_end_matches('%').parse::<f64>().expect("the script is well-formed") / 100.0
            }
            Some(("slow", times)) => {
                load.slow = times.trim_end_matches('x').parse().expect("the script is well-formed")
            }
            Some(("rps", rate)) => load.rps = rate.parse().expect("the script is well-formed"),
            None if *word == "hang" => load.hang = true,
            _ => panic!("no such traffic: {word}"),
        }
    }
    load
}
