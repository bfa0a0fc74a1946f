//! Stays with a run to tell its end, and asks its shim to stop it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use pando_model::observed::ExitReport;
use pando_model::time::Millis;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use super::registry::Registry;
use super::{blocking, find, lost};
use crate::book::failed;
use crate::control::{Address, LONGEST_LINE, Request, Told, to_line};
use crate::dir::RunDir;
use crate::run::{RunEvent, RunKey, RuntimeError};

/// Before looking again when the shim doesn't listen but holds its lock: it is about to begin or to end.
const SOON: Duration = Duration::from_millis(5);

/// After a disk error.
const LATER: Duration = Duration::from_secs(1);

/// A shim answers within a millisecond unless the machine is out of breath.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// Tells the end of `key` when it comes. To be called once a run.
pub(super) fn watch(registry: &Arc<Registry>, key: RunKey) {
    let registry_there = Arc::clone(registry);
    // May be dropped at any await: another watch finds everything on disk.
    registry.book.tasks.spawn_until_shutdown(async move {
        let registry = registry_there;
        let exit = wait_for_end(&registry, key).await;
        if let Some(held) = &mut *registry.book.slot(key).lock().await {
            held.exit = Some(exit.clone());
            held.pid = None;
        }
        // Nobody listens: nobody wants to know.
        let _ = registry.book.events.send(RunEvent::Ended { key, exit }).await;
    });
}

async fn wait_for_end(registry: &Arc<Registry>, key: RunKey) -> ExitReport {
    let dir = registry.book.dir(key);
    loop {
        if let Ok(exit) = listen(&dir).await {
            return exit;
        }
        let (there, registry_there) = (dir.clone(), Arc::clone(registry));
        match blocking(move || settle(&there, &registry_there)).await {
            Ok(Some(exit)) => return exit,
            Ok(None) => tokio::time::sleep(SOON).await,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return lost::unseen(),
            Err(error) => {
                tracing::warn!(target: "pando", "can't tell how run {}.{} fares: {error}", key.id, key.attempt);
                tokio::time::sleep(LATER).await;
            }
        }
    }
}

/// Until the shim tells the end. An error: it doesn't, or no longer, speak.
async fn listen(dir: &RunDir) -> io::Result<ExitReport> {
    let mut lines = BufReader::new(connect(dir).await?);
    loop {
        if let Told::Ended { exit } = read(&mut lines).await? {
            return Ok(exit);
        }
    }
}

/// How a run that nobody speaks for ended. `None`: its shim lives.
fn settle(dir: &RunDir, registry: &Registry) -> io::Result<Option<ExitReport>> {
    let Some(_lock) = dir.try_lock()? else { return Ok(None) };
    let status = dir.status()?;
    if let Some(exit) = status.as_ref().and_then(|status| status.exit.clone()) {
        return Ok(Some(exit));
    }
    let Some(launch) = dir.launch()? else { return Ok(Some(lost::unseen())) };
    tracing::warn!(target: "pando", "the shim of `{}` of app `{}` was killed; what is left of it is ended", launch.spec.name, launch.spec.app);
    lost::settle(dir, &launch, status, &registry.boot, &registry.logs()).map(Some)
}

/// Asks the run's shim, which then goes on by itself.
pub(super) async fn stop(registry: &Arc<Registry>, key: RunKey, timeout: Millis) -> Result<(), RuntimeError> {
    let runs = find::held(registry, key).await?.is_some_and(|held| held.exit.is_none());
    if !runs {
        return Ok(());
    }
    let asked =
        tokio::time::timeout(STOP_PATIENCE, ask(&registry.book.dir(key), &Request::Stop { timeout })).await;
    match asked.map_err(io::Error::from).flatten() {
        Ok(()) => Ok(()),
        // It ended, or was killed, meanwhile: the watch tells.
        Err(error) if is_gone(&error) => Ok(()),
        Err(error) => {
            Err(failed(format!("ask the shim of run {}.{} to stop it", key.id, key.attempt))(error))
        }
    }
}

async fn ask(dir: &RunDir, request: &Request) -> io::Result<()> {
    let mut lines = BufReader::new(connect(dir).await?);
    lines.get_mut().write_all(&to_line(request)?).await?;
    // Whatever comes first: it was heard, or the run has ended.
    read(&mut lines).await.map(|_| ())
}

fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, NotFound, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionRefused | ConnectionReset | NotFound | UnexpectedEof)
}

async fn connect(dir: &RunDir) -> io::Result<UnixStream> {
    let address = Address::of(dir.path())?;
    UnixStream::connect(address.path()).await
}

async fn read(lines: &mut BufReader<UnixStream>) -> io::Result<Told> {
    let mut line = Vec::new();
    lines.take(LONGEST_LINE).read_until(b'\n', &mut line).await?;
    if line.last() != Some(&b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    serde_json::from_slice(&line).map_err(io::Error::other)
}
