//! The agent as a whole: opens what it needs, runs its parts, and waits for them at the end.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pando_api::auth::Bearer;
use pando_api::client::{Client, ClientError};
use pando_model::id::ServerId;
use pando_model::time::{Millis, Timestamp};
use pando_routing::Table;
use pando_rt::shutdown::Shutdown;
use pando_rt::tasks::Tasks;
use pando_runtime::{RunEvent, Runtime, RuntimeError};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use crate::artifacts::{ArtifactError, Limits, Releases, Setup};
use crate::capacity;
use crate::control::report::Reporter;
use crate::control::target::Poller;
use crate::leader::Leader;
use crate::ledger::{self, Ledger, LedgerError};
use crate::moment::Moments;
use crate::probe::Probes;
use crate::proxy::{Link, LinkSetup};
use crate::reconcile::{Event, OnDisk, Site, State};
use crate::serve::{self, LogSource};
use crate::session::Sessions;
use crate::shell::Shell;

/// Events that wait for the loop. It takes microseconds for one; whoever brings more than this waits.
const EVENTS: usize = 1024;

/// For what is under way when the agent is stopped: a start or a write takes milliseconds, ending an exec two seconds.
const PATIENCE: Duration = Duration::from_secs(8);

/// What an agent needs to know.
#[derive(Debug)]
pub struct Settings {
    pub server: ServerId,
    /// `ledger/` and `releases/` are made in it. Where `users` is set, every user must be able to pass through it.
    pub state_dir: PathBuf,
    /// Such as `http://10.0.0.1:7420`.
    pub control_url: String,
    /// Of the scope `agent` for this server.
    pub control_token: Bearer,
    /// The agent's own API is served here …
    pub listener: TcpListener,
    /// … to whoever knows this.
    pub token: Bearer,
    /// The control socket of this server's proxy. `None`: no proxy runs here.
    pub proxy_socket: Option<PathBuf>,
    /// Everything of an app runs as, and belongs to, the system user `pando-APP`; needs root. Otherwise as the caller.
    pub users: bool,
    /// Replicas listen on it.
    pub address: IpAddr,
    /// For commands that the agent runs itself.
    pub leader: Leader,
    /// Values for `PATH`, `HOME`, `USER`, `LANG` and `TZ` where a command's environment lacks them, as in the runtime's settings.
    pub default_env: BTreeMap<String, String>,
}

/// Why an agent could not begin. Once it has begun, it goes on until it is told to end.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error("can't make the directory `{}`", path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("can't use the releases on disk: {0}")]
    Releases(String),
    #[error(transparent)]
    Client(#[from] ClientError),
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
        logs: Arc<dyn LogSource>,
        shutdown: Shutdown,
    ) -> Result<(), AgentError> {
        let client = Client::new(&settings.control_url, Some(settings.control_token.clone()))?;
        let ends = runtime.events().ok_or(AgentError::RuntimeInUse)?;
        let tasks = Tasks::new(&shutdown);
        let (sender, events) = mpsc::channel(EVENTS);
        let setup = Setup {
            directory: settings.state_dir.join("releases"),
            users: settings.users,
            source: client.clone(),
            limits: Limits::default(),
        };
        let releases = Releases::new(setup, tasks.clone(), sender.clone());
        let found = find(&settings, releases.clone()).await?;
        let held = runtime.adopt().await?;
        let first = Event::Adopted { held, releases: found.releases };
        let parts = Parts { settings, runtime, logs, client, releases, tasks, sender };
        parts.run(found.ledger, found.table, first, events, ends, shutdown).await;
        Ok(())
    }
}

/// What an earlier agent left on disk.
struct Found {
    ledger: Ledger,
    table: Option<Table>,
    releases: Vec<OnDisk>,
}

async fn find(settings: &Settings, releases: Releases<Client>) -> Result<Found, AgentError> {
    let (directory, server) = (ledger_directory(settings), settings.server);
    let found = tokio::task::spawn_blocking(move || {
        make_private(&directory)?;
        let ledger = ledger::load(&directory, server)?;
        let unusable =
            |error: ArtifactError| AgentError::Releases(pando_rt::error_chain::error_chain(&error));
        let releases = releases.scan().map_err(unusable)?;
        Ok(Found { ledger, table: Link::kept(&directory), releases })
    });
    found.await.unwrap_or_else(|error| Err(AgentError::Releases(error.to_string())))
}

fn ledger_directory(settings: &Settings) -> PathBuf {
    settings.state_dir.join("ledger")
}

fn make_private(path: &Path) -> Result<(), AgentError> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| AgentError::Directory { path: path.to_owned(), source })
}

/// The agent between its beginning and its end.
struct Parts<R> {
    settings: Settings,
    runtime: Arc<R>,
    logs: Arc<dyn LogSource>,
    client: Client,
    releases: Releases<Client>,
    tasks: Tasks,
    sender: mpsc::Sender<Event>,
}

impl<R: Runtime> Parts<R> {
    async fn run(
        self,
        ledger: Ledger,
        table: Option<Table>,
        first: Event,
        events: mpsc::Receiver<Event>,
        ends: mpsc::Receiver<RunEvent>,
        shutdown: Shutdown,
    ) {
        let settings = &self.settings;
        let moments = Moments::start();
        let site = self.site();
        let sessions =
            Arc::new(Sessions { leader: settings.leader.clone(), default_env: settings.default_env.clone() });
        let (facts, facts_seen) = watch::channel(None);
        let (assignment, assignment_seen) = watch::channel(Arc::new(ledger.assignment.clone()));
        let (tables, tables_seen) = watch::channel(table.map(Arc::new));
        let (traffic, traffic_seen) = watch::channel(None);

        let poller = Poller {
            client: self.client.clone(),
            server: settings.server,
            assignment: ledger.assignment.version,
            tables,
            events: self.sender.clone(),
        };
        let reporter = Reporter {
            client: self.client.clone(),
            server: settings.server,
            capacity: tokio::task::spawn_blocking(capacity::read).await.unwrap_or_default(),
            moments,
            facts: facts_seen.clone(),
            traffic: traffic_seen,
        };
        let link = Link::new(LinkSetup {
            socket: settings.proxy_socket.clone(),
            directory: ledger_directory(settings),
            tables: tables_seen,
            traffic,
            events: self.sender.clone(),
        });
        let api = serve::router(serve::Inner {
            token: settings.token.clone(),
            site: site.clone(),
            logs: self.logs,
            sessions: Arc::clone(&sessions),
            assignment: assignment_seen,
            facts: facts_seen,
            tasks: self.tasks.clone(),
            limits: serve::Limits::default(),
        });
        let seed = moments.now().as_millis().unsigned_abs() ^ (u64::from(std::process::id()) << 44);
        let shell = Shell {
            state: State::new(site, ledger, seed),
            moments,
            runtime: self.runtime,
            releases: self.releases,
            probes: Probes::new(sessions, self.tasks.clone(), self.sender.clone()),
            tasks: self.tasks.clone(),
            ledger: ledger_directory(settings),
            sender: self.sender,
            facts,
            assignment,
            wake: None::<Timestamp>,
        };
        self.tasks.spawn_until_shutdown(poller.run());
        self.tasks.spawn_until_shutdown(reporter.run());
        self.tasks.spawn(link.run(self.tasks.shutdown().clone()));
        self.tasks.spawn(serve::serve(self.settings.listener, api, self.tasks.clone()));
        shell.run(first, events, ends, shutdown).await;
        if !self.tasks.finish(PATIENCE).await {
            tracing::warn!("some of the agent's work had not ended after {PATIENCE:?}");
        }
    }

    fn site(&self) -> Site {
        Site {
            server: self.settings.server,
            releases: self.settings.state_dir.join("releases"),
            address: self.settings.address,
            users: self.settings.users,
            proxy: self.settings.proxy_socket.is_some(),
        }
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
