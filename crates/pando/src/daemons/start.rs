//! Starting this server's daemon: by systemd where that runs, else under a keeper of its own.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use pando_api::client::Client;
use pando_runtime::keeper::Keeper;
use pando_runtime::logs::LogSettings;
use pando_runtime::shim::KeepSpec;
use tokio::process::Command;

use super::args::{PRUNE_BELOW_ENV, STATE_DIR};
use super::layout::Layout;
use super::me::Me;
use super::parts::{keeper_program, own_program, taken};
use crate::exit::{FAILED, Trouble};

/// How long the daemon may take to end.
const DOWN_WITHIN: Duration = Duration::from_secs(15);

/// How long a control plane may take until it answers; on a slow disk its store alone takes seconds.
const UP_WITHIN: Duration = Duration::from_secs(30);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// Who holds the daemon up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    Systemd,
    Keeper,
}

/// Starts the daemon of a server that has a place in a cluster; one that runs stays. A control server's is up when this returns.
pub(crate) async fn start(layout: &Layout, me: &Me) -> anyhow::Result<Held> {
    let held = hold(layout).await?;
    if me.api.is_some() {
        answers(layout, &me.control, held).await?;
    }
    Ok(held)
}

async fn hold(layout: &Layout) -> anyhow::Result<Held> {
    if is_systemd_s(layout) {
        systemctl(&["enable", "--now", "pando.service"]).await?;
        return Ok(Held::Systemd);
    }
    let path = std::env::var("PATH")
        .unwrap_or_else(|_| "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned());
    let mut env = taken(&[PRUNE_BELOW_ENV]);
    env.insert("PATH".to_owned(), path);
    keep(layout, env).await?;
    Ok(Held::Keeper)
}

/// Waits until the control plane that was started here answers, so that the next command finds it.
async fn answers(layout: &Layout, url: &str, held: Held) -> anyhow::Result<()> {
    let client = Client::new(url, None)?;
    let until = Instant::now() + UP_WITHIN;
    while let Err(error) = client.health().await {
        if Instant::now() >= until {
            let seconds = UP_WITHIN.as_secs();
            let told =
                format!("the daemon was started, and its API gives no answer within {seconds} s: {error}");
            let log = match held {
                Held::Systemd => "`journalctl -u pando`".to_owned(),
                Held::Keeper => format!("`{}`", layout.own_logs().join("daemon.log").display()),
            };
            let hint = format!("its log says why: {log}; `pando server start` tries again");
            return Err(Trouble::new(FAILED, "not_up", told).hint(hint).into());
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Under a keeper, with this environment.
pub(crate) async fn keep(layout: &Layout, env: BTreeMap<String, String>) -> anyhow::Result<()> {
    let root = layout.root().to_str();
    let root =
        root.with_context(|| format!("the path `{}` is not UTF-8", layout.root().display()))?.to_owned();
    let spec = KeepSpec {
        name: "daemon".to_owned(),
        program: own_program()?,
        args: vec!["daemon".to_owned(), "--state-dir".to_owned(), root],
        env,
        user: None,
        listen: Vec::new(),
        dir: layout.keeper("daemon"),
        // The state has one daemon at a time; replicas and the load balancer go on without.
        hands_over: false,
        log_directory: layout.own_logs(),
        log: LogSettings::default(),
    };
    Keeper::ensure(&keeper_program()?, &spec).await?;
    Ok(())
}

/// Ends a daemon that a keeper holds. False: none does.
pub(crate) async fn end_kept(layout: &Layout) -> anyhow::Result<bool> {
    match Keeper::find(&layout.keeper("daemon")).await? {
        Some(living) => living.stop(DOWN_WITHIN).await.map(|()| true).map_err(Into::into),
        None => Ok(false),
    }
}

/// The service manager runs, knows the service, and the state is where the service looks for it.
fn is_systemd_s(layout: &Layout) -> bool {
    let unit = ["/etc/systemd/system/pando.service", "/usr/lib/systemd/system/pando.service"];
    Path::new("/run/systemd/system").is_dir()
        && layout.root() == Path::new(STATE_DIR)
        && unit.iter().any(|path| Path::new(path).exists())
}

async fn systemctl(args: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new("systemctl");
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    let asked = tokio::time::timeout(Duration::from_secs(60), command.output());
    let output = asked.await.context("systemctl did not end within 60 s")?.context("can't run systemctl")?;
    if !output.status.success() {
        bail!("systemctl {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
