//! Real children. What changes the whole process (the reaper, signal handlers) runs in a process of its own: this test
//! binary, started again with the name of one test.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{SigSet, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines};
use tokio::net::unix::pipe;

use super::*;
use crate::engine::record::Exit;

/// Tells a test that runs alone where its pipe is.
const TOLD: &str = "TOLD_BY_THE_TEST";

/// Between two looks at what sends no event.
const LOOK: Duration = Duration::from_millis(20);

const PATIENCE: Duration = Duration::from_secs(20);

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it happens within the test's patience")
}

/// A named pipe by which a child tells us what it did; its standard output is ours and cannot be read here.
struct Told {
    path: PathBuf,
    lines: Lines<BufReader<pipe::Receiver>>,
    _dir: TempDir,
}

impl Told {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("told");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let receiver = pipe::OpenOptions::new().read_write(true).open_receiver(&path).unwrap();
        Self { path, lines: BufReader::new(receiver).lines(), _dir: dir }
    }

    async fn line(&mut self) -> String {
        soon(self.lines.next_line()).await.unwrap().expect("a pipe that we hold open does not end")
    }

    /// Returns once no process has the pipe open for writing.
    async fn writers_gone(self) {
        let mut ours = pipe::OpenOptions::new().open_receiver(&self.path).unwrap();
        drop(self.lines);
        let mut rest = Vec::new();
        soon(ours.read_to_end(&mut rest)).await.unwrap();
    }

    async fn until(&mut self, last: &str) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let line = self.line().await;
            if line == last {
                return all;
            }
            all.push(line);
        }
    }
}

/// One ignored test of this file, in a process of its own.
fn alone(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("supervisor::tests::{test}"), "--ignored", "--nocapture"]);
    command.stdout(Stdio::null()).kill_on_drop(true);
    command
}

#[expect(clippy::disallowed_methods, reason = "a message from one test process to another, no option")]
fn told_path() -> Option<OsString> {
    std::env::var_os(TOLD)
}

fn words(command: &[&str]) -> Vec<OsString> {
    command.iter().map(OsString::from).collect()
}

/// A shell script; `$1` is the pipe's path.
fn script(text: &str, told: &Told) -> Vec<OsString> {
    let mut command = words(&["/bin/sh", "-c", text, "sh"]);
    command.push(told.path.clone().into());
    command
}

fn supervisor() -> Supervisor {
    Supervisor { own: OwnChildren::default(), before: Before::default() }
}

fn launch(command: &[OsString]) -> Launch<'_> {
    Launch { command, port: 4321, socket: None, reach: Reach::Auto, hidden: &|_| false }
}

fn spawn(command: &[OsString]) -> Result<App, SpawnError> {
    supervisor().spawn(&launch(command))
}

async fn end_of(text: &str) -> Exit {
    let mut app = spawn(&words(&["/bin/sh", "-c", text])).unwrap();
    soon(app.wait()).await.unwrap()
}

#[tokio::test]
async fn the_exit_code_is_the_apps_own_or_128_and_the_signal() {
    let exit = end_of("exit 7").await;
    assert_eq!((exit, exit_code(exit)), (Exit { code: Some(7), signal: None }, 7));
    assert_eq!(exit_code(end_of("exit 0").await), 0);
    let exit = end_of("kill -TERM $$").await;
    assert_eq!((exit, exit_code(exit)), (Exit { code: None, signal: Some(15) }, 143));
}

#[tokio::test]
async fn a_command_that_is_not_there_is_127_and_named() {
    for name in ["outrigger-no-such-program", "/no/such/program"] {
        let error = spawn(&words(&[name])).unwrap_err();
        assert_eq!(error.exit_code(), 127, "{error}");
        assert!(error.to_string().contains(&format!("`{name}`")), "{error}");
        assert!(error.to_string().contains("PATH"), "{error}");
    }
    assert_eq!(spawn(&[]).unwrap_err().exit_code(), 64);
}

#[tokio::test]
async fn a_command_that_cannot_be_executed_is_126() {
    let dir = TempDir::new().unwrap();
    let plain = dir.path().join("plain");
    std::fs::write(&plain, "#!/bin/sh\n").unwrap();
    let lost = dir.path().join("lost");
    std::fs::write(&lost, "#!/no/such/interpreter\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&lost, mode).unwrap();
    for path in [plain.as_path(), lost.as_path(), dir.path()] {
        let error = spawn(&[path.into()]).unwrap_err();
        assert_eq!(error.exit_code(), 126, "{error} for {path:?}");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
}

#[test]
fn the_port_takes_its_place_wherever_it_is_named() {
    let socket = Path::new("/run/a.sock");
    let filled = |text: &str, socket| {
        Launch { port: 81, socket, ..launch(&[]) }.fill(OsStr::new(text)).into_string().unwrap()
    };
    assert_eq!(filled("--bind=[::]:{port}", None), "--bind=[::]:81");
    assert_eq!(filled("{port}{port}x", None), "8181x");
    assert_eq!(filled("{Port} {port", None), "{Port} {port");
    assert_eq!(filled("unix:{socket}?{port}", Some(socket)), "unix:/run/a.sock?81");
    assert_eq!(filled("{socket}", None), "{socket}");
}

#[tokio::test]
async fn an_old_socket_is_out_of_the_way_and_nothing_else_is() {
    let folder = TempDir::new().unwrap();
    let (socket, file) = (folder.path().join("app.sock"), folder.path().join("file"));
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    std::fs::write(&file, "kept").unwrap();
    for path in [&socket, &file] {
        let command = words(&["/bin/true"]);
        let mut app = supervisor().spawn(&Launch { socket: Some(path), ..launch(&command) }).unwrap();
        soon(app.wait()).await.unwrap();
    }
    assert!(!socket.exists() && file.exists());
}

#[tokio::test]
async fn the_child_gets_its_port_and_none_of_our_secrets() {
    let mut told = Told::new();
    let mut command = script(r#"{ echo "arg=$2"; env; echo end; } > "$1""#, &told);
    command.push("at {port}".into());
    let ours = [
        ("PATH", "/usr/bin:/bin"),
        ("PORT", "8080"),
        ("KEPT", "yes"),
        ("OUTRIGGER_TOKEN", "hush"),
        ("OUTRIGGER__ADMIN__TOKEN", "hush"),
        ("RAILWAY_TOKEN", "hush"),
    ];
    let ours = ours.into_iter().map(|(name, value)| (name.into(), value.into()));
    let hidden = |name: &OsStr| name == "RAILWAY_TOKEN";
    let mut app = supervisor().spawn_in(ours, &Launch { hidden: &hidden, ..launch(&command) }).unwrap();
    let got = told.until("end").await;
    for wanted in ["arg=at 4321", "PORT=4321", "KEPT=yes"] {
        assert!(got.iter().any(|line| line == wanted), "{wanted} in {got:?}");
    }
    assert!(!got.iter().any(|line| line.contains("hush")), "{got:?}");
    assert_eq!(exit_code(soon(app.wait()).await.unwrap()), 0);
}

#[tokio::test]
async fn the_child_starts_with_default_dispositions_an_empty_mask_and_the_first_limit() {
    // The standard library makes us ignore SIGPIPE; the mask we set ourselves, so that there is something to undo.
    SigSet::from(Signal::SIGUSR2).thread_block().unwrap();
    let mut told = Told::new();
    let text = r#"{ ulimit -n; grep -E '^Sig(Blk|Ign)' /proc/self/status; echo end; } > "$1""#;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let before = Before { open_files: Some((123, hard)), dispositions: signals::ignore_terminal_stops() };
    let supervisor = Supervisor { own: OwnChildren::default(), before };
    let mut app = supervisor.spawn(&launch(&script(text, &told))).unwrap();
    let got = told.until("end").await;
    assert_eq!(got[0], "123");
    let mask = |name: &str| {
        let line = got.iter().find_map(|line| line.strip_prefix(name)).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    };
    assert_eq!(mask("SigBlk:"), 0);
    for one in [Signal::SIGPIPE, Signal::SIGTTIN, Signal::SIGTTOU] {
        assert_eq!(mask("SigIgn:") & 1 << (one as i32 - 1), 0, "{one}");
    }
    soon(app.wait()).await.unwrap();
}

#[tokio::test]
async fn a_signal_reaches_the_app_and_one_that_has_ended_is_past_signals() {
    let mut told = Told::new();
    let text = r#"trap 'kill $!; exit 42' USR1; echo up > "$1"; sleep 60 & wait $!"#;
    let mut app = spawn(&script(text, &told)).unwrap();
    assert_eq!(told.line().await, "up");
    app.signal(Signal::SIGUSR1).unwrap();
    assert_eq!(exit_code(soon(app.wait()).await.unwrap()), 42);
    app.signal(Signal::SIGUSR1).unwrap();
    app.kill().unwrap();
}

#[tokio::test]
async fn the_kernel_is_told_to_kill_the_app_first() {
    let mut told = Told::new();
    let text = r#"echo up > "$1"; exec sleep 60"#;
    let mut app = spawn(&script(text, &told)).unwrap();
    assert_eq!(told.line().await, "up");
    let score = |who: String| -> i32 {
        std::fs::read_to_string(format!("/proc/{who}/oom_score_adj")).unwrap().trim().parse().unwrap()
    };
    assert_eq!(score(app.pid().to_string()), (score("self".to_owned()) + 100).min(1000));
    app.kill().unwrap();
    soon(app.wait()).await.unwrap();
}

#[tokio::test]
async fn what_an_app_left_behind_is_asked_once_and_then_killed() {
    assert!(soon(alone("alone_ends_the_rest").status()).await.unwrap().success());
}

/// One in the app's group and one that left it, neither heeding SIGTERM, which each tells of.
#[tokio::test]
#[ignore = "the body of what_an_app_left_behind_is_asked_once_and_then_killed"]
async fn alone_ends_the_rest() {
    let mut told = Told::new();
    let deaf =
        r#"exec 3> "$1"; trap 'echo asked >&3' TERM; echo up >&3; while :; do sleep 60 & wait $!; done"#;
    let text = r#"sh -c "$2" sh "$1" & setsid sh -c "$2" sh "$1" & exit 0"#;
    let mut command = script(text, &told);
    command.push(deaf.into());
    let supervisor = Supervisor::start();
    let _reaper = tokio::spawn(reap(supervisor.own_children()));
    let mut app = supervisor.spawn(&launch(&command)).unwrap();
    assert_eq!([told.line().await, told.line().await], ["up", "up"]);
    soon(app.wait()).await.unwrap();
    let mut rest = app.rest();
    assert!(rest.ask_to_end() >= 2);
    assert_eq!([told.line().await, told.line().await], ["asked", "asked"]);
    assert!(rest.ask_to_end() >= 2);
    let mut look = tokio::time::interval(LOOK);
    soon(async {
        while rest.kill().unwrap() > 0 {
            look.tick().await;
        }
    })
    .await;
    assert_eq!(rest.ask_to_end(), 0);
    std::fs::write(&told.path, "last\n").unwrap();
    assert_eq!(told.line().await, "last", "nobody was asked twice");
    told.writers_gone().await;
}

#[tokio::test]
async fn a_signal_goes_past_a_shell_to_what_it_runs() {
    let mut told = Told::new();
    let text = r#"sh -c 'trap "echo term; exit 3" TERM; trap "echo hup" HUP; echo up; while :; do sleep 60 & wait $!; done' > "$1" & wait $!; true"#;
    let mut app = spawn(&script(text, &told)).unwrap();
    assert_eq!(told.line().await, "up");
    app.signal(Signal::SIGHUP).unwrap();
    assert_eq!(told.line().await, "hup", "and the shell lives");
    app.ask_to_end(Signal::SIGTERM).unwrap();
    assert_eq!(told.line().await, "term");
    assert_eq!(exit_code(soon(app.wait()).await.unwrap()), 143, "the shell has no trap");
    // The last `sleep` is all that is left; where the group is ours, it ends by itself.
    if app.own_group {
        let _ = killpg(Pid::from_raw(app.pid().cast_signed()), Signal::SIGKILL);
    }
}

#[tokio::test]
async fn a_killed_agent_leaves_no_app_behind() {
    let mut told = Told::new();
    let mut agent = alone("alone_starts_an_app_and_waits").env(TOLD, &told.path).spawn().unwrap();
    assert_eq!(told.line().await, "up");
    agent.start_kill().unwrap();
    soon(agent.wait()).await.unwrap();
    told.writers_gone().await;
}

#[tokio::test]
#[ignore = "the body of a_killed_agent_leaves_no_app_behind"]
async fn alone_starts_an_app_and_waits() {
    let Some(path) = told_path() else { return };
    let mut command = words(&["/bin/sh", "-c", r#"exec 3> "$1"; echo up >&3; exec sleep 60"#, "sh"]);
    command.push(path);
    spawn(&command).unwrap().wait().await.unwrap();
}

#[tokio::test]
async fn every_signal_is_taken_and_only_term_and_int_are_ours() {
    assert!(soon(alone("alone_takes_every_signal").status()).await.unwrap().success());
}

#[tokio::test]
#[ignore = "the body of every_signal_is_taken_and_only_term_and_int_are_ours"]
async fn alone_takes_every_signal() {
    let mut signals = Signals::listen().unwrap();
    let names =
        ["HUP", "QUIT", "USR1", "USR2", "WINCH", "CONT", "INT", "TERM", "ALRM", "VTALRM", "PROF", "URG"];
    for name in names.into_iter().chain(["IO", "PWR", "XCPU", "STKFLT"]) {
        let sent: Signal = format!("SIG{name}").parse().unwrap();
        kill(getpid(), sent).unwrap();
        let received = soon(signals.next()).await;
        let ours = matches!(sent, Signal::SIGTERM | Signal::SIGINT);
        assert_eq!(received, if ours { Received::Stop(sent) } else { Received::Relay(sent) });
    }
}

#[tokio::test]
async fn orphans_are_reaped_and_no_status_of_ours_is_taken() {
    assert!(soon(alone("alone_reaps").status()).await.unwrap().success());
}

#[tokio::test]
async fn an_orphan_becomes_our_child() {
    assert!(soon(alone("alone_inherits_orphans").status()).await.unwrap().success());
}

#[tokio::test]
#[ignore = "the body of an_orphan_becomes_our_child"]
async fn alone_inherits_orphans() {
    let (mut told, go) = (Told::new(), Told::new());
    let orphan = r#"read x < "$2"; read a b c parent rest < /proc/$$/stat; echo "$parent" > "$1""#;
    let mut command = script(r#"(sh -c "$3" sh "$1" "$2" &); exit 3"#, &told);
    command.extend([go.path.clone().into(), orphan.into()]);
    let mut app = Supervisor::start().spawn(&launch(&command)).unwrap();
    assert_eq!(exit_code(soon(app.wait()).await.unwrap()), 3);
    std::fs::write(&go.path, "go\n").unwrap();
    assert_eq!(told.line().await, getpid().to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the body of orphans_are_reaped_and_no_status_of_ours_is_taken"]
async fn alone_reaps() {
    const OWN: usize = 100;
    let supervisor = Supervisor::start();
    let own = supervisor.own_children();
    let reaper = tokio::spawn(reap(own.clone()));
    // Each `( … & )` leaves its child behind at once; the shell's own end is seen after theirs.
    let orphans = "i=0; while [ $i -lt 30 ]; do ( (exit 9) & ); i=$((i+1)); done; exit 3";
    let mut app = supervisor.spawn(&launch(&words(&["/bin/sh", "-c", orphans]))).unwrap();
    for _ in 0..OWN {
        let mut child = None;
        let kept = own.adopt(&mut || {
            let spawned = Command::new("/bin/sh").args(["-c", "exit 5"]).spawn()?;
            let pid = spawned.id().unwrap();
            child = Some(spawned);
            Ok(pid)
        });
        let status = soon(child.unwrap().wait()).await.unwrap();
        assert_eq!(status.code(), Some(5));
        drop(kept);
    }
    assert_eq!(exit_code(soon(app.wait()).await.unwrap()), 3);
    drop(app);
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    let mut look = tokio::time::interval(LOOK);
    soon(async {
        while waitid(Id::All, flags) != Err(Errno::ECHILD) {
            look.tick().await;
        }
    })
    .await;
    assert!(!reaper.is_finished());
}

#[tokio::test]
async fn a_free_port_can_be_listened_on_and_is_none_that_the_system_gives_away() {
    let port = free_port().unwrap();
    tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    let given = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let lowest: u16 = given.split_whitespace().next().unwrap().parse().unwrap();
    // Where the system was told to give lower ones, there may be no port that it does not.
    assert!(PORTS.contains(&port) || lowest < PORTS.end, "{port}");
}
