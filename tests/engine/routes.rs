//! Routes: what is learnt, what is not, and that no id shows.

use outrigger::engine::observation::{Method, Outcome};
use outrigger::engine::route::{ASSETS, GROUPS_MAX, OTHER, PATH_MAX, PREFLIGHT, Pattern, Routes, Visit};
use outrigger::engine::time::Time;
use proptest::prelude::{
    ProptestConfig, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest,
};

/// An app that is asked second by second.
struct World {
    routes: Routes,
    second: u64,
}

impl World {
    fn new(configured: &[&str]) -> Self {
        let configured = configured
            .iter()
            .map(|text| Pattern::parse(text).expect("the patterns of these tests are right"))
            .collect();
        let mut world = Self { routes: Routes::new(configured), second: 1_000_000 };
        world.pass(1);
        world
    }

    fn pass(&mut self, seconds: u64) {
        self.second += seconds;
        self.routes.begin(Time::from_millis(self.second * 1000));
    }

    fn ask(&mut self, method: Method, path: impl AsRef<[u8]>, status: u16) -> String {
        let outcome = if status >= 500 { Outcome::AppError } else { Outcome::Answered };
        let visit = Visit { method, path: path.as_ref(), status, outcome: Some(outcome) };
        let id = self.routes.group(&visit);
        self.routes.get(id).expect("a group that was given is there").route.to_string()
    }

    fn get(&mut self, path: impl AsRef<[u8]>) -> String {
        self.ask(Method::Get, path, 200)
    }

    /// Asks often enough for anything to be learnt.
    fn teach(&mut self, paths: &[&str]) {
        for _ in 0..5 {
            for path in paths {
                (0..3).for_each(|_| drop(self.get(path)));
            }
            self.pass(1);
        }
    }

    fn labels(&self) -> Vec<&str> {
        self.routes.groups().map(|group| &*group.route).filter(|route| !route.starts_with('_')).collect()
    }
}

#[test]
fn routes_are_learnt_with_their_ids_left_out() {
    let mut world = World::new(&[]);
    world.teach(&[
        "/",
        "/users/17",
        "/users/17/orders",
        "/api/v1/items/0f6c1a9e-7b1d-4d3c-9f0e-2b7f3a5c6d7e",
    ]);
    assert_eq!(world.get("/"), "/");
    assert_eq!(world.get("/users/99"), "/users/{id}");
    assert_eq!(world.get("//users/99/orders/?page=2"), "/users/{id}/orders");
    assert_eq!(world.get("/api/v1/items/a%20b"), "/api/v1/items/{id}");
    assert_eq!(world.ask(Method::Get, "/users/99", 404), "/users/{id}");
    assert_eq!(world.ask(Method::Get, "/users/99/nothing", 404), OTHER);
}

#[test]
fn a_route_is_other_until_it_is_a_habit() {
    let mut world = World::new(&[]);
    for _ in 0..1000 {
        assert_eq!(world.get("/checkout"), OTHER, "a burst is no habit");
    }
    world.pass(1);
    assert_eq!(world.get("/checkout"), OTHER);
    world.pass(1);
    (0..2).for_each(|_| drop(world.get("/checkout")));
    assert_eq!(world.get("/checkout"), "/checkout");
}

#[test]
fn what_the_app_refuses_or_does_not_answer_is_not_learnt() {
    let mut world = World::new(&[]);
    for _ in 0..100 {
        for status in [0, 400, 401, 403, 404, 405, 429] {
            assert_eq!(world.ask(Method::Get, "/admin", status), OTHER);
        }
        let path = b"/admin".as_slice();
        let timeout = Visit { method: Method::Get, path, status: 504, outcome: Some(Outcome::AppTimeout) };
        let id = world.routes.group(&timeout);
        assert_eq!(&*world.routes.get(id).expect("a group that was given is there").route, OTHER);
        world.pass(1);
    }
    for _ in 0..5 {
        (0..3).for_each(|_| drop(world.ask(Method::Get, "/broken", 500)));
        world.pass(1);
    }
    assert_eq!(world.get("/broken"), "/broken", "a route that fails is one");
}

#[test]
fn methods_preflights_and_assets_are_groups_of_their_own() {
    let mut world = World::new(&["/users/{name}"]);
    assert_eq!(world.ask(Method::Options, "/users/1", 204), PREFLIGHT);
    assert_eq!(world.ask(Method::Options, "*", 204), PREFLIGHT);
    assert_eq!(world.get("/static/app.3f2a.js"), ASSETS);
    assert_eq!(world.get("/logo.PNG"), ASSETS);
    assert_eq!(world.ask(Method::Post, "/logo.png", 200), OTHER);
    assert_eq!(world.get("/users/ana"), "/users/{name}", "a configured route needs no learning");
    assert_eq!(world.ask(Method::Post, "/users/ana", 404), "/users/{name}");
    assert_eq!(world.ask(Method::Trace, "/users/ana", 405), OTHER);
    assert_eq!(world.get("http://example.org/users/1"), OTHER);
    let of = |route: &str| world.routes.groups().filter(|group| &*group.route == route).count();
    assert_eq!((of("/users/{name}"), of(PREFLIGHT), of(ASSETS), of(OTHER)), (2, 1, 9, 9));
}

#[test]
fn a_position_with_many_values_shows_none_of_them() {
    let mut world = World::new(&[]);
    let names: Vec<String> = ('a'..='y').map(|c| format!("/people/person-{c}/photo")).collect();
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.push("/people/top");
    for _ in 0..3 {
        world.teach(&names);
    }
    assert_eq!(world.labels(), ["/people/{id}/photo", "/people/{id}"]);
}

#[test]
fn twenty_words_at_one_place_are_words() {
    let mut world = World::new(&[]);
    let paths: Vec<String> = ('a'..='t').map(|c| format!("/shop/part-{c}")).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    world.teach(&paths);
    world.pass(1);
    assert_eq!(paths.iter().filter(|path| world.get(path) == **path).count(), 20);
}

#[test]
fn a_scanner_teaches_nothing_and_pushes_nothing_out() {
    let mut world = World::new(&[]);
    let real = ["/", "/cart", "/users/1", "/api/v1/items/7/reviews"];
    world.teach(&real);
    let before: Vec<String> = world.labels().into_iter().map(str::to_owned).collect();
    let mut rng = fastrand::Rng::with_seed(7);
    for i in 0..50_000 {
        let path: String = (0..rng.usize(1..20)).map(|_| rng.lowercase()).collect();
        let path = if i % 3 == 0 { format!("/users/{path}/{path}.php") } else { format!("/{path}") };
        assert_eq!(world.ask(Method::Get, path, 404), OTHER);
        if i % 1000 == 0 {
            world.pass(1);
        }
    }
    assert_eq!(world.labels(), before);
}

/// Of an app that answers 200 to whatever it is asked.
#[test]
fn a_flood_of_words_that_are_answered_neither_grows_nor_pushes_out() {
    let mut world = World::new(&[]);
    let real = ["/", "/cart", "/users/1", "/api/v1/items/7/reviews"];
    world.teach(&real);
    let mut rng = fastrand::Rng::with_seed(7);
    let mut held = 0;
    for i in 0..300_000 {
        let mut word = || -> String { (0..rng.usize(3..7)).map(|_| rng.lowercase()).collect() };
        world.get(format!("/{}/{}/{}", word(), word(), word()));
        if i % 1000 == 0 {
            world.pass(1);
            for path in real {
                assert_eq!(world.get(path).replace("{id}", "1").len(), path.len(), "{path}");
            }
        }
        if i == 100_000 {
            held = world.routes.held_bytes();
        }
    }
    assert_eq!(world.routes.held_bytes(), held);
    assert!(held < 2 << 20, "{held} bytes");
    assert!(world.labels().len() < 30, "{:?}", world.labels());
}

#[test]
fn a_million_ids_make_one_route() {
    let mut world = World::new(&[]);
    world.teach(&["/u/1/x"]);
    let mut rng = fastrand::Rng::with_seed(1);
    let mut last = String::new();
    for i in 0..1_000_000u32 {
        let id = rng.u128(..);
        let (a, b, c) = ((id >> 96) as u32, (id >> 80) as u16, id as u64 >> 16);
        let path = format!("/u/{a:08x}-{b:04x}-4{:03x}-8{:03x}-{c:012x}/x", i & 0xfff, i >> 12);
        last = world.get(path);
        if i % 10_000 == 0 {
            world.pass(1);
        }
    }
    assert_eq!((last.as_str(), world.labels()), ("/u/{id}/x", vec!["/u/{id}/x"]));
    assert!(world.routes.groups().count() <= GROUPS_MAX && world.routes.held_bytes() < 1 << 20);
}

#[test]
fn there_are_never_more_groups_than_their_bound_and_age_makes_room() {
    let mut world = World::new(&[]);
    let paths = |from: char| -> Vec<String> {
        let of = |a| ('a'..='o').map(move |b| format!("/{from}part-{a}/{from}page-{b}"));
        ('a'..='p').flat_map(of).collect()
    };
    for path in paths('x') {
        world.teach(&[&path]);
    }
    assert_eq!(world.routes.groups().count(), GROUPS_MAX);
    let learnt = world.labels().len();
    for path in paths('x') {
        (0..20).for_each(|_| drop(world.get(&path)));
    }
    world.teach(&["/late/one"]);
    assert_eq!(world.get("/late/one"), OTHER, "all groups are in use");
    world.pass(2 * 3600);
    world.teach(&["/late/one", "/late/one"]);
    assert_eq!(world.get("/late/one"), "/late/one");
    assert_eq!(world.labels().len(), learnt);
}

#[test]
fn what_is_asked_far_more_often_takes_the_place_of_what_is_not() {
    let mut world = World::new(&[]);
    for i in 0..240u8 {
        let (a, b) = (char::from(b'a' + i / 15), char::from(b'a' + i % 15));
        world.teach(&[&format!("/part-{a}/page-{b}")]);
    }
    for _ in 0..100 {
        (0..10).for_each(|_| drop(world.get("/sale/today")));
        world.pass(1);
    }
    assert_eq!(world.get("/sale/today"), "/sale/today");
    assert_eq!(world.routes.groups().count(), GROUPS_MAX);
}

#[test]
fn a_path_that_was_cut_shows_no_half_of_a_segment() {
    let mut world = World::new(&[]);
    let long = format!("/files/{}", "part/".repeat(49) + "tokenwithoutend");
    let deep = format!("/files{}", "/part".repeat(20));
    world.teach(&[&long[..PATH_MAX], &deep]);
    assert_eq!(world.get(&deep), format!("/files{}/{{rest}}", "/part".repeat(11)));
    assert!(world.labels().iter().all(|label| !label.contains("token")), "{:?}", world.labels());
}

fn secret() -> impl Strategy<Value = String> {
    prop_oneof![
        "[0-9]{1,20}",
        "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
        "[0-9a-f]{8,64}",
        "[0-9A-F]{8,64}",
        "[a-zA-Z0-9_-]{25,80}",
        "[a-z]{1,8}[.]?[a-z]{0,8}@[a-z]{2,10}[.]example",
        "[a-z]{1,8}%40[a-z]{2,10}[.]example",
        "[A-Za-z0-9+]{6,30}={1,2}",
        "[a-z]{2,4}_[A-Z][a-z0-9]{6}[0-9]{2}",
        "[A-Z][a-z][0-9][A-Za-z0-9]{5,16}",
        "[a-z]{3,9}-[0-9]{1,9}",
        // The second half keeps it from being one of the few words with two digits.
        "[a-z]{2,5}[0-9]{2,5}[a-z]{0,2}q",
        "[b-u][0-9][a-z][0-9][a-z]{1,3}x",
        "[\\x00-\\x1f\"'<>{}\\\\ ]{1,4}[a-z]{5,10}",
        "[a-z]{1,3}\u{e9}[a-z]{5,10}",
    ]
}

fn is_safe(label: &str) -> bool {
    label.bytes().all(|b| b.is_ascii_alphanumeric() || b"/{}-_.~".contains(&b))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever looks like an id shows in no label, however often it is asked for and whatever stands around it.
    #[test]
    fn no_secret_shows_in_a_label(
        secrets in prop::collection::vec(secret(), 1..6),
        words in prop::collection::vec(prop::sample::select(vec!["api", "users", "v1", "reset-password", "x"]), 1..4),
        turn in 0..4usize,
    ) {
        let mut world = World::new(&["/static/{file...}"]);
        let mut paths = Vec::new();
        for (i, secret) in secrets.iter().enumerate() {
            let mut segments: Vec<&str> = words.iter().copied().cycle().skip(i).take(3).collect();
            segments.insert((turn + i) % 4, secret);
            paths.push(format!("/{}", segments.join("/")));
            paths.push(format!("/{};token={secret}?token={secret}", words.join("/")));
        }
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        for _ in 0..3 {
            world.teach(&paths);
        }
        let labels = world.labels();
        // The words are learnt, so it is not for want of learning that nothing shows.
        prop_assert!(labels.iter().any(|label| label.contains(words[0])), "{labels:?}");
        for label in labels {
            prop_assert!(is_safe(label), "{label:?}");
            for secret in &secrets {
                let shows = label.split('/').any(|piece| piece == secret) || secret.len() > 4 && label.contains(secret.as_str());
                prop_assert!(!shows, "{secret:?} in {label:?}");
            }
        }
    }

    /// Any bytes at all: no panic, safe labels, bounded groups.
    #[test]
    fn any_bytes_are_grouped(paths in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..40)) {
        let mut world = World::new(&["/a/{b}"]);
        for _ in 0..4 {
            for path in &paths {
                let path = [b"/", path.as_slice()].concat();
                for status in [200, 404, 500] {
                    let label = world.ask(Method::Get, &path, status);
                    prop_assert!(is_safe(&label), "{label:?}");
                }
            }
            world.pass(1);
        }
        prop_assert!(world.routes.groups().count() <= GROUPS_MAX);
    }

    /// The same requests in the same order give the same groups.
    #[test]
    fn grouping_is_deterministic(seed in any::<u64>()) {
        let run = || {
            let (mut world, mut rng) = (World::new(&[]), fastrand::Rng::with_seed(seed));
            let labels: Vec<String> = (0..600)
                .map(|i| {
                    if i % 20 == 0 { world.pass(1) }
                    let path = format!("/{}/{}", ["a", "b", "c"][rng.usize(0..3)], rng.u8(0..40));
                    world.ask(Method::ALL[rng.usize(0..9)], path, [200, 404, 500][rng.usize(0..3)])
                })
                .collect();
            labels
        };
        prop_assert_eq!(run(), run());
    }
}
