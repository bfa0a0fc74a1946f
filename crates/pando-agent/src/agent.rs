//! The agent as a whole: opens what it needs, runs its parts, and waits for them at the end.

mod begin;
mod parts;

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pando_model::id::ServerId;
use pando_model::name::ServerName;
use pando_model::time::Millis;
use pando_rt::shutdown::Shutdown;
use pando_runtime::docker::Containers;
use pando_runtime::logs::LogStore;
use pando_runtime::process::Commands;
use pando_runtime::{Runtime, RuntimeError};
use tokio::net::TcpListener;

use crate::entry::EntryKeeper;
use crate::leader::Leader;
use crate::ledger::LedgerError;
use crate::trust::{ContactError, Trust};

/// What an agent needs to know.
#[derive(Debug)]
pub struct Settings {
    pub server: ServerId,
    /// What the routing table calls this server's endpoints near by.
    pub name: ServerName,
    /// `ledger/` and `releases/` are made in it. Where `users` is set, every user must be able to pass through it.
    pub state_dir: PathBuf,
    /// `https://HOST:PORT`, or `http://HOST:PORT` of this machine where tokens do.
    pub control_url: String,
    pub trust: Trust,
    /// The agent's own API is served here, to the control plane and other servers.
    pub listener: TcpListener,
    /// The control socket of this server's proxy. `None`: no proxy runs here.
    pub proxy_socket: Option<PathBuf>,
    /// Told to start the proxy, or to end it, as the assignment's `entry` has it. `None`: it runs always, and somebody else
    /// sees to it.
    pub entry_keeper: Option<Arc<dyn EntryKeeper>>,
    /// Everything of an app runs as, and belongs to, the system user `pando-APP`; needs root. Otherwise as the caller.
    pub users: bool,
    /// Replicas listen on it.
    pub address: IpAddr,
    /// The packet filter of this machine is looked at, and kept where the assignment says so; needs root, and a machine that no
    /// other agent has.
    pub firewall: bool,
    /// For commands that the agent runs itself.
    pub leader: Leader,
    /// The limits of commands beside plain processes. `None`: there are none.
    pub commands: Option<Commands>,
    /// Images, and commands in containers. `None`: nothing runs in containers here.
    pub containers: Option<Containers>,
    /// Values for `PATH`, `HOME`, `USER`, `LANG` and `TZ` where a command's environment lacks them, as in the runtime's settings.
    pub default_env: BTreeMap<String, String>,
    /// The container engine's socket. Nobody needs to listen there before an image is to be run.
    pub engine: PathBuf,
    /// What nothing needs is removed when less than so many percent of a disk are free, of that of `state_dir` or of the engine's.
    /// 0: only when there is no room for something.
    pub prune_below: u8,
}

/// What [`Settings::prune_below`] is where nobody says otherwise. Nothing is lost by pruning, so it comes before anybody has to worry;
/// kubelets begin to remove images at the same mark.
pub const PRUNE_BELOW: u8 = 15;

/// Why an agent could not begin. Once it has begun, it goes on until it is told to end.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error("can't make the directory `{}`", path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("can't use the releases on disk: {0}")]
    Releases(String),
    #[error("can't speak with the control plane")]
    Control(#[from] ContactError),
    #[error("can't find what runs on this server")]
    Runtime(#[from] RuntimeError),
    #[error("something else listens to the runtime's events already")]
    RuntimeInUse,
}

/// Makes one server match its assignment.
#[derive(Debug)]
pub struct Agent;

impl Agent {
    /// Runs until `shutdown` begins, then waits (some seconds at most) for what is under way. Replicas, tasks and the proxy
    /// are left as they are; the next agent on the same `state_dir` takes them over.
    ///
    /// # Errors
    /// When it can't begin; nothing was changed then.
    pub async fn run<R: Runtime>(
        settings: Settings,
        runtime: Arc<R>,
        logs: LogStore,
        shutdown: Shutdown,
    ) -> Result<(), AgentError> {
        begin::run(settings, runtime, logs, shutdown).await
    }
}

/// How often [`stop_all`] looks.
const LOOK: Duration = Duration::from_millis(50);

/// Beyond the time that runs are given: for the kill that follows it, and to see it.
const MARGIN: Duration = Duration::from_secs(5);

/// Stops everything that the runtime holds, each with `timeout` between SIGTERM and SIGKILL, and forgets it. For the end of
/// `pando dev`, after [`Agent::run`] has returned. True: nothing is left.
///
/// # Errors
/// When the runtime can't say what it holds, or can't stop it.
pub async fn stop_all<R: Runtime>(runtime: &R, timeout: Millis) -> Result<bool, RuntimeError> {
    let deadline = tokio::time::Instant::now() + timeout.duration() + MARGIN;
    for held in runtime.adopt().await?.iter().filter(|held| held.exit.is_none()) {
        runtime.stop(held.spec.key, timeout).await?;
    }
    loop {
        let held = runtime.adopt().await?;
        if held.iter().all(|held| held.exit.is_some()) {
            for held in held {
                runtime.forget(held.spec.key).await?;
            }
            return Ok(true);
        }
        if tokio::time::Instant::now() >= deadline {
            return Ok(false);
        }
        tokio::time::sleep(LOOK).await;
    }
}
