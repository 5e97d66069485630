//! How long requests take: distributions as tables of steps of 2 %, from which a thousand requests cost no more to draw
//! than the table has steps.

use fastrand::Rng;

use crate::chance::binomial;

/// How far apart two steps are.
const STEP: f64 = 1.02;
/// So many requests are drawn one by one; more are split over the table.
const ONE_BY_ONE: u64 = 1000;
/// So few are not worth counting.
const FEW: u64 = 40;
/// Entries of the table that says where to begin to look.
const GUIDE: usize = 1024;

/// A family of latencies; the median is 20 ms in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Shape {
    /// Lognormal with sigma 0.5: p99 / p50 = 3.2.
    Even,
    /// Lognormal with sigma 1.0: p99 / p50 = 10.2.
    Wide,
    /// Lognormal with sigma 1.5: p99 / p50 = 33.
    Heavy,
    /// Lognormal with sigma 0.5, and every fiftieth request from a Pareto tail with exponent 1.5 beginning at 3 medians.
    Pareto,
}

impl Shape {
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Even => "p99/p50 = 3",
            Self::Wide => "p99/p50 = 10",
            Self::Heavy => "p99/p50 = 33",
            Self::Pareto => "Pareto tail",
        }
    }

    /// The chance of being above `x` medians.
    fn above(self, x: f64) -> f64 {
        let lognormal = |sigma: f64| 0.5 * erfc(x.ln() / sigma / std::f64::consts::SQRT_2);
        match self {
            Self::Even => lognormal(0.5),
            Self::Wide => lognormal(1.0),
            Self::Heavy => lognormal(1.5),
            Self::Pareto => 0.98 * lognormal(0.5) + 0.02 * (x / 3.0).max(1.0).powf(-1.5),
        }
    }
}

/// A shape with its table.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    /// Microseconds of each step, its upper end.
    values: Vec<f64>,
    /// The chance of a step or a lower one.
    up_to: Vec<f64>,
    /// The chance of a step if no lower one was it.
    of_rest: Vec<f64>,
    guide: Vec<u32>,
    /// The first step of the slowest twentieth.
    tail_from: usize,
}

/// How a request is slowed down.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Slowness {
    /// Every request takes so many times as long,
    pub(crate) all: f64,
    /// and the slowest twentieth so many times more.
    pub(crate) tail: f64,
}

impl Slowness {
    pub(crate) const NONE: Self = Self { all: 1.0, tail: 1.0 };
}

impl Table {
    pub(crate) fn new(shape: Shape, median_us: f64) -> Self {
        let (mut x, mut last) = (1e-3_f64, 1.0);
        let mut steps: Vec<(f64, f64)> = Vec::new();
        while last > 1e-7 {
            x *= STEP;
            let above = shape.above(x);
            // What hardly ever comes is added to the step that does.
            if last - above > 1e-7 {
                steps.push((x * median_us, last - above));
                last = above;
            } else if x > 1e5 {
                break;
            }
        }
        let total: f64 = steps.iter().map(|s| s.1).sum();
        let mut sum = 0.0;
        let (mut up_to, mut of_rest) = (Vec::new(), Vec::new());
        for &(_, chance) in &steps {
            let chance = chance / total;
            of_rest.push((chance / (1.0 - sum)).min(1.0));
            sum += chance;
            up_to.push(sum);
        }
        let guide =
            (0..GUIDE).map(|i| up_to.partition_point(|&c| c <= i as f64 / GUIDE as f64) as u32).collect();
        let tail_from = up_to.partition_point(|&c| c < 0.95) + 1;
        Self { values: steps.into_iter().map(|s| s.0).collect(), up_to, of_rest, guide, tail_from }
    }

    /// Adds the latencies of `n` requests to `pairs`.
    pub(crate) fn draw(&self, rng: &mut Rng, n: u64, slow: Slowness, pairs: &mut Vec<(u64, u64)>) {
        if n <= FEW {
            (0..n).for_each(|_| pairs.push((self.value(self.step(rng), slow), 1)));
            return;
        }
        if n <= ONE_BY_ONE {
            // Counted by step, which sorts them, too.
            let mut counts = vec![0_u64; self.values.len()];
            (0..n).for_each(|_| counts[self.step(rng)] += 1);
            let drawn = counts.iter().enumerate().filter(|&(_, &count)| count > 0);
            pairs.extend(drawn.map(|(step, &count)| (self.value(step, slow), count)));
            return;
        }
        let mut left = n;
        for step in 0..self.values.len() {
            let is_last = step + 1 == self.values.len();
            let count = if is_last { left } else { binomial(rng, left, self.of_rest[step]) };
            left -= count;
            if count > 0 {
                pairs.push((self.value(step, slow), count));
            }
            if left == 0 {
                break;
            }
        }
    }

    /// The step of one request.
    fn step(&self, rng: &mut Rng) -> usize {
        let u = rng.f64();
        let mut step = self.guide[(u * GUIDE as f64) as usize] as usize;
        while step + 1 < self.up_to.len() && self.up_to[step] <= u {
            step += 1;
        }
        step
    }

    fn value(&self, step: usize, slow: Slowness) -> u64 {
        let tail = if step >= self.tail_from { slow.tail } else { 1.0 };
        (self.values[step] * slow.all * tail) as u64
    }
}

/// The complementary error function (Abramowitz and Stegun 7.1.26 is too coarse in the tail, so by its continued
/// fraction there and by its series near zero).
fn erfc(x: f64) -> f64 {
    if x < 0.0 {
        return 2.0 - erfc(-x);
    }
    if x < 2.0 {
        let (mut term, mut sum) = (x, x);
        for n in 1..80 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        return 1.0 - 2.0 / std::f64::consts::PI.sqrt() * sum;
    }
    let fraction = (1..60).rev().fold(x, |below, k| x + f64::from(k) / 2.0 / below);
    (-x * x).exp() / std::f64::consts::PI.sqrt() / fraction
}

#[cfg(test)]
mod tests {
    use outrigger::engine::window::Latencies;

    use super::*;

    #[test]
    fn a_drawn_latency_has_the_quantiles_of_its_shape_however_it_was_drawn() {
        let mut rng = Rng::with_seed(3);
        for (shape, ratio) in [(Shape::Even, 3.2), (Shape::Wide, 10.2), (Shape::Heavy, 32.8)] {
            let table = Table::new(shape, 20_000.0);
            for portion in [FEW, ONE_BY_ONE, 50 * ONE_BY_ONE] {
                let mut pairs = Vec::new();
                (0..200_000 / portion)
                    .for_each(|_| table.draw(&mut rng, portion, Slowness::NONE, &mut pairs));
                let all = Latencies::new(pairs);
                assert_eq!(all.count(), 200_000);
                let at = |q| all.quantile(q).expect("it is not empty") as f64;
                assert!((at(0.5) / 20_000.0 - 1.0).abs() < 0.04, "{shape:?} {}", at(0.5));
                assert!((at(0.99) / at(0.5) / ratio - 1.0).abs() < 0.06, "{shape:?} {}", at(0.99) / at(0.5));
            }
        }
    }

    #[test]
    fn a_slow_tail_moves_the_99th_percentile_and_not_the_median() {
        let mut rng = Rng::with_seed(4);
        let table = Table::new(Shape::Wide, 20_000.0);
        let mut quantiles = |slow| {
            let mut pairs = Vec::new();
            table.draw(&mut rng, 200_000, slow, &mut pairs);
            let all = Latencies::new(pairs);
            (all.quantile(0.5).unwrap() as f64, all.quantile(0.99).unwrap() as f64)
        };
        let (plain, tail) = (quantiles(Slowness::NONE), quantiles(Slowness { all: 1.0, tail: 2.0 }));
        assert!((tail.0 / plain.0 - 1.0).abs() < 0.03 && (tail.1 / plain.1 - 2.0).abs() < 0.1, "{tail:?}");
    }
}
