//! What every [`Runtime`] promises, as a suite that each implementation runs in its own tests.
//!
//! An implementation brings a [`Subject`]; each function here is one promise, and panics when it is broken. [`check_all`] runs
//! them all.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use pando_model::name::AppName;
use pando_model::observed::ExitReport;
use pando_model::resources::Resources;
use pando_model::time::Millis;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::run::{Held, Place, RunEvent, RunKey, RunSpec, Runtime, StartError};

/// How long anything that should happen may take before it counts as not happening: a machine under load is no failure.
const PATIENCE: Duration = Duration::from_secs(20);

/// How a run of the suite behaves. A [`Subject`] translates it into a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Runs until SIGTERM, and ends by it.
    Runs,
    /// Prints `one` and `two`, then ends with this code.
    Ends(i32),
    /// Runs, and ends by SIGKILL only.
    IgnoresSigterm,
    /// Can't be started: its directory, or its image, does not exist.
    NowhereToRun,
}

/// An implementation under test.
pub trait Subject: Send {
    type Runtime: Runtime;

    /// The runtime as it is now.
    fn runtime(&self) -> &Self::Runtime;

    /// Ends this program's part of the runtime and opens it anew, as a restart of the daemon does. Runs go on.
    fn reopen(&mut self) -> impl Future<Output = ()> + Send;

    /// The command and the place of such a run.
    fn command(&self, behaviour: Behaviour) -> (String, Place);

    /// Waits until a run has decided what it does at SIGTERM: a program needs a moment to begin, and the kernel doesn't end the
    /// first process of a container by a signal that it says nothing of.
    fn settled(&self, spec: &RunSpec) -> impl Future<Output = ()> + Send;

    /// Lets so much time go by for the runtime.
    fn pass(&self, time: Millis) -> impl Future<Output = ()> + Send;

    /// How much time has gone by for the runtime since some beginning.
    fn clock(&self) -> Millis;

    /// Makes something foreign listen on an address, and tells which.
    fn occupy(&mut self) -> std::net::SocketAddr;

    /// Ends that.
    fn free(&mut self);
}

/// A run of the suite: key and name are its own.
#[must_use]
pub fn spec<S: Subject>(subject: &S, behaviour: Behaviour) -> RunSpec {
    let (command, place) = subject.command(behaviour);
    // The suite's ids need only differ; their order means nothing to a runtime.
    let id = Uuid::now_v7();
    RunSpec {
        key: RunKey { id, attempt: 0 },
        app: app(),
        name: format!("run-{id}"),
        command,
        place,
        env: BTreeMap::new(),
        user: None,
        resources: Resources::default(),
        port: None,
    }
}

fn app() -> AppName {
    "contract".parse().expect("a DNS label")
}

/// Checks every promise, each with a subject of its own.
pub async fn check_all<S: Subject>(make: impl Fn() -> S) {
    a_start_answers_with_a_process(make()).await;
    starting_twice_starts_once(make()).await;
    starting_at_the_same_time_starts_once(make()).await;
    starting_again_after_a_restart_starts_once(make()).await;
    an_end_is_told_once_with_code_and_last_lines(make()).await;
    a_stop_ends_by_sigterm(make()).await;
    what_ignores_sigterm_is_killed_after_the_timeout(make()).await;
    stopping_again_may_hasten_the_end(make()).await;
    stopping_what_does_not_run_changes_nothing(make()).await;
    a_taken_port_is_refused_and_may_be_had_later(make()).await;
    a_refused_start_leaves_nothing(make()).await;
    a_restart_finds_what_runs_and_tells_its_end(make()).await;
    a_restart_finds_what_ended_meanwhile(make()).await;
    adopting_twice_changes_nothing(make()).await;
    what_is_forgotten_is_gone_and_never_starts_again(make()).await;
    what_runs_is_not_forgotten(make()).await;
    an_older_start_is_refused(make()).await;
    events_have_one_reader(make()).await;
}

/// A start answers once there is a process, and with its spec.
pub async fn a_start_answers_with_a_process<S: Subject>(subject: S) {
    let spec = spec(&subject, Behaviour::Runs);
    let held = start(&subject, &spec).await;
    assert_eq!((&held.spec, held.exit.is_none(), held.pid.is_some()), (&spec, true, true));
    end(&subject, &[spec.key]).await;
}

/// The second start of a key answers with the run that exists, also when that has ended.
pub async fn starting_twice_starts_once<S: Subject>(subject: S) {
    let mut events = events(&subject);
    let spec = spec(&subject, Behaviour::Runs);
    let first = start(&subject, &spec).await;
    assert_eq!(start(&subject, &spec).await, first);
    subject.settled(&spec).await;
    stop(&subject, spec.key, Millis::from_secs(60)).await;
    let exit = ended(&mut events, spec.key).await;
    let again = start(&subject, &spec).await;
    assert_eq!((again.pid, again.exit), (None, Some(exit)));
    nothing_more(&subject, &mut events).await;
}

/// Starts of one key that meet start it once.
pub async fn starting_at_the_same_time_starts_once<S: Subject>(subject: S) {
    let spec = spec(&subject, Behaviour::Runs);
    let starts = (0..8).map(|_| subject.runtime().start(spec.clone()));
    let pids: Vec<Option<u32>> = futures_util::future::join_all(starts)
        .await
        .into_iter()
        .map(|held| held.expect("a start of the same key").pid)
        .collect();
    assert!(pids[0].is_some() && pids.iter().all(|pid| *pid == pids[0]), "{pids:?}");
    end(&subject, &[spec.key]).await;
}

/// A start that is repeated after a restart, even before anything is adopted, answers with the run that exists.
pub async fn starting_again_after_a_restart_starts_once<S: Subject>(mut subject: S) {
    let spec = spec(&subject, Behaviour::Runs);
    let first = start(&subject, &spec).await;
    subject.reopen().await;
    assert_eq!(start(&subject, &spec).await, first);
    end(&subject, &[spec.key]).await;
}

/// An end is told once, with its exit code and the last lines of output.
pub async fn an_end_is_told_once_with_code_and_last_lines<S: Subject>(subject: S) {
    let mut events = events(&subject);
    for code in [0, 3] {
        let spec = spec(&subject, Behaviour::Ends(code));
        start(&subject, &spec).await;
        let exit = ended(&mut events, spec.key).await;
        let last_lines = vec!["one".to_owned(), "two".to_owned()];
        assert_eq!(exit, ExitReport { code: Some(code), signal: None, out_of_memory: false, last_lines });
    }
    nothing_more(&subject, &mut events).await;
}

/// A stop sends SIGTERM at once.
pub async fn a_stop_ends_by_sigterm<S: Subject>(subject: S) {
    let mut events = events(&subject);
    let spec = spec(&subject, Behaviour::Runs);
    start(&subject, &spec).await;
    subject.settled(&spec).await;
    stop(&subject, spec.key, Millis::from_secs(3600)).await;
    let exit = ended(&mut events, spec.key).await;
    assert_eq!((exit.code, exit.signal), (None, Some(15)));
    let held = adopt(&subject).await;
    assert_eq!((held[0].pid, held[0].exit.as_ref()), (None, Some(&exit)));
}

/// SIGKILL follows SIGTERM after the timeout, not before.
pub async fn what_ignores_sigterm_is_killed_after_the_timeout<S: Subject>(subject: S) {
    let mut events = events(&subject);
    let spec = spec(&subject, Behaviour::IgnoresSigterm);
    start(&subject, &spec).await;
    subject.settled(&spec).await;
    let (asked, timeout) = (subject.clock(), Millis(300));
    stop(&subject, spec.key, timeout).await;
    let patience = tokio::time::Instant::now() + PATIENCE;
    let exit = loop {
        match events.try_recv() {
            Ok(RunEvent::Ended { exit, .. }) => break exit,
            Err(_) => subject.pass(Millis(10)).await,
        }
        assert!(tokio::time::Instant::now() < patience, "it goes on");
    };
    assert_eq!((exit.code, exit.signal), (None, Some(9)));
    // Clocks round to the millisecond.
    let took = subject.clock().0 - asked.0;
    assert!(took + 1 >= timeout.0, "killed after {took} ms");
}

/// A second stop with less time counts; one with more doesn't.
pub async fn stopping_again_may_hasten_the_end<S: Subject>(subject: S) {
    let mut events = events(&subject);
    let spec = spec(&subject, Behaviour::IgnoresSigterm);
    start(&subject, &spec).await;
    subject.settled(&spec).await;
    stop(&subject, spec.key, Millis::from_secs(3600)).await;
    stop(&subject, spec.key, Millis(1)).await;
    stop(&subject, spec.key, Millis::from_secs(3600)).await;
    subject.pass(Millis(5)).await;
    assert_eq!(ended(&mut events, spec.key).await.signal, Some(9));
}

/// A stop of what has ended, or was never there, is no error and no event.
pub async fn stopping_what_does_not_run_changes_nothing<S: Subject>(subject: S) {
    let mut events = events(&subject);
    stop(&subject, RunKey { id: Uuid::from_u128(1), attempt: 0 }, Millis::ZERO).await;
    let spec = spec(&subject, Behaviour::Ends(0));
    start(&subject, &spec).await;
    let exit = ended(&mut events, spec.key).await;
    stop(&subject, spec.key, Millis::ZERO).await;
    nothing_more(&subject, &mut events).await;
    assert_eq!(adopt(&subject).await[0].exit, Some(exit));
}

/// A port on which something else listens is told as that, and nothing is left of the start.
pub async fn a_taken_port_is_refused_and_may_be_had_later<S: Subject>(mut subject: S) {
    let address = subject.occupy();
    let spec = RunSpec { port: Some(address), ..spec(&subject, Behaviour::Runs) };
    let refused = subject.runtime().start(spec.clone()).await;
    assert!(matches!(refused, Err(StartError::PortTaken(taken)) if taken == address), "{refused:?}");
    assert!(adopt(&subject).await.is_empty());
    subject.free();
    start(&subject, &spec).await;
    end(&subject, &[spec.key]).await;
}

/// A start that fails says why; the same key may be started once the reason is gone.
pub async fn a_refused_start_leaves_nothing<S: Subject>(mut subject: S) {
    let bad = spec(&subject, Behaviour::NowhereToRun);
    let refused = subject.runtime().start(bad.clone()).await;
    assert!(
        matches!(
            &refused,
            Err(StartError::Refused { command, .. } | StartError::NoImage { command, .. })
                if *command == bad.command
        ),
        "{refused:?}"
    );
    assert!(adopt(&subject).await.is_empty());
    subject.reopen().await;
    assert!(adopt(&subject).await.is_empty());
    let good = RunSpec { key: bad.key, ..spec(&subject, Behaviour::Runs) };
    start(&subject, &good).await;
    end(&subject, &[good.key]).await;
}

/// What runs goes on while the program restarts; its end is told to the new one.
pub async fn a_restart_finds_what_runs_and_tells_its_end<S: Subject>(mut subject: S) {
    let first = start(&subject, &spec(&subject, Behaviour::Runs)).await;
    let second = start(&subject, &spec(&subject, Behaviour::IgnoresSigterm)).await;
    for held in [&first, &second] {
        subject.settled(&held.spec).await;
    }
    subject.reopen().await;
    let mut events = events(&subject);
    let mut expected = vec![first.clone(), second.clone()];
    expected.sort_by_key(|held| held.spec.key);
    assert_eq!(adopt(&subject).await, expected);
    stop(&subject, first.spec.key, Millis::from_secs(3600)).await;
    assert_eq!(ended(&mut events, first.spec.key).await.signal, Some(15));
    stop(&subject, second.spec.key, Millis::ZERO).await;
    assert_eq!(ended(&mut events, second.spec.key).await.signal, Some(9));
}

/// What ended while nobody looked is found with its exit, and not told as an event again.
pub async fn a_restart_finds_what_ended_meanwhile<S: Subject>(mut subject: S) {
    let mut before = events(&subject);
    let spec = spec(&subject, Behaviour::Ends(4));
    start(&subject, &spec).await;
    let exit = ended(&mut before, spec.key).await;
    subject.reopen().await;
    let mut events = events(&subject);
    assert_eq!(adopt(&subject).await, [Held { spec, pid: None, exit: Some(exit), unmounted: Vec::new() }]);
    nothing_more(&subject, &mut events).await;
}

/// Everything held is told each time; an end is still told once.
pub async fn adopting_twice_changes_nothing<S: Subject>(mut subject: S) {
    let spec = spec(&subject, Behaviour::Runs);
    start(&subject, &spec).await;
    subject.settled(&spec).await;
    subject.reopen().await;
    let mut events = events(&subject);
    assert_eq!(adopt(&subject).await, adopt(&subject).await);
    stop(&subject, spec.key, Millis::from_secs(3600)).await;
    ended(&mut events, spec.key).await;
    nothing_more(&subject, &mut events).await;
}

/// A forgotten key is not held, and can't be started, now or after a restart; the next attempt can. Forgetting what isn't
/// there is no error.
pub async fn what_is_forgotten_is_gone_and_never_starts_again<S: Subject>(mut subject: S) {
    let mut events = events(&subject);
    let spec = spec(&subject, Behaviour::Ends(0));
    start(&subject, &spec).await;
    ended(&mut events, spec.key).await;
    for _ in 0..2 {
        subject.runtime().forget(spec.key).await.expect("forget");
    }
    assert!(adopt(&subject).await.is_empty());
    for _ in 0..2 {
        let again = subject.runtime().start(spec.clone()).await;
        assert!(matches!(again, Err(StartError::Refused { .. })), "{again:?}");
        subject.reopen().await;
    }
    let next = RunSpec { key: RunKey { attempt: 1, ..spec.key }, ..self::spec(&subject, Behaviour::Runs) };
    start(&subject, &next).await;
    end(&subject, &[next.key]).await;
}

/// Forgetting is for what has ended.
pub async fn what_runs_is_not_forgotten<S: Subject>(subject: S) {
    let spec = spec(&subject, Behaviour::Runs);
    let held = start(&subject, &spec).await;
    assert!(subject.runtime().forget(spec.key).await.is_err());
    assert_eq!(adopt(&subject).await, [held]);
    end(&subject, &[spec.key]).await;
}

/// A late order can't start an attempt before the newest one.
pub async fn an_older_start_is_refused<S: Subject>(subject: S) {
    let new = RunSpec { key: RunKey { id: Uuid::now_v7(), attempt: 2 }, ..spec(&subject, Behaviour::Runs) };
    start(&subject, &new).await;
    let old = RunSpec { key: RunKey { attempt: 1, ..new.key }, ..new.clone() };
    let refused = subject.runtime().start(old).await;
    assert!(matches!(refused, Err(StartError::Refused { .. })), "{refused:?}");
    end(&subject, &[new.key]).await;
}

/// The first to ask gets the receiver.
pub async fn events_have_one_reader<S: Subject>(subject: S) {
    assert!(subject.runtime().events().is_some());
    assert!(subject.runtime().events().is_none());
}

async fn start<S: Subject>(subject: &S, spec: &RunSpec) -> Held {
    subject.runtime().start(spec.clone()).await.expect("a start")
}

async fn stop<S: Subject>(subject: &S, key: RunKey, timeout: Millis) {
    subject.runtime().stop(key, timeout).await.expect("a stop");
}

async fn adopt<S: Subject>(subject: &S) -> Vec<Held> {
    let mut held = subject.runtime().adopt().await.expect("adoption");
    held.sort_by_key(|held| held.spec.key);
    held
}

/// Leaves nothing running behind a test.
async fn end<S: Subject>(subject: &S, keys: &[RunKey]) {
    for key in keys {
        stop(subject, *key, Millis::ZERO).await;
    }
    let all_ended = async {
        while adopt(subject).await.iter().any(|held| held.exit.is_none()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, all_ended).await.expect("an end after SIGKILL");
}

fn events<S: Subject>(subject: &S) -> mpsc::Receiver<RunEvent> {
    subject.runtime().events().expect("the first to ask")
}

async fn ended(events: &mut mpsc::Receiver<RunEvent>, key: RunKey) -> ExitReport {
    let event = tokio::time::timeout(PATIENCE, events.recv()).await.expect("an event in time");
    let RunEvent::Ended { key: told, exit } = event.expect("an open channel");
    assert_eq!(told, key);
    exit
}

/// No event is waiting, nor comes when another run ends after all that might still come.
async fn nothing_more<S: Subject>(subject: &S, events: &mut mpsc::Receiver<RunEvent>) {
    let last = spec(subject, Behaviour::Ends(0));
    start(subject, &last).await;
    ended(events, last.key).await;
    assert!(events.try_recv().is_err(), "an end was told twice");
    subject.runtime().forget(last.key).await.expect("forget");
}
