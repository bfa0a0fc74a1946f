//! The servers of a cluster on this machine, beside the first: on loopback addresses of their own, state in
//! `.pando/servers/NAME`.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context;
use pando_api::client::Client;
use pando_api::v1::join::JoinTokenRequest;
use pando_model::id::ServerId;
use pando_model::name::{RoleName, ServerName};
use pando_model::time::Millis;
use pando_rt::shutdown::Shutdown;
use pando_runtime::Runtime;
use pando_runtime::keeper::Keeper;
use pando_trust::JoinWord;

use crate::daemons::join::{Joining, join};
use crate::daemons::layout::{Layout, make_dir};
use crate::daemons::me::Me;
use crate::daemons::parts;
use crate::daemons::start::{end_kept, keep};

/// What the other servers are for: whatever runs an app.
const ROLES: [&str; 2] = ["web", "worker"];
/// How long replicas may take to end when the cluster ends.
const STOP_TIMEOUT: Millis = Millis::from_secs(10);

/// Of the server with this number, from 1. All of 127.0.0.0/8 is this machine.
pub(super) fn address(number: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 1, number))
}

/// Starts the servers that there are, and those that are missing to `servers` in all. One that was removed from the cluster is
/// missing.
pub(super) async fn up(main: &Layout, me: &Me, client: &Client, servers: u8) -> anyhow::Result<()> {
    retire(main, client).await?;
    for number in 2..=servers {
        let layout = of(main, &format!("app-{number}"))?;
        if Me::load(&layout.identity())?.is_none() {
            enter(&layout, me, client, number).await?;
        }
    }
    for layout in all(main)? {
        follow(&layout, me).await?;
        keep(&layout, parts::dev_env()).await?;
    }
    Ok(())
}

/// Nobody knows who was removed; what is left of it makes room for a new one of its name.
async fn retire(main: &Layout, client: &Client) -> anyhow::Result<()> {
    let known: BTreeSet<ServerId> =
        client.servers().await?.servers.into_iter().map(|server| server.id).collect();
    for layout in all(main)? {
        let Some(me) = Me::load(&layout.identity())? else { continue };
        if !known.contains(&me.id) {
            down(&layout).await?;
            set_aside(main, &layout, &me.name)?;
        }
    }
    Ok(())
}

/// Its logs may still be wanted: the last one of each name is kept.
fn set_aside(main: &Layout, layout: &Layout, name: &ServerName) -> anyhow::Result<()> {
    let removed = main.root().join("removed");
    make_dir(&removed, 0o700)?;
    let to = removed.join(name.as_str());
    let failed = || format!("can't move `{}` to `{}`", layout.root().display(), to.display());
    match fs::remove_dir_all(&to) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).with_context(failed),
        _ => fs::rename(layout.root(), &to).with_context(failed),
    }
}

async fn enter(layout: &Layout, main: &Me, client: &Client, number: u8) -> anyhow::Result<Me> {
    let name = ServerName::new(format!("app-{number}"))?;
    let roles = ROLES.iter().map(|role| RoleName::new(*role)).collect::<Result<_, _>>()?;
    let request = JoinTokenRequest { roles, name: Some(name.clone()), ..JoinTokenRequest::default() };
    let made = client.create_join_token(&request).await?;
    let own = address(number);
    let joining = Joining {
        word: JoinWord { url: main.control.parse()?, secret: made.secret.parse()? },
        name,
        private_address: own,
        public_address: None,
        agent: SocketAddr::new(own, 0),
        http: entries(main, own),
        https: Some(Vec::new()),
        dev: true,
    };
    join(layout, &joining).await
}

/// The same ports as the first server's, on an address of its own.
fn entries(main: &Me, own: IpAddr) -> Vec<SocketAddr> {
    main.http.iter().map(|entry| SocketAddr::new(own, entry.port())).collect()
}

/// The first server may have got other ports since.
async fn follow(layout: &Layout, main: &Me) -> anyhow::Result<()> {
    let Some(me) = Me::load(&layout.identity())? else { return Ok(()) };
    let now = Me { control: main.control.clone(), http: entries(main, me.private_address), ..me.clone() };
    if now != me {
        now.save(&layout.identity())?;
        end_kept(layout).await?;
    }
    Ok(())
}

fn of(main: &Layout, name: &str) -> anyhow::Result<Layout> {
    let dir = main.root().join("servers").join(name);
    make_dir(&dir, 0o700)?;
    Layout::make(&dir)
}

/// Every server beside the first that has ever been, by name.
pub(super) fn all(main: &Layout) -> anyhow::Result<Vec<Layout>> {
    let dir = main.root().join("servers");
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("can't read `{}`", dir.display())),
    };
    let mut dirs: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    dirs.sort();
    dirs.iter().map(|dir| Layout::make(dir)).collect()
}

/// In place of the cluster's name, where runs are only ended.
const NOTHING_STARTS: &str = "";

/// Ends what a server runs: its daemon, then its replicas, then its load balancer. False: nothing of it ran.
pub(super) async fn down(layout: &Layout) -> anyhow::Result<bool> {
    let proxy = Keeper::find(&layout.keeper("proxy")).await?;
    let was_up = end_kept(layout).await? || proxy.is_some();
    let runtime = parts::open_runtimes(layout, NOTHING_STARTS.to_owned(), true, &Shutdown::new())?;
    pando_agent::stop_all(&runtime, STOP_TIMEOUT).await?;
    let containers = runtime.containers();
    if was_up && containers.is_in_use() {
        // What can't be had again is kept by other names; what stays in an engine that hangs, `pando prune` finds.
        let _ = tokio::time::timeout(Duration::from_secs(10), containers.unname_all()).await;
    }
    runtime.close(Duration::from_secs(5)).await;
    if let Some(proxy) = proxy {
        proxy.stop(Duration::from_secs(2)).await?;
    }
    Ok(was_up)
}

/// The one with this name, if it has ever been.
pub(super) fn named(main: &Layout, name: &ServerName) -> anyhow::Result<Option<Layout>> {
    let dir = main.root().join("servers").join(name.as_str());
    if dir.is_dir() { Ok(Some(Layout::make(&dir)?)) } else { Ok(None) }
}

/// Kills what a server runs, and nothing has time to say so: what keeps a program first, then the program.
pub(super) async fn kill(layout: &Layout) -> anyhow::Result<usize> {
    let mut killed = 0;
    for name in ["daemon", "proxy"] {
        let Some(keeper) = Keeper::find(&layout.keeper(name)).await? else { continue };
        let program = keeper.program_pid().await?;
        for pid in [Some(keeper.pid()), program].into_iter().flatten() {
            kill_process(pid).with_context(|| format!("can't kill the process {pid} of `{name}`"))?;
            killed += 1;
        }
    }
    let runtime = parts::open_runtimes(layout, NOTHING_STARTS.to_owned(), true, &Shutdown::new())?;
    killed += runtime.adopt().await?.iter().filter(|held| held.exit.is_none()).count();
    pando_agent::stop_all(&runtime, Millis::ZERO).await?;
    runtime.close(Duration::from_secs(5)).await;
    Ok(killed)
}

fn kill_process(pid: u32) -> std::io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    let pid = pid.ok_or(std::io::ErrorKind::InvalidInput)?;
    Ok(rustix::process::kill_process(pid, rustix::process::Signal::KILL)?)
}
