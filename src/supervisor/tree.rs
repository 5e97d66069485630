//! The processes below us as the kernel lists them, and whom of them a signal is for.
//!
//! **Whom a signal is for.** The app's first process, when that is the app. But it is often a wrapper: `sh -c`, `npm`,
//! `npx`. What wrappers do with a signal differs, so it is read from the kernel instead of a list of habits: a wrapper that
//! *catches* the signal has plans for it (npm passes it on, a script has its trap), and one that does not would die of it
//! and tell nobody. So a wrapper that catches it gets it, alone; past one that does not, it goes to the wrapper's children,
//! and to the wrapper too if the signal asks to end. A blind signal to the whole group would reach an app twice whose
//! wrapper passes signals on, and some take the second SIGTERM as "now".
//!
//! What a wrapper's end leaves behind is an orphan, and orphans below us become our children: they are found here too,
//! whatever group or session they went to.
//!
//! It knows no signal's sender and sends nothing.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::Path;

use nix::sys::signal::Signal;

/// So many processes are looked at; what is beyond is not found. A container has far fewer.
const PROCESSES_MAX: usize = 32_768;

/// Programs that run the app as a child instead of being it. A name that is missing costs little: what such a wrapper
/// leaves behind is found when it has ended. Those that replace themselves by the app (`exec`, `env`, `bundle exec`,
/// `poetry run`) are gone before any signal comes.
const WRAPPERS: [&str; 25] = [
    "sh", "dash", "ash", "bash", "zsh", "ksh", "mksh", "busybox", "npm", "npx", "yarn", "yarnpkg", "pnpm",
    "pnpx", "corepack", "bun", "bunx", "bundle", "bundler", "poetry", "uv", "uvx", "pipenv", "pdm", "hatch",
];

/// Programs that run a script: the script's name says what they are.
const INTERPRETERS: [&str; 5] = ["node", "nodejs", "python", "python3", "ruby"];

/// One process, at the moment of the look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Process {
    pid: u32,
    parent: u32,
    group: u32,
}

/// What is to be known of a process to decide whether a signal is for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Nature {
    /// It runs the app as a child.
    pub(super) is_wrapper: bool,
    /// It has a handler for the signal.
    pub(super) catches: bool,
}

/// All processes that had not ended when they were looked at.
#[derive(Debug, Default)]
pub(super) struct Tree {
    children: HashMap<u32, Vec<u32>>,
    groups: HashMap<u32, Vec<u32>>,
}

impl Tree {
    /// Looks at `/proc`. Where there is none, the tree is empty.
    pub(super) fn look() -> Self {
        let Ok(entries) = std::fs::read_dir("/proc") else { return Self::default() };
        let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        // One may have ended since it was listed; then it is none of them.
        let alive = |pid| parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?);
        Self::of(pids.take(PROCESSES_MAX).filter_map(alive))
    }

    fn of(processes: impl Iterator<Item = Process>) -> Self {
        let mut tree = Self::default();
        for process in processes {
            tree.children.entry(process.parent).or_default().push(process.pid);
            tree.groups.entry(process.group).or_default().push(process.pid);
        }
        tree
    }

    /// The children of `parent`.
    pub(super) fn children(&self, parent: u32) -> &[u32] {
        self.children.get(&parent).map_or(&[], Vec::as_slice)
    }

    /// The members of a process group.
    pub(super) fn members(&self, group: u32) -> &[u32] {
        self.groups.get(&group).map_or(&[], Vec::as_slice)
    }

    /// Everything below `root`, parents before children; what is in `except` is left out with all below it.
    pub(super) fn below(&self, root: u32, except: &HashSet<u32>) -> Vec<u32> {
        let mut found = Vec::new();
        let mut seen = HashSet::from([root]);
        let mut next = VecDeque::from([root]);
        while let Some(parent) = next.pop_front() {
            for &child in self.children(parent) {
                if !except.contains(&child) && seen.insert(child) {
                    found.push(child);
                    next.push_back(child);
                }
            }
        }
        found
    }

    /// Whom of `first` and what is below it `signal` is for, parents before children.
    pub(super) fn receivers(&self, first: u32, signal: Signal, nature: &dyn Fn(u32) -> Nature) -> Vec<u32> {
        let mut receivers = Vec::new();
        let mut seen = HashSet::from([first]);
        let mut next = VecDeque::from([first]);
        while let Some(pid) = next.pop_front() {
            let children = self.children(pid);
            let Nature { is_wrapper, catches } = nature(pid);
            let passes_nothing_on = is_wrapper && !catches && !children.is_empty();
            if !passes_nothing_on || asks_to_end(signal) {
                receivers.push(pid);
            }
            if passes_nothing_on {
                next.extend(children.iter().filter(|&&child| seen.insert(child)));
            }
        }
        receivers
    }
}

/// A wrapper that stayed would only start the next thing; of any other signal it would die for nothing.
const fn asks_to_end(signal: Signal) -> bool {
    matches!(signal, Signal::SIGTERM | Signal::SIGINT | Signal::SIGQUIT)
}

/// What `pid` is, as far as the kernel tells.
pub(super) fn nature(pid: u32, signal: Signal) -> Nature {
    let of = |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let status = String::from_utf8_lossy(&of("status")).into_owned();
    Nature {
        is_wrapper: is_wrapper(&of("cmdline")),
        catches: signal_set(&status, "SigCgt:") >> (signal as i32 - 1) & 1 == 1,
    }
}

/// Whether a command line, its arguments ended by NUL each, is a wrapper's. npm writes its title over the arguments, with
/// blanks between.
fn is_wrapper(command_line: &[u8]) -> bool {
    let text = String::from_utf8_lossy(command_line);
    let mut words = text.split(['\0', ' ']).filter(|word| !word.is_empty()).map(name);
    let first = words.next().unwrap_or_default();
    if INTERPRETERS.contains(&first) {
        return words.next().is_some_and(|script| WRAPPERS.contains(&script));
    }
    WRAPPERS.contains(&first)
}

/// The name of a program or script: no directory, no extension, no `-` of a login shell.
fn name(word: &str) -> &str {
    let base = Path::new(word).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let base =
        [".js", ".cjs", ".mjs", ".py", ".rb"].iter().find_map(|end| base.strip_suffix(end)).unwrap_or(base);
    base.trim_start_matches('-').trim_end_matches("-cli")
}

/// A set of signals by the text of `/proc/…/status`: bit n-1 is signal n.
pub(super) fn signal_set(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// A process by the text of `/proc/…/stat`: its id, its name in brackets (which may hold anything), its state, its parent
/// and its group. One that has ended and waits to be reaped is none any more.
fn parse(stat: &str) -> Option<Process> {
    let (head, rest) = (stat.split_once(" (")?.0, stat.rsplit_once(')')?.1);
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(Process { pid: head.parse().ok()?, parent, group })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `pid parent` pairs.
    fn tree(pairs: &[(u32, u32)]) -> Tree {
        Tree::of(pairs.iter().map(|&(pid, parent)| Process { pid, parent, group: 10 }))
    }

    const WRAPPER: Nature = Nature { is_wrapper: true, catches: false };
    const FORWARDER: Nature = Nature { is_wrapper: true, catches: true };
    const APP: Nature = Nature { is_wrapper: false, catches: true };
    const PLAIN: Nature = Nature { is_wrapper: false, catches: false };

    fn receivers(signal: Signal, natures: &[(u32, Nature)], pairs: &[(u32, u32)]) -> Vec<u32> {
        let nature = |pid| natures.iter().find(|(one, _)| *one == pid).expect("every process is told of").1;
        tree(pairs).receivers(10, signal, &nature)
    }

    #[test]
    fn an_app_gets_its_signals_itself_and_its_workers_are_its_own_business() {
        for app in [APP, PLAIN] {
            let natures = [(10, app), (11, PLAIN)];
            assert_eq!(receivers(Signal::SIGTERM, &natures, &[(10, 1), (11, 10)]), [10]);
            assert_eq!(receivers(Signal::SIGHUP, &natures, &[(10, 1), (11, 10)]), [10]);
        }
    }

    #[test]
    fn past_a_shell_that_would_die_of_it_a_signal_goes_to_what_it_runs() {
        let natures = [(10, WRAPPER), (11, WRAPPER), (12, APP), (13, APP)];
        let pairs = [(10, 1), (11, 10), (12, 10), (13, 11)];
        assert_eq!(receivers(Signal::SIGTERM, &natures, &pairs), [10, 11, 12, 13]);
        // Of a reload it would die for nothing.
        assert_eq!(receivers(Signal::SIGHUP, &natures, &pairs), [12, 13]);
    }

    #[test]
    fn a_wrapper_that_catches_a_signal_gets_it_alone() {
        let natures = [(10, FORWARDER), (11, APP)];
        assert_eq!(receivers(Signal::SIGTERM, &natures, &[(10, 1), (11, 10)]), [10]);
    }

    #[test]
    fn a_wrapper_without_children_is_all_there_is() {
        assert_eq!(receivers(Signal::SIGUSR1, &[(10, WRAPPER)], &[(10, 1)]), [10]);
    }

    #[test]
    fn all_below_is_found_but_what_is_left_out() {
        let tree = tree(&[(2, 1), (3, 2), (4, 1), (5, 4), (6, 9), (1, 0)]);
        assert_eq!(tree.below(1, &HashSet::from([4])), [2, 3]);
        assert_eq!(tree.below(1, &HashSet::new()), [2, 4, 3, 5]);
    }

    #[test]
    fn wrappers_are_known_by_their_command_lines() {
        let wrappers = [
            "sh\0-c\0node app & wait\0",
            "/bin/bash\0run.sh\0",
            "-bash\0",
            "npm start\0\0\0",
            "npm exec next start\0",
            "node\0/usr/local/bin/npx\0next\0",
            "node\0/usr/share/yarn/bin/yarn.js\0start\0",
            "/usr/bin/node\0/usr/lib/node_modules/npm/bin/npm-cli.js\0start\0",
            "busybox\0sh\0",
        ];
        for line in wrappers {
            assert!(is_wrapper(line.as_bytes()), "{line}");
        }
        for line in [
            "node\0app.js\0",
            "python3\0-m\0uvicorn\0",
            "next-server (v15.0.0)",
            "",
            "\0",
            "/app/server\0sh\0",
        ] {
            assert!(!is_wrapper(line.as_bytes()), "{line}");
        }
    }

    #[test]
    fn a_process_is_read_whatever_it_calls_itself() {
        let of = |stat| parse(stat).map(|p| (p.pid, p.parent, p.group));
        assert_eq!(of("7 (a) b (c)) S 5 6 6 0 -1"), Some((7, 5, 6)));
        assert_eq!(of("7 (sh) Z 5 6 6 0 -1"), None);
        assert_eq!(of("nonsense"), None);
    }
}
