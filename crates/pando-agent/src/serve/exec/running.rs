//! A command from its start to its end.

use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use pando_api::stream::ExecEnd;
use pando_api::v1::agents::TerminalSize;
use pando_model::time::Millis;
use pando_rt::error_chain::error_chain;
use pando_rt::shutdown::Shutdown;
use pando_runtime::account;
use pando_runtime::process::CommandGroups;
use rustix::process::{Pid, PidfdFlags, Signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::process::Child;
use tokio::time::timeout;

use super::caller::{Caller, FromCaller};
use super::ready::watched;
use super::streams::{Input, Output, Signs, deliver};
use super::terminal::Terminal;
use crate::session::{self, Guard, Script, Sessions, Streams};

/// From SIGTERM to SIGKILL, when the caller left or the time is over.
pub(super) const GRACE: Duration = Duration::from_secs(2);

/// How long what the command left in the background may go on writing, and again to end after that. Callers wait for it.
pub(super) const LINGER: Duration = Duration::from_millis(500);

/// For the rest of the output, some hundred kilobytes, to reach a slow caller after the command has ended.
const DELIVER_WITHIN: Duration = Duration::from_secs(60);

/// What `timeout` of coreutils answers.
pub(super) const TIMED_OUT: i32 = 124;

/// Why a command failed.
pub(super) const OUT_OF_MEMORY: &str =
    "it ran out of memory, and the kernel ended it: `memory` under `resources` is what it may have";

/// Why a command is stopped.
#[derive(Debug)]
pub(super) enum Stop {
    /// The caller is not there any more.
    Left,
    /// The caller sent what makes no sense.
    Wrong(String),
    TimedOut(Millis),
    /// The agent ends.
    Ending,
}

/// A started command.
pub(super) struct Running {
    child: Child,
    /// Also its session's number.
    pid: u32,
    /// Readable as soon as it has ended. Until it is waited for, nobody else can have its number.
    ended: AsyncFd<OwnedFd>,
    guard: Guard,
    groups: Option<CommandGroups>,
    input: Input,
    outputs: Vec<Output>,
    timeout: Option<Millis>,
}

impl Running {
    /// The error is a sentence.
    pub(super) async fn start(
        sessions: &Sessions,
        script: &Script,
        terminal: Option<TerminalSize>,
        groups: Option<CommandGroups>,
    ) -> Result<Self, String> {
        if !script.directory.is_dir() {
            return Err(format!("its directory `{}` is not there", script.directory.display()));
        }
        let (terminal, streams) = match terminal {
            Some(size) => open_terminal(size, script).await?,
            None => (None, Streams::Pipes),
        };
        let started = sessions.start(script, streams, groups.as_ref()).await;
        let mut child = started.map_err(|error| error_chain(&error))?;
        let pid = child.id().ok_or("it ended before it began")?;
        let guard = Guard(Some(pid));
        let ended = watch(pid).map_err(|error| format!("it can't be watched: {error}"))?;
        let (input, outputs) = ends(&mut child, terminal);
        Ok(Self { child, pid, ended, guard, groups, input, outputs, timeout: None })
    }

    /// Stopped after `timeout`, if that is something.
    pub(super) fn within(self, timeout: Option<Millis>) -> Self {
        Self { timeout, ..self }
    }

    /// Input in, output out, until everything has ended and all of the output is delivered. `None`: the caller left.
    pub(super) async fn relay(self, caller: &mut Caller, shutdown: &Shutdown) -> Option<ExecEnd> {
        let Self { child, pid, ended, mut guard, groups, mut input, outputs, timeout } = self;
        let signs = Signs::default();
        let from_caller = &mut caller.input;
        let live = async {
            let stop = tokio::select! {
                // What the others have begun is of no use to anybody after the first of them.
                () = exited(&ended) => None,
                stop = until_stop(&mut input, from_caller, timeout, &signs) => Some(stop),
                () = shutdown.wait() => Some(Stop::Ending),
            };
            // Closes the pipe, and with the output's own hold on it, the terminal.
            drop(input);
            if let Some(Stop::Left) = stop {
                signs.gone.cancel();
            }
            let status = finish(child, (pid, groups.as_ref()), &stop, &signs).await;
            // Its number may soon be another's.
            guard.0 = None;
            let out_of_memory = groups.as_ref().is_some_and(CommandGroups::out_of_memory);
            if let Some(groups) = groups {
                groups.close().await;
            }
            end(stop, status, out_of_memory)
        };
        let (end, ()) = tokio::join!(live, deliver(outputs, &mut caller.output, &signs));
        if signs.gone.is_cancelled() { None } else { Some(end) }
    }
}

async fn open_terminal(
    size: TerminalSize,
    script: &Script,
) -> Result<(Option<Arc<Terminal>>, Streams), String> {
    let owner = match &script.user {
        Some(name) => Some(account::existing(name).await.map_err(|error| error_chain(&error))?.uid),
        None => None,
    };
    let opened = Terminal::open(size, owner);
    let (terminal, slaves) = opened.map_err(|error| format!("there is no terminal for it: {error}"))?;
    Ok((Some(Arc::new(terminal)), Streams::Terminal(slaves)))
}

fn ends(child: &mut Child, terminal: Option<Arc<Terminal>>) -> (Input, Vec<Output>) {
    if let Some(terminal) = terminal {
        let output = Output::Terminal(Arc::clone(&terminal));
        return (Input::Terminal { terminal, within_line: false }, vec![output]);
    }
    let (stdout, stderr) = (child.stdout.take().map(Output::Stdout), child.stderr.take().map(Output::Stderr));
    (Input::Pipe(child.stdin.take()), stdout.into_iter().chain(stderr).collect())
}

fn watch(pid: u32) -> std::io::Result<AsyncFd<OwnedFd>> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(std::io::ErrorKind::InvalidInput)?;
    watched(rustix::process::pidfd_open(pid, PidfdFlags::empty())?, Interest::READABLE)
}

async fn exited(ended: &AsyncFd<OwnedFd>) {
    // An error can only mean that the runtime itself ends.
    let _ = ended.readable().await;
}

async fn until_stop(
    input: &mut Input,
    caller: &mut FromCaller,
    timeout: Option<Millis>,
    signs: &Signs,
) -> Stop {
    let overdue = async {
        match timeout {
            Some(timeout) => {
                tokio::time::sleep(timeout.duration()).await;
                timeout
            }
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        // The first of them decides; what the others have begun is dropped with the command.
        stop = input.pass_on(caller) => stop,
        timeout = overdue => Stop::TimedOut(timeout),
        () = signs.gone.cancelled() => Stop::Left,
    }
}

/// Ends what is left of the session, and sees the output on its way. `None`: the kernel does not let go of the command.
async fn finish(
    mut child: Child,
    (pid, groups): (u32, Option<&CommandGroups>),
    stop: &Option<Stop>,
    signs: &Signs,
) -> Option<ExitStatus> {
    let grace = match stop {
        Some(Stop::Ending) => Duration::ZERO,
        Some(_) => GRACE,
        None => {
            // The output's end tells sooner when nothing was left.
            let _ = timeout(LINGER, signs.delivered.cancelled()).await;
            LINGER
        }
    };
    session::end(pid, groups, grace).await;
    let status = timeout(Duration::from_secs(1), child.wait()).await.ok().and_then(Result::ok);
    // Where there are no cgroups, whoever made a session of its own may hold the output open for ever.
    let _ = timeout(LINGER, signs.delivered.cancelled()).await;
    signs.cut.cancel();
    if timeout(DELIVER_WITHIN, signs.delivered.cancelled()).await.is_err() {
        signs.gone.cancel();
    }
    status
}

fn end(stop: Option<Stop>, status: Option<ExitStatus>, out_of_memory: bool) -> ExecEnd {
    let killed = 128 + Signal::KILL.as_raw();
    let code = status
        .map_or(killed, |status| status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default()));
    match stop {
        // A command that got over it says so by its good end.
        None if out_of_memory && code != 0 => ExecEnd { code, error: Some(OUT_OF_MEMORY.to_owned()) },
        None | Some(Stop::Left) => ExecEnd { code, error: None },
        Some(Stop::Wrong(what)) => ExecEnd { code, error: Some(what) },
        Some(Stop::TimedOut(after)) => ExecEnd { code: TIMED_OUT, error: Some(timed_out(after)) },
        Some(Stop::Ending) => {
            ExecEnd { code, error: Some("it was stopped, since the agent on its server ends".to_owned()) }
        }
    }
}

pub(super) fn timed_out(after: Millis) -> String {
    format!("it was stopped after {after}, its timeout")
}
