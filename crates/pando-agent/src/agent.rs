//! The agent as a whole: opens what it needs, runs its parts, and waits for them at the end.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pando_api::client::Client;
use pando_model::assignment::{Assignment, Entry};
use pando_model::id::ServerId;
use pando_model::name::ServerName;
use pando_model::time::Millis;
use pando_routing::{ProxyStats, Table};
use pando_rt::error_chain::error_chain;
use pando_rt::shutdown::Shutdown;
use pando_rt::tasks::Tasks;
use pando_runtime::logs::LogStore;
use pando_runtime::{RunEvent, Runtime, RuntimeError};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use crate::artifacts::{ArtifactError, Limits, Releases, Setup, Sources};
use crate::capacity;
use crate::control::report::Reporter;
use crate::control::target::Poller;
use crate::entry::{EntryKeeper, EntryTask, locality};
use crate::firewall::{self, Firewall, Guard};
use crate::leader::Leader;
use crate::ledger::{self, Ledger, LedgerError};
use crate::moment::Moments;
use crate::peers::Peers;
use crate::probe::Probes;
use crate::proxy::{Link, LinkOrder, LinkSetup};
use crate::reconcile::{Event, Facts, OnDisk, Site, State};
use crate::serve::{self, Admission, Assigned, ServeState};
use crate::session::Sessions;
use crate::shell::Shell;
use crate::trust::{ContactError, Trust};

/// Events that wait for the loop. It takes microseconds for one; whoever brings more than this waits.
const EVENTS: usize = 1024;

/// For what is under way when the agent is stopped: a start or a write takes milliseconds, ending an exec two seconds.
const PATIENCE: Duration = Duration::from_secs(8);

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
        let client = settings.trust.control(&settings.control_url)?;
        let ends = runtime.events().ok_or(AgentError::RuntimeInUse)?;
        let tasks = Tasks::new(&shutdown);
        let (sender, events) = mpsc::channel(EVENTS);
        let assignment = watch::Sender::new(Arc::new(Assignment::empty(settings.server)));
        let peers = Peers::new(assignment.subscribe(), settings.trust.clone());
        let setup = Setup {
            directory: settings.state_dir.join("releases"),
            users: settings.users,
            source: Sources { control: client.clone(), peers },
            limits: Limits::default(),
        };
        let releases = Releases::new(setup, tasks.clone(), sender.clone());
        let found = find(&settings, releases.clone()).await?;
        let held = runtime.adopt().await?;
        let first = Event::Adopted { held, releases: found.releases };
        assignment.send_replace(Arc::new(found.ledger.assignment.clone()));
        let newest = Newest {
            facts: watch::Sender::new(None),
            assignment,
            tables: watch::Sender::new(found.table.map(Arc::new)),
            traffic: watch::Sender::new(None),
            entry: watch::Sender::new(None),
            firewall: watch::Sender::new(None),
        };
        let sessions =
            Arc::new(Sessions { leader: settings.leader.clone(), default_env: settings.default_env.clone() });
        let moments = Moments::start();
        let parts =
            Parts { settings, runtime, logs, client, releases, tasks, sender, moments, sessions, newest };
        parts.run(found.ledger, first, events, ends, shutdown).await;
        Ok(())
    }
}

/// What an earlier agent left on disk.
struct Found {
    ledger: Ledger,
    table: Option<Table>,
    releases: Vec<OnDisk>,
}

async fn find(settings: &Settings, releases: Releases<Sources>) -> Result<Found, AgentError> {
    let (directory, server) = (ledger_directory(settings), settings.server);
    let found = tokio::task::spawn_blocking(move || {
        make_private(&directory)?;
        let ledger = ledger::load(&directory, server)?;
        let unusable = |error: ArtifactError| AgentError::Releases(error_chain(&error));
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
    logs: LogStore,
    client: Client,
    releases: Releases<Sources>,
    tasks: Tasks,
    sender: mpsc::Sender<Event>,
    moments: Moments,
    sessions: Arc<Sessions>,
    newest: Newest,
}

/// The newest of everything that parts tell each other; each reader sees the last.
struct Newest {
    facts: watch::Sender<Option<Arc<Facts>>>,
    assignment: watch::Sender<Arc<Assignment>>,
    tables: watch::Sender<Option<Arc<Table>>>,
    traffic: watch::Sender<Option<ProxyStats>>,
    entry: watch::Sender<Option<Option<Entry>>>,
    firewall: watch::Sender<firewall::Told>,
}

impl<R: Runtime> Parts<R> {
    async fn run(
        self,
        ledger: Ledger,
        first: Event,
        events: mpsc::Receiver<Event>,
        ends: mpsc::Receiver<RunEvent>,
        shutdown: Shutdown,
    ) {
        let tasks = self.tasks.clone();
        self.report().await;
        self.talk_to_proxy(&ledger.assignment);
        self.keep_firewall();
        tasks.spawn_until_shutdown(self.poller(&ledger).run());
        let api = self.api();
        let (listener, shell) = self.shell(ledger);
        let shutdown_of_api = tasks.shutdown().clone();
        tasks.spawn(async move {
            if let Err(error) = serve::serve(listener, api, shutdown_of_api).await {
                tracing::error!("the agent's API can't be served: {}", error_chain(&error));
            }
        });
        shell.run(first, events, ends, shutdown).await;
        if !tasks.finish(PATIENCE).await {
            tracing::warn!("some of the agent's work had not ended after {PATIENCE:?}");
        }
    }

    async fn report(&self) {
        let reporter = Reporter {
            client: self.client.clone(),
            server: self.settings.server,
            capacity: tokio::task::spawn_blocking(capacity::read).await.unwrap_or_default(),
            moments: self.moments,
            facts: self.newest.facts.subscribe(),
            traffic: self.newest.traffic.subscribe(),
            firewall: self.newest.firewall.subscribe(),
        };
        self.tasks.spawn_until_shutdown(reporter.run());
    }

    /// One that an earlier agent left running is spoken with from the start, whatever is wanted of it later.
    fn talk_to_proxy(&self, assignment: &Assignment) {
        let settings = &self.settings;
        let order = LinkOrder {
            on: site(settings).has_proxy(assignment),
            locality: locality(assignment.entry, &settings.name),
        };
        let (orders, ordered) = watch::channel(order);
        let entry = EntryTask {
            keeper: settings.entry_keeper.clone(),
            name: settings.name.clone(),
            wanted: self.newest.entry.subscribe(),
            link: orders,
            events: self.sender.clone(),
        };
        self.tasks.spawn_until_shutdown(entry.run());
        let link = Link::new(LinkSetup {
            socket: settings.proxy_socket.clone(),
            orders: ordered,
            directory: ledger_directory(&self.settings),
            tables: self.newest.tables.subscribe(),
            traffic: self.newest.traffic.clone(),
            events: self.sender.clone(),
        });
        self.tasks.spawn(link.run(self.tasks.shutdown().clone()));
    }

    fn keep_firewall(&self) {
        if !self.settings.firewall {
            return;
        }
        let (url, trust) = (self.settings.control_url.clone(), self.settings.trust.clone());
        let firewall = Firewall {
            assignment: self.newest.assignment.subscribe(),
            status: self.newest.firewall.clone(),
            guard: Guard {
                directory: self.settings.state_dir.join("firewall"),
                leader: self.settings.leader.clone(),
            },
            address: self.settings.address,
            // A client of its own has no connection from before.
            reaches_control: move || {
                let client = trust.control(&url);
                async move {
                    match client {
                        Ok(client) => client.health().await.is_ok(),
                        Err(_) => false,
                    }
                }
            },
        };
        self.tasks.spawn_until_shutdown(firewall.run());
    }

    fn poller(&self, ledger: &Ledger) -> Poller {
        Poller {
            client: self.client.clone(),
            server: self.settings.server,
            signing_key: None,
            assignment: ledger.assignment.version,
            tables: self.newest.tables.clone(),
            events: self.sender.clone(),
        }
    }

    fn api(&self) -> Arc<ServeState> {
        let places = Assigned {
            site: site(&self.settings),
            assignment: self.newest.assignment.subscribe(),
            facts: self.newest.facts.subscribe(),
        };
        let admission = match &self.settings.trust {
            Trust::Tokens { own, .. } => Admission::Token(own.clone()),
            Trust::Certificates(membership) => Admission::Certificates {
                membership: membership.clone(),
                assignment: self.newest.assignment.subscribe(),
            },
        };
        Arc::new(ServeState {
            admission,
            logs: self.logs.clone(),
            places: Arc::new(places),
            leader: self.settings.leader.clone(),
            default_env: self.settings.default_env.clone(),
            users: self.settings.users,
            releases: self.settings.state_dir.join("releases"),
        })
    }

    fn shell(self, ledger: Ledger) -> (TcpListener, Shell<R, Sources>) {
        // Ids that no earlier run of this program has drawn: they carry the time as well.
        let seed = self.moments.now().as_millis().unsigned_abs() ^ (u64::from(std::process::id()) << 44);
        let shell = Shell {
            state: State::new(site(&self.settings), ledger, seed),
            moments: self.moments,
            runtime: self.runtime,
            releases: self.releases,
            probes: Probes::new(self.sessions, self.tasks.clone(), self.sender.clone()),
            tasks: self.tasks,
            ledger: ledger_directory(&self.settings),
            sender: self.sender,
            facts: self.newest.facts,
            assignment: self.newest.assignment,
            entry: self.newest.entry,
            wake: None,
        };
        (self.settings.listener, shell)
    }
}

fn site(settings: &Settings) -> Site {
    Site {
        server: settings.server,
        releases: settings.state_dir.join("releases"),
        address: settings.address,
        users: settings.users,
        proxy: settings.proxy_socket.is_some(),
        keeps_entry: settings.entry_keeper.is_some(),
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
