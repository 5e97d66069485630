//! Who gets the second app.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};

use super::share::point;
use super::{ArmId, Bucket, COOKIE, Choice, Chosen, Counter, Facts, Key, Share, Split, choose};
use crate::proxy::plan::{Arm, Phase, Upstream};

const COOKIES: Choice = Choice::Cookie { max_age: Duration::from_secs(600) };

pub(super) fn split(share: Share, choice: Choice) -> Split {
    Split {
        candidate: Arm { upstream: Upstream::Loopback { port: 1 }, generation: 1, phase: Phase::Serving },
        share,
        choice,
        salt: 0x5eed,
        is_candidate_well: true,
        assets_fall_back: true,
        rescue: true,
        mirror: None,
    }
}

/// A request's head as far as it matters here.
#[derive(Clone, Debug)]
pub(super) struct Client {
    fields: BTreeMap<String, Vec<u8>>,
    cookies: BTreeMap<String, Vec<u8>>,
    peer: IpAddr,
}

impl Client {
    pub(super) fn new() -> Self {
        let peer = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        Self { fields: BTreeMap::new(), cookies: BTreeMap::new(), peer }
    }

    pub(super) fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.insert(name.to_owned(), value.as_bytes().to_vec());
        self
    }

    pub(super) fn cookie(mut self, name: &str, value: &str) -> Self {
        self.cookies.insert(name.to_owned(), value.as_bytes().to_vec());
        self
    }

    pub(super) fn peer(mut self, peer: &str) -> Self {
        self.peer = peer.parse().unwrap();
        self
    }

    pub(super) fn with_facts<T>(&self, look: impl FnOnce(&Facts<'_>) -> T) -> T {
        look(&Facts {
            field: &|name| self.fields.get(name).map(Vec::as_slice),
            cookie: &|name| self.cookies.get(name).map(Vec::as_slice),
            peer: self.peer,
        })
    }

    fn choose(&self, split: &Split) -> Chosen {
        self.with_facts(|facts| choose(split, facts, &Counter::new(1)))
    }

    fn arm(&self, split: &Split) -> ArmId {
        self.choose(split).arm
    }
}

fn ppm(ppm: u32) -> Share {
    Share::of_ppm(ppm).unwrap()
}

fn by_user() -> Choice {
    Choice::Sticky(Key::Header("x-user".to_owned()))
}

fn user(id: impl std::fmt::Display) -> Client {
    Client::new().field("x-user", &id.to_string())
}

/// The largest deviation of the running numbers 1..=100,000 from what a fair hash gives, in standard deviations.
fn unfairness(point: impl Fn(&[u8]) -> u64) -> f64 {
    let points: Vec<u64> = (1..=100_000u32).map(|id| point(id.to_string().as_bytes())).collect();
    let mut worst: f64 = 0.0;
    for (percent, ids) in [1.0, 10.0, 25.0].into_iter().flat_map(|p| [(p, 1_000), (p, 10_000), (p, 100_000)])
    {
        let (share, n) = (Share::of_percent(percent).unwrap(), f64::from(ids));
        let held = points.iter().take(ids as usize).filter(|point| share.holds(**point)).count();
        let (mean, sd) = (n * percent / 100.0, (n * percent / 100.0 * (1.0 - percent / 100.0)).sqrt());
        worst = worst.max((held as f64 - mean).abs() / sd);
    }
    // And in 256 equal parts of the line: chi-square of 255 degrees of freedom.
    let mut parts = [0.0; 256];
    points.iter().for_each(|point| parts[(point >> 56) as usize] += 1.0);
    let mean = points.len() as f64 / 256.0;
    let chi: f64 = parts.iter().map(|held: &f64| (held - mean).powi(2) / mean).sum();
    worst.max((chi - 255.0).abs() / (2.0f64 * 255.0).sqrt())
}

#[test]
fn the_hash_is_fair_to_running_numbers() {
    for salt in [0, 1, 2, 3, u64::MAX, 0x5eed, 1 << 63, 0x0123_4567_89ab_cdef] {
        let worst = unfairness(|key| point(salt, key));
        assert!(worst < 4.5, "{salt:#x}: {worst}");
    }
    // The check can tell: the hash that is often taken for this fails it by far.
    let fnv = |key: &[u8]| {
        let step = |hash: u32, byte: &u8| (hash.wrapping_mul(0x0100_0193)) ^ u32::from(*byte);
        u64::from(key.iter().fold(0x811c_9dc5, step)) << 32
    };
    assert!(unfairness(fnv) > 20.0, "{}", unfairness(fnv));
}

#[test]
fn buckets_are_as_fair_as_keys() {
    for salt in [0, 0x5eed] {
        let number = |key: &[u8]| std::str::from_utf8(key).unwrap().parse::<u32>().unwrap();
        let carried = |id: u32| {
            let client = Client::new().cookie(COOKIE, &id.to_string());
            client.with_facts(|facts| Bucket::carried(facts).unwrap().point(salt))
        };
        let worst = unfairness(|key| carried(number(key)));
        assert!(worst < 4.5, "{salt:#x}: {worst}");
        let met = |id: u32| {
            let peer = IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + id));
            let client = Client { peer, ..Client::new().field("user-agent", "Mozilla/5.0") };
            client.with_facts(|facts| Bucket::of_client(salt, facts).point(salt))
        };
        let worst = unfairness(|key| met(number(key)));
        assert!(worst < 4.5, "{salt:#x}: {worst}");
    }
}

/// Every replica of every version must say the same: a change here breaks rollouts that are under way.
#[test]
fn the_points_never_change() {
    // The first from the hash's reference, the others made with a second implementation of it.
    assert_eq!(point(0, b""), 0x2d06_8005_38d3_94c2);
    let points = [b"".as_slice(), b"a", b"user-4711", &[b'x'; 300]].map(|key| point(0x5eed, key));
    assert_eq!(
        points,
        [0x52a2_d296_aa03_1b06, 0x6483_9ff0_56fc_f213, 0xb059_e70b_9965_323e, 0x42a3_dad9_e764_99a5]
    );
    let client = Client::new().field("user-agent", "Mozilla/5.0");
    let bucket = client.with_facts(|facts| Bucket::of_client(0x5eed, facts));
    assert_eq!(
        (format!("{bucket:?}"), bucket.point(0x5eed)),
        ("Bucket(233385)".to_owned(), 0x4e8d_3ae7_aa8f_fa3a)
    );
}

#[test]
fn nothing_and_everything_are_exact() {
    for choice in [Choice::Random, by_user(), Choice::Sticky(Key::Address), COOKIES] {
        for id in 0..2_000 {
            let client = user(id).field("user-agent", &id.to_string());
            let plain = |arm| Chosen { arm, bucket: None };
            assert_eq!(client.choose(&split(Share::NONE, choice.clone())), plain(ArmId::Stable));
            assert_eq!(client.choose(&split(Share::ALL, choice.clone())), plain(ArmId::Candidate));
        }
    }
    assert!(Share::ALL.holds(u64::MAX) && !Share::NONE.holds(0));
    assert!(!ppm(999_999).holds(u64::MAX) && ppm(1).holds(0));
}

#[test]
fn a_share_is_read_from_percent_and_millionths() {
    let of = |percent| Share::of_percent(percent).map(Share::ppm);
    assert_eq!([0.0, 0.5, 10.0, 100.0].map(of), [Some(0), Some(5_000), Some(100_000), Some(1_000_000)]);
    assert_eq!([1e-9, 99.999_999_9].map(of), [Some(1), Some(999_999)]);
    assert_eq!([-0.1, 100.1, f64::NAN, f64::INFINITY].map(of), [None; 4]);
    assert_eq!((Share::of_ppm(0), Share::of_ppm(1_000_000)), (Some(Share::NONE), Some(Share::ALL)));
    assert_eq!(Share::of_ppm(1_000_001), None);
    assert!(ppm(500_000).holds((1 << 63) - 1) && !ppm(500_000).holds(1 << 63));
}

#[test]
fn an_ill_candidate_gets_nobody_whatever_they_carry() {
    let clients = || (0..100).map(|id| user(id).cookie(COOKIE, &id.to_string()));
    for choice in [Choice::Random, by_user(), COOKIES] {
        for share in [ppm(500_000), Share::ALL] {
            let well = split(share, choice.clone());
            let counter = Counter::new(1);
            let is_in = |client: Client| client.with_facts(|facts| choose(&well, facts, &counter).arm);
            assert!(clients().any(|client| is_in(client) == ArmId::Candidate));
            let mut ills = vec![Split { is_candidate_well: false, ..well.clone() }];
            for phase in [Phase::Starting, Phase::Draining, Phase::Gone] {
                ills.push(Split { candidate: Arm { phase, ..well.candidate.clone() }, ..well.clone() });
            }
            for ill in ills {
                assert!(clients().all(|client| client.arm(&ill) == ArmId::Stable), "{ill:?}");
            }
        }
    }
}

#[test]
fn another_salt_takes_other_clients() {
    for choice in [by_user(), COOKIES, Choice::Sticky(Key::Address)] {
        let taken = |salt| -> Vec<u32> {
            let split = Split { salt, ..split(ppm(100_000), choice.clone()) };
            let client = |id: &u32| user(id).cookie(COOKIE, &id.to_string());
            (0..10_000).filter(|id| client(id).arm(&split) == ArmId::Candidate).collect()
        };
        let (one, two) = (taken(1), taken(2));
        let both = one.iter().filter(|id| two.contains(id)).count();
        assert!((850..1150).contains(&one.len()) && (850..1150).contains(&two.len()));
        assert!((50..150).contains(&both), "{choice:?}: {both} of {}", one.len());
    }
}

#[test]
fn a_missing_key_falls_back_to_our_cookie_and_then_to_the_address() {
    let keyed = [by_user(), Choice::Sticky(Key::Cookie("sid".to_owned()))];
    for i in 0..200 {
        let (agent, id) = (format!("agent {i}"), i.to_string());
        let plain = Client::new().field("user-agent", &agent);
        let empty = plain.clone().field("x-user", "").cookie("sid", "");
        let carrying = plain.clone().cookie(COOKIE, &id);
        let known = carrying.clone().field("x-user", &id).cookie("sid", &id);
        for choice in keyed.clone() {
            let (by_key, by_address) =
                (split(ppm(500_000), choice), split(ppm(500_000), Choice::Sticky(Key::Address)));
            assert_eq!(plain.arm(&by_key), plain.arm(&by_address));
            assert_eq!(empty.arm(&by_key), plain.arm(&by_address));
            assert_eq!(carrying.arm(&by_key), Client::new().cookie(COOKIE, &id).arm(&by_address));
            assert_eq!(known.arm(&by_key), user(&id).cookie("sid", &id).arm(&by_key));
            assert_eq!(known.choose(&by_key).bucket, None);
        }
    }
}

#[test]
fn the_first_page_and_all_that_follows_go_to_one_app() {
    let split = split(ppm(500_000), COOKIES);
    let mut seen = BTreeMap::<bool, u32>::new();
    for i in 0..200 {
        let client = Client::new().field("user-agent", &format!("agent {i}"));
        let first = client.choose(&split);
        let bucket = first.bucket.expect("both arms set it");
        assert_eq!([(); 6].map(|()| client.choose(&split)), [first; 6]);
        let line = super::set_cookie(bucket, super::Scheme::Https, Duration::from_secs(1));
        let (_, value) = line.split(';').next().unwrap().split_once('=').unwrap();
        // Even where the address changes.
        let later = client.cookie(COOKIE, value).peer("198.51.100.7");
        assert_eq!(later.choose(&split), Chosen { bucket: None, ..first });
        *seen.entry(first.arm == ArmId::Candidate).or_default() += 1;
    }
    assert!(seen.len() == 2 && seen.values().all(|n| *n > 60), "{seen:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn whoever_is_in_stays_in_while_the_share_rises(
        salt in any::<u64>(),
        ids in proptest::collection::vec("[ -~]{1,40}", 50),
        low in 1..1_000_000u32,
        high in 1..1_000_000u32,
    ) {
        let (low, high) = (low.min(high), low.max(high));
        for choice in [by_user(), COOKIES] {
            let at = |share: u32| Split { salt, ..split(ppm(share), choice.clone()) };
            for id in &ids {
                let client = user(id).field("user-agent", id);
                if client.arm(&at(low)) == ArmId::Candidate {
                    prop_assert_eq!(client.arm(&at(high)), ArmId::Candidate);
                }
            }
        }
    }

    #[test]
    fn no_head_makes_the_choice_fail(
        salt in any::<u64>(),
        values in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 5),
        share in 0..=1_000_000u32,
    ) {
        let mut client = Client::new();
        for (name, value) in ["user-agent", "x-real-ip", "x-forwarded-for", "x-user"].iter().zip(&values) {
            client.fields.insert((*name).to_owned(), value.clone());
        }
        client.cookies.insert(COOKIE.to_owned(), values[4].clone());
        for choice in [Choice::Random, by_user(), COOKIES] {
            let split = Split { salt, ..split(ppm(share), choice) };
            let chosen = client.choose(&split);
            prop_assert_eq!(chosen, client.choose(&split));
            prop_assert!(split.share != Share::NONE || chosen.arm == ArmId::Stable);
        }
    }
}
