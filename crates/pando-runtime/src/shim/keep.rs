//! The parent of a program that must always listen, such as the load balancer.
//!
//! It holds the listening sockets and starts the program, with the sockets, again whenever it ends. Meanwhile the kernel
//! accepts connections into the backlog, so that none is refused. It outlives the daemon, and takes over the sockets of a
//! program whose earlier keeper was killed.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{PidfdFlags, PidfdGetfdFlags, Signal};
use serde::{Deserialize, Serialize};

use super::child::{Exit, Spawned, start_piped};
use super::output::{Journal, Output};
use super::reaper::Reaper;
use super::run::{answer, catch_signals, now, protect_from_memory_killer, take_signal, wait_for};
use crate::account;
use crate::control::Answer;
use crate::dir::{lock, read_json, write_json};
use crate::listen;
use crate::logs::{LogSettings, LogWriter, Stream};
use crate::proc::{self, Process};

/// What to keep running.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeepSpec {
    /// What it is called in its log, `LOG_DIRECTORY/NAME.log`, such as `proxy`.
    pub name: String,
    pub program: PathBuf,
    pub args: Vec<String>,
    /// The whole environment, but for `PANDO_LISTEN`.
    pub env: BTreeMap<String, String>,
    /// The system user that the program becomes, after the sockets are bound. `None`: as the caller.
    pub user: Option<String>,
    /// Where to listen, in the order in which the program gets the sockets. Port 0: any.
    pub listen: Vec<SocketAddr>,
    /// Absolute; holds the keeper's lock and state. One keeper lives in one directory.
    pub dir: PathBuf,
    pub log_directory: PathBuf,
    pub log: LogSettings,
}

/// What a keeper says of itself, in `state.json` of its directory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeepState {
    pub(crate) keeper: Process,
    /// What it does: `keep.json` may have been written anew since.
    pub(crate) spec: KeepSpec,
    /// With the ports that they have got.
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) child: Option<Process>,
}

pub(crate) const SPEC: &str = "keep.json";
pub(crate) const STATE: &str = "state.json";
pub(crate) const LOCK: &str = "lock";

/// With the time that a start takes, the program is away for less than 200 ms; the backlog holds what comes meanwhile.
const LONGEST_PAUSE: Duration = Duration::from_millis(150);

/// A program that ran for less has failed to start.
const A_GOOD_RUN: Duration = Duration::from_secs(1);

/// Somebody who looks whether a keeper lives holds its lock for microseconds.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// How long an orphan may take to end in order before the address is needed.
const ORPHAN_GRACE: Duration = Duration::from_secs(5);

/// `pando shim keep --dir DIR`: does what DIR's `keep.json` says, see [`keep`].
#[must_use]
pub fn run_keeper(dir: &Path) -> ExitCode {
    match read_json(&dir.join(SPEC)) {
        Ok(Some(spec)) => keep(spec),
        Ok(None) => refuse(&format!("`{}` holds no spec", dir.join(SPEC).display())),
        Err(error) => refuse(&format!("can't read `{}`: {error}", dir.join(SPEC).display())),
    }
}

/// Binds the sockets, starts the program with them, and starts it again within 200 ms whenever it ends, until SIGTERM: which
/// is passed on, and once the program has ended this does too. Blocks.
///
/// The program finds its sockets with [`crate::listen::inherited`]. Whether it has started is answered on stdout with one
/// line, then stdout is let go of. To be called before any thread is started.
#[must_use]
pub fn keep(spec: KeepSpec) -> ExitCode {
    // Only the leader of a group can't; then there is a session already.
    let _ = rustix::process::setsid();
    match Keep::start(spec) {
        Ok((mut keep, child)) => {
            answer(&Answer::Started { child });
            keep.stay();
            ExitCode::SUCCESS
        }
        Err(why) => refuse(&why),
    }
}

fn refuse(why: &str) -> ExitCode {
    answer(&Answer::Refused { why: why.to_owned() });
    ExitCode::FAILURE
}

struct Keep {
    spec: KeepSpec,
    state: KeepState,
    /// Held to the end.
    _lock: File,
    /// Let go of when the end is asked for: the program alone decides then who is still served.
    sockets: Option<Vec<OwnedFd>>,
    journal: Journal,
    terminations: UnixStream,
    running: Option<Running>,
    restart: Restart,
}

struct Running {
    process: Process,
    outputs: [Output<File>; 2],
    reaper: Reaper,
    since: Instant,
}

impl Keep {
    fn start(spec: KeepSpec) -> Result<(Self, Process), String> {
        let said = |what: String| move |error: io::Error| format!("{what}: {error}");
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&spec.dir);
        made.map_err(said(format!("can't make `{}`", spec.dir.display())))?;
        let lock = lock(&spec.dir.join(LOCK), LOCK_PATIENCE)
            .map_err(said(format!("can't lock `{}`", spec.dir.display())))?;
        let lock = lock.ok_or_else(|| format!("a keeper lives in `{}` already", spec.dir.display()))?;
        let terminations = catch_signals().map_err(said("can't catch signals".to_owned()))?;
        let sockets = take_over_or_bind(&spec)?;
        let listen = sockets.iter().filter_map(listen::listening_address).collect();
        let state = KeepState { keeper: Process::this(), spec: spec.clone(), listen, child: None };
        let journal = Journal::new(LogWriter::in_directory(&spec.log_directory, &spec.name, spec.log));
        let restart = Restart::default();
        let sockets = Some(sockets);
        let mut keep =
            Self { spec, state, _lock: lock, sockets, journal, terminations, running: None, restart };
        let child = keep.start_program()?;
        protect_from_memory_killer();
        Ok((keep, child))
    }

    fn start_program(&mut self) -> Result<Process, String> {
        let sockets = self.sockets.as_deref().unwrap_or_default();
        let program = self.spec.program.display();
        let spawned =
            spawn(&self.spec, sockets).map_err(|error| format!("can't start `{program}`: {error}"))?;
        let process = spawned.process;
        let running = Running::new(spawned).map_err(|error| {
            let _ = process.signal(Signal::KILL);
            format!("can't watch over `{program}`: {error}")
        })?;
        self.running = Some(running);
        self.journal.remark(now(), &format!("started, pid {}", process.pid));
        self.note_child(Some(process));
        Ok(process)
    }

    /// On record for whoever looks, and for the next keeper should this one be killed.
    fn note_child(&mut self, child: Option<Process>) {
        self.state.child = child;
        // A full disk must not end what is kept.
        let _ = write_json(&self.spec.dir.join(STATE), &self.state);
    }

    /// Until the end was asked for and has come.
    fn stay(&mut self) {
        while self.sockets.is_some() || self.running.is_some() {
            self.wait();
            if take_signal(&mut self.terminations) {
                self.terminate();
            }
            self.look_after_program();
            if self.running.is_none() && self.sockets.is_some() && self.restart.is_due(Instant::now()) {
                self.start_again();
            }
        }
        let _ = fs::remove_file(self.spec.dir.join(STATE));
    }

    fn wait(&self) {
        let mut fds: Vec<BorrowedFd<'_>> = vec![self.terminations.as_fd()];
        if let Some(running) = &self.running {
            fds.extend(running.outputs.iter().filter_map(Output::fd));
            fds.push(running.reaper.as_fd());
        }
        let deadline = if self.running.is_none() { self.restart.at } else { None };
        wait_for(&fds, deadline);
    }

    fn look_after_program(&mut self) {
        let Some(running) = &mut self.running else { return };
        for output in &mut running.outputs {
            output.pump(&mut self.journal, now());
        }
        let main = running.process.pid;
        let mut ended = running.reaper.take().into_iter().flat_map(|reaped| reaped.ended);
        if let Some((_, exit)) = ended.find(|(pid, _)| *pid == main) {
            self.ended(&exit);
        }
    }

    fn ended(&mut self, exit: &Exit) {
        let Some(mut running) = self.running.take() else { return };
        // What it started would hold on to the sockets.
        let _ = proc::signal_group(running.process.pid, Signal::KILL);
        for output in &mut running.outputs {
            while output.pump(&mut self.journal, now()) {}
            output.finish(&mut self.journal, now());
        }
        self.journal.remark(now(), &exit.to_string());
        self.note_child(None);
        self.restart.ended(Instant::now(), running.since.elapsed());
    }

    fn start_again(&mut self) {
        if let Err(why) = self.start_program() {
            self.journal.remark(now(), &why);
            self.restart.ended(Instant::now(), Duration::ZERO);
        }
    }

    fn terminate(&mut self) {
        self.sockets = None;
        if let Some(running) = &self.running {
            self.journal.remark(now(), "stopping");
            let _ = proc::signal_group(running.process.pid, Signal::TERM);
        }
    }
}

impl Running {
    fn new(spawned: Spawned) -> io::Result<Self> {
        let outputs =
            [Output::new(spawned.stdout, Stream::Stdout)?, Output::new(spawned.stderr, Stream::Stderr)?];
        Ok(Self { process: spawned.process, outputs, reaper: Reaper::start()?, since: Instant::now() })
    }
}

fn spawn(spec: &KeepSpec, sockets: &[OwnedFd]) -> io::Result<Spawned> {
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
    start_piped(&mut command)
}

/// The sockets, from a program that lost its keeper if there is one, else new.
fn take_over_or_bind(spec: &KeepSpec) -> Result<Vec<OwnedFd>, String> {
    let state: Option<KeepState> = read_json(&spec.dir.join(STATE)).unwrap_or_default();
    let orphan = state.and_then(|state| state.child).filter(|child| child.is_running());
    let taken = orphan.and_then(|orphan| take_over(orphan, &spec.listen));
    if let Some(orphan) = orphan {
        let _ = orphan.signal(Signal::TERM);
        if taken.is_none() {
            wait_for_end(orphan);
        }
    }
    match taken {
        Some(sockets) => Ok(sockets),
        None => listen::bind_all(&spec.listen).map_err(|error| error.to_string()),
    }
}

/// Its listening sockets for all of `wanted`, as they are, so that no moment passes without them. `None`: it has others, or
/// the kernel doesn't allow it.
fn take_over(orphan: Process, wanted: &[SocketAddr]) -> Option<Vec<OwnedFd>> {
    let pid = rustix::process::Pid::from_raw(i32::try_from(orphan.pid).ok()?)?;
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()?;
    if !orphan.is_running() {
        return None;
    }
    let numbers = fs::read_dir(format!("/proc/{}/fd", orphan.pid)).ok()?.flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut found: Vec<(SocketAddr, OwnedFd)> = numbers
        .filter_map(|number| rustix::process::pidfd_getfd(&pidfd, number, PidfdGetfdFlags::empty()).ok())
        .filter_map(|socket| Some((listen::listening_address(&socket)?, socket)))
        .collect();
    wanted
        .iter()
        .map(|address| Some(found.swap_remove(found.iter().position(|(at, _)| at == address)?).1))
        .collect()
}

fn wait_for_end(orphan: Process) {
    let until = Instant::now() + ORPHAN_GRACE;
    while orphan.is_running() {
        if Instant::now() > until {
            let _ = orphan.signal(Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// When to start the program again: at once, then after pauses that grow for as long as it ends right away.
#[derive(Debug, Default)]
struct Restart {
    at: Option<Instant>,
    failures: u32,
}

impl Restart {
    fn ended(&mut self, now: Instant, ran: Duration) {
        self.failures = if ran >= A_GOOD_RUN { 0 } else { self.failures.saturating_add(1) };
        let backoff = pando_rt::backoff::Backoff { first: Duration::from_millis(25), most: LONGEST_PAUSE };
        self.at = Some(now + backoff.after(self.failures));
    }

    fn is_due(&self, now: Instant) -> bool {
        self.at.is_none_or(|at| now >= at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_150_ms_and_a_good_run_ends_them() {
        let (mut restart, now) = (Restart::default(), Instant::now());
        let mut pauses = Vec::new();
        for ran in [60_000, 0, 0, 0, 0, 0, 0, 1000] {
            restart.ended(now, Duration::from_millis(ran));
            pauses.push((restart.at.unwrap() - now).as_millis());
        }
        assert_eq!(pauses, [0, 0, 25, 50, 100, 150, 150, 0]);
    }
}
