//! Two apps behind one plan: who gets which request, and what happens when the second one fails.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use outrigger::engine::observation::Outcome;
use outrigger::proxy::{Arm, Choice, Key, Mirror, Phase, Plan, Share, Split, Upstream};

use crate::harness::{Closed, Reply, Rig, app, content_length, header, read_head};

const COOKIES: Choice = Choice::Cookie { max_age: Duration::from_secs(600) };
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// An app and the heads of the requests that it has read whole.
pub(crate) struct App {
    pub(crate) port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

impl App {
    /// Answers each request with what `answer` makes of its head; with nothing, it closes without a word.
    pub(crate) fn new(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        Self::with(move |head, stream| {
            let reply = answer(head);
            !reply.is_empty() && stream.write_all(reply.as_bytes()).is_ok()
        })
    }

    /// `serve` is handed each head, its body read, and says whether the connection stays.
    pub(crate) fn with(serve: impl Fn(&str, &mut TcpStream) -> bool + Send + Sync + 'static) -> Self {
        let heads = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&heads);
        let port = app(move |mut stream| {
            while let Some(head) = read_head(&mut stream) {
                let mut body = vec![0; content_length(&head).unwrap_or(0)];
                if stream.read_exact(&mut body).is_err() {
                    return;
                }
                log.lock().unwrap().push(head.clone());
                if !serve(&head, &mut stream) {
                    return;
                }
            }
        });
        Self { port, heads }
    }

    /// Answers 200 with its name.
    pub(crate) fn named(name: &'static str) -> Self {
        Self::new(move |head| reply(head, "200 OK", "", name))
    }

    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    pub(crate) fn arrivals(&self) -> usize {
        self.heads().len()
    }
}

pub(crate) fn reply(head: &str, status: &str, fields: &str, body: &str) -> String {
    let body_sent = if head.starts_with("HEAD ") { "" } else { body };
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{fields}\r\n{body_sent}", body.len())
}

pub(crate) fn percent(percent: f64) -> Share {
    Share::of_percent(percent).unwrap()
}

fn serving(port: u16) -> Arm {
    Arm { upstream: Upstream::Loopback { port }, generation: 1, phase: Phase::Serving }
}

pub(crate) fn split(candidate: u16, share: Share, choice: Choice) -> Split {
    Split {
        candidate: serving(candidate),
        share,
        choice,
        salt: 0x5eed,
        is_candidate_well: true,
        assets_fall_back: false,
        rescue: false,
        mirror: None::<Mirror>,
    }
}

/// One worker before both.
pub(crate) fn rig(stable: u16, split: Split) -> Rig {
    let rig = Rig::with(stable, Phase::Serving, |s| s.workers = 1);
    swap(&rig, stable, Some(split));
    rig
}

pub(crate) fn swap(rig: &Rig, stable: u16, split: Option<Split>) {
    rig.plan.store(Arc::new(Plan { stable: serving(stable), split }));
}

fn by_user() -> Choice {
    Choice::Sticky(Key::Header("x-user".to_owned()))
}

fn user(line: &str, id: usize) -> String {
    format!("{line} HTTP/1.1\r\nHost: a\r\nX-User: {id}\r\n\r\n")
}

fn agent(id: usize, fields: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: agent {id}\r\n{fields}\r\n")
}

#[test]
fn nothing_and_everything_are_exact() {
    for choice in [Choice::Random, by_user(), COOKIES] {
        for (share, expected) in [(Share::NONE, [100, 0]), (Share::ALL, [0, 100])] {
            let (stable, candidate) = (App::named("stable"), App::named("candidate"));
            let rig = rig(stable.port, split(candidate.port, share, choice.clone()));
            let mut stream = rig.connect();
            for id in 0..100 {
                stream.write_all(user("GET /", id).as_bytes()).unwrap();
                assert_eq!(Reply::read(&mut stream).status(), "200");
            }
            assert_eq!([stable.arrivals(), candidate.arrivals()], expected, "{choice:?}");
            assert_eq!(rig.seen_after(100).of(Outcome::Answered), 100);
        }
    }
}

#[test]
fn half_a_percent_of_six_hundred_requests_is_three() {
    let (stable, candidate) = (App::named("stable"), App::named("candidate"));
    let rig = rig(stable.port, split(candidate.port, percent(0.5), Choice::Random));
    let mut stream = rig.connect();
    for _ in 0..600 {
        stream.write_all(GET.as_bytes()).unwrap();
        assert_eq!(Reply::read(&mut stream).status(), "200");
    }
    assert_eq!(
        (stable.arrivals() + candidate.arrivals(), candidate.arrivals().abs_diff(3) <= 1),
        (600, true)
    );
}

#[test]
fn a_client_stays_where_it_is_while_the_share_rises() {
    let (stable, candidate) = (App::named("stable"), App::named("candidate"));
    let rig = rig(stable.port, split(candidate.port, percent(10.0), by_user()));
    let mut stream = rig.connect();
    let mut arms = || -> Vec<String> {
        let ask = |id| {
            stream.write_all(user("GET /", id).as_bytes()).unwrap();
            Reply::read(&mut stream).text()
        };
        (0..200).map(ask).collect()
    };
    let at_ten = arms();
    assert_eq!(at_ten, arms());
    swap(&rig, stable.port, Some(split(candidate.port, percent(50.0), by_user())));
    let at_fifty = arms();
    let count = |arms: &[String]| arms.iter().filter(|arm| *arm == "candidate").count();
    assert!((8..35).contains(&count(&at_ten)) && (70..130).contains(&count(&at_fifty)));
    assert!(at_ten.iter().zip(&at_fifty).all(|(ten, fifty)| ten == "stable" || fifty == "candidate"));
}

#[test]
fn six_parallel_requests_of_a_first_page_go_to_one_app_with_one_cookie() {
    let (stable, candidate) = (App::named("stable"), App::named("candidate"));
    let rig = Rig::new(stable.port);
    swap(&rig, stable.port, Some(split(candidate.port, percent(50.0), COOKIES)));
    let mut of_candidate = 0;
    for id in 0..30 {
        let mut streams: Vec<_> = (0..6).map(|_| rig.connect()).collect();
        for stream in &mut streams {
            stream.write_all(agent(id, "").as_bytes()).unwrap();
        }
        let replies: Vec<(String, String)> = streams
            .iter_mut()
            .map(Reply::read)
            .map(|reply| (reply.text(), header(&reply.head, "set-cookie").join("|")))
            .collect();
        assert!(replies.iter().all(|reply| *reply == replies[0] && !reply.1.is_empty()), "{replies:?}");
        of_candidate += usize::from(replies[0].0 == "candidate");
    }
    assert!((5..25).contains(&of_candidate), "{of_candidate}");
}

#[test]
fn the_cookie_is_set_once_by_both_arms_and_never_seen_by_the_app() {
    let echo = |name| App::new(move |head| reply(head, "200 OK", "Set-Cookie: own=1\r\n", name));
    let (stable, candidate) = (echo("stable"), echo("candidate"));
    let rig = rig(stable.port, split(candidate.port, percent(50.0), COOKIES));
    let mut of_candidate = 0;
    for id in 0..20 {
        let first = rig.ask(&agent(id, "X-Forwarded-Proto: https\r\n"));
        let set = header(&first.head, "set-cookie");
        assert_eq!((set.len(), set[0]), (2, "own=1"), "{}", first.head);
        let (pair, attributes) = set[1].split_once(';').unwrap();
        assert!(pair.starts_with("outrigger_bucket="), "{pair}");
        assert_eq!(attributes, " Path=/; Max-Age=600; HttpOnly; SameSite=Lax; Secure");
        of_candidate += usize::from(first.text() == "candidate");
        // Another agent and the cookie: the cookie counts.
        let later = rig.ask(&agent(id + 1000, &format!("Cookie: a=b; {pair}; c=d\r\n")));
        assert_eq!((later.text(), header(&later.head, "set-cookie")), (first.text(), vec!["own=1"]));
        rig.ask(&agent(id, &format!("Cookie: {pair}\r\n")));
        let replaced = rig.ask(&agent(id, "Cookie: outrigger_bucket=07\r\n"));
        let again = header(&replaced.head, "set-cookie");
        assert_eq!((again.len(), again[1].split(';').next()), (2, Some(pair)));
        assert!(!again[1].contains("Secure"));
    }
    assert!((3..17).contains(&of_candidate), "{of_candidate}");
    // Nor without a split: it may be left of an earlier one.
    swap(&rig, stable.port, None);
    rig.ask(&agent(0, "Cookie: outrigger_bucket=7; a=b\r\n"));
    let heads = [stable.heads(), candidate.heads()].concat();
    assert!(heads.iter().all(|head| !head.contains("outrigger_bucket")));
    let cookies: Vec<&str> = heads.iter().flat_map(|head| header(head, "cookie")).collect();
    assert_eq!(cookies.iter().filter(|line| **line == "a=b; c=d").count(), 20);
    assert_eq!((cookies.len(), cookies.contains(&"a=b")), (21, true));
}

#[test]
fn a_reply_that_caches_may_share_sets_no_cookie() {
    let by_path = |head: &str| {
        let fields = match head.split(' ').nth(1).unwrap_or_default() {
            "/public" => "Cache-Control: public\r\n",
            "/fresh" => "Cache-Control: max-age=60\r\n",
            "/shared" => "Cache-Control: no-cache\r\nCache-Control: s-maxage=60\r\n",
            "/private" => "Cache-Control: private, max-age=60\r\n",
            _ => "",
        };
        reply(head, "200 OK", fields, "x")
    };
    let (stable, candidate) = (App::new(by_path), App::new(by_path));
    let rig = rig(stable.port, split(candidate.port, percent(50.0), COOKIES));
    let sets = |path: &str| {
        let reply = rig.ask(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        header(&reply.head, "set-cookie").len()
    };
    assert_eq!(["/public", "/fresh", "/shared", "/private", "/"].map(sets), [0, 0, 0, 1, 1]);
}

#[test]
fn clients_of_an_ill_candidate_move_with_their_next_request() {
    let (stable, candidate) = (App::named("stable"), App::named("candidate"));
    for choice in [by_user(), COOKIES] {
        let rig = rig(stable.port, split(candidate.port, percent(50.0), choice.clone()));
        let mut stream = rig.connect();
        let mut ask = |id: usize| {
            let head =
                format!("GET / HTTP/1.1\r\nHost: a\r\nX-User: {id}\r\nCookie: outrigger_bucket={id}\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            Reply::read(&mut stream)
        };
        let theirs: Vec<usize> = (0..40).filter(|id| ask(*id).text() == "candidate").collect();
        assert!(theirs.len() > 5);
        let ill = Split { is_candidate_well: false, ..split(candidate.port, percent(50.0), choice.clone()) };
        swap(&rig, stable.port, Some(ill.clone()));
        assert!(theirs.iter().all(|id| ask(*id).text() == "stable"));
        // Neither is well: the stable app is asked, and its failure told.
        let before = candidate.arrivals();
        let closed = Closed::new();
        swap(&rig, closed.port, Some(ill));
        assert!(theirs.iter().all(|id| matches!(ask(*id).status(), "502" | "503")));
        assert_eq!(candidate.arrivals(), before);
        swap(&rig, stable.port, Some(split(candidate.port, percent(50.0), choice)));
        assert!(theirs.iter().all(|id| ask(*id).text() == "candidate"));
    }
}

#[test]
fn what_never_reached_the_candidate_goes_to_the_stable_app() {
    let stable = App::named("stable");
    let closed = Closed::new();
    let rig = rig(stable.port, split(closed.port, Share::ALL, Choice::Random));
    assert_eq!(rig.ask(GET).text(), "stable");
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    assert_eq!(rig.ask(post).text(), "stable");
    assert_eq!(stable.arrivals(), 2);
}

#[test]
fn an_error_of_the_candidate_is_passed_on_unless_it_may_be_rescued() {
    let stable = App::named("stable");
    let candidate = App::new(|head| reply(head, "500 Oops", "", "candidate"));
    let options = "OPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n";
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    let get_with_body = "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    let statuses = |rescue| {
        let split = Split { rescue, ..split(candidate.port, Share::ALL, Choice::Random) };
        let rig = rig(stable.port, split);
        [GET, options, post, get_with_body].map(|request| rig.ask(request).status().to_owned())
    };
    assert_eq!(statuses(false), ["500"; 4]);
    assert_eq!((stable.arrivals(), candidate.arrivals()), (0, 4));
    assert_eq!(statuses(true), ["200", "200", "500", "500"]);
    assert_eq!((stable.arrivals(), candidate.arrivals()), (2, 8));
}

#[test]
fn a_candidate_that_says_nothing_is_a_502_unless_it_may_be_rescued() {
    let (stable, candidate) = (App::named("stable"), App::new(|_| String::new()));
    for (rescue, expected) in [(false, "502"), (true, "200")] {
        let split = Split { rescue, ..split(candidate.port, Share::ALL, Choice::Random) };
        let rig = rig(stable.port, split);
        assert_eq!(rig.ask(GET).status(), expected);
        assert_eq!(rig.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").status(), "502");
    }
    assert_eq!((stable.arrivals(), candidate.arrivals()), (1, 4));
}

#[test]
fn a_reply_that_breaks_off_is_never_mended() {
    let stable = App::named("stable");
    let candidate = App::with(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").unwrap();
        false
    });
    let split = Split { rescue: true, ..split(candidate.port, Share::ALL, Choice::Random) };
    let rig = rig(stable.port, split);
    let reply = rig.ask(GET);
    assert_eq!((reply.text().as_str(), reply.whole), ("half", false));
    assert_eq!((stable.arrivals(), candidate.arrivals()), (0, 1));
}

#[test]
fn a_stale_connection_of_the_candidate_is_tried_again_in_the_candidate() {
    let stable = App::named("stable");
    let lines = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&lines);
    let port = app(move |mut stream| {
        for turn in 0..2 {
            let Some(head) = read_head(&mut stream) else { return };
            log.lock().unwrap().push(head.split(' ').nth(1).unwrap().to_owned());
            if turn == 0 {
                stream.write_all(reply(&head, "200 OK", "", "candidate").as_bytes()).unwrap();
            }
        }
    });
    let split = Split { rescue: true, ..split(port, Share::ALL, Choice::Random) };
    let rig = rig(stable.port, split);
    let mut stream = rig.connect();
    for path in ["/1", "/2"] {
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
        assert_eq!(Reply::read(&mut stream).text(), "candidate");
    }
    assert_eq!(
        (lines.lock().unwrap().as_slice(), stable.arrivals()),
        (&["/1", "/2", "/2"].map(str::to_owned)[..], 0)
    );
    assert_eq!(rig.seen_after(2).of(Outcome::Answered), 2);
}

/// Has its own page and its own asset only.
fn release(name: &'static str) -> App {
    App::new(move |head| {
        let path = head.split(' ').nth(1).unwrap_or_default();
        if path == "/" || path.contains(name) {
            return reply(head, "200 OK", "", name);
        }
        reply(head, "404 Not Found", "", "missing")
    })
}

#[test]
fn an_asset_that_one_release_does_not_have_is_asked_of_the_other() {
    let (stable, candidate) = (release("stable"), release("candidate"));
    let halves = || split(candidate.port, percent(50.0), by_user());
    let rig = rig(stable.port, Split { assets_fall_back: true, ..halves() });
    let mut asked = 0;
    let mut ask = |line: &str, id: usize| {
        asked += 1;
        rig.ask(&user(line, id))
    };
    let of_arm =
        ["stable", "candidate"].map(|arm| (0..64).find(|id| ask("GET /", *id).text() == arm).unwrap());
    for id in of_arm {
        for name in ["stable", "candidate"] {
            assert_eq!(ask(&format!("GET /assets/{name}-1a2b3c4d.js"), id).text(), name);
        }
        let nowhere = ask("GET /assets/other-1a2b3c4d.js", id);
        assert_eq!((nowhere.status(), nowhere.text().as_str()), ("404", "missing"));
    }
    let other = |id: usize| ["candidate", "stable"][usize::from(of_arm[1] == id)];
    for id in of_arm {
        assert_eq!(ask(&format!("GET /page/{}", other(id)), id).status(), "404");
        assert_eq!(ask(&format!("DELETE /assets/{}-1a2b3c4d.js", other(id)), id).status(), "404");
    }
    assert_eq!(rig.seen_after(asked).of(Outcome::Answered), asked);
    swap(&rig, stable.port, Some(halves()));
    for id in of_arm {
        assert_eq!(rig.ask(&user(&format!("GET /assets/{}-1a2b3c4d.js", other(id)), id)).status(), "404");
    }
}

#[test]
fn tunnels_and_streams_stay_where_they_began() {
    let (promoted, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let stable = App::with(move |head, stream| {
        if head.starts_with("GET /tunnel") {
            let switch =
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
            stream.write_all(switch.as_bytes()).unwrap();
            let mut buffer = [0; 4];
            while stream.read_exact(&mut buffer).is_ok() {
                stream.write_all(&buffer).unwrap();
            }
            return false;
        }
        let start = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 10\r\n\r\nhello";
        stream.write_all(start.as_bytes()).unwrap();
        wait.lock().unwrap().recv().unwrap();
        stream.write_all(b"world").is_ok()
    });
    let candidate = App::named("candidate");
    let rig = rig(stable.port, split(candidate.port, Share::NONE, Choice::Random));
    let (mut tunnel, mut events) = (rig.connect(), rig.connect());
    let upgrade = "GET /tunnel HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    tunnel.write_all(upgrade.as_bytes()).unwrap();
    assert!(read_head(&mut tunnel).unwrap().starts_with("HTTP/1.1 101"));
    events.write_all(GET.as_bytes()).unwrap();
    read_head(&mut events).unwrap();
    let mut echo = |said: &[u8; 4]| {
        let mut heard = [0; 4];
        tunnel.write_all(said).unwrap();
        tunnel.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, said);
    };
    echo(b"ping");
    // Promoted step by step, and then the old release is no longer in the plan at all.
    swap(&rig, stable.port, Some(split(candidate.port, Share::ALL, Choice::Random)));
    assert_eq!(rig.ask(GET).text(), "candidate");
    echo(b"pong");
    swap(&rig, candidate.port, None);
    assert_eq!(rig.ask(GET).text(), "candidate");
    echo(b"peng");
    promoted.send(()).unwrap();
    let mut body = [0; 10];
    events.read_exact(&mut body).unwrap();
    assert_eq!((&body, stable.arrivals(), candidate.arrivals()), (b"helloworld", 2, 2));
    drop(tunnel);
}
