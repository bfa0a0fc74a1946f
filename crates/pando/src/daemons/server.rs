//! `pando daemon`: the control plane and the agent of this server, and the keeper of its load balancer.
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
use pando_control::store::{Key, Outcome, Store, Txn, sqlite};
use pando_control::tokens::{self, NewToken};
use pando_model::desired::Settings as ClusterSettings;
use pando_model::id::{Entropy, ServerId};
use pando_model::server::Server;
use pando_model::time::Timestamp;
use pando_rt::clock::Clock;
use pando_rt::fs::{read_if_there, write_atomically};
use pando_rt::shutdown::Shutdown;
use pando_rt::tasks::Tasks;
use pando_runtime::keeper::Keeper;
use pando_runtime::process::ProcessRuntime;
use serde::{Deserialize, Serialize};

use super::args::DaemonArgs;
use super::dev::read_context;
use super::layout::{ContextFile, Layout};
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
    if !args.listen.ip().is_loopback() || !args.agent_listen.ip().is_loopback() {
        bail!(
            "the API listens on this machine alone (such as 127.0.0.1:7420): there is no TLS for it in this version"
        );
    }
    let layout = Layout::make(&args.state_dir)?;
    let _lock = lock(&layout)?;
    let clock = Clock::system();
    let store: Arc<dyn Store> = Arc::new(sqlite::open(&layout.store())?);
    let api = listen(remembered(args.listen, &layout), "the API")?;
    let agent_api = listen(args.agent_listen, "the agent")?;
    let server = describe_server(&args, &layout, &agent_api, &clock)?;
    prepare_store(store.as_ref(), &server, args.dev).await?;
    let url = format!("http://{}", api.local_addr()?);
    let agent_token = install_tokens(store.as_ref(), &layout, &server, &url, &clock).await?;
    let keeper = parts::keep_proxy(&args, &layout).await?;

    let shutdown = Shutdown::new();
    let tasks = Tasks::new(&shutdown);
    let control = Control { store, clock, api, entry: entry(&keeper), agent_token: agent_token.clone() };
    start_control(&tasks, &layout, control)?;
    let process = ProcessRuntime::open(parts::process_settings(&layout, args.dev)?, &shutdown)?;
    let name = server.name.clone();
    let agent =
        AgentParts { server, runtime: process, listener: agent_api, url, token: agent_token, dev: args.dev };
    parts::start_agent(&tasks, &layout, agent)?;
    tracing::info!("{name} is up; state in `{}`", layout.root().display());
    parts::ended_or_told(tasks.shutdown()).await?;
    tracing::info!("ending; replicas and the load balancer go on");
    if !tasks.finish(PATIENCE).await {
        tracing::warn!("not every part ended within {} s", PATIENCE.as_secs());
    }
    Ok(ExitCode::SUCCESS)
}

struct Control {
    store: Arc<dyn Store>,
    clock: Clock,
    api: TcpListener,
    entry: EntryPoint,
    agent_token: Bearer,
}

fn start_control(tasks: &Tasks, layout: &Layout, control: Control) -> anyhow::Result<()> {
    let Control { store, clock, api, entry, agent_token } = control;
    let settings = ControlSettings {
        agent_token: Some(agent_token),
        entry: Some(entry),
        ..ControlSettings::new(layout.artifacts())
    };
    let shutdown = tasks.shutdown().clone();
    let (shared, reports) = Shared::new(Parts {
        store,
        clock,
        settings,
        admission: Box::new(Planner),
        dry_run: Box::new(Planner),
        shutdown: shutdown.clone(),
    });
    let seed = getrandom::u64().context("the system has no randomness")?;
    let reconciler = Reconciler::new(Arc::clone(&shared), reports, seed);
    tasks.spawn(reconciler.run(shutdown));
    parts::start_api(tasks, api, shared)
}

/// Two daemons on one state directory would each think that it is theirs.
fn lock(layout: &Layout) -> anyhow::Result<File> {
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

/// With port 0: the port of the last time, if it is free, so that whoever follows a deploy finds the daemon again.
fn remembered(address: SocketAddr, layout: &Layout) -> SocketAddr {
    if address.port() != 0 {
        return address;
    }
    let context = read_context(&layout.context()).ok().flatten();
    let last = context.and_then(|context| context.url.rsplit(':').next()?.parse().ok());
    let again = SocketAddr::new(address.ip(), last.unwrap_or(0));
    if TcpListener::bind(again).is_ok() { again } else { address }
}

fn listen(address: SocketAddr, what: &str) -> anyhow::Result<TcpListener> {
    match TcpListener::bind(address) {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            bail!("{what} can't listen on {address}: another program does; stop it or choose another port")
        }
        Err(error) => Err(error).with_context(|| format!("{what} can't listen on {address}")),
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Identity {
    id: ServerId,
    joined_at: Timestamp,
}

/// Who this server is: its id is made once and kept.
fn describe_server(
    args: &DaemonArgs,
    layout: &Layout,
    agent_api: &TcpListener,
    clock: &Clock,
) -> anyhow::Result<Server> {
    let identity = identity(&layout.identity(), clock)?;
    Ok(Server {
        id: identity.id,
        name: args.name.clone(),
        roles: args.roles.iter().cloned().collect(),
        private_address: args.private_address,
        agent_address: agent_api.local_addr()?,
        capacity: pando_agent::capacity::read(),
        public_address: None,
        standing: pando_model::Standing::Active,
        labels: std::collections::BTreeMap::new(),
        joined_at: identity.joined_at,
    })
}

fn identity(path: &Path, clock: &Clock) -> anyhow::Result<Identity> {
    if let Some(bytes) = read_if_there(path).with_context(|| format!("can't read `{}`", path.display()))? {
        return serde_json::from_slice(&bytes).with_context(|| format!("`{}` is damaged", path.display()));
    }
    let now = Timestamp::from_millis(clock.now_millis());
    let seed = getrandom::u64().context("the system has no randomness")?;
    let identity = Identity { id: ServerId::new(now, &mut Entropy::from_seed(seed)), joined_at: now };
    let bytes = serde_json::to_vec(&identity)?;
    write_atomically(path, &bytes, 0o600).with_context(|| format!("can't write `{}`", path.display()))?;
    Ok(identity)
}

/// The first start makes the cluster; later ones renew what this server says of itself.
async fn prepare_store(store: &dyn Store, server: &Server, dev: bool) -> anyhow::Result<()> {
    let made = Txn::new().unchanged(Key::Epoch, None).put(Key::Epoch, &1_u64)?;
    // A conflict means that it was made before.
    let (Outcome::Committed(_) | Outcome::Conflict) = store.txn(made).await?;
    let settings = ClusterSettings { open_host: dev, ..ClusterSettings::default() };
    let renewed =
        Txn::new().put(Key::cluster_settings(), &settings)?.put(Key::ServerSpec(server.id), server)?;
    store.txn(renewed).await?;
    Ok(())
}

/// The administrator's token for commands on this machine, and the agent's.
async fn install_tokens(
    store: &dyn Store,
    layout: &Layout,
    server: &Server,
    url: &str,
    clock: &Clock,
) -> anyhow::Result<Bearer> {
    let now = Timestamp::from_millis(clock.now_millis());
    let admin = context_token(&layout.context())?;
    let new = NewToken { name: "this-machine".to_owned(), scope: Scope::Admin, expires_in: None };
    tokens::install(store, &admin, &new, now, Vec::new()).await?;
    let agent = kept_token(&layout.agent_token())?;
    let scope = Scope::Agent { server: server.id };
    let new = NewToken { name: format!("agent-{}", server.name), scope, expires_in: None };
    tokens::install(store, &agent, &new, now, Vec::new()).await?;
    let context = ContextFile { url: url.to_owned(), token: admin.reveal().to_owned() };
    let path = layout.context();
    write_atomically(&path, &serde_json::to_vec_pretty(&context)?, 0o600)
        .with_context(|| format!("can't write `{}`", path.display()))?;
    Ok(agent)
}

fn context_token(path: &Path) -> anyhow::Result<Bearer> {
    let bytes = read_if_there(path).with_context(|| format!("can't read `{}`", path.display()))?;
    let held: Option<ContextFile> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    match held.and_then(|context| Bearer::new(context.token).ok()) {
        Some(token) => Ok(token),
        None => draw(),
    }
}

fn kept_token(path: &Path) -> anyhow::Result<Bearer> {
    let bytes = read_if_there(path).with_context(|| format!("can't read `{}`", path.display()))?;
    if let Some(token) = bytes.and_then(|bytes| Bearer::new(String::from_utf8_lossy(&bytes)).ok()) {
        return Ok(token);
    }
    let token = draw()?;
    write_atomically(path, token.reveal().as_bytes(), 0o600)
        .with_context(|| format!("can't write `{}`", path.display()))?;
    Ok(token)
}

fn draw() -> anyhow::Result<Bearer> {
    tokens::draw().map_err(|error| anyhow::anyhow!(error.message))
}

fn entry(keeper: &Keeper) -> EntryPoint {
    let first = keeper.addresses().first();
    let port = first.map_or(80, SocketAddr::port);
    let any = first.is_none_or(|address| address.ip().is_unspecified() || address.ip().is_loopback());
    let host = match first {
        Some(address) if !any => address.ip().to_string(),
        _ => "localhost".to_owned(),
    };
    EntryPoint { scheme: "http".to_owned(), host, port }
}
