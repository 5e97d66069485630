//! The leash: a process that asks the kernel to be killed when the stage dies, and then becomes the agent.
//!
//! The stage ends its agents itself, also on Ctrl-C. This is the net below for when the stage itself is killed. The
//! request survives `exec`, so the agent needs to know nothing of it.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getppid};

/// The hidden subcommand's name.
pub const SUBCOMMAND: &str = "demo-leash";

/// Becomes `command`, to be killed when `parent` dies. Returns only when that failed.
pub fn exec(parent: i32, command: &[OsString]) -> io::Error {
    if let Err(error) = set_pdeathsig(Signal::SIGKILL) {
        return error.into();
    }
    // The parent may have died before the request was made; then nothing would ever end us.
    if getppid() != Pid::from_raw(parent) {
        return io::Error::other("the stage has ended");
    }
    match command.split_first() {
        Some((program, arguments)) => Command::new(program).args(arguments).exec(),
        None => io::Error::new(io::ErrorKind::InvalidInput, "no command was given"),
    }
}
