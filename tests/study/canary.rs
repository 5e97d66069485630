//! The judge beside a stable release that runs at the same time: how soon errors of the candidate alone are found, and how
//! often an outage that both share is held against it.

use std::sync::Arc;

use outrigger::engine::tick::TICK;

use crate::cases::outage;
use crate::chance::{at_share, seed, upper_95};
use crate::effects::{Effect, Reach, What};
use crate::run::{Histories, Scale, Trial, WATCH_S, describe, parallel, setup};
use crate::service::{READY, Service, Setup};
use crate::shape::Shape;
use crate::tables::{seconds, share};

/// What was promised: seconds from the onset (median, 95th percentile) for 10, 100 and 1000 requests a second.
const PROMISED: [(f64, [(u64, u64); 3]); 3] = [
    (0.10, [(436, 1095), (46, 114), (15, 15)]),
    (0.25, [(173, 443), (19, 47), (15, 15)]),
    (0.50, [(107, 227), (15, 24), (15, 15)]),
];

struct Cell {
    weight: f64,
    rate: f64,
    promised: (u64, u64),
}

/// Prints the table. Returns the share of false rollbacks over all cells, as counts.
pub(crate) fn study(rates: &[f64], watches: u64, histories: &Histories, scale: Scale) -> (u64, u64) {
    let mut cells = Vec::new();
    for (weight, promised) in PROMISED {
        for (rate, promised) in [10.0, 100.0, 1000.0].into_iter().zip(promised) {
            if rates.contains(&rate) {
                cells.push(Cell { weight, rate, promised });
            }
        }
    }
    let done = parallel(&cells, |cell| {
        let errors: Vec<_> = (0..watches).map(|run| errors(cell, run, histories, scale)).collect();
        let shared: Vec<_> = (0..watches).filter_map(|run| shared(cell, run, histories, scale)).collect();
        (errors, shared)
    });
    println!("\n### Beside a stable release\n");
    println!(
        "| candidate's weight | req/s | 2 % errors: median / 95th | promised | shared outage of 60 s: blamed |"
    );
    println!("|---|---|---|---|---|");
    let (mut blamed, mut all) = (0, 0);
    for (cell, (mut errors, shared)) in cells.iter().zip(done) {
        errors.sort_unstable_by_key(|d| d.unwrap_or(u64::MAX));
        let (median, late) = (at_share(&errors, 0.5), at_share(&errors, 0.95));
        let n = shared.len() as u64;
        let warm = warm_up(cell.rate * cell.weight);
        println!(
            "| {:.0} % | {} | {} / {} | {} / {} | {} (at most {}) |",
            cell.weight * 100.0,
            cell.rate,
            seconds(median),
            seconds(late),
            cell.promised.0 + warm,
            cell.promised.1 + warm,
            share(n, watches),
            share_limit(n, watches),
        );
        shared.iter().take(3).for_each(|how| println!("<!-- {how} -->"));
        (blamed, all) = (blamed + n, all + watches);
    }
    (blamed, all)
}

/// Seconds that the warm-up takes: half a minute and fifty requests.
pub(crate) fn warm_up(rate: f64) -> u64 {
    ((50.0 / rate).max(30.0) / 5.0).ceil() as u64 * 5
}

fn share_limit(k: u64, n: u64) -> String {
    format!("{:.2} %", 100.0 * upper_95(n, k))
}

fn trial(cell: &Cell, effect: Effect, seed: u64, histories: &Histories, scale: Scale) -> Trial {
    let whole = setup(Shape::Even, cell.rate, 1, 3);
    let history = histories.of(&whole, Shape::Even, &[], scale);
    let of = Setup { weight: Some(cell.weight), ..whole };
    Trial::new(Service::new(of, vec![effect], seed, READY), Arc::clone(&history), false)
}

fn errors(cell: &Cell, run: u64, histories: &Histories, scale: Scale) -> Option<u64> {
    let effect = Effect::new(What::Errors(0.02), Reach::Candidate).from(0.0);
    let seed = seed(&[1, cell.weight.to_bits(), cell.rate.to_bits(), run]);
    let mut trial = trial(cell, effect, seed, histories, scale);
    (0..WATCH_S / TICK.as_secs())
        .map(|_| trial.tick())
        .find(|seen| seen.blames_release())
        .map(|seen| seen.age_s)
}

fn shared(cell: &Cell, run: u64, histories: &Histories, scale: Scale) -> Option<String> {
    let seed = seed(&[2, cell.weight.to_bits(), cell.rate.to_bits(), run]);
    // The probes see nothing of it: only the stable release says that it is shared.
    let mut what = outage(60.0);
    if let What::Outage { probe_fails, probe_slow, .. } = &mut what {
        (*probe_fails, *probe_slow) = (0.0, 1.0);
    }
    let effect = Effect::new(what, Reach::All).from((60 + seed % 600) as f64);
    let mut trial = trial(cell, effect, seed, histories, scale);
    (0..WATCH_S / TICK.as_secs())
        .map(|_| trial.tick())
        .find(|seen| seen.blames_release())
        .map(|seen| format!("run {run} {}", describe(&seen)))
}
