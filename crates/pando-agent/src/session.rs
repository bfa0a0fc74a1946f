//! Commands that the agent runs itself, for checks and for exec, each in a session of its own that can be ended whole.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use pando_runtime::account::{self, AccountError};
use pando_runtime::process::CommandGroups;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::leader::{Becomes, Leader};

/// How the agent runs commands on this machine.
#[derive(Debug, Clone)]
pub(crate) struct Sessions {
    pub(crate) leader: Leader,
    /// Where a command's environment lacks `PATH`, `HOME`, `USER`, `LANG` or `TZ`.
    pub(crate) default_env: BTreeMap<String, String>,
}

#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) command: String,
    pub(crate) directory: PathBuf,
    pub(crate) env: BTreeMap<String, String>,
    /// `None`: as this program.
    pub(crate) user: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    #[error(transparent)]
    User(#[from] AccountError),
    #[error("can't start `{command}`")]
    Start { command: String, source: io::Error },
}

/// What the command's stdin, stdout and stderr are.
pub(crate) enum Streams {
    Nothing,
    Pipes,
    /// The slave side of a terminal, three times.
    Terminal([Stdio; 3]),
}

impl Sessions {
    /// Starts it, in those cgroups; killed when the child is dropped, its session by [`end`].
    pub(crate) async fn start(
        &self,
        script: &Script,
        streams: Streams,
        groups: Option<&CommandGroups>,
    ) -> Result<Child, SessionError> {
        let account = match &script.user {
            Some(name) => Some(account::existing(name).await?),
            None => None,
        };
        let becomes = Becomes {
            terminal: matches!(streams, Streams::Terminal(_)),
            account: account.as_ref(),
            cgroups: groups.iter().flat_map(|groups| groups.directories()).map(Path::to_owned).collect(),
            env: account::environment(&script.env, &self.default_env, account.as_ref()),
        };
        let mut command = self.leader.command_as(&script.command, becomes);
        command.current_dir(&script.directory);
        set_streams(&mut command, streams);
        let mut command = Command::from(command);
        command.kill_on_drop(true);
        command.spawn().map_err(|source| SessionError::Start { command: script.command.clone(), source })
    }
}

fn set_streams(command: &mut std::process::Command, streams: Streams) {
    let [stdin, stdout, stderr] = match streams {
        Streams::Nothing => [Stdio::null(), Stdio::null(), Stdio::null()],
        Streams::Pipes => [Stdio::piped(), Stdio::piped(), Stdio::piped()],
        Streams::Terminal(three) => three,
    };
    command.stdin(stdin).stdout(stdout).stderr(stderr);
}

/// Ends every process of the session that `leader` leads, and all that left it but not the cgroups of its own: SIGTERM, after
/// `grace` SIGKILL. Returns when none is left, or a second after SIGKILL (a process may be stuck in the kernel).
pub(crate) async fn end(leader: u32, groups: Option<&CommandGroups>, grace: Duration) {
    let began = Instant::now();
    let mut asked = BTreeSet::new();
    loop {
        let mut members = members(leader).await;
        members.extend(groups.iter().flat_map(|groups| groups.processes()).filter_map(pid));
        if members.is_empty() || began.elapsed() > grace + Duration::from_secs(1) {
            return;
        }
        let overdue = began.elapsed() >= grace;
        if let Some(groups) = groups.filter(|_| overdue) {
            groups.kill();
        }
        for pid in members {
            // Either fails only when it has ended this moment. SIGTERM is sent once: many programs take a second for haste.
            if overdue {
                let _ = kill_process(pid, Signal::KILL);
            } else if asked.insert(pid.as_raw_nonzero()) {
                let _ = kill_process(pid, Signal::TERM);
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Kills what is left of a session when it is dropped, so that giving up a command in its middle leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Guard(pub(crate) Option<u32>);

impl Drop for Guard {
    fn drop(&mut self) {
        // A look through /proc takes about a millisecond; nothing can be awaited here.
        for pid in self.0.map(scan).unwrap_or_default() {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

async fn members(leader: u32) -> Vec<Pid> {
    tokio::task::spawn_blocking(move || scan(leader)).await.unwrap_or_default()
}

fn scan(leader: u32) -> Vec<Pid> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| session_of(*pid) == Some(leader)).filter_map(pid).collect()
}

fn pid(number: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(number).ok()?)
}

/// The session of a process that is not a zombie.
fn session_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    let session = fields.nth(2)?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(session)
}
