//! The daemon's parts, each with what it needs of the others.

use std::collections::BTreeMap;
use std::ffi::OsString;
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
use pando_runtime::Runtimes;
use pando_runtime::docker::{DEFAULT_SOCKET, DockerRuntime, DockerSettings, Engine};
use pando_runtime::keeper::KeeperProgram;
use pando_runtime::logs::LogSettings;
use pando_runtime::process::{ProcessRuntime, ProcessSettings};
use pando_trust::{Identity, LiveIdentity};

use super::args::PRUNE_BELOW_ENV;
use super::entry::ProxyKeeper;
use super::layout::Layout;
use super::me::Me;
use crate::image::local_socket;

fn process_settings(layout: &Layout, dev: bool) -> anyhow::Result<ProcessSettings> {
    Ok(ProcessSettings {
        state_dir: layout.root().to_owned(),
        shim_program: own_program()?,
        shim_args: vec!["shim".to_owned()],
        log: LogSettings::default(),
        use_cgroups: true,
        default_env: default_env(dev),
    })
}

/// Plain processes and containers, with what earlier runs of this program left of either.
pub(crate) fn open_runtimes(
    layout: &Layout,
    cluster: String,
    dev: bool,
    shutdown: &Shutdown,
) -> anyhow::Result<Runtimes> {
    let processes = ProcessRuntime::open(process_settings(layout, dev)?, shutdown)?;
    let settings = DockerSettings {
        state_dir: layout.root().to_owned(),
        engine: Engine::at(engine_socket(|name| std::env::var_os(name))),
        log: LogSettings::default(),
        cluster,
    };
    Ok(Runtimes::new(processes, DockerRuntime::open(settings, shutdown)?, shutdown))
}

/// What a cluster's volumes are known by: enough of its authority's fingerprint that no other's begins alike.
pub(crate) fn cluster_of(identity: &Identity) -> String {
    let mut digits = identity.anchor().fingerprint().to_string();
    digits.truncate(16);
    digits
}

/// Where the container engine listens: `DOCKER_HOST`, as for every tool that speaks with it, when that is a Unix socket. An engine
/// on another machine would run what this server is to run somewhere else.
fn engine_socket(variable: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    let host = variable("DOCKER_HOST").filter(|host| !host.is_empty());
    let Some(host) = host else { return DEFAULT_SOCKET.into() };
    match host.to_str().and_then(|host| host.strip_prefix("unix://")) {
        Some(path) => path.into(),
        None => {
            let host = host.to_string_lossy();
            tracing::warn!(
                "`DOCKER_HOST` is `{host}`, which is no Unix socket: containers run at `{DEFAULT_SOCKET}`"
            );
            DEFAULT_SOCKET.into()
        }
    }
}

/// In development a replica finds what the developer's shell finds.
fn default_env(dev: bool) -> BTreeMap<String, String> {
    if dev { own_env() } else { BTreeMap::new() }
}

/// What a program needs to find its way, of this one's own environment. The rest stays behind: it may hold secrets.
fn own_env() -> BTreeMap<String, String> {
    taken(&["PATH", "HOME", "USER", "LANG", "TZ"])
}

/// The same for a daemon, which speaks with the container engine too and may be told when to prune.
pub(super) fn daemon_env() -> BTreeMap<String, String> {
    let mut env = own_env();
    env.extend(taken(&["DOCKER_HOST", PRUNE_BELOW_ENV]));
    env
}

/// The same for the daemons of `pando dev`, which are a person's at this machine: their engine is the one that this person's `docker`
/// speaks with, by `DOCKER_HOST` or a context. One on another machine is none of theirs.
pub(super) fn dev_env() -> BTreeMap<String, String> {
    with_engine(daemon_env(), local_socket().ok())
}

fn with_engine(mut env: BTreeMap<String, String>, socket: Option<PathBuf>) -> BTreeMap<String, String> {
    env.remove("DOCKER_HOST");
    let host = socket.map(|socket| format!("unix://{}", socket.display()));
    env.extend(host.map(|host| ("DOCKER_HOST".to_owned(), host)));
    env
}

pub(super) fn taken(names: &[&str]) -> BTreeMap<String, String> {
    let known = |name: &&str| Some(((*name).to_owned(), std::env::var(name).ok()?));
    names.iter().filter_map(known).collect()
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
    pub(crate) runtime: Runtimes,
    pub(crate) listener: TcpListener,
    pub(crate) identity: Identity,
    /// See [`Settings::prune_below`].
    pub(crate) prune_below: u8,
}

/// The agent, until the tasks' shutdown.
pub(crate) fn start_agent(tasks: &Tasks, layout: &Layout, parts: AgentParts) -> anyhow::Result<()> {
    let AgentParts { me, runtime, listener, identity, prune_below } = parts;
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
        commands: Some(runtime.commands()),
        containers: Some(runtime.containers()),
        default_env: default_env(me.dev),
        engine: engine_socket(|name| std::env::var_os(name)),
        prune_below,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_of_dev_has_the_engine_of_its_person() {
        let env = |host: &str| BTreeMap::from([("DOCKER_HOST".to_owned(), host.to_owned())]);
        let far = env("ssh://me@build");
        assert_eq!(
            with_engine(far.clone(), Some("/run/user/7/docker.sock".into())),
            env("unix:///run/user/7/docker.sock")
        );
        assert_eq!(with_engine(far, None), BTreeMap::new());
    }

    #[test]
    fn the_engine_is_where_its_variable_says_if_that_is_here() {
        for (host, socket) in [
            (None, DEFAULT_SOCKET),
            (Some(""), DEFAULT_SOCKET),
            (Some("unix:///run/user/1000/docker.sock"), "/run/user/1000/docker.sock"),
            (Some("tcp://10.0.0.1:2375"), DEFAULT_SOCKET),
        ] {
            assert_eq!(engine_socket(|_| host.map(Into::into)), PathBuf::from(socket), "{host:?}");
        }
    }
}
