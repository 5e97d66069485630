//! Which requests may go to both apps.

use proptest::prelude::{any, proptest};

use super::*;
use crate::proxy::split::tests::split;
use crate::proxy::split::{Choice, Mirror, Share};

const GET: Asked<'static> =
    Asked { method: b"GET", path: b"/", body: Body::Empty, is_upgrade: false, is_copy: false };
const ASSET: Asked<'static> = Asked { path: b"/assets/app.8c3f2d1a.js", ..GET };

fn half() -> Split {
    split(Share::of_percent(50.0).unwrap(), Choice::Random)
}

#[test]
fn what_is_named_by_its_content_is_an_asset() {
    for path in [
        "/assets/index-BdQ5LmV5.js",
        "/assets/index-DxqVbKcY.css?v=1",
        "/assets/index-B_Q5-mV5.js",
        "/main-ABCDEFGH.js",
        "/static/js/main.8c3f2d1a.chunk.js",
        "/static/base.27e20196a850.css",
        "/assets/application-4cbb2ae8f1d3a1b2.js.map",
        "/_next/static/chunks/app/page-1a2b3c4d5e6f7a8b.js",
        "/_next/static/Zk3vY8aQ/_buildManifest.js",
        "/docs/_next/static/css/abc.css",
        "/_nuxt/DkXQ.js",
        "/_app/immutable/chunks/index.D8gZ.js",
        "/fonts/inter.a1b2c3d4.WOFF2",
        "/8c3f2d1a9b.png",
    ] {
        assert!(is_asset(path.as_bytes()), "{path}");
    }
    for path in [
        "/",
        "",
        "/api/users/8c3f2d1a9b",
        "/orders/8c3f2d1a-1111-4222-8333-444455556666",
        "/logo.png",
        "/jquery-3.7.1.min.js",
        "/background-image.png",
        "/backgroundImage.png",
        "/my-Background.png",
        "/report-20261123.pdf",
        "/style.css?8c3f2d1a9b.css",
        "/favicon.ico",
        "/robots.txt",
        "/wp-login.php",
    ] {
        assert!(!is_asset(path.as_bytes()), "{path}");
    }
}

#[test]
fn a_missing_asset_is_asked_of_the_other_app() {
    for chosen in [ArmId::Stable, ArmId::Candidate] {
        assert!(may_fall_back(&half(), chosen, &ASSET, 404));
        assert!(may_fall_back(&half(), chosen, &Asked { method: b"HEAD", ..ASSET }, 404));
        for (asked, status) in [
            (ASSET, 200),
            (ASSET, 410),
            (ASSET, 500),
            (GET, 404),
            (Asked { method: b"POST", ..ASSET }, 404),
            (Asked { method: b"get", ..ASSET }, 404),
            (Asked { body: Body::Length(1), ..ASSET }, 404),
            (Asked { body: Body::Unknown, ..ASSET }, 404),
            (Asked { is_upgrade: true, ..ASSET }, 404),
        ] {
            assert!(!may_fall_back(&half(), chosen, &asked, status), "{asked:?} {status}");
        }
        assert!(!may_fall_back(&Split { assets_fall_back: false, ..half() }, chosen, &ASSET, 404));
    }
}

#[test]
fn an_ill_or_unused_candidate_is_asked_for_no_asset() {
    for split in [Split { is_candidate_well: false, ..half() }, Split { share: Share::NONE, ..half() }] {
        assert!(!may_fall_back(&split, ArmId::Stable, &ASSET, 404));
        assert!(may_fall_back(&split, ArmId::Candidate, &ASSET, 404));
    }
}

#[test]
fn only_safe_requests_without_a_body_are_rescued_and_only_from_the_candidate() {
    let failures = [Failure::NoReply, Failure::Status(500), Failure::Status(503)];
    for method in [&b"GET"[..], b"HEAD", b"OPTIONS"] {
        for failure in failures {
            let asked = Asked { method, ..GET };
            assert!(may_rescue(&half(), ArmId::Candidate, &asked, failure));
            assert!(!may_rescue(&half(), ArmId::Stable, &asked, failure));
            assert!(!may_rescue(&Split { rescue: false, ..half() }, ArmId::Candidate, &asked, failure));
            assert!(!may_rescue(
                &half(),
                ArmId::Candidate,
                &Asked { body: Body::Length(1), ..asked },
                failure
            ));
            assert!(!may_rescue(&half(), ArmId::Candidate, &Asked { is_upgrade: true, ..asked }, failure));
        }
        for status in [200, 404, 499, 501, 505] {
            let asked = Asked { method, ..GET };
            assert!(!may_rescue(&half(), ArmId::Candidate, &asked, Failure::Status(status)));
        }
    }
    for method in [&b"POST"[..], b"PUT", b"DELETE", b"PATCH", b"TRACE", b"get", b""] {
        for failure in failures {
            assert!(!may_rescue(&half(), ArmId::Candidate, &Asked { method, ..GET }, failure));
        }
    }
}

#[test]
fn what_never_reached_the_candidate_goes_to_the_stable_app() {
    for rescue in [false, true] {
        let split = Split { rescue, ..half() };
        let post = Asked { method: b"POST", body: Body::Unknown, ..GET };
        assert!(may_rescue(&split, ArmId::Candidate, &post, Failure::Unreachable));
        assert!(!may_rescue(&split, ArmId::Stable, &post, Failure::Unreachable));
    }
}

#[test]
fn only_short_reads_of_the_stable_app_are_mirrored() {
    let all = Mirror { share: Share::ALL, body_max: 10, with_credentials: false };
    let mirroring = Split { mirror: Some(all.clone()), ..half() };
    let counter = Counter::new(1);
    let is = |split: &Split, chosen, asked: Asked<'_>| should_mirror(split, chosen, &asked, &counter);
    for asked in [GET, Asked { method: b"HEAD", ..GET }, Asked { body: Body::Length(10), ..GET }] {
        assert!(is(&mirroring, ArmId::Stable, asked));
        assert!(!is(&mirroring, ArmId::Candidate, asked));
    }
    for asked in [
        Asked { method: b"POST", ..GET },
        Asked { method: b"OPTIONS", ..GET },
        Asked { body: Body::Length(11), ..GET },
        Asked { body: Body::Length(u64::MAX), ..GET },
        Asked { body: Body::Unknown, ..GET },
        Asked { is_upgrade: true, ..GET },
        Asked { is_copy: true, ..GET },
    ] {
        assert!(!is(&mirroring, ArmId::Stable, asked), "{asked:?}");
    }
    assert!(is(&Split { is_candidate_well: false, ..mirroring.clone() }, ArmId::Stable, GET));
    assert!(!is(&half(), ArmId::Stable, GET));
    let none = Split { mirror: Some(Mirror { share: Share::NONE, ..all.clone() }), ..half() };
    assert!(!is(&none, ArmId::Stable, GET));
    let gone = crate::proxy::Arm { phase: Phase::Gone, ..mirroring.candidate.clone() };
    assert!(!is(&Split { candidate: gone, ..mirroring }, ArmId::Stable, GET));
    // What cannot be mirrored is no part of the share.
    let quarter = Mirror { share: Share::of_percent(25.0).unwrap(), ..all };
    let quarter = Split { mirror: Some(quarter), ..half() };
    for block in 0..50 {
        let post = Asked { method: b"POST", ..GET };
        let copied = |asked, n| (0..n).filter(|_| is(&quarter, ArmId::Stable, asked)).count();
        assert_eq!((copied(post, 3), copied(GET, 4)), (0, 1), "{block}");
    }
}

proptest! {
    #[test]
    fn any_path_can_be_asked_about(path in proptest::collection::vec(any::<u8>(), 0..80)) {
        is_asset(&path);
    }
}
