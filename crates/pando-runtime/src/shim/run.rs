//! The parent of one run.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use pando_model::observed::ExitReport;
use pando_model::time::{Millis, Timestamp};
use pando_rt::clock::Clock;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::child::{Exit, Spawned, signal_all, spawn};
use super::ending::{Effect, Ending, Event};
use super::output::{Journal, Output};
use super::reaper::Reaper;
use super::served::Served;
use crate::control::{Answer, Request, Told, to_line};
use crate::dir::{Launch, RunDir, Status};
use crate::logs::{LogStore, LogWriter, Stream};
use crate::proc::Process;

/// Somebody who looks whether a shim lives holds its lock for microseconds.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// Read at most so much more once nothing of the run is left; a foreign process may have got hold of the pipe.
const LAST_PIECES: usize = 256;

/// `pando shim run --dir DIR`: starts the run that DIR's `spec.json` describes and stays with it to its end. Blocks.
///
/// Answers on stdout with one line, whether the run has started, then lets go of stdout. It makes a session of its own, so
/// that neither the end of the daemon nor of a terminal reaches it; SIGTERM is passed on to the run. To be called before any
/// thread is started. The exit code only says whether the run was started.
#[must_use]
pub fn run_shim(dir: &Path) -> ExitCode {
    // Only the leader of a group can't; then there is a session already.
    let _ = rustix::process::setsid();
    match Shim::start(RunDir::new(dir.to_owned())) {
        Ok(mut shim) => {
            answer(&Answer::Started { child: shim.child });
            shim.stay();
            ExitCode::SUCCESS
        }
        Err(why) => {
            answer(&Answer::Refused { why });
            ExitCode::FAILURE
        }
    }
}

/// Says it to whoever started the shim, who may be gone, and lets go of the standard streams.
pub(super) fn answer(answer: &Answer) {
    let _ =
        to_line(answer).and_then(|line| io::stdout().write_all(&line)).and_then(|()| io::stdout().flush());
    let _ = let_go_of_stdio();
}

fn let_go_of_stdio() -> io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}

struct Shim {
    dir: RunDir,
    /// Held to the end: the sign of life.
    _lock: File,
    launch: Launch,
    status: Status,
    child: Process,
    outputs: [Output<File>; 2],
    journal: Journal,
    served: Served,
    reaper: Reaper,
    terminations: UnixStream,
    ending: Ending,
}

impl Shim {
    fn start(dir: RunDir) -> Result<Self, String> {
        let said = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
        let lock = dir.lock(LOCK_PATIENCE).map_err(said("can't lock the run's directory"))?;
        let lock = lock.ok_or("another shim has the run")?;
        let launch =
            dir.launch().map_err(said("can't read the run's spec"))?.ok_or("the run's spec is gone")?;
        // Whoever held the lock before decided about this run already.
        if dir.status().map_err(said("can't read the run's status"))?.is_some() {
            return Err("it was started, or given up, before".to_owned());
        }
        let shim = Process::this();
        let mut status = Status { shim, child: None, started_at: None, refused: None, exit: None };
        dir.set_status(&status).map_err(said("can't write the run's status"))?;
        match Prepared::new(&dir, &launch) {
            Ok(prepared) => {
                status.child = Some(prepared.spawned.process);
                Self::watch(dir, lock, launch, status, prepared)
            }
            Err(why) => {
                remove_groups(&launch);
                status.refused = Some(why.clone());
                let _ = dir.set_status(&status);
                Err(why)
            }
        }
    }

    fn watch(
        dir: RunDir,
        lock: File,
        launch: Launch,
        mut status: Status,
        prepared: Prepared,
    ) -> Result<Self, String> {
        let Prepared { served, terminations, mut journal, spawned } = prepared;
        protect_from_memory_killer();
        let child = spawned.process;
        let rest = || -> io::Result<([Output<File>; 2], Reaper)> {
            let stdout = Output::new(spawned.stdout, Stream::Stdout)?;
            let stderr = Output::new(spawned.stderr, Stream::Stderr)?;
            Ok(([stdout, stderr], Reaper::start()?))
        };
        let (outputs, reaper) = rest().map_err(|error| {
            signal_all(child, Signal::KILL);
            format!("can't watch over the run: {error}")
        })?;
        let now = now();
        status.started_at = Some(now);
        // A full disk must not stop a run; should this shim be killed then, the run's session still tells what was its.
        let _ = dir.set_status(&status);
        journal.remark(now, &format!("started, pid {}", child.pid));
        let (_lock, ending) = (lock, Ending::default());
        Ok(Self { dir, _lock, launch, status, child, outputs, journal, served, reaper, terminations, ending })
    }

    /// Until nothing of the run is left and that is on record.
    fn stay(&mut self) {
        loop {
            self.wait();
            for output in &mut self.outputs {
                output.pump(&mut self.journal, now());
            }
            for event in self.events() {
                for effect in self.ending.step(&event, Instant::now()) {
                    match effect {
                        Effect::Terminate => self.terminate(&event),
                        Effect::Kill => signal_all(self.child, Signal::KILL),
                        Effect::Finish => return self.finish(),
                    }
                }
            }
        }
    }

    /// Waits until there is something to do, with a deadline while the run is ending.
    fn wait(&self) {
        let outputs = self.outputs.iter().filter_map(Output::fd);
        let others = [self.reaper.as_fd(), self.terminations.as_fd()];
        let fds: Vec<BorrowedFd<'_>> = outputs.chain(self.served.fds()).chain(others).collect();
        wait_for(&fds, self.ending.wake_at());
    }

    fn events(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        for Request::Stop { timeout } in self.served.requests() {
            self.remark_stop(timeout);
            events.push(Event::Stop { timeout: Some(timeout.duration()) });
        }
        if take_signal(&mut self.terminations) {
            self.journal.remark(now(), "SIGTERM came from outside: passed on");
            events.push(Event::Stop { timeout: None });
        }
        let reaped = self.reaper.take();
        let all_gone = reaped.iter().any(|reaped| reaped.all_gone);
        let main = reaped.into_iter().flat_map(|reaped| reaped.ended).find(|(pid, _)| *pid == self.child.pid);
        match main {
            // All at once: nothing is left that could need a signal.
            Some((_, exit)) if all_gone => self.ending.record_main(exit),
            Some((_, exit)) => events.push(Event::MainEnded(exit)),
            None => {}
        }
        if all_gone {
            return vec![Event::AllGone];
        }
        events.push(Event::Tick);
        events
    }

    fn remark_stop(&mut self, timeout: Millis) {
        if !self.ending.stop_asked() {
            self.journal.remark(now(), &format!("stopping: SIGTERM now, SIGKILL after {timeout}"));
        }
    }

    fn terminate(&mut self, event: &Event) {
        if let Event::MainEnded(exit) = event {
            self.journal.remark(now(), &format!("the main process {exit}; ending what it left running"));
        }
        signal_all(self.child, Signal::TERM);
        // What is stopped would not hear it before it goes on.
        signal_all(self.child, Signal::CONT);
    }

    fn finish(&mut self) {
        for output in &mut self.outputs {
            for _ in 0..LAST_PIECES {
                if !output.pump(&mut self.journal, now()) {
                    break;
                }
            }
            output.finish(&mut self.journal, now());
        }
        let exit = self.report();
        // With it ends what others started in its cgroups, such as a shell beside it.
        for group in &self.launch.groups {
            group.clear();
        }
        self.status.exit = Some(exit.clone());
        let _ = self.dir.set_status(&self.status);
        self.served.tell_all(&Told::Ended { exit });
    }

    fn report(&mut self) -> ExitReport {
        let exit = self.ending.main().cloned().unwrap_or(Exit { code: None, signal: None });
        let kills: u64 = self.launch.groups.iter().map(crate::cgroup::RunGroup::memory_kills).sum();
        // A worker that was killed long ago and replaced says nothing about a good end, or about one by our own hand.
        let out_of_memory = kills > 0 && exit.code != Some(0) && !self.ending.stop_asked();
        let why = match (out_of_memory, self.ending.killed() && self.ending.stop_asked()) {
            (true, _) => ", out of memory",
            (false, true) => ", for it did not end in time",
            (false, false) => "",
        };
        self.journal.remark(now(), &format!("{exit}{why}"));
        exit.report(out_of_memory, self.journal.last_lines())
    }
}

/// Everything that can fail, made before the child, which could not be taken back; and the child.
struct Prepared {
    served: Served,
    terminations: UnixStream,
    journal: Journal,
    spawned: Spawned,
}

impl Prepared {
    fn new(dir: &RunDir, launch: &Launch) -> Result<Self, String> {
        let said = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
        let served = Served::new(dir.path()).map_err(said("can't make the control socket"))?;
        let terminations = catch_signals().map_err(said("can't catch signals"))?;
        rustix::process::set_child_subreaper(rustix::process::Pid::from_raw(1))
            .map_err(|error| format!("can't become a subreaper: {error}"))?;
        let store = LogStore::new(launch.log_root.clone(), launch.log_settings);
        let journal = Journal::new(LogWriter::new(&store, launch.spec.app.as_str(), &launch.spec.name));
        let spawned = spawn(launch)?;
        Ok(Self { served, terminations, journal, spawned })
    }
}

fn remove_groups(launch: &Launch) {
    for group in &launch.groups {
        // An empty directory that stays is swept by the daemon when it forgets the run.
        let _ = group.remove();
    }
}

/// Readable when SIGTERM came. SIGINT and SIGHUP do nothing: they are for terminals.
pub(super) fn catch_signals() -> io::Result<UnixStream> {
    let (read, write) = UnixStream::pair()?;
    read.set_nonblocking(true)?;
    signal_hook::low_level::pipe::register(SIGTERM, write)?;
    for ignored in [SIGINT, SIGHUP] {
        signal_hook::flag::register(ignored, std::sync::Arc::default())?;
    }
    Ok(read)
}

/// Whether a signal came since the last call.
pub(super) fn take_signal(signals: &mut UnixStream) -> bool {
    let mut bytes = [0; 64];
    matches!(io::Read::read(signals, &mut bytes), Ok(1..))
}

/// Without its shim a replica would be ended too. Only root may ask for it, and asked after the child's start, it doesn't
/// reach the child.
pub(super) fn protect_from_memory_killer() {
    let _ = std::fs::write("/proc/self/oom_score_adj", "-900");
}

/// Waits until one of `fds` has something to read, or its other side is gone, or until `deadline`.
pub(super) fn wait_for(fds: &[BorrowedFd<'_>], deadline: Option<Instant>) {
    let mut polled: Vec<PollFd<'_>> = fds.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    let timeout = deadline.map(|at| at.saturating_duration_since(Instant::now()));
    // A length that the kernel can't take is as good as none.
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    // Interrupted, or short of memory: the caller looks at everything and waits again.
    let _ = poll(&mut polled, timeout.as_ref());
}

pub(super) fn now() -> Timestamp {
    Timestamp::from_millis(Clock::system().now_millis())
}
