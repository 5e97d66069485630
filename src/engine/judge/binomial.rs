//! Exact binomial tails and the confidence limits that rest on them.
//!
//! `libm` rather than the platform's mathematics: the same bits everywhere, so that a record replays exactly.

use libm::{exp, lgamma, log, log1p};

/// ln of the probability that a binomial variable with `n` trials of chance `p` equals `k`.
fn ln_pmf(n: u64, p: f64, k: u64) -> f64 {
    let (nf, kf) = (n as f64, k as f64);
    let ln_choose = lgamma(nf + 1.0) - lgamma(kf + 1.0) - lgamma(nf - kf + 1.0);
    ln_choose + kf * log(p) + (nf - kf) * log1p(-p)
}

/// P(X ≥ k) for X binomial with `n` trials of chance `p`.
///
/// The sum runs from the mode's side outwards and ends where terms no longer matter, so its cost grows with the
/// standard deviation and not with `n`.
pub(crate) fn upper_tail(n: u64, p: f64, k: u64) -> f64 {
    if k == 0 {
        return 1.0;
    }
    if k > n || p <= 0.0 {
        return 0.0;
    }
    if p >= 1.0 {
        return 1.0;
    }
    if (k as f64) < n as f64 * p {
        return (1.0 - lower_sum(n, p, k - 1)).clamp(0.0, 1.0);
    }
    let odds = p / (1.0 - p);
    let mut term = exp(ln_pmf(n, p, k));
    let mut sum = term;
    for i in k..n {
        term *= odds * (n - i) as f64 / (i + 1) as f64;
        sum += term;
        if term <= sum * 1e-16 {
            break;
        }
    }
    sum.min(1.0)
}

/// P(X ≤ k), summed downwards from `k`, which must lie below the mean.
fn lower_sum(n: u64, p: f64, k: u64) -> f64 {
    let odds = (1.0 - p) / p;
    let mut term = exp(ln_pmf(n, p, k));
    let mut sum = term;
    for i in (0..k).rev() {
        term *= odds * (i + 1) as f64 / (n - i) as f64;
        sum += term;
        if term <= sum * 1e-16 {
            break;
        }
    }
    sum
}

/// The upper confidence limit of Clopper and Pearson (1934): the chance at which `k` or fewer of `n` would be seen with
/// probability `miss` only. One when `k = n`.
pub(crate) fn upper_limit(n: u64, k: u64, miss: f64) -> f64 {
    if n == 0 || k >= n {
        return 1.0;
    }
    let (mut low, mut high) = (k as f64 / n as f64, 1.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        // P(X ≤ k) = 1 − P(X ≥ k + 1)
        if 1.0 - upper_tail(n, middle, k + 1) > miss {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// The rank (1 to `n`) of the order statistic that bounds the `q`-quantile from above but with probability `miss`,
/// whatever the distribution; `None` when `n` is too small for that.
pub(crate) fn quantile_upper_rank(n: u64, q: f64, miss: f64) -> Option<u64> {
    // The j-th smallest is below the quantile exactly if at least j of n fall below it.
    if upper_tail(n, q, n) > miss {
        return None;
    }
    let (mut low, mut high) = ((n as f64 * q) as u64, n);
    while low + 1 < high {
        let middle = low.midpoint(high);
        if upper_tail(n, q, middle) > miss {
            low = middle;
        } else {
            high = middle;
        }
    }
    Some(high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_agree_with_the_plain_sum() {
        for (n, p) in [(10_u64, 0.3), (50, 0.02), (200, 0.5), (1000, 0.001)] {
            let mut plain = vec![0.0; n as usize + 2];
            for k in (0..=n).rev() {
                plain[k as usize] = plain[k as usize + 1] + exp(ln_pmf(n, p, k));
            }
            for k in 0..=n {
                let (got, want) = (upper_tail(n, p, k), plain[k as usize]);
                assert!((got - want).abs() < 1e-9, "n={n} p={p} k={k}: {got} against {want}");
            }
        }
    }

    #[test]
    fn a_huge_baseline_costs_no_more_than_a_large_one() {
        // Would take minutes if the sum ran over all terms.
        assert!(upper_limit(1_000_000_000, 1_000_000, 1e-3) < 0.001_01);
        assert!(quantile_upper_rank(1_000_000_000, 0.5, 1e-4).is_some());
        assert!(upper_tail(1_000_000_000, 0.5, 400_000_000) > 0.999);
    }

    #[test]
    fn limits_match_published_tables() {
        // The rule of three, exactly: 1 − 0.05^(1/n).
        assert!((upper_limit(100, 0, 0.05) - 0.029_513).abs() < 1e-6);
        // Clopper and Pearson, 5 of 100, one-sided 97.5 %: 0.1128.
        assert!((upper_limit(100, 5, 0.025) - 0.112_835).abs() < 1e-5);
        assert!((upper_limit(10, 10, 0.001) - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn a_quantile_needs_enough_data() {
        assert_eq!(quantile_upper_rank(500, 0.99, 1e-4), None);
        // 0.99^917 is the first power below 1e-4.
        assert_eq!(quantile_upper_rank(916, 0.99, 1e-4), None);
        assert_eq!(quantile_upper_rank(917, 0.99, 1e-4), Some(917));
        let rank = quantile_upper_rank(100_000, 0.99, 1e-4).unwrap();
        // Normal approximation: 99,000 + 3.72 · sqrt(100,000 · 0.99 · 0.01) ≈ 99,117.
        assert!((99_105..99_130).contains(&rank), "{rank}");
    }
}
