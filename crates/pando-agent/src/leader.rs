//! The small program between the agent and a command that it runs: makes it the leader of a session of its own.
//!
//! A session is what can be ended whole, and what a terminal belongs to. A
//! process can become a leader only by itself, so the agent starts this (a
//! hidden subcommand of its own program), which then becomes the command.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

/// How to start it: a program and what makes it call [`become_leader`] with the arguments that follow.
#[derive(Debug, Clone)]
pub struct Leader {
    pub program: PathBuf,
    pub args: Vec<OsString>,
}

/// Makes stdin the session's terminal.
const TERMINAL: &str = "--terminal";

impl Leader {
    /// The command line that runs `script` by `/bin/sh -c`.
    pub(crate) fn command(&self, script: &str, terminal: bool) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args);
        command.args(terminal.then_some(TERMINAL));
        command.args(["--", "/bin/sh", "-c", script]);
        command
    }
}

/// Starts a session and becomes the command after `--`. Comes back only when that fails; exit with 126 then.
pub fn become_leader(args: impl IntoIterator<Item = OsString>) -> io::Error {
    let mut args = args.into_iter();
    let mut terminal = false;
    for arg in args.by_ref() {
        match arg.to_str() {
            Some(TERMINAL) => terminal = true,
            Some("--") => break,
            _ => return io::Error::other(format!("`{}` is not known here", arg.to_string_lossy())),
        }
    }
    let Some(program) = args.next() else { return io::Error::other("no command after `--`") };
    match lead(terminal) {
        Ok(()) => Command::new(program).args(args).exec(),
        Err(error) => error.into(),
    }
}

fn lead(terminal: bool) -> rustix::io::Result<()> {
    rustix::process::setsid()?;
    if terminal {
        rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
    }
    Ok(())
}
