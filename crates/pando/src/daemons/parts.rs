//! The daemon's parts, each with what it needs of the others.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use pando_agent::{Agent, Leader, Settings};
use pando_api::auth::Bearer;
use pando_control::shared::Shared;
use pando_model::server::Server;
use pando_rt::shutdown::{Shutdown, termination};
use pando_rt::tasks::Tasks;
use pando_runtime::keeper::{Keeper, KeeperProgram, directory_of};
use pando_runtime::logs::LogSettings;
use pando_runtime::process::{ProcessRuntime, ProcessSettings};
use pando_runtime::shim::KeepSpec;

use super::args::DaemonArgs;
use super::layout::Layout;

/// What the load balancer runs as where the daemon is root.
const PROXY_USER: &str = "pando-proxy";
/// How long a load balancer that changes its addresses may finish what is under way.
const PROXY_PATIENCE: Duration = Duration::from_secs(35);

pub(crate) fn process_settings(layout: &Layout, dev: bool) -> anyhow::Result<ProcessSettings> {
    Ok(ProcessSettings {
        state_dir: layout.root().to_owned(),
        shim_program: own_program()?,
        shim_args: vec!["shim".to_owned()],
        log: LogSettings::default(),
        use_cgroups: true,
        default_env: default_env(dev),
    })
}

/// In development a replica finds what the developer's shell finds.
fn default_env(dev: bool) -> BTreeMap<String, String> {
    let own = ["PATH", "HOME", "USER", "LANG", "TZ"].into_iter().filter(|_| dev);
    own.filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?))).collect()
}

pub(crate) fn keeper_program() -> anyhow::Result<KeeperProgram> {
    Ok(KeeperProgram { shim_program: own_program()?, shim_args: vec!["shim".to_owned()] })
}

fn own_program() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("can't find this program's own file")
}

/// Starts the load balancer's keeper, or finds the one that lives. One with other addresses is replaced.
pub(crate) async fn keep_proxy(args: &DaemonArgs, layout: &Layout) -> anyhow::Result<Keeper> {
    let spec = proxy_spec(args, layout)?;
    if let Some(user) = &spec.user {
        // It makes its socket and keeps its last table there.
        directory_of(user, &layout.proxy_dir(), 0o750).await?;
    }
    if let Some(living) = Keeper::find(&spec.dir).await?
        && living.spec().listen != spec.listen
    {
        tracing::info!("the load balancer moves to {:?}", spec.listen);
        living.stop(PROXY_PATIENCE).await?;
    }
    Ok(Keeper::ensure(&keeper_program()?, &spec).await?)
}

fn proxy_spec(args: &DaemonArgs, layout: &Layout) -> anyhow::Result<KeepSpec> {
    let path = |path: PathBuf| path.to_string_lossy().into_owned();
    let root = rustix::process::geteuid().is_root() && !args.dev;
    Ok(KeepSpec {
        name: "proxy".to_owned(),
        program: own_program()?,
        args: vec![
            "proxy".to_owned(),
            "--control-socket".to_owned(),
            path(layout.proxy_socket()),
            "--state-file".to_owned(),
            path(layout.proxy_table()),
        ],
        env: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
        user: root.then(|| PROXY_USER.to_owned()),
        listen: args.http.clone(),
        dir: layout.keeper("proxy"),
        log_directory: layout.own_logs(),
        log: LogSettings::default(),
    })
}

/// The API over the listener, until the tasks' shutdown.
pub(crate) fn start_api(tasks: &Tasks, listener: TcpListener, shared: Arc<Shared>) -> anyhow::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    tasks.spawn(pando_control::housekeeping::run(Arc::clone(&shared)));
    tasks.spawn(pando_control::http::serve(listener, shared));
    Ok(())
}

/// Everything that the agent needs of the daemon.
pub(crate) struct AgentParts {
    pub(crate) server: Server,
    pub(crate) runtime: ProcessRuntime,
    pub(crate) listener: TcpListener,
    pub(crate) url: String,
    pub(crate) token: Bearer,
    pub(crate) dev: bool,
}

/// The agent, until the tasks' shutdown.
pub(crate) fn start_agent(tasks: &Tasks, layout: &Layout, parts: AgentParts) -> anyhow::Result<()> {
    let AgentParts { server, runtime, listener, url, token, dev } = parts;
    listener.set_nonblocking(true)?;
    let leader = Leader { program: own_program()?, args: vec!["shim".into(), "lead".into()] };
    let settings = Settings {
        server: server.id,
        name: server.name.clone(),
        state_dir: layout.root().to_owned(),
        control_url: url,
        control_token: token.clone(),
        listener: tokio::net::TcpListener::from_std(listener)?,
        token,
        proxy_socket: Some(layout.proxy_socket()),
        entry_keeper: None,
        users: rustix::process::geteuid().is_root() && !dev,
        address: server.private_address,
        leader,
        default_env: default_env(dev),
    };
    let (shutdown, logs) = (tasks.shutdown().clone(), runtime.logs());
    tasks.spawn(async move {
        let runtime = Arc::new(runtime);
        if let Err(error) = Agent::run(settings, Arc::clone(&runtime), logs, shutdown.clone()).await {
            // Without its agent a daemon is of no use; its keeper, or systemd, starts it anew.
            tracing::error!("the agent can't begin: {}", pando_rt::error_chain::error_chain(&error));
            shutdown.begin();
        }
        runtime.close(Duration::from_secs(2)).await;
    });
    Ok(())
}

/// Waits for SIGTERM or SIGINT, or for a part that can't go on.
pub(crate) async fn ended_or_told(shutdown: &Shutdown) -> std::io::Result<()> {
    tokio::select! {
        // Both arms are cancel-safe, and the daemon ends after either.
        told = termination() => told,
        () = shutdown.wait() => Err(std::io::Error::other("a part of the daemon ended; the lines above say why")),
    }
}
