//! The task of a probe, with a dependency that answers as the test says.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::probes::{Ask, Probe as Options, Redis, Role, Server, Tls, TlsMode, Why};
use crate::config::{Origin, Secret};
use crate::engine::health::{Found, Health, HealthChange};
use crate::prober::Prober;
use crate::prober::probe::{BoxFuture, Failure, Probe, Reply, TEXT_LEN_MAX, cut};
use crate::prober::pulse::Pulse;
use crate::prober::runner::{Runner, Seat, give_up, timer};

/// What the dependency does when it is asked.
enum Does {
    Answers(Duration),
    Fails,
    IsUnable,
    Hangs,
    Panics,
}

#[derive(Default)]
struct Script {
    next: Mutex<VecDeque<Does>>,
    asked: AtomicUsize,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
    given_up: AtomicUsize,
    go_on: Notify,
}

struct Scripted(Arc<Script>);

/// Counts a round that is under way, however it ends.
struct UnderWay(Arc<Script>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.at_once.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Probe for Scripted {
    fn ask(&mut self) -> BoxFuture<'_, Result<Reply, Failure>> {
        let script = Arc::clone(&self.0);
        Box::pin(async move {
            script.asked.fetch_add(1, Ordering::SeqCst);
            let now = script.at_once.fetch_add(1, Ordering::SeqCst) + 1;
            script.most_at_once.fetch_max(now, Ordering::SeqCst);
            let _under_way = UnderWay(Arc::clone(&script));
            let next = script.next.lock().unwrap().pop_front();
            match next {
                None => {
                    script.go_on.notified().await;
                    Ok(Reply { latency: Duration::from_millis(1), ..Reply::default() })
                }
                Some(Does::Answers(latency)) => Ok(Reply { latency, load: Some(10), ..Reply::default() }),
                Some(Does::Fails) => Err(Failure::Down("refused `hunter2`".to_owned())),
                Some(Does::IsUnable) => Err(Failure::Unable("no descriptor left".to_owned())),
                Some(Does::Hangs) => std::future::pending().await,
                Some(Does::Panics) => panic!("a fault of ours"),
            }
        })
    }

    fn stage(&self) -> &str {
        "the answer"
    }

    fn load(&mut self) -> Option<u64> {
        Some(7)
    }

    fn give_up(&mut self) {
        self.0.given_up.fetch_add(1, Ordering::SeqCst);
    }
}

struct Rig {
    prober: Prober,
    script: Arc<Script>,
    changes: mpsc::Receiver<HealthChange>,
    _shutdown: tokio_util::sync::DropGuard,
}

fn options() -> Options {
    Options {
        name: "db".to_owned(),
        why: Why::Configured(Origin::Default),
        target: "tcp://db:1".to_owned(),
        // Of a kind that is asked as often as somebody wants to know.
        ask: Ask::Redis(Redis {
            servers: vec![Server { host: "db".to_owned(), port: 1 }],
            sentinel: None,
            user: None,
            password: None,
            database: 0,
            tls: Tls { mode: TlsMode::Disable, ca_file: None },
            role: Role::Any,
            memory_max: 0.9,
            lag_max: Duration::from_secs(30),
        }),
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(2),
        failure_threshold: 3,
        success_threshold: 2,
        critical: true,
        degraded_above: Some(Duration::from_millis(100)),
        failed_above: Some(Duration::from_millis(500)),
    }
}

impl Rig {
    fn new(does: impl IntoIterator<Item = Does>) -> Self {
        let script = Arc::new(Script { next: Mutex::new(does.into_iter().collect()), ..Script::default() });
        let (changes_in, changes) = mpsc::channel(16);
        let clock = Clock::start();
        let shutdown = CancellationToken::new();
        let seat = Arc::new(Seat::new(&options(), clock));
        let runner = Runner {
            probe: Box::new(Scripted(Arc::clone(&script))),
            options: options(),
            seat: Arc::clone(&seat),
            clock,
            pulse: Pulse::start(clock, shutdown.clone()),
            changes: changes_in,
            shutdown: shutdown.clone(),
            secrets: vec![Secret::new("hunter2".to_owned())],
        };
        let watched = Arc::clone(&seat);
        tokio::spawn(async move {
            if let Err(failed) = tokio::spawn(runner.run()).await {
                give_up(&watched, clock, &failed.to_string());
            }
        });
        let prober = Prober { clock, seats: Arc::new([seat]), pulse: None };
        Self { prober, script, changes, _shutdown: shutdown.drop_guard() }
    }

    /// Waits until so many rounds have ended.
    async fn rounds(&self, count: u64) {
        let mut seen = self.prober.seats[0].watch();
        seen.wait_for(|state| state.rounds.iter().sum::<u64>() >= count).await.unwrap();
    }
}

fn many(count: usize, does: impl Fn() -> Does) -> impl Iterator<Item = Does> {
    std::iter::repeat_with(does).take(count)
}

const MS: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn a_state_changes_by_rounds_in_a_row_and_each_change_is_told_once() {
    let script =
        many(2, || Does::Answers(MS)).chain(many(3, || Does::Fails)).chain(many(2, || Does::Answers(MS)));
    let mut rig = Rig::new(script);
    rig.rounds(7).await;
    let mut told = Vec::new();
    while let Ok(change) = rig.changes.try_recv() {
        told.push((change.change.from, change.change.to, change.why));
    }
    let expected = [
        (Health::Unknown, Health::Ok, String::new()),
        (Health::Ok, Health::Failed, "refused `[not shown]`".to_owned()),
        (Health::Failed, Health::Ok, String::new()),
    ];
    assert_eq!(told, expected);
    let found: Vec<Found> = rig.prober.history("db").unwrap().iter().map(|point| point.found).collect();
    assert_eq!(found.iter().filter(|found| **found == Found::Failed).count(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_round_that_hangs_ends_at_its_limit_and_what_was_half_done_is_given_up() {
    let rig = Rig::new([Does::Hangs, Does::Answers(MS)]);
    rig.rounds(1).await;
    let state = rig.prober.states().remove(0);
    assert_eq!(state.last.as_ref().unwrap().why, "the answer did not come within 2s");
    assert_eq!(rig.script.given_up.load(Ordering::SeqCst), 1);
    rig.rounds(2).await;
    assert_eq!(rig.script.most_at_once.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_hundred_who_ask_share_one_round() {
    let rig = Rig::new([Does::Answers(MS)]);
    rig.rounds(1).await;
    tokio::time::advance(Duration::from_secs(3)).await;
    let all = (0..100).map(|_| {
        let prober = rig.prober.clone();
        tokio::spawn(async move { prober.fresh(Duration::ZERO, Duration::from_secs(4)).await })
    });
    let all: Vec<_> = all.collect();
    // In virtual time: it goes on only when everybody waits.
    while rig.script.asked.load(Ordering::SeqCst) < 2 {
        tokio::time::sleep(MS).await;
    }
    rig.script.go_on.notify_one();
    for one in all {
        assert_eq!(one.await.unwrap()[0].health, Health::Ok);
    }
    // Who came late in a round has it, too; a wake-up that was left over makes one more at most.
    assert!(rig.script.asked.load(Ordering::SeqCst) <= 3, "{}", rig.script.asked.load(Ordering::SeqCst));
    assert_eq!(rig.script.most_at_once.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_confirmed_before_it_is_told_and_what_never_answers_is_told_in_time() {
    let rig =
        Rig::new([Does::Answers(MS), Does::Fails, Does::Answers(MS), Does::Hangs, Does::Hangs, Does::Hangs]);
    rig.rounds(1).await;
    let asked = rig.prober.fresh(Duration::ZERO, Duration::from_millis(4_500)).await.remove(0);
    assert_eq!(asked.told().0, Health::Ok, "the second round was well");
    let began = timer();
    let asked = rig.prober.fresh(Duration::ZERO, Duration::from_millis(4_500)).await.remove(0);
    assert_eq!(asked.told().0, Health::Failed, "{asked:?}");
    assert_eq!(asked.health, Health::Ok, "the state itself takes a longer row");
    assert!(
        timer().duration_since(began) <= Duration::from_millis(4_600),
        "{:?}",
        timer().duration_since(began)
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_fresh_is_not_called_late_because_another_is() {
    let quick = Rig::new([Does::Answers(MS)]);
    let stuck = Rig::new([Does::Hangs]);
    quick.rounds(1).await;
    let seats = [Arc::clone(&quick.prober.seats[0]), Arc::clone(&stuck.prober.seats[0])];
    let both = Prober { clock: quick.prober.clock, seats: Arc::new(seats), pulse: None };
    let states = both.fresh(Duration::from_secs(1), Duration::from_secs(3)).await;
    assert_eq!((states[0].told().0, states[1].told().0), (Health::Ok, Health::Failed), "{states:#?}");
    assert!(states[1].last.as_ref().unwrap().why.contains("did not come within 2s"));
}

#[tokio::test(start_paused = true)]
async fn slow_answers_are_impaired_and_very_slow_ones_have_failed() {
    let rig = Rig::new([Does::Answers(MS), Does::Answers(200 * MS), Does::Answers(600 * MS), Does::IsUnable]);
    rig.rounds(4).await;
    // The first load has nothing to be compared with; what could not be asked was measured all the same: seven.
    let history = rig.prober.history("db").unwrap();
    let found: Vec<Found> = history.iter().map(|point| point.found).collect();
    assert_eq!(found, [Found::Well, Found::Impaired, Found::Failed, Found::Unable]);
    let tick = rig.prober.take().remove(0);
    assert_eq!((tick.ok, tick.failed, tick.load), (2, 1, Some(27)));
    assert_eq!(
        tick.latencies.count(),
        2,
        "what failed has no latency, what could not be asked is in no figure"
    );
    assert!(rig.prober.take().is_empty(), "each round is told to one window");
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_panics_keeps_nobody_waiting() {
    let rig = Rig::new([Does::Answers(MS), Does::Panics]);
    rig.rounds(1).await;
    let state = rig.prober.fresh(Duration::ZERO, Duration::from_secs(60)).await.remove(0);
    assert_eq!(state.health, Health::Unknown);
    assert!(state.last.as_ref().unwrap().why.contains("fault of the agent"), "{state:?}");
    let began = timer();
    let _ = rig.prober.fresh(Duration::ZERO, Duration::from_secs(60)).await;
    assert!(timer().duration_since(began) < Duration::from_secs(1), "nobody waits for it any more");
}

#[test]
fn words_are_one_line_of_a_bounded_length() {
    assert_eq!(cut("a\nb\tc"), "a b c");
    let long = cut(&"ä".repeat(TEXT_LEN_MAX));
    assert!(long.len() <= TEXT_LEN_MAX + '…'.len_utf8() && long.ends_with("ä…"), "{}", long.len());
    assert_eq!(cut(&"a".repeat(TEXT_LEN_MAX)), "a".repeat(TEXT_LEN_MAX));
}
