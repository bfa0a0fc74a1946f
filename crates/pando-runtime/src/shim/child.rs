//! The process that a shim is the parent of: its start, and signals to everything that came from it.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use pando_model::observed::ExitReport;
use rustix::process::Signal;

use crate::account::Account;
use crate::cgroup::RunGroup;
use crate::command;
use crate::dir::Launch;
use crate::proc::{self, Process, Stat};

/// How a process ended: one of both is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Exit {
    pub(super) code: Option<i32>,
    pub(super) signal: Option<i32>,
}

impl fmt::Display for Exit {
    /// `ended with exit code 1`, `ended by SIGKILL`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(f, "ended with exit code {code}"),
            (None, Some(signal)) => match signal_name(signal) {
                Some(name) => write!(f, "ended by {name}"),
                None => write!(f, "ended by signal {signal}"),
            },
            (None, None) => write!(f, "ended, and nobody saw how"),
        }
    }
}

impl Exit {
    pub(super) fn report(&self, out_of_memory: bool, last_lines: Vec<String>) -> ExitReport {
        ExitReport { code: self.code, signal: self.signal, out_of_memory, last_lines }
    }
}

fn signal_name(signal: i32) -> Option<&'static str> {
    // The numbers of the signals that end processes, on every architecture that Linux and Rust share but MIPS and SPARC.
    let names = [
        (1, "SIGHUP"),
        (2, "SIGINT"),
        (3, "SIGQUIT"),
        (4, "SIGILL"),
        (5, "SIGTRAP"),
        (6, "SIGABRT"),
        (7, "SIGBUS"),
        (8, "SIGFPE"),
        (9, "SIGKILL"),
        (10, "SIGUSR1"),
        (11, "SIGSEGV"),
        (12, "SIGUSR2"),
        (13, "SIGPIPE"),
        (14, "SIGALRM"),
        (15, "SIGTERM"),
        (24, "SIGXCPU"),
        (25, "SIGXFSZ"),
        (31, "SIGSYS"),
    ];
    names.iter().find(|(number, _)| *number == signal).map(|(_, name)| *name)
}

#[derive(Debug)]
pub(super) struct Spawned {
    pub(super) process: Process,
    pub(super) stdout: File,
    pub(super) stderr: File,
}

/// Starts the run's command in its cgroups, in a process group of its own. The shim's session, which has no terminal, is
/// the run's too.
pub(super) fn spawn(launch: &Launch) -> Result<Spawned, String> {
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(command::script(&launch.spec.command));
    shell.env_clear().envs(&launch.env).current_dir(launch.directory());
    if let Some(account) = &launch.account {
        check_entry(launch, account)?;
        // With a user id, and as root, the standard library drops the supplementary groups too.
        shell.uid(account.uid).gid(account.gid);
    }
    shell.stdin(Stdio::null());
    let inside = Inside::enter(&launch.groups)?;
    let spawned = start_piped(&mut shell);
    inside.leave();
    spawned.map_err(|error| explain(launch, &error))
}

/// Starts `command` in a process group of its own, its output on pipes.
pub(super) fn start_piped(command: &mut Command) -> io::Result<Spawned> {
    command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let pipe =
        |fd: Option<OwnedFd>| fd.map(File::from).ok_or_else(|| io::Error::other("the child has no pipe"));
    let (stdout, stderr) =
        (pipe(child.stdout.take().map(OwnedFd::from))?, pipe(child.stderr.take().map(OwnedFd::from))?);
    // It has not been waited for, so that it is listed even if it has ended.
    let start = Stat::of(child.id()).map_or(0, |stat| stat.start);
    Ok(Spawned { process: Process { pid: child.id(), start }, stdout, stderr })
}

/// Whether the user may use the directory. The start itself enters it before it becomes the user, and a program that can't read
/// its own files fails in many ways, none of them clear. A shell of the user's knows every rule that applies.
fn check_entry(launch: &Launch, account: &Account) -> Result<(), String> {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "cd -- \"$0\" && [ -r . ]"]).arg(launch.directory()).env_clear();
    shell.uid(account.uid).gid(account.gid);
    let status = shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    match status {
        Ok(status) if status.success() || !launch.directory().is_dir() => Ok(()),
        Ok(_) => Err(format!(
            "user `{}` may not enter its directory `{}`: every directory on the way needs `chmod o+x`, and this one \
             `chmod o+rx`",
            account.name,
            launch.directory().display()
        )),
        Err(error) => Err(explain(launch, &error)),
    }
}

/// A start that failed within the new process says only what the kernel said; this finds the step.
fn explain(launch: &Launch, error: &io::Error) -> String {
    let directory = launch.directory().display();
    match std::fs::metadata(launch.directory()) {
        Err(missing) => format!("its directory `{directory}` can't be used: {missing}"),
        Ok(data) if !data.is_dir() => format!("`{directory}` is not a directory"),
        Ok(_) => format!("`/bin/sh` didn't start in `{directory}`: {error}"),
    }
}

/// The shim itself in the run's cgroups, for the moment of the start: a child begins where its parent is, so that no moment
/// of it is unlimited.
struct Inside<'a>(&'a [RunGroup]);

impl<'a> Inside<'a> {
    fn enter(groups: &'a [RunGroup]) -> Result<Self, String> {
        for group in groups {
            group.enter().map_err(|error| format!("can't enter its cgroup: {error}"))?;
        }
        Ok(Self(groups))
    }

    fn leave(self) {
        for group in self.0 {
            // Staying inside would only make the shim's own few megabytes count.
            let _ = group.leave();
        }
    }
}

/// Sends `signal` to the process group of `main` and to every descendant of this shim outside it.
pub(super) fn signal_all(main: Process, signal: Signal) {
    let all = proc::all();
    let own_session = Stat::of(std::process::id()).map(|stat| stat.session);
    // Once the group is empty, its number may become somebody else's; but not that of one under this shim, which leads them all.
    let in_group = |stat: &Stat| stat.group == main.pid && Some(stat.session) == own_session;
    if all.iter().any(in_group) {
        // Refusals can't happen to a parent of the same user, or root; and there is nobody to tell.
        let _ = proc::signal_group(main.pid, signal);
    }
    let grouped: Vec<u32> = all.iter().filter(|stat| in_group(stat)).map(|stat| stat.pid).collect();
    for process in proc::descendants(&all, std::process::id()) {
        if !grouped.contains(&process.pid) {
            let _ = process.signal(signal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exits_read_well() {
        for (code, signal, text) in [
            (Some(1), None, "ended with exit code 1"),
            (None, Some(9), "ended by SIGKILL"),
            (None, Some(40), "ended by signal 40"),
            (None, None, "ended, and nobody saw how"),
        ] {
            assert_eq!(Exit { code, signal }.to_string(), text);
        }
    }
}
