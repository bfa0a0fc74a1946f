//! A whole cluster on this machine, for the app in a directory: state in `.pando`, no root, no container engine.
//!
//! A keeper holds the daemon up, as systemd does on a server; the load balancer
//! has its own. Ending it stops replicas first, then the keepers.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use pando_api::auth::Bearer;
use pando_api::client::Client;
use pando_model::name::{RoleName, ServerName};
use pando_model::time::Millis;
use pando_rt::fs::read_if_there;
use pando_rt::shutdown::Shutdown;
use pando_runtime::keeper::Keeper;
use pando_runtime::logs::LogSettings;
use pando_runtime::process::ProcessRuntime;
use pando_runtime::shim::KeepSpec;

use super::found::{EVERYTHING, Founding, found, settled};
use super::layout::{ContextFile, Layout, make_dir};
use super::me::Me;
use super::parts::{self, own_program};

/// The folder beside `pando.yaml`.
pub(crate) const FOLDER: &str = ".pando";
/// How long the daemon may take to answer.
const UP_WITHIN: Duration = Duration::from_secs(20);
/// How long the daemon may take to end.
const DOWN_WITHIN: Duration = Duration::from_secs(15);
/// How long replicas may take to end when the cluster ends.
const STOP_TIMEOUT: Millis = Millis::from_secs(10);

/// A cluster that is up.
#[derive(Debug)]
pub(crate) struct DevCluster {
    pub(crate) url: String,
    pub(crate) token: Bearer,
    /// Where the load balancer listens.
    pub(crate) entry: SocketAddr,
}

/// Starts what doesn't run of the project's cluster, and waits until it answers.
pub(crate) async fn up(project: &Path, port: u16) -> anyhow::Result<DevCluster> {
    let state = project.join(FOLDER);
    make_dir(&state, 0o700)?;
    fs::write(state.join(".gitignore"), "*\n")
        .with_context(|| format!("can't write in `{}`", state.display()))?;
    let layout = Layout::make(&state)?;
    let entry = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    let me = main_server(&layout, entry).await?;
    keep_daemon(&layout).await?;
    let context = wait_until_up(&layout).await?;
    let entry = me.http.first().copied().unwrap_or(entry);
    Ok(DevCluster { token: Bearer::new(&context.token)?, url: context.url, entry })
}

/// Who the first server is: made at the first start; another entry port takes the place of the last one's.
async fn main_server(layout: &Layout, entry: SocketAddr) -> anyhow::Result<Me> {
    let Some(mut me) = Me::load(&layout.identity())? else {
        check_port(layout, entry).await?;
        return found(layout, &founding(entry)?).await;
    };
    if !me.http.contains(&entry) {
        check_port(layout, entry).await?;
        me.http = vec![settled(entry, "the load balancer")?];
        me.save(&layout.identity())?;
        if let Some(living) = Keeper::find(&layout.keeper("daemon")).await? {
            living.stop(DOWN_WITHIN).await?;
        }
    }
    Ok(me)
}

fn founding(entry: SocketAddr) -> anyhow::Result<Founding> {
    let own = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let roles = EVERYTHING.iter().map(|role| RoleName::new(*role));
    Ok(Founding {
        name: ServerName::new("main")?,
        roles: roles.collect::<Result<_, _>>()?,
        private_address: own,
        public_address: None,
        api: SocketAddr::new(own, 0),
        agent: SocketAddr::new(own, 0),
        http: vec![settled(entry, "the load balancer")?],
        dev: true,
    })
}

async fn keep_daemon(layout: &Layout) -> anyhow::Result<()> {
    let root = layout.root().to_string_lossy().into_owned();
    let spec = KeepSpec {
        name: "daemon".to_owned(),
        program: own_program()?,
        args: vec!["daemon".to_owned(), "--state-dir".to_owned(), root],
        env: std::env::vars().collect(),
        user: None,
        listen: Vec::new(),
        dir: layout.keeper("daemon"),
        log_directory: layout.own_logs(),
        log: LogSettings::default(),
    };
    Keeper::ensure(&parts::keeper_program()?, &spec).await?;
    Ok(())
}

/// A clear word before anything starts, when another program has the port.
async fn check_port(layout: &Layout, entry: SocketAddr) -> anyhow::Result<()> {
    let own = Keeper::find(&layout.keeper("proxy")).await?;
    if own.is_some_and(|own| own.addresses().contains(&entry)) || entry.port() == 0 {
        return Ok(());
    }
    if let Err(error) = TcpListener::bind(entry) {
        bail!(
            "port {} is in use by another program ({error}); choose another: `pando dev --port 8081`",
            entry.port()
        );
    }
    Ok(())
}

async fn wait_until_up(layout: &Layout) -> anyhow::Result<ContextFile> {
    let deadline = Instant::now() + UP_WITHIN;
    loop {
        if let Some(context) = read_context(&layout.context())?
            && let Ok(client) = Client::new(&context.url, Bearer::new(&context.token).ok())
            && client.status().await.is_ok()
        {
            return Ok(context);
        }
        if Instant::now() >= deadline {
            bail!(
                "the cluster did not come up within {} s; its daemon said:\n{}",
                UP_WITHIN.as_secs(),
                last_words(layout)
            );
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) fn read_context(path: &Path) -> anyhow::Result<Option<ContextFile>> {
    let bytes = read_if_there(path).with_context(|| format!("can't read `{}`", path.display()))?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

fn last_words(layout: &Layout) -> String {
    let path = layout.own_logs().join("daemon.log");
    let text = fs::read_to_string(&path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(10).collect();
    lines.into_iter().rev().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

/// Ends the project's cluster. False: none was up.
pub(crate) async fn down(project: &Path) -> anyhow::Result<bool> {
    let state: PathBuf = project.join(FOLDER);
    if !state.is_dir() {
        return Ok(false);
    }
    let layout = Layout::make(&state)?;
    let daemon = Keeper::find(&layout.keeper("daemon")).await?;
    let proxy = Keeper::find(&layout.keeper("proxy")).await?;
    let was_up = daemon.is_some() || proxy.is_some();
    if let Some(daemon) = daemon {
        daemon.stop(DOWN_WITHIN).await?;
    }
    let runtime = ProcessRuntime::open(parts::process_settings(&layout, true)?, &Shutdown::new())?;
    pando_agent::stop_all(&runtime, STOP_TIMEOUT).await?;
    runtime.close(Duration::from_secs(5)).await;
    if let Some(proxy) = proxy {
        proxy.stop(Duration::from_secs(2)).await?;
    }
    Ok(was_up)
}
