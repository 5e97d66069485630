//! A worker's own count of what it sent where: a share in requests that is right for few of them, too.
//!
//! Drawn by chance, half a percent of 600 requests would be three on average, and one or six quite often. Counted off,
//! every 200th, it would beat with the rhythm of the clients: where a page is always followed by one call, a half share
//! would get the calls only. So each stretch of requests that is due one gets one, at a random place in it.

use std::cell::RefCell;

use fastrand::Rng;

use crate::proxy::split::share::Share;

/// After any number of requests with one share, what was taken differs from the share by less than one.
#[derive(Debug)]
pub(in crate::proxy) struct Counter(RefCell<Stretch>);

/// The stretch in which the next request falls. Its length is 2^64.
#[derive(Debug)]
struct Stretch {
    chance: Rng,
    /// How much of it has passed.
    passed: u64,
    /// The place in it that is taken.
    place: u64,
    /// The place of the last stretch and that of this one fell on one request, so the next one is taken, too. More
    /// than one is never owed: there are at least as many requests as stretches.
    is_owed: bool,
}

impl Counter {
    /// `seed`: another one for each worker, so that they do not take the same places.
    pub(in crate::proxy) fn new(seed: u64) -> Self {
        let mut chance = Rng::with_seed(seed);
        let place = chance.u64(..);
        Self(RefCell::new(Stretch { chance, passed: 0, place, is_owed: false }))
    }

    /// Counts one request; whether it is in the share. Nothing and everything are exact and leave the count as it is.
    pub(in crate::proxy) fn takes(&self, share: Share) -> bool {
        if share == Share::NONE || share == Share::ALL {
            return share == Share::ALL;
        }
        self.0.borrow_mut().step(share.threshold())
    }
}

impl Stretch {
    fn step(&mut self, length: u64) -> bool {
        let (to, is_over) = self.passed.overflowing_add(length);
        let mut due = usize::from(self.is_owed);
        if is_over {
            due += usize::from(self.place >= self.passed);
            self.place = self.chance.u64(..);
            due += usize::from(self.place < to);
        } else {
            due += usize::from((self.passed..to).contains(&self.place));
        }
        self.passed = to;
        self.is_owed = due > 1;
        due > 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn share(ppm: u32) -> Share {
        Share::of_ppm(ppm).unwrap()
    }

    #[test]
    fn half_a_percent_of_six_hundred_requests_is_three() {
        for seed in 0..200 {
            let counter = Counter::new(seed);
            assert_eq!((0..600).filter(|_| counter.takes(share(5_000))).count(), 3, "{seed}");
            // Two workers that have no say in how many each gets.
            let (one, two) = (Counter::new(seed), Counter::new(seed + 1000));
            let taken = (0..600).filter(|i| if i % 7 == 0 { &one } else { &two }.takes(share(5_000))).count();
            assert!((2..=4).contains(&taken), "{seed}: {taken}");
        }
    }

    #[test]
    fn nothing_and_everything_are_exact_in_any_state() {
        for (passed, place, is_owed) in
            [(0, u64::MAX, false), (0, 0, true), (u64::MAX, 0, true), (1, 0, false)]
        {
            let chance = Rng::with_seed(1);
            let counter = Counter(RefCell::new(Stretch { chance, passed, place, is_owed }));
            assert_eq!([Share::NONE, Share::ALL].map(|share| counter.takes(share)), [false, true]);
        }
    }

    #[test]
    fn it_does_not_beat_with_the_rhythm_of_the_clients() {
        for ppm in [500_000, 250_000, 750_000] {
            let counter = Counter::new(7);
            let mut of_second = 0;
            for i in 0..10_000 {
                of_second += u32::from(counter.takes(share(ppm)) && i % 2 == 1);
            }
            let expected = ppm / 200;
            assert!(of_second.abs_diff(expected) < 200, "{ppm}: {of_second} instead of {expected}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn what_was_taken_differs_from_the_share_by_less_than_one(seed in any::<u64>(), ppm in 0..=1_000_000u32) {
            let counter = Counter::new(seed);
            let mut taken = 0;
            for n in 1..=2_000u64 {
                taken += u64::from(counter.takes(share(ppm))) * 1_000_000;
                let due = n * u64::from(ppm);
                // A millionth of a request for the rounding of the threshold.
                prop_assert!(taken.abs_diff(due) <= 1_000_001, "{} of {} after {}", taken, due, n);
            }
        }

        #[test]
        fn a_share_that_changes_is_kept_to_within_one_request_each_time(
            seed in any::<u64>(),
            steps in proptest::collection::vec((0..=1_000_000u32, 1..300u64), 1..12),
        ) {
            let counter = Counter::new(seed);
            for (ppm, requests) in steps {
                let taken = (0..requests).filter(|_| counter.takes(share(ppm))).count() as u64 * 1_000_000;
                prop_assert!(taken.abs_diff(requests * u64::from(ppm)) <= 2_000_001, "{ppm} of {requests}: {taken}");
            }
            prop_assert_eq!((0..100).filter(|_| counter.takes(Share::NONE)).count(), 0);
            prop_assert_eq!((0..100).filter(|_| counter.takes(Share::ALL)).count(), 100);
        }
    }
}
