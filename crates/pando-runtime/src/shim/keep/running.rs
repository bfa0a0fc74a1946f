//! A kept program while it runs.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::KeepSpec;
use crate::account;
use crate::listen;
use crate::logs::Stream;
use crate::proc::{self, Process};
use crate::shim::child::{Spawned, start_piped};
use crate::shim::output::{Journal, Output};
use crate::shim::run::now;

/// The program, its output, and the line by which it says that it serves.
pub(super) struct Running {
    pub(super) process: Process,
    outputs: [Output<File>; 2],
    line: UnixStream,
    since: Instant,
}

impl Running {
    /// Starts the program with the sockets.
    pub(super) fn start(spec: &KeepSpec, sockets: &[OwnedFd]) -> Result<Self, String> {
        let program = spec.program.display();
        let (spawned, line) =
            spawn(spec, sockets).map_err(|error| format!("can't start `{program}`: {error}"))?;
        let process = spawned.process;
        Self::watch(spawned, line).map_err(|error| {
            let _ = process.signal(Signal::KILL);
            format!("can't watch over `{program}`: {error}")
        })
    }

    fn watch(spawned: Spawned, line: UnixStream) -> io::Result<Self> {
        let outputs =
            [Output::new(spawned.stdout, Stream::Stdout)?, Output::new(spawned.stderr, Stream::Stderr)?];
        line.set_nonblocking(true)?;
        Ok(Self { process: spawned.process, outputs, line, since: Instant::now() })
    }

    pub(super) fn ran(&self) -> Duration {
        self.since.elapsed()
    }

    /// What to wait on.
    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.outputs.iter().filter_map(Output::fd)
    }

    /// Readable when the program says that it serves, or lets go of the line.
    pub(super) fn line(&self) -> BorrowedFd<'_> {
        self.line.as_fd()
    }

    /// Whether it has said, since the last call, that it serves.
    pub(super) fn serves(&mut self) -> bool {
        let mut words = [0; 8];
        matches!(self.line.read(&mut words), Ok(count @ 1..) if words[..count].contains(&listen::SERVES))
    }

    pub(super) fn pump(&mut self, journal: &mut Journal) {
        for output in &mut self.outputs {
            output.pump(journal, now());
        }
    }

    pub(super) fn signal(&self, signal: Signal) {
        // It may have ended by now.
        let _ = proc::signal_group(self.process.pid, signal);
    }

    /// After its end: what it still had to say, and nothing that it started is left.
    pub(super) fn finish(mut self, journal: &mut Journal) {
        // What it started would hold on to the sockets.
        self.signal(Signal::KILL);
        for output in &mut self.outputs {
            while output.pump(journal, now()) {}
            output.finish(journal, now());
        }
    }
}

fn spawn(spec: &KeepSpec, sockets: &[OwnedFd]) -> io::Result<(Spawned, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    pando_rt::fds::send(&ours, sockets)?;
    let mut command = Command::new(&spec.program);
    command.args(&spec.args).env_clear().envs(&spec.env).current_dir("/");
    command.env(listen::VARIABLE, sockets.len().to_string()).stdin(Stdio::from(OwnedFd::from(theirs)));
    if let Some(name) = &spec.user {
        let account =
            account::find(name).ok_or_else(|| io::Error::other(format!("there is no user `{name}`")))?;
        if account.uid != rustix::process::geteuid().as_raw() {
            command.uid(account.uid).gid(account.gid);
        }
    }
    Ok((start_piped(&mut command)?, ours))
}
