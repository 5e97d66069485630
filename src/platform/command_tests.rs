//! Real shell scripts in a directory of their own.

use std::path::Path;

use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;

use super::*;
use crate::platform::tests::{adopt, order};

/// Longer than any command here takes; one that hangs fails its test by this.
const LONG: Duration = Duration::from_secs(20);

/// Long enough that a shell has started even on a busy machine, for those that are to be stopped.
const SHORT: Duration = Duration::from_secs(2);

/// `text` as a script, with the directory as `$1`.
fn script(dir: &Path, text: &str) -> Vec<String> {
    ["/bin/sh", "-c", text, "sh", dir.to_str().unwrap()].map(str::to_owned).to_vec()
}

async fn acted(dir: &Path, text: &str, limit: Duration) -> Acted {
    Command::new(script(dir, text), Vec::new(), limit, adopt())
        .roll_back(&order(), &Known::default(), &Journal::silent())
        .await
}

async fn current(text: &str) -> Live {
    Command::new(Vec::new(), script(Path::new("/"), text), LONG, adopt()).current(&Known::default()).await
}

#[tokio::test]
async fn exit_0_is_taken_with_what_was_said() {
    let dir = TempDir::new().unwrap();
    let acted_on = acted(dir.path(), "echo working; echo warning >&2; cat > /dev/null", LONG).await;
    let Acted::Accepted { detail } = acted_on else { panic!("{acted_on:?}") };
    assert!(detail.contains("working") && detail.contains("warning"), "{detail}");
}

#[tokio::test]
async fn a_silent_success_still_has_a_detail_and_need_not_read_the_decision() {
    let dir = TempDir::new().unwrap();
    let acted_on = acted(dir.path(), "exec 0<&-; exit 0", LONG).await;
    assert_eq!(acted_on, Acted::Accepted { detail: "the command ended with exit status: 0".to_owned() });
}

#[tokio::test]
async fn another_exit_code_is_a_refusal_that_says_why() {
    let dir = TempDir::new().unwrap();
    let acted_on = acted(dir.path(), "echo no such image >&2; exit 3", LONG).await;
    let reason = "the command ended with exit status: 3: no such image".to_owned();
    assert_eq!(acted_on, Acted::Refused { reason });
}

#[tokio::test]
async fn a_command_that_cannot_be_started_is_a_refusal() {
    let command = Command::new(vec!["/no/such/program".into()], Vec::new(), LONG, adopt());
    let acted_on = command.roll_back(&order(), &Known::default(), &Journal::silent()).await;
    let Acted::Refused { reason } = acted_on else { panic!("{acted_on:?}") };
    assert!(reason.contains("/no/such/program") && reason.contains("No such file"), "{reason}");
}

#[tokio::test]
async fn a_command_that_was_killed_may_have_got_half_way() {
    let dir = TempDir::new().unwrap();
    let acted_on = acted(dir.path(), "echo begun; kill -KILL $$", LONG).await;
    let Acted::Unknown { reason } = acted_on else { panic!("{acted_on:?}") };
    assert!(reason.contains("signal: 9") && reason.contains("begun"), "{reason}");
}

#[tokio::test]
async fn the_time_out_stops_the_command_and_all_that_it_started() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("alive");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut alive = pipe::OpenOptions::new().open_receiver(&path).unwrap();
    // A grandchild that ignores SIGTERM holds the pipe open until the group is killed.
    let text =
        r#"echo begun; (trap '' TERM; exec 3> "$1/alive"; echo up >&3; sleep 60; sleep 60) & sleep 60"#;
    let acted_on = acted(dir.path(), text, SHORT).await;
    let Acted::Unknown { reason } = acted_on else { panic!("{acted_on:?}") };
    assert!(reason.contains("did not end within 2s") && reason.contains("begun"), "{reason}");
    let mut told = String::new();
    timeout(LONG, alive.read_to_string(&mut told)).await.expect("the grandchild is gone").unwrap();
    assert_eq!(told, "up\n");
}

#[tokio::test]
async fn a_command_stopped_by_the_time_out_may_say_a_last_word() {
    let dir = TempDir::new().unwrap();
    let text = "trap 'echo interrupted at step 2; exit 0' TERM; sleep 60 & wait";
    let acted_on = acted(dir.path(), text, SHORT).await;
    let Acted::Unknown { reason } = acted_on else { panic!("{acted_on:?}") };
    assert!(reason.contains("interrupted at step 2"), "{reason}");
}

#[tokio::test]
async fn a_megabyte_of_output_does_not_block_and_its_end_is_kept() {
    let dir = TempDir::new().unwrap();
    let text =
        "head -c 1000000 /dev/zero | tr '\\0' x; head -c 1000000 /dev/zero | tr '\\0' y >&2; echo; echo last";
    let acted_on = acted(dir.path(), text, LONG).await;
    let Acted::Accepted { detail } = acted_on else { panic!("{acted_on:?}") };
    assert!(detail.len() <= TAIL_MAX, "{}", detail.len());
    assert!(detail.ends_with("last") || detail.ends_with('y'), "{}", &detail[detail.len() - 20..]);
    assert!(detail.len() > TAIL_MAX / 2);
}

#[tokio::test]
async fn what_runs_on_in_the_background_is_neither_waited_for_nor_stopped() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("go");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut alive = pipe::OpenOptions::new().open_receiver(&path).unwrap();
    // It holds the command's standard output, so only the grace ends the reading.
    let text = r#"(exec 3> "$1/go"; read x < "$1/never"; echo still here >&3) & echo started; exit 0"#;
    nix::unistd::mkfifo(&dir.path().join("never"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let acted_on = acted(dir.path(), text, LONG).await;
    assert_eq!(acted_on, Acted::Accepted { detail: "started".to_owned() });
    let never = dir.path().join("never");
    timeout(LONG, tokio::task::spawn_blocking(move || std::fs::write(never, "go\n")))
        .await
        .expect("the background process reads")
        .unwrap()
        .unwrap();
    let mut told = String::new();
    timeout(LONG, alive.read_to_string(&mut told)).await.expect("it ends").unwrap();
    assert_eq!(told, "still here\n");
}

#[tokio::test]
async fn the_decision_is_whole_on_standard_input_and_in_the_environment() {
    let dir = TempDir::new().unwrap();
    let acted_on = acted(dir.path(), r#"cat > "$1/input"; env > "$1/env""#, LONG).await;
    assert!(matches!(acted_on, Acted::Accepted { .. }), "{acted_on:?}");
    let input = std::fs::read_to_string(dir.path().join("input")).unwrap();
    let wanted = serde_json::json!({
        "decision": "0mia9y8g0000101",
        "from": "v2",
        "to": "v1",
        "breach": "catastrophe_errors",
        "mode": "enforce",
        "at": "2025-11-22T22:00:00Z",
    });
    assert_eq!(serde_json::from_str::<serde_json::Value>(&input).unwrap(), wanted);
    assert!(input.ends_with("}\n"));
    let environment = std::fs::read_to_string(dir.path().join("env")).unwrap();
    let mut ours: Vec<_> = environment.lines().filter(|line| line.starts_with("OUTRIGGER_")).collect();
    ours.sort_unstable();
    let wanted = [
        "OUTRIGGER_DECISION_AT=2025-11-22T22:00:00Z",
        "OUTRIGGER_DECISION_BREACH=catastrophe_errors",
        "OUTRIGGER_DECISION_FROM=v2",
        "OUTRIGGER_DECISION_ID=0mia9y8g0000101",
        "OUTRIGGER_DECISION_MODE=enforce",
        "OUTRIGGER_DECISION_TO=v1",
    ];
    assert_eq!(ours, wanted);
    assert!(environment.lines().any(|line| line.starts_with("PATH=")));
}

#[tokio::test]
async fn no_secret_of_ours_is_in_a_commands_environment() {
    // The test before this one, in a process that has a secret: it lists all variables of ours that the command got.
    let name = "platform::command::tests::the_decision_is_whole_on_standard_input_and_in_the_environment";
    let mut again = tokio::process::Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", name]).env("OUTRIGGER_TOKEN", "hush").stdout(Stdio::piped()).kill_on_drop(true);
    let ran = timeout(LONG, again.output()).await.expect("it ends").unwrap();
    let told = String::from_utf8(ran.stdout).unwrap();
    assert!(ran.status.success() && told.contains("1 passed"), "{told}");
}

#[test]
fn our_own_variables_are_told_by_their_prefix() {
    for (name, own) in
        [("OUTRIGGER_TOKEN", true), ("OUTRIGGER__ADMIN__TOKEN", true), ("RAILWAY_TOKEN", false)]
    {
        assert_eq!(is_own(OsStr::new(name)), own, "{name}");
    }
}

#[tokio::test]
async fn the_live_release_is_the_first_line() {
    assert_eq!(
        current("echo warning >&2; echo v7; echo more").await,
        Live::Release(Release::new("v7").unwrap())
    );
    let many = "echo v8; head -c 1000000 /dev/zero";
    assert_eq!(current(many).await, Live::Release(Release::new("v8").unwrap()));
}

#[tokio::test]
async fn without_a_release_to_read_nothing_is_known() {
    let no_release = ["exit 0", "echo; echo v1", "echo two words", "head -c 5000 /dev/zero | tr '\\0' x"];
    for text in no_release {
        assert!(matches!(current(text).await, Live::Unknown { .. }), "{text}");
    }
    let Live::Unknown { reason } = current("echo v1; echo broken >&2; exit 4").await else {
        panic!("it failed")
    };
    assert!(reason.contains("exit status: 4") && reason.contains("broken"), "{reason}");
    let none = Command::new(Vec::new(), Vec::new(), LONG, adopt());
    assert!(matches!(none.current(&Known::default()).await, Live::Unknown { .. }));
    assert!(matches!(
        none.roll_back(&order(), &Known::default(), &Journal::silent()).await,
        Acted::Refused { .. }
    ));
}
