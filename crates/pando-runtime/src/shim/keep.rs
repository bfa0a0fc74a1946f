//! The parent of a program that must always listen, such as the load balancer.
//!
//! It holds the listening sockets and starts the program, with the sockets, again whenever it ends. Meanwhile the kernel
//! accepts connections into the backlog, so that none is refused. It outlives the daemon, and takes over the sockets of a
//! program whose earlier keeper was killed.

mod restart;
mod running;
mod sockets;
mod spec;

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::child::Exit;
use super::output::Journal;
use super::reaper::Reaper;
use super::run::{answer, catch_signals, now, protect_from_memory_killer, take_signal, wait_for};
use crate::control::Answer;
use crate::dir::{lock, read_json, write_json};
use crate::listen;
use crate::logs::LogWriter;
use crate::proc::Process;
use restart::Restart;
use running::Running;
use sockets::{Found, listens, take_over_or_bind};
pub use spec::KeepSpec;
use spec::wanted;
pub(crate) use spec::{KeepState, LOCK, SPEC, STATE};

/// Somebody who looks whether a keeper lives holds its lock for microseconds.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// An orphan that still listens so long after its successor has said that it serves, does not hand over.
const ORPHAN_PATIENCE: Duration = Duration::from_secs(2);

/// Programs whose place was taken and that have not ended. Beyond that the oldest is told to.
const MOST_LEAVING: usize = 8;

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
    /// What the next start goes by.
    spec: KeepSpec,
    state: KeepState,
    /// Held to the end.
    _lock: File,
    /// Let go of when the end is asked for: the program alone decides then who is still served.
    sockets: Option<Vec<OwnedFd>>,
    journal: Journal,
    terminations: UnixStream,
    renewals: UnixStream,
    running: Option<Running>,
    /// Takes the running one's place once it says that it serves.
    next: Option<Running>,
    /// Their place was taken; they end by themselves.
    leaving: Vec<Running>,
    /// Started by an earlier keeper; it is to hand over to the running one.
    orphan: Option<Process>,
    /// When it must have.
    orphan_until: Option<Instant>,
    /// One for each start; they tell of any child.
    reapers: Vec<Reaper>,
    restart: Restart,
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
        let renewals = catch_renewals().map_err(said("can't catch signals".to_owned()))?;
        let Found { sockets, orphan } = take_over_or_bind(&spec)?;
        let listen = sockets.iter().filter_map(listen::listening_address).collect();
        let state = KeepState::new(&spec, listen);
        let journal = Journal::new(LogWriter::in_directory(&spec.log_directory, &spec.name, spec.log));
        let mut keep = Self {
            spec,
            state,
            _lock: lock,
            sockets: Some(sockets),
            journal,
            terminations,
            renewals,
            running: None,
            next: None,
            leaving: Vec::new(),
            orphan,
            orphan_until: None,
            reapers: Vec::new(),
            restart: Restart::default(),
        };
        let child = keep.start_program()?;
        protect_from_memory_killer();
        Ok((keep, child))
    }

    fn start_program(&mut self) -> Result<Process, String> {
        let running = self.spawn()?;
        let process = running.process;
        self.running = Some(running);
        self.journal.remark(now(), &format!("started, pid {}", process.pid));
        self.note_child(Some(process));
        Ok(process)
    }

    fn spawn(&mut self) -> Result<Running, String> {
        let running = Running::start(&self.spec, self.sockets.as_deref().unwrap_or_default())?;
        match Reaper::start() {
            Ok(reaper) => self.reapers.push(reaper),
            Err(error) => {
                running.signal(Signal::KILL);
                return Err(format!("can't watch over `{}`: {error}", self.spec.program.display()));
            }
        }
        Ok(running)
    }

    /// On record for whoever looks, and for the next keeper should this one be killed.
    fn note_child(&mut self, child: Option<Process>) {
        self.state.child = child;
        self.note();
    }

    fn note(&self) {
        // A full disk must not end what is kept.
        let _ = write_json(&self.spec.dir.join(STATE), &self.state);
    }

    /// Until the end was asked for and has come.
    fn stay(&mut self) {
        while self.sockets.is_some() || self.programs().next().is_some() {
            self.wait();
            if take_signal(&mut self.terminations) {
                self.terminate();
            }
            if take_signal(&mut self.renewals) && self.sockets.is_some() {
                self.renew();
            }
            self.look_after_programs();
            let is_away = self.running.is_none() && self.sockets.is_some();
            if is_away && self.restart.is_due(Instant::now()) {
                self.start_again();
            }
        }
        let _ = fs::remove_file(self.spec.dir.join(STATE));
    }

    fn programs(&self) -> impl Iterator<Item = &Running> {
        self.running.iter().chain(&self.next).chain(&self.leaving)
    }

    fn wait(&self) {
        let mut fds: Vec<BorrowedFd<'_>> = vec![self.terminations.as_fd(), self.renewals.as_fd()];
        fds.extend(self.programs().flat_map(Running::fds));
        fds.extend(self.next.iter().map(Running::line));
        fds.extend(self.reapers.iter().map(AsFd::as_fd));
        fds.extend(self.running.iter().filter(|_| self.orphan.is_some()).map(Running::line));
        let restart = if self.running.is_none() { self.restart.at } else { None };
        wait_for(&fds, restart.into_iter().chain(self.orphan_until).min());
    }

    fn look_after_programs(&mut self) {
        for program in self.running.iter_mut().chain(&mut self.next).chain(&mut self.leaving) {
            program.pump(&mut self.journal);
        }
        if self.next.as_mut().is_some_and(Running::serves) {
            self.changeover();
        }
        self.look_after_orphan();
        let mut ended = Vec::new();
        self.reapers.retain(|reaper| {
            let reaped = reaper.take();
            let is_over = reaped.iter().any(|reaped| reaped.all_gone);
            ended.extend(reaped.into_iter().flat_map(|reaped| reaped.ended));
            !is_over
        });
        ended.iter().for_each(|(pid, exit)| self.ended(*pid, exit));
    }

    /// One that has handed over ends by itself. One that has not is told to.
    fn look_after_orphan(&mut self) {
        let Some(orphan) = self.orphan else { return };
        if self.running.as_mut().is_some_and(Running::serves) {
            self.orphan_until = Some(Instant::now() + ORPHAN_PATIENCE);
        }
        if !orphan.is_running() {
            (self.orphan, self.orphan_until) = (None, None);
        } else if self.orphan_until.is_some_and(|until| Instant::now() >= until) {
            self.orphan_until = None;
            if listens(orphan, &self.state.listen) {
                let _ = orphan.signal(Signal::TERM);
            }
        }
    }

    fn ended(&mut self, pid: u32, exit: &Exit) {
        let is_it = |running: &Running| running.process.pid == pid;
        if let Some(running) = self.running.take_if(|running| is_it(running)) {
            self.remark_end(&running, exit);
            let ran = running.ran();
            running.finish(&mut self.journal);
            self.note_child(None);
            self.restart.ended(Instant::now(), ran);
            if self.next.is_some() {
                // It has nobody to wait for any more.
                self.changeover();
            }
        } else if let Some(next) = self.next.take_if(|next| is_it(next)) {
            self.remark_end(&next, exit);
            next.finish(&mut self.journal);
            self.renewal_failed(format!("the new one {exit} before it served"));
        } else if let Some(place) = self.leaving.iter().position(is_it) {
            let left = self.leaving.remove(place);
            self.remark_end(&left, exit);
            left.finish(&mut self.journal);
        }
    }

    fn remark_end(&mut self, program: &Running, exit: &Exit) {
        let several = self.programs().next().is_some();
        let whose = if several { format!("pid {} ", program.process.pid) } else { String::new() };
        self.journal.remark(now(), &format!("{whose}{exit}"));
    }

    fn start_again(&mut self) {
        if let Err(why) = self.start_program() {
            self.journal.remark(now(), &why);
            self.restart.ended(Instant::now(), Duration::ZERO);
        }
    }

    /// Starts the program that is wanted now beside the one that runs.
    fn renew(&mut self) {
        if self.next.is_some() {
            return;
        }
        let wanted = match wanted(&self.spec) {
            Ok(wanted) => wanted,
            Err(why) => return self.renewal_failed(why),
        };
        self.spec = wanted;
        if self.running.is_none() {
            // The next start, which is near, is the renewal.
            return self.renewed();
        }
        match self.spawn() {
            Ok(next) => {
                let pid = next.process.pid;
                self.journal.remark(now(), &format!("started, pid {pid}, to take over"));
                self.next = Some(next);
            }
            Err(why) => self.renewal_failed(why),
        }
    }

    /// The next one serves.
    fn changeover(&mut self) {
        let Some(next) = self.next.take() else { return };
        let process = next.process;
        self.journal.remark(now(), &format!("pid {} serves", process.pid));
        self.leaving.extend(self.running.replace(next));
        let surplus = self.leaving.len().saturating_sub(MOST_LEAVING);
        self.leaving[..surplus].iter().for_each(|program| program.signal(Signal::TERM));
        self.state.child = Some(process);
        self.renewed();
    }

    fn renewed(&mut self) {
        self.state.spec = self.spec.clone();
        self.state.renewals += 1;
        self.state.renewal_error = None;
        self.note();
    }

    fn renewal_failed(&mut self, why: String) {
        self.journal.remark(now(), &why);
        self.spec = self.state.spec.clone();
        self.state.renewals += 1;
        self.state.renewal_error = Some(why);
        self.note();
    }

    fn terminate(&mut self) {
        self.sockets = None;
        if self.programs().next().is_some() {
            self.journal.remark(now(), "stopping");
        }
        self.programs().for_each(|program| program.signal(Signal::TERM));
        if let Some(orphan) = self.orphan.take() {
            let _ = orphan.signal(Signal::TERM);
        }
    }
}

/// SIGHUP asks for a renewal.
fn catch_renewals() -> io::Result<UnixStream> {
    let (read, write) = UnixStream::pair()?;
    read.set_nonblocking(true)?;
    signal_hook::low_level::pipe::register(signal_hook::consts::SIGHUP, write)?;
    Ok(read)
}
