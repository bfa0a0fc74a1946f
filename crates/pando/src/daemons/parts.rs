//! The daemon's parts, each with what it needs of the others.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use pando_agent::{Agent, Leader, Membership, Settings, Trust};
use pando_control::shared::Shared;
use pando_rt::clock::Clock;
use pando_rt::shutdown::{Shutdown, termination};
use pando_rt::tasks::Tasks;
use pando_runtime::keeper::KeeperProgram;
use pando_runtime::logs::LogSettings;
use pando_runtime::process::{ProcessRuntime, ProcessSettings};
use pando_trust::{Identity, LiveIdentity};

use super::entry::ProxyKeeper;
use super::layout::Layout;
use super::me::Me;

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
    if dev { own_env() } else { BTreeMap::new() }
}

/// What a program needs to find its way, of this one's own environment. The rest stays behind: it may hold secrets.
pub(super) fn own_env() -> BTreeMap<String, String> {
    let names = ["PATH", "HOME", "USER", "LANG", "TZ"].into_iter();
    names.filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?))).collect()
}

pub(crate) fn keeper_program() -> anyhow::Result<KeeperProgram> {
    Ok(KeeperProgram { shim_program: own_program()?, shim_args: vec!["shim".to_owned()] })
}

pub(super) fn own_program() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("can't find this program's own file")
}

/// The API over the listener, until the tasks' shutdown.
pub(crate) fn start_api(
    tasks: &Tasks,
    listener: TcpListener,
    shared: Arc<Shared>,
    tls: Arc<rustls::ServerConfig>,
) -> anyhow::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    tasks.spawn(pando_control::housekeeping::run(Arc::clone(&shared)));
    tasks.spawn(pando_control::http::serve_tls(listener, shared, tls));
    Ok(())
}

/// Everything that the agent needs of the daemon.
pub(crate) struct AgentParts {
    pub(crate) me: Me,
    pub(crate) runtime: ProcessRuntime,
    pub(crate) listener: TcpListener,
    pub(crate) identity: Identity,
}

/// The agent, until the tasks' shutdown.
pub(crate) fn start_agent(tasks: &Tasks, layout: &Layout, parts: AgentParts) -> anyhow::Result<()> {
    let AgentParts { me, runtime, listener, identity } = parts;
    listener.set_nonblocking(true)?;
    let leader = Leader { program: own_program()?, args: vec!["shim".into(), "lead".into()] };
    let settings = Settings {
        server: me.id,
        name: me.name.clone(),
        state_dir: layout.root().to_owned(),
        control_url: me.control.clone(),
        trust: Trust::Certificates(Membership {
            identity: LiveIdentity::new(identity),
            file: layout.trust(),
            clock: Clock::system(),
        }),
        listener: tokio::net::TcpListener::from_std(listener)?,
        proxy_socket: Some(layout.proxy_socket()),
        entry_keeper: Some(Arc::new(ProxyKeeper::new(layout, &me)?)),
        users: rustix::process::geteuid().is_root() && !me.dev,
        address: me.private_address,
        firewall: rustix::process::geteuid().is_root() && !me.dev,
        leader,
        default_env: default_env(me.dev),
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
