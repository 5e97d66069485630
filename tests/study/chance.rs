//! Seeded chance, and the few figures of statistics that the tables need. Knows nothing of services or of the judge.

use fastrand::Rng;

/// Above this mean a count is drawn from the normal approximation; below, exactly.
const EXACT_MEAN: f64 = 30.0;

/// A seed of its own for every run of every cell, so that no run depends on which others were made.
pub(crate) fn seed(of: &[u64]) -> u64 {
    // SplitMix64 (Steele, Lea, Flood 2014) over the parts.
    of.iter().fold(0x5eed_u64, |state, part| {
        let z = (state ^ part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

/// The same for a name.
pub(crate) fn name_seed(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

/// A standard normal value (Box and Muller, 1958).
pub(crate) fn normal(rng: &mut Rng) -> f64 {
    let (u, v) = (1.0 - rng.f64(), rng.f64());
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// A Poisson count.
pub(crate) fn poisson(rng: &mut Rng, mean: f64) -> u64 {
    if mean > EXACT_MEAN {
        return (mean + mean.sqrt() * normal(rng)).round().max(0.0) as u64;
    }
    let (limit, mut product, mut count) = ((-mean).exp(), rng.f64(), 0);
    while product > limit {
        product *= rng.f64();
        count += 1;
    }
    count
}

/// A binomial count.
pub(crate) fn binomial(rng: &mut Rng, n: u64, p: f64) -> u64 {
    if n == 0 || p <= 0.0 {
        return 0;
    }
    if p >= 1.0 {
        return n;
    }
    if p > 0.5 {
        return n - binomial(rng, n, 1.0 - p);
    }
    let mean = n as f64 * p;
    if mean > EXACT_MEAN {
        let value = mean + (mean * (1.0 - p)).sqrt() * normal(rng);
        return value.round().clamp(0.0, n as f64) as u64;
    }
    // Inversion from zero upwards; its terms cannot vanish, for the mean is small.
    let odds = p / (1.0 - p);
    let mut term = (n as f64 * (-p).ln_1p()).exp();
    let mut left = rng.f64();
    let mut k = 0;
    while left > term && k < n {
        left -= term;
        term *= odds * (n - k) as f64 / (k + 1) as f64;
        k += 1;
    }
    k
}

/// The one-sided upper 95 % confidence limit of a share (Clopper and Pearson, 1934).
pub(crate) fn upper_95(n: u64, k: u64) -> f64 {
    if k >= n {
        return 1.0;
    }
    let at_most = |p: f64| -> f64 {
        let odds = p / (1.0 - p);
        let mut term = (n as f64 * (-p).ln_1p()).exp();
        let mut sum = term;
        for i in 0..k {
            term *= odds * (n - i) as f64 / (i + 1) as f64;
            sum += term;
        }
        sum
    };
    let (mut low, mut high) = (k as f64 / n as f64, 1.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if at_most(middle) > 0.05 { low = middle } else { high = middle }
    }
    high
}

/// The value at a share of a sorted list, or `None` (never) if it lies among those that never came.
pub(crate) fn at_share(sorted: &[Option<u64>], share: f64) -> Option<u64> {
    let rank = (share * sorted.len() as f64).ceil().max(1.0) as usize;
    sorted.get(rank - 1).copied().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_the_mean_and_the_spread_that_they_should() {
        let mut rng = Rng::with_seed(1);
        for (n, p) in [(5, 0.3), (500, 0.001), (500, 0.02), (5000, 0.1), (5000, 0.98)] {
            let draws: Vec<f64> = (0..20_000).map(|_| binomial(&mut rng, n, p) as f64).collect();
            check(&draws, n as f64 * p, n as f64 * p * (1.0 - p));
        }
        for mean in [0.3, 3.0, 29.0, 500.0] {
            let draws: Vec<f64> = (0..20_000).map(|_| poisson(&mut rng, mean) as f64).collect();
            check(&draws, mean, mean);
        }
    }

    fn check(draws: &[f64], mean: f64, variance: f64) {
        let n = draws.len() as f64;
        let got = draws.iter().sum::<f64>() / n;
        let spread = draws.iter().map(|d| (d - got).powi(2)).sum::<f64>() / n;
        assert!((got - mean).abs() < 5.0 * (variance / n).sqrt(), "mean {got} for {mean}");
        assert!((spread / variance - 1.0).abs() < 0.1, "variance {spread} for {variance}");
    }

    #[test]
    fn the_limit_of_a_share_follows_the_rule_of_three() {
        assert!((upper_95(1000, 0) - 0.002_991).abs() < 1e-6);
        // Clopper and Pearson, 5 of 100, one-sided 95 %: 0.1023.
        assert!((upper_95(100, 5) - 0.102_3).abs() < 1e-4);
        assert!((upper_95(10, 10) - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn a_share_that_never_came_is_never() {
        let list = [Some(5), Some(10), None, None];
        assert_eq!((at_share(&list, 0.5), at_share(&list, 0.95)), (Some(10), None));
    }
}
