//! The tables themselves, short in every run and long by flag, and what is asserted of them.

use outrigger::engine::watch::Watch;

use crate::canary::{self, warm_up};
use crate::cases::{COSTLY_ABOVE, Case, Fault, Promise, faults, healthy};
use crate::run::{self, Alarms, Histories, Onset, Scale, describe, parallel};
use crate::shape::Shape;
use crate::tables::{self, Promised};

const RATES: [f64; 6] = [0.3, 1.0, 3.0, 10.0, 100.0, 1000.0];
/// Onsets in seconds after the start.
const ONSETS_S: [u64; 4] = [0, 180, 900, 3600];
/// A healthy release may be blamed in this share of its watches.
const ALARMS_MAX: f64 = 0.01;

/// What the short or the long study runs.
struct Size {
    scale: Scale,
    rates: &'static [f64],
    /// Each case is run at one of the rates, in turn.
    rotates: bool,
    /// Watches of a healthy case.
    watches: u64,
    onsets_s: &'static [u64],
    /// Watches with a fault.
    faulty: u64,
    canaries: u64,
}

const SHORT: Size = Size {
    scale: Scale { starts: 2, hours: 3.0, rivals: false },
    rates: &[1.0, 10.0, 100.0],
    rotates: true,
    watches: 10,
    onsets_s: &[0, 180],
    faulty: 5,
    canaries: 5,
};
const FULL: Size = Size {
    scale: Scale { starts: 4, hours: 6.0, rivals: true },
    rates: &RATES,
    rotates: false,
    watches: 400,
    onsets_s: &ONSETS_S,
    faulty: 100,
    canaries: 300,
};

#[expect(
    clippy::disallowed_methods,
    reason = "a test reads its own switches; there is no configuration here"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn number(name: &str, usual: u64) -> u64 {
    variable(name).and_then(|value| value.parse().ok()).unwrap_or(usual)
}

fn size() -> Size {
    let mut size = if variable("STUDY").is_some_and(|value| value == "full") { FULL } else { SHORT };
    size.watches = number("STUDY_WATCHES", size.watches);
    size.faulty = number("STUDY_FAULTY", size.faulty);
    size.canaries = number("STUDY_CANARIES", size.canaries);
    size
}

/// Whether a case or a fault is asked for: `STUDY_ONLY` names a part of its name.
fn is_asked_for(name: &str) -> bool {
    variable("STUDY_ONLY").is_none_or(|part| name.contains(&part))
}

/// Whether a rate is asked for by `STUDY_RATE`.
fn is_rate_asked_for(rate: f64) -> bool {
    variable("STUDY_RATE").is_none_or(|only| only.parse() == Ok(rate))
}

#[test]
fn healthy_services_are_hardly_ever_blamed() {
    let (size, histories) = (size(), Histories::default());
    let mut cells: Vec<(Case, f64)> = Vec::new();
    for (turn, case) in healthy().into_iter().enumerate().filter(|(_, case)| is_asked_for(case.name)) {
        let rates: Vec<f64> =
            size.rates.iter().copied().filter(|&r| case.is_at(r) && is_rate_asked_for(r)).collect();
        let one = if rates.is_empty() { 0 } else { turn % rates.len() };
        let asked = rates.iter().enumerate().filter(|&(i, _)| !size.rotates || i == one);
        cells.extend(asked.map(|(_, &rate)| (case.clone(), rate)));
    }
    let done = parallel(&cells, |(case, rate)| {
        let alarms = run::healthy(case, *rate, size.watches, &histories, size.scale);
        eprintln!("healthy: {} at {rate} req/s: {} blamed", case.name, alarms.blamed.len());
        alarms
    });
    println!("\n### Healthy releases, watches of half an hour\n\n{}", tables::alarms_head());
    for ((case, rate), alarms) in cells.iter().zip(&done) {
        println!("{}", tables::alarms_row(case, *rate, alarms, size.scale.rivals));
    }
    println!();
    for ((case, rate), alarms) in cells.iter().zip(&done) {
        alarms
            .blamed
            .iter()
            .take(3)
            .for_each(|(run, how)| println!("{} at {rate} req/s, run {run}: {how}", case.name));
    }
    let too_many: Vec<_> = cells.iter().zip(&done).filter(|(_, alarms)| !is_within(alarms)).collect();
    let names: Vec<_> = too_many.iter().map(|((case, rate), a)| (case.name, rate, a.blamed.len())).collect();
    assert!(names.is_empty(), "of {} watches each: {names:?}", size.watches);
}

/// Whether the alarms can be those of a judge that keeps its promise: more would be seen in one study of a thousand only.
fn is_within(alarms: &Alarms) -> bool {
    let expected = ALARMS_MAX * alarms.watches as f64;
    alarms.blamed.len() as f64 <= expected + 3.5 * expected.sqrt().max(0.3)
}

#[test]
fn faults_are_found_in_time() {
    let (size, histories) = (size(), Histories::default());
    let mut cells: Vec<Onset> = Vec::new();
    let all: Vec<Fault> = faults().into_iter().filter(|fault| is_asked_for(fault.name)).collect();
    for &at_s in size.onsets_s {
        for rate in size.rates.iter().copied().filter(|&r| r >= 1.0 && is_rate_asked_for(r)) {
            for (shape, routes) in [(Shape::Even, 3), (Shape::Wide, 3), (Shape::Even, 50)] {
                let faults: Vec<_> =
                    all.iter().filter(|f| f.shape == shape && f.routes == routes).copied().collect();
                let is_costly = routes > 3 && rate > COSTLY_ABOVE;
                if !faults.is_empty() && !is_costly {
                    cells.push(Onset { shape, routes, rate, at_s, faults, watches: size.faulty });
                }
            }
        }
    }
    let done = parallel(&cells, |cell| {
        let all = run::delays(cell, &histories, size.scale);
        eprintln!(
            "faults: {} of {} routes at {} req/s from {} s on",
            cell.shape.label(),
            cell.routes,
            cell.rate,
            cell.at_s
        );
        all
    });
    println!("\n### Faults, in seconds from the onset\n\n{}", tables::delays_head());
    let mut missed = Vec::new();
    for (cell, all) in cells.iter().zip(&done) {
        for (fault, delays) in cell.faults.iter().zip(all) {
            let promised = promised(fault, cell);
            // The short study has too few watches for a 95th percentile.
            let promised = if size.rotates { Promised { late: None, ..promised } } else { promised };
            let (row, miss) = tables::delays_row(cell, fault, delays, promised, size.scale.rivals);
            println!("{row}");
            missed.extend(miss);
        }
    }
    let early: u64 = done.iter().flatten().map(|d| d.early).sum();
    println!("\nBlamed before the onset: {early}");
    println!("\nMissed promises:\n{}", missed.join("\n"));
    assert!(missed.is_empty(), "{} promises were missed", missed.len());
}

/// What is promised of a fault: at the start in judged traffic, so after the warm-up; later from the onset.
fn promised(fault: &Fault, cell: &Onset) -> Promised {
    let none = Promised { median: None, late: None };
    if cell.at_s == 0 {
        let warm = warm_up(cell.rate);
        let promise = fault.promise.at_start(fault.shape, cell.rate);
        return promise.map_or(none, |(m, l)| Promised { median: Some(m + warm), late: Some(l + warm) });
    }
    if cell.rate != 100.0 || fault.promise == Promise::None {
        return none;
    }
    Promised { median: fault.promise.later(cell.at_s >= 900), late: None }
}

#[test]
fn a_stable_release_beside_it_tells_whose_fault_it_is() {
    let (size, histories) = (size(), Histories::default());
    let (blamed, all) = canary::study(size.rates, size.canaries, &histories, size.scale);
    assert!(blamed as f64 <= 0.01 * all as f64 + 1.0, "{blamed} of {all} healthy candidates were blamed");
}

/// `STUDY_CASE='retry storm' STUDY_RATE=10 STUDY_RUN=17 cargo test --test study one_watch -- --ignored --nocapture` tells what
/// the judge thought in one watch of the first table; with the `STUDY` that the table was made with. `STUDY_FAULT` names a
/// fault instead, and `STUDY_ONSET` when it begins, in seconds.
#[test]
#[ignore = "tells of a single watch, by name"]
fn one_watch_is_told() {
    let (scale, histories) = (size().scale, Histories::default());
    let rate: f64 = variable("STUDY_RATE").and_then(|r| r.parse().ok()).unwrap_or(10.0);
    let run = number("STUDY_RUN", 0);
    let mut trial = if let Some(name) = variable("STUDY_FAULT") {
        let fault = faults().into_iter().find(|fault| fault.name == name).expect("STUDY_FAULT names a fault");
        run::faulty_trial(&fault, rate, number("STUDY_ONSET", 0), run, &histories, scale)
    } else {
        let name = variable("STUDY_CASE").unwrap_or_else(|| "plain".to_owned());
        let case = healthy().into_iter().find(|case| case.name == name).expect("STUDY_CASE names a case");
        run::healthy_trial(&case, rate, run, &histories, scale)
    };
    let mut last = String::new();
    for _ in 0..run::WATCH_S / 5 {
        let seen = trial.tick();
        let label = seen.judgement.as_ref().map(|j| (j.verdict.label(), j.diagnosis.clone()));
        let what = format!("{label:?}");
        if what != last {
            println!("{}", describe(&seen));
            tell(&trial.watch);
            last = what;
        }
    }
    tell(&trial.watch);
}

/// The evidence that has come anywhere.
fn tell(watch: &Watch) {
    for e in watch.evidence().into_iter().filter(|e| e.progress() > 0.3 || e.ln_requests > 2.0) {
        println!(
            "    {:?} {}: baseline {} limit {} p0 {:.4}, {} bad of {}; requests {:.1} of {:.1}, ticks {:.1} of {:.1}",
            e.name,
            e.route.as_deref().unwrap_or(""),
            e.baseline,
            e.limit,
            e.p0,
            e.bad,
            e.requests,
            e.ln_requests,
            e.ln_requests_limit,
            e.ln_ticks,
            e.ln_ticks_limit
        );
    }
}
