//! Follows a container to its end: stores what it prints, and tells how it ended.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::models::{ContainerInspectResponse, ContainerState};
use bollard::query_parameters::{EventsOptions, LogsOptions, WaitContainerOptions};
use futures_util::{Stream, StreamExt};
use pando_model::observed::ExitReport;
use pando_model::time::{Millis, Timestamp};
use pando_rt::backoff::Backoff;
use tokio::time::Instant;

use super::engine::{Engine, EngineError, PATIENCE};
use super::find;
use super::journal::{Journal, last_lines, moment};
use super::record::Record;
use super::shared::Shared;
use crate::process::blocking;
use crate::run::{RunEvent, RunKey};

/// An engine that is away is asked again after so long. It is this machine's own, and costs little to ask.
const AWAY: Backoff = Backoff { first: Duration::from_millis(100), most: Duration::from_secs(2) };

/// For the last of the output after the end, before it is fetched once more in one piece.
const LAST_OUTPUT: Duration = Duration::from_secs(2);

/// Pieces of output that are stored in one go: as many as come within a moment of the first. To store them costs little more than to
/// store one.
const AT_ONCE: usize = 256;
const MOMENT: Duration = Duration::from_millis(5);

/// So long an adoption waits for the rest of a container's output. What is more is stored meanwhile, and others are adopted.
const SOON: Duration = Duration::from_secs(2);

/// SIGKILL, which the kernel sends who has more memory than it may.
const KILLED: i32 = 9;

/// A want of memory so long before the end has to do with it.
const AT_THE_END: Millis = Millis::from_secs(2);

type SharedJournal = Arc<Mutex<Journal>>;

/// Tells the end of the run when it comes. To be called once a run; `remarks` are to stand before its output.
pub(super) fn watch(shared: &Arc<Shared>, record: Record, remarks: Vec<String>) {
    let there = Arc::clone(shared);
    // May be dropped at any await: another watch finds everything on disk and at the engine.
    shared.book.tasks.spawn_until_shutdown(async move {
        let exit = to_the_end(&there, &record, remarks).await;
        tell(&there, record.spec.key, exit).await;
    });
}

async fn tell(shared: &Shared, key: RunKey, exit: ExitReport) {
    if let Some(held) = &mut *shared.book.slot(key).lock().await {
        held.exit = Some(exit.clone());
        held.pid = None;
    }
    // Nobody listens: nobody wants to know.
    let _ = shared.book.events.send(RunEvent::Ended { key, exit }).await;
}

async fn to_the_end(shared: &Arc<Shared>, record: &Record, mut remarks: Vec<String>) -> ExitReport {
    let mut failures = 0;
    loop {
        let followed = async {
            let journal = open(shared, record).await?;
            for text in std::mem::take(&mut remarks) {
                remark(shared, &journal, text).await;
            }
            follow(shared, record, &journal, &mut failures).await?;
            finish(shared, record, &journal).await
        };
        match followed.await {
            Ok(exit) => return exit,
            Err(error) => {
                tracing::debug!("container `{}` can't be followed now: {error}", record.container);
                tokio::time::sleep(AWAY.nth(failures)).await;
                failures = failures.saturating_add(1);
            }
        }
    }
}

/// How a container that does not run any more ended. Its output is complete in the log, and its end on disk, when this
/// answers. `None`: there is much output, and the end is told as that of a container that runs, once it is stored.
pub(super) async fn settle(shared: &Arc<Shared>, record: &Record) -> Result<Option<ExitReport>, EngineError> {
    let (there, of) = (Arc::clone(shared), record.clone());
    let mut settled = Box::pin(async move { (settle_all(&there, &of).await, there, of) });
    if let Ok((exit, ..)) = tokio::time::timeout(SOON, &mut settled).await {
        return exit.map(Some);
    }
    // May be dropped at any await, as a watch.
    shared.book.tasks.spawn_until_shutdown(async move {
        let (settled, shared, record) = settled.await;
        let exit = match settled {
            Ok(exit) => exit,
            Err(_) => to_the_end(&shared, &record, Vec::new()).await,
        };
        tell(&shared, record.spec.key, exit).await;
    });
    Ok(None)
}

async fn settle_all(shared: &Arc<Shared>, record: &Record) -> Result<ExitReport, EngineError> {
    let journal = open(shared, record).await?;
    finish(shared, record, &journal).await
}

async fn open(shared: &Arc<Shared>, record: &Record) -> Result<SharedJournal, EngineError> {
    let (records, record, logs) = (shared.records(record.spec.key), record.clone(), shared.logs());
    let opened = blocking(move || Journal::open(records, &record, &logs)).await;
    let journal = opened.map_err(|error| EngineError::Unfit(format!("its log can't be read: {error}")))?;
    Ok(Arc::new(Mutex::new(journal)))
}

/// Returns when the container does not run any more, or is gone.
async fn follow(
    shared: &Arc<Shared>,
    record: &Record,
    journal: &SharedJournal,
    failures: &mut u32,
) -> Result<(), EngineError> {
    let key = record.spec.key;
    let Some(found) = shared.inspect(key, &record.container).await? else { return Ok(()) };
    *failures = 0;
    if !find::is_running(&found) {
        return Ok(());
    }
    let id = found.id.clone().unwrap_or_else(|| record.container.clone());
    if let Some(held) = &mut *shared.book.slot(key).lock().await {
        held.pid = find::pid_of(&found);
    }
    let mut ended = pin!(ended(&shared.engine, &id));
    let mut output = pin!(store(&shared.engine, &id, journal, true));
    // Both may be dropped at any await: the output is fetched again from where the journal is.
    tokio::select! {
        ended = &mut ended => {
            ended?;
            let _ = tokio::time::timeout(LAST_OUTPUT, output).await;
            Ok(())
        }
        stored = &mut output => {
            stored?;
            // The engine closes the output at the end, and now and then before.
            tokio::time::timeout(LAST_OUTPUT, ended).await.unwrap_or_else(|_| {
                Err(EngineError::Unfit("the engine stopped telling what it prints".to_owned()))
            })
        }
    }
}

/// Waits as long as it takes. The engine's connection breaks when the engine ends, and that is an error.
async fn ended(engine: &Engine, id: &str) -> Result<(), EngineError> {
    let docker = engine.connected().await?.docker.with_timeout(PATIENCE);
    let mut answers =
        docker.wait_container(id, Some(WaitContainerOptions { condition: "not-running".to_owned() }));
    match answers.next().await {
        // How it ended is asked for by itself.
        Some(Ok(_) | Err(bollard::errors::Error::DockerContainerWaitError { .. })) => Ok(()),
        Some(Err(error)) => Err(engine.judge(&error)),
        None => Err(EngineError::Unfit("the engine ended the wait without a word".to_owned())),
    }
}

/// Stores what the engine tells, to the end of it.
async fn store(engine: &Engine, id: &str, journal: &SharedJournal, follow: bool) -> Result<(), EngineError> {
    let since = with(journal, Journal::begin).await?;
    let docker = engine.connected().await?.docker.with_timeout(PATIENCE);
    let options = LogsOptions { follow, since, stdout: true, stderr: true, timestamps: true, ..all() };
    let mut told = docker.logs(id, Some(options)).fuse();
    while let Some(pieces) = gather(&mut told).await {
        let (mut good, mut wrong) = (Vec::with_capacity(pieces.len()), None);
        for piece in pieces {
            match piece {
                Ok(piece) => good.push(piece),
                Err(error) => wrong = Some(error),
            }
        }
        with(journal, move |journal| journal.take(&good)).await?;
        if let Some(error) = wrong {
            return Err(engine.judge(&error));
        }
    }
    Ok(())
}

/// What comes within a moment. `None`: nothing comes any more.
async fn gather<T>(told: &mut (impl Stream<Item = T> + Unpin)) -> Option<Vec<T>> {
    let mut pieces = vec![told.next().await?];
    let until = Instant::now() + MOMENT;
    while pieces.len() < AT_ONCE
        && let Ok(Some(piece)) = tokio::time::timeout_at(until, told.next()).await
    {
        pieces.push(piece);
    }
    Some(pieces)
}

fn all() -> LogsOptions {
    LogsOptions { tail: "all".to_owned(), ..LogsOptions::default() }
}

async fn with<T: Send + 'static>(
    journal: &SharedJournal,
    work: impl FnOnce(&mut Journal) -> T + Send + 'static,
) -> Result<T, EngineError> {
    let journal = Arc::clone(journal);
    // A line that made a thread panic left the journal as it was before that line.
    let done = blocking(move || Ok(work(&mut journal.lock().unwrap_or_else(PoisonError::into_inner)))).await;
    done.map_err(|error| EngineError::Unfit(format!("its output can't be stored: {error}")))
}

async fn remark(shared: &Arc<Shared>, journal: &SharedJournal, text: String) {
    let now = shared.now();
    let _ = with(journal, move |journal| journal.remark(now, &text)).await;
}

/// Stores the rest of the output, and puts the end on disk.
async fn finish(
    shared: &Arc<Shared>,
    record: &Record,
    journal: &SharedJournal,
) -> Result<ExitReport, EngineError> {
    let key = record.spec.key;
    let (exit, how) = match shared.inspect(key, &record.container).await? {
        Some(found) => {
            if find::is_running(&found) {
                return Err(EngineError::Unfit("it runs again, and nobody of Pando's started it".to_owned()));
            }
            let id = found.id.clone().unwrap_or_else(|| record.container.clone());
            store(&shared.engine, &id, journal, false).await?;
            let mut exit = report(found.state.as_ref(), tail(&shared.engine, &id).await?);
            if exit.signal == Some(KILLED) && record.spec.resources.memory_bytes.is_some() {
                exit.out_of_memory |= ran_short(shared, record, &found).await?;
            }
            let how = crate::shim::how_it_ended(exit.code, exit.signal);
            (exit, how)
        }
        None => (report(None, Vec::new()), "its container is gone, and nobody saw how it ended".to_owned()),
    };
    let (now, records, there) = (shared.now(), shared.records(key), exit.clone());
    let kept = with(journal, move |journal| {
        journal.finish();
        journal.remark(now, &how);
        records.set_exit(&there)
    });
    match kept.await? {
        Ok(()) => Ok(exit),
        // It was forgotten meanwhile.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(exit),
        Err(error) => Err(EngineError::Unfit(format!("its end can't be written down: {error}"))),
    }
}

/// The last lines of its output.
async fn tail(engine: &Engine, id: &str) -> Result<Vec<String>, EngineError> {
    let docker = engine.connected().await?.docker.with_timeout(PATIENCE);
    let tail = crate::lines::LAST_LINES.to_string();
    let options =
        LogsOptions { stdout: true, stderr: true, timestamps: true, tail, ..LogsOptions::default() };
    let told = docker.logs(id, Some(options)).collect::<Vec<Result<LogOutput, _>>>();
    let told = tokio::time::timeout(PATIENCE, told).await.unwrap_or_default();
    let pieces: Result<Vec<LogOutput>, _> = told.into_iter().collect();
    Ok(last_lines(&pieces.map_err(|error| engine.judge(&error))?))
}

/// Whether the engine has told of a want of memory at the end. When it hears of that after the end, its account of the end says nothing
/// of it. An earlier one, which a process of the container survived or not, is another matter.
async fn ran_short(
    shared: &Shared,
    record: &Record,
    found: &ContainerInspectResponse,
) -> Result<bool, EngineError> {
    let finished = found.state.as_ref().and_then(|state| moment(state.finished_at.as_deref()?));
    let since = finished.map_or(record.created_at, |at| at - AT_THE_END).max(record.created_at);
    let id = found.id.as_deref().unwrap_or(&record.container);
    let docker = shared.engine.connected().await?.docker;
    let only = [("container", id), ("event", "oom")].map(|(name, of)| (name.to_owned(), vec![of.to_owned()]));
    let seconds = |at: Timestamp| format!("{}.{:03}000000", at.as_millis() / 1000, at.as_millis() % 1000);
    let options = EventsOptions {
        since: Some(seconds(since)),
        until: Some(seconds(shared.now())),
        filters: Some(only.into()),
    };
    let mut events = Box::pin(docker.events(Some(options)));
    let told = tokio::time::timeout(PATIENCE, events.next()).await.ok().flatten();
    Ok(told.transpose().map_err(|error| shared.engine.judge(&error))?.is_some())
}

/// The engine's account of an end. A signal is told as 128 and its number.
fn report(state: Option<&ContainerState>, last_lines: Vec<String>) -> ExitReport {
    let code = state.and_then(|state| state.exit_code).and_then(|code| i32::try_from(code).ok());
    let signal = code.filter(|code| (129..=128 + 64).contains(code)).map(|code| code - 128);
    ExitReport {
        code: code.filter(|_| signal.is_none()),
        signal,
        out_of_memory: state.is_some_and(|state| state.oom_killed == Some(true)),
        last_lines,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_told_from_codes_as_far_as_the_engine_does() {
        let told = |exit_code| {
            let state = ContainerState { exit_code: Some(exit_code), ..ContainerState::default() };
            let exit = report(Some(&state), Vec::new());
            (exit.code, exit.signal)
        };
        assert_eq!(
            [0, 3, 127, 255].map(told),
            [(Some(0), None), (Some(3), None), (Some(127), None), (Some(255), None)]
        );
        assert_eq!([137, 143].map(told), [(None, Some(9)), (None, Some(15))]);
        let unseen = report(None, Vec::new());
        assert_eq!((unseen.code, unseen.signal, unseen.out_of_memory), (None, None, false));
    }
}
