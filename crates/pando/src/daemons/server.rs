//! `pando daemon`: the agent of this server, and on a control server the control plane.
//!
//! It may end at any moment and be started again: replicas and the load balancer
//! belong to their shims, decisions to the store.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use pando_api::auth::{Bearer, Scope};
use pando_control::admission::Planner;
use pando_control::reconcile::Reconciler;
use pando_control::shared::{EntryPoint, Parts, Settings as ControlSettings, Shared};
use pando_control::store::{Store, sqlite};
use pando_control::tokens::{self, NewToken};
use pando_control::trust::Trust;
use pando_model::time::Timestamp;
use pando_rt::clock::Clock;
use pando_rt::fs::{read_if_there, write_atomically};
use pando_rt::shutdown::Shutdown;
use pando_rt::tasks::Tasks;
use pando_trust::{Identity, Vault};

use super::args::DaemonArgs;
use super::layout::{ContextFile, Layout};
use super::me::Me;
use super::parts::AgentParts;
use super::{parts, proxy};

/// How long the daemon's parts may take to end; none of them holds anything that a start does not find again.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs until SIGTERM or SIGINT. Replicas and the load balancer go on.
pub(crate) fn daemon(args: DaemonArgs) -> anyhow::Result<ExitCode> {
    proxy::start_telemetry(args.log_format);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let code = runtime.block_on(run(args))?;
    // Blocking calls that hang on a disk must not hold up the end.
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(code)
}

async fn run(args: DaemonArgs) -> anyhow::Result<ExitCode> {
    let layout = Layout::make(&args.state_dir)?;
    let _lock = lock(&layout)?;
    let me = Me::expect(&layout.identity())?;
    let agent_api = listen(me.agent, "the agent")?;
    let shutdown = Shutdown::new();
    let tasks = Tasks::new(&shutdown);
    let identity = own_identity(&layout)?;
    if let Some(api) = me.api {
        start_control(&tasks, &layout, &me, listen(api, "the API")?).await?;
    }
    let runtime = parts::open_runtimes(&layout, parts::cluster_of(&identity), me.dev, &shutdown)?;
    let name = me.name.clone();
    parts::start_agent(
        &tasks,
        &layout,
        AgentParts { me, runtime, listener: agent_api, identity, prune_below: args.prune_below },
    )?;
    tracing::info!("{name} is up; state in `{}`", layout.root().display());
    parts::ended_or_told(tasks.shutdown()).await?;
    tracing::info!("ending; replicas and the load balancer go on");
    if !tasks.finish(PATIENCE).await {
        tracing::warn!("not every part ended within {} s", PATIENCE.as_secs());
    }
    Ok(ExitCode::SUCCESS)
}

/// What this server proves itself by; renewed by its agent.
fn own_identity(layout: &Layout) -> anyhow::Result<Identity> {
    let path = layout.trust();
    Identity::load(&path)?.with_context(|| {
        format!("this server has lost its key and certificate (`{}`): it must join again", path.display())
    })
}

/// The control plane over its store.
async fn start_control(tasks: &Tasks, layout: &Layout, me: &Me, api: TcpListener) -> anyhow::Result<()> {
    let clock = Clock::system();
    let store: Arc<dyn Store> = Arc::new(sqlite::open(&layout.store())?);
    let trust = Trust::open(store.as_ref(), Vault::open(&layout.vault())?, me.name.as_str(), &clock).await?;
    install_token(store.as_ref(), layout, me, &clock).await?;
    let settings = ControlSettings { entry: Some(entry(me)), ..ControlSettings::new(layout.artifacts()) };
    let tls = trust.server_config()?;
    let shutdown = tasks.shutdown().clone();
    let (shared, reports) = Shared::new(Parts {
        store,
        clock,
        settings,
        admission: Box::new(Planner),
        dry_run: Box::new(Planner),
        trust,
        shutdown: shutdown.clone(),
    });
    let seed = getrandom::u64().context("the system has no randomness")?;
    let reconciler = Reconciler::new(Arc::clone(&shared), reports, seed);
    tasks.spawn(reconciler.run(shutdown));
    parts::start_api(tasks, api, shared, tls)
}

/// For a server that belongs to no cluster. It is asked before the lock, which a member's own daemon holds, and after, since somebody may
/// have been quicker.
pub(super) fn lock_as_newcomer(layout: &Layout) -> anyhow::Result<File> {
    refuse_a_member(layout)?;
    let held = lock(layout)?;
    refuse_a_member(layout)?;
    Ok(held)
}

fn refuse_a_member(layout: &Layout) -> anyhow::Result<()> {
    match Me::load(&layout.identity())? {
        Some(me) => {
            bail!("this server is `{}` of a cluster already (`{}`)", me.name, layout.identity().display())
        }
        None => Ok(()),
    }
}

/// Two daemons on one state directory would each think that it is theirs.
pub(super) fn lock(layout: &Layout) -> anyhow::Result<File> {
    let path = layout.lock();
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = file.with_context(|| format!("can't open `{}`", path.display()))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            bail!("another daemon runs on `{}`; stop that first", layout.root().display())
        }
        Err(error) => Err(error).with_context(|| format!("can't lock `{}`", path.display())),
    }
}

pub(super) fn listen(address: SocketAddr, what: &str) -> anyhow::Result<TcpListener> {
    match TcpListener::bind(address) {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            bail!("{what} can't listen on {address}: another program does; stop it or choose another port")
        }
        Err(error) => Err(error).with_context(|| format!("{what} can't listen on {address}")),
    }
}

/// The administrator's token, for commands on this machine.
async fn install_token(store: &dyn Store, layout: &Layout, me: &Me, clock: &Clock) -> anyhow::Result<()> {
    let now = Timestamp::from_millis(clock.now_millis());
    let admin = context_token(&layout.context())?;
    let new = NewToken { name: "this-machine".to_owned(), scope: Scope::Admin, expires_in: None };
    tokens::install(store, &admin, &new, now, Vec::new()).await?;
    let context = ContextFile { url: me.control.clone(), token: admin.reveal().to_owned() };
    let path = layout.context();
    write_atomically(&path, &serde_json::to_vec_pretty(&context)?, 0o600)
        .with_context(|| format!("can't write `{}`", path.display()))
}

fn context_token(path: &Path) -> anyhow::Result<Bearer> {
    let bytes = read_if_there(path).with_context(|| format!("can't read `{}`", path.display()))?;
    let held: Option<ContextFile> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    match held.and_then(|context| Bearer::new(context.token).ok()) {
        Some(token) => Ok(token),
        None => draw(),
    }
}

fn draw() -> anyhow::Result<Bearer> {
    tokens::draw().map_err(|error| anyhow::anyhow!(error.message))
}

/// Where people's requests arrive on this server, for the addresses that are shown.
fn entry(me: &Me) -> EntryPoint {
    let first = me.http.first();
    let port = first.map_or(80, SocketAddr::port);
    let any = first.is_none_or(|address| address.ip().is_unspecified() || address.ip().is_loopback());
    let host = match first {
        Some(address) if !any => address.ip().to_string(),
        _ => "localhost".to_owned(),
    };
    EntryPoint { host, port, https_port: me.https().first().map(SocketAddr::port) }
}
