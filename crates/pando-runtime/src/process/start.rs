//! Starts a run: checks what can be checked, puts it on record, and hands it to a shim.

use std::io;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use pando_rt::error_chain::error_chain;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

use super::registry::Registry;
use super::{blocking, find, watch};
use crate::account;
use crate::control::{Answer, LONGEST_LINE};
use crate::dir::{Launch, RunDir};
use crate::port;
use crate::run::{Held, Place, RunKey, RunSpec, StartError};

/// Some milliseconds on an idle machine; a machine out of memory or disk time takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn start(registry: &Arc<Registry>, spec: RunSpec) -> Result<Held, StartError> {
    check(&spec)?;
    let key = spec.key;
    let slot = registry.book.slot(key);
    let mut known = slot.lock().await;
    if known.is_none() {
        let started = find_or_start(registry, spec).await;
        if started.is_err() {
            registry.book.drop_slot(key, &slot);
        }
        *known = Some(started?);
    }
    known.clone().ok_or_else(gone)
}

async fn find_or_start(registry: &Arc<Registry>, spec: RunSpec) -> Result<Held, StartError> {
    if let Some(held) = find::look(registry, spec.key).await.map_err(failed(&spec))? {
        return Ok(held);
    }
    if let Some(why) = registry.book.used_up(spec.key) {
        return Err(refused(&spec, why));
    }
    if let Some(address) = spec.port.filter(|address| port::is_taken(*address)) {
        return Err(StartError::PortTaken(address));
    }
    let launch = prepare(registry, spec).await?;
    let dir = registry.book.dir(launch.spec.key);
    let pid = match launch_shim(registry, &dir, &launch).await {
        Ok(pid) => pid,
        Err(_) if is_running(dir, &launch).await => {
            return find::look(registry, launch.spec.key)
                .await
                .map_err(failed(&launch.spec))?
                .ok_or_else(gone);
        }
        Err(error) => return Err(error),
    };
    watch::watch(registry, launch.spec.key);
    Ok(Held { spec: launch.spec, pid: Some(pid), exit: None, unmounted: Vec::new() })
}

fn gone() -> StartError {
    StartError::Refused { command: String::new(), why: "it is gone".to_owned() }
}

fn failed(spec: &RunSpec) -> impl FnOnce(io::Error) -> StartError + use<> {
    StartError::io(spec)
}

fn refused(spec: &RunSpec, why: impl Into<String>) -> StartError {
    StartError::refused(spec, why)
}

fn check(spec: &RunSpec) -> Result<(), StartError> {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if spec.name.is_empty()
        || spec.name.len() > 128
        || spec.name.starts_with('.')
        || !spec.name.bytes().all(good)
    {
        return Err(refused(spec, format!("`{}` can't be the name of a log", spec.name)));
    }
    if spec.command.trim().is_empty() {
        return Err(refused(spec, "there is no command"));
    }
    match &spec.place {
        Place::Directory(directory) if directory.is_absolute() => Ok(()),
        Place::Directory(directory) => {
            Err(refused(spec, format!("its directory `{}` is not absolute", directory.display())))
        }
        Place::Image(_) => Err(refused(spec, "an image runs in a container, not as a plain process")),
    }
}

async fn prepare(registry: &Arc<Registry>, spec: RunSpec) -> Result<Launch, StartError> {
    let account = match &spec.user {
        Some(name) => Some(account::ensure(name).await.map_err(|error| refused(&spec, error_chain(&error)))?),
        None => None,
    };
    let other = account.filter(|account| account.uid != rustix::process::geteuid().as_raw());
    if let Some(other) = other.as_ref().filter(|_| !rustix::process::geteuid().is_root()) {
        return Err(refused(&spec, format!("only root can run it as `{}`", other.name)));
    }
    let env = account::environment(&spec.env, &registry.settings.default_env, other.as_ref());
    let groups = limit(registry, &spec);
    let logs = registry.logs();
    Ok(Launch {
        env,
        account: other,
        groups,
        log_root: logs.root,
        log_settings: logs.settings,
        boot: registry.boot.clone(),
        spec,
    })
}

fn limit(registry: &Registry, spec: &RunSpec) -> Vec<crate::cgroup::RunGroup> {
    registry.warn_of_limits(&spec.resources);
    let RunKey { id, attempt } = spec.key;
    let made = registry.cgroups.make(&format!("{id}.{attempt}"), &spec.resources);
    made.unwrap_or_else(|error| registry.unlimited(&error))
}

/// The pid of the run's main process.
async fn launch_shim(registry: &Arc<Registry>, dir: &RunDir, launch: &Launch) -> Result<u32, StartError> {
    let spec = &launch.spec;
    let (dir_there, launch_there) = (dir.clone(), launch.clone());
    blocking(move || dir_there.create(&launch_there)).await.map_err(failed(spec))?;
    let mut shim = spawn(registry, dir).map_err(|source| {
        let program = registry.settings.shim_program.display();
        refused(spec, format!("its shim `{program}` can't be started: {source}"))
    })?;
    let answer = tokio::time::timeout(PATIENCE, read_answer(&mut shim)).await;
    // Waited for, so that it leaves no zombie; it outlives this program all the same.
    registry.book.tasks.spawn_until_shutdown(async move { drop(shim.wait().await) });
    match answer.map_err(io::Error::from).flatten() {
        Ok(Answer::Started { child }) => Ok(child.pid),
        Ok(Answer::Refused { why }) => Err(refused(spec, why)),
        Err(source) => Err(failed(spec)(source)),
    }
}

/// The shim needs nothing of this program's environment, and must not hold its working directory.
fn spawn(registry: &Registry, dir: &RunDir) -> io::Result<Child> {
    let settings = &registry.settings;
    let mut command = Command::new(&settings.shim_program);
    command.args(&settings.shim_args).args(["run", "--dir"]).arg(dir.path());
    command.env_clear().current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()
}

async fn read_answer(shim: &mut Child) -> io::Result<Answer> {
    let stdout = shim.stdout.take().ok_or_else(|| io::Error::other("the shim has no stdout"))?;
    let mut line = Vec::new();
    BufReader::new(stdout).take(LONGEST_LINE).read_until(b'\n', &mut line).await?;
    if line.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "its shim ended without a word"));
    }
    serde_json::from_slice(&line).map_err(io::Error::other)
}

/// A start that failed leaves nothing, so that it may be tried again; unless the run runs all the same: its shim could not say
/// so in time, or one that a killed daemon had started came late and took its place.
async fn is_running(dir: RunDir, launch: &Launch) -> bool {
    let groups = launch.groups.clone();
    let cleaned = blocking(move || {
        // A shim that refused has answered before it let go of its lock.
        let Some(lock) = dir.lock(Duration::from_secs(1))? else { return Ok(true) };
        if dir.status()?.is_some_and(|status| status.child.is_some()) {
            return Ok(true);
        }
        for group in &groups {
            let _ = group.remove();
        }
        drop(lock);
        dir.remove().map(|()| false)
    });
    cleaned.await.unwrap_or_else(|error| {
        tracing::warn!(target: "pando", "a failed start left something behind: {error}");
        false
    })
}
