//! A whole cluster on this machine, for the app in a directory: state in `.pando`, no root, no container engine.
//!
//! A keeper holds each server's daemon up, as systemd does elsewhere; the load
//! balancers have their own.

mod members;

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use pando_api::auth::Bearer;
use pando_api::client::Client;
use pando_model::name::{RoleName, ServerName};
use pando_rt::fs::read_if_there;
use pando_runtime::keeper::Keeper;

use super::found::{EVERYTHING, Founding, found, settled};
use super::layout::{ContextFile, Layout, make_dir};
use super::me::Me;
use super::parts;
use super::start::{end_kept, keep};

/// The folder beside `pando.yaml`.
pub(crate) const FOLDER: &str = ".pando";
/// How long the daemon may take to answer.
const UP_WITHIN: Duration = Duration::from_secs(20);

/// A cluster that is up.
#[derive(Debug)]
pub(crate) struct DevCluster {
    pub(crate) url: String,
    pub(crate) token: Bearer,
    /// Where the load balancer listens.
    pub(crate) entry: SocketAddr,
}

/// Starts what doesn't run of the project's cluster, and waits until it answers. Servers that it had before are started too.
pub(crate) async fn up(project: &Path, port: u16, servers: u8) -> anyhow::Result<DevCluster> {
    let state = project.join(FOLDER);
    make_dir(&state, 0o700)?;
    fs::write(state.join(".gitignore"), "*\n")
        .with_context(|| format!("can't write in `{}`", state.display()))?;
    let layout = Layout::make(&state)?;
    let main = main_server(&layout, port, servers).await?;
    keep(&layout, parts::dev_env()).await?;
    let context = wait_until_up(&layout).await?;
    let client = Client::new(&context.url, Some(Bearer::new(&context.token)?))?;
    members::up(&layout, &main, &client, servers).await?;
    let entry = main.http.first().copied().unwrap_or_else(|| entry_of(port));
    Ok(DevCluster { token: Bearer::new(&context.token)?, url: context.url, entry })
}

fn entry_of(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// Who the first server is: made at the first start; another entry port takes the place of the last one's.
async fn main_server(layout: &Layout, port: u16, servers: u8) -> anyhow::Result<Me> {
    let entry = entry_of(port);
    let Some(mut me) = Me::load(&layout.identity())? else {
        check_port(layout, entry).await?;
        return found(layout, &founding(entry, servers)?).await;
    };
    if !me.http.contains(&entry) {
        check_port(layout, entry).await?;
        me.http = vec![settled(entry, "the load balancer")?];
        me.save(&layout.identity())?;
        end_kept(layout).await?;
    }
    Ok(me)
}

fn founding(entry: SocketAddr, servers: u8) -> anyhow::Result<Founding> {
    let own = if servers > 1 { members::address(1) } else { IpAddr::V4(Ipv4Addr::LOCALHOST) };
    let roles = EVERYTHING.iter().map(|role| RoleName::new(*role));
    Ok(Founding {
        name: ServerName::new("main")?,
        roles: roles.collect::<Result<_, _>>()?,
        private_address: own,
        public_address: None,
        api: SocketAddr::new(own, 0),
        agent: SocketAddr::new(own, 0),
        http: vec![settled(entry, "the load balancer")?],
        https: Some(Vec::new()),
        dev: true,
    })
}

/// A clear word before anything starts, when another program has the port.
async fn check_port(layout: &Layout, entry: SocketAddr) -> anyhow::Result<()> {
    let own = Keeper::find(&layout.keeper("proxy")).await?;
    if own.is_some_and(|own| own.addresses().contains(&entry)) || entry.port() == 0 {
        return Ok(());
    }
    let port = entry.port();
    match TcpListener::bind(entry) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            bail!("port {port} is in use by another program; choose another: `pando dev --port 8081`")
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            bail!("only root may listen on port {port}; choose another: `pando dev --port 8080`")
        }
        Err(error) => Err(error).with_context(|| format!("can't listen on port {port}")),
    }
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

/// Ends the project's cluster, the first server last. False: none was up.
pub(crate) async fn down(project: &Path) -> anyhow::Result<bool> {
    let state: PathBuf = project.join(FOLDER);
    if !state.is_dir() {
        return Ok(false);
    }
    let layout = Layout::make(&state)?;
    let mut was_up = false;
    for member in members::all(&layout)? {
        was_up |= members::down(&member).await?;
    }
    Ok(members::down(&layout).await? || was_up)
}

/// Kills whatever a server runs, as a power failure does; how many processes. `None`: nothing of it ran.
pub(crate) async fn kill(project: &Path, name: &ServerName) -> anyhow::Result<Option<usize>> {
    let state = project.join(FOLDER);
    if !state.is_dir() {
        return Ok(None);
    }
    let main = Layout::make(&state)?;
    let is_main = Me::load(&main.identity())?.is_some_and(|me| me.name == *name);
    let layout = if is_main { Some(main) } else { members::named(&main, name)? };
    let Some(layout) = layout else { return Ok(None) };
    Ok(Some(members::kill(&layout).await?).filter(|killed| *killed > 0))
}
