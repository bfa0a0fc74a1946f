//! The engine goes away and comes back: no end is made up, none is missed, and nothing runs twice.

use std::collections::BTreeSet;
use std::time::Duration;

use pando_model::time::Millis;
use pando_runtime::{Held, RunSpec, Runtime};
use rustix::process::Signal;

use super::bed::{Bed, spec};
use super::engine::OwnEngine;
use crate::support::until;

const TICKS: &str =
    "trap 'echo asked; exit 143' TERM; i=0; while true; do echo $i; i=$((i+1)); usleep 20000; done";

fn begin(live_restore: bool) -> (OwnEngine, Bed) {
    let mut engine = OwnEngine::new(live_restore);
    let bed = Bed::at(&engine.socket());
    engine.states.push(bed.root.path().to_owned());
    (engine, bed)
}

async fn held(bed: &Bed) -> Vec<Held> {
    bed.runtime.adopt().await.unwrap()
}

/// Engines know nothing of a network here; nothing else of a run needs one.
fn quiet(command: &str) -> RunSpec {
    spec(command)
}

async fn is_said_to_be_away(bed: &Bed) {
    until("the engine's absence is said", || {
        bed.runtime.warnings().iter().any(|warning| warning.contains("can't be reached"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_engine_takes_its_containers_along_and_their_ends_are_told_when_it_is_back() {
    let (mut engine, mut bed) = begin(false);
    let run = quiet(TICKS);
    bed.start(&run).await;
    bed.prints("web-1", |output| output.len() > 10).await;
    engine.kill();
    is_said_to_be_away(&bed).await;
    assert!(bed.events.try_recv().is_err(), "nobody knows how it fares");
    assert_eq!(held(&bed).await[0].exit, None);
    let refused = bed.runtime.start(quiet("sleep 1")).await.unwrap_err();
    assert!(pando_rt::error_chain::error_chain(&refused).contains("can't be reached"), "{refused:?}");
    engine.start();
    let exit = bed.ended(run.key).await;
    assert!(exit.code.is_some() || exit.signal.is_some(), "{exit:?}");
    assert!(bed.runtime.warnings().is_empty(), "{:?}", bed.runtime.warnings());
    let output = bed.output("web-1").await;
    let numbers: Vec<String> = (0..output.len()).map(|n| n.to_string()).collect();
    assert!(output == numbers || output[..output.len() - 1] == numbers[..numbers.len() - 1], "{output:?}");
    let again = RunSpec { key: pando_runtime::RunKey { attempt: 1, ..run.key }, ..run.clone() };
    bed.start(&again).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_live_restore_containers_live_on() {
    let (mut engine, mut bed) = begin(true);
    let run = quiet(TICKS);
    let first = bed.start(&run).await;
    bed.prints("web-1", |output| output.len() > 10).await;
    engine.kill();
    is_said_to_be_away(&bed).await;
    // The daemon restarts, too, with nobody to ask.
    bed.reopen().await;
    let unknown = held(&bed).await;
    assert_eq!((unknown.len(), &unknown[0].exit), (1, &None));
    engine.start();
    let lines = bed.output("web-1").await.len();
    bed.prints("web-1", |output| output.len() > lines + 20).await;
    assert_eq!(bed.start(&run).await.pid, first.pid, "it is the same");
    bed.runtime.stop(run.key, Millis::from_secs(20)).await.unwrap();
    assert_eq!(bed.ended(run.key).await.signal, Some(15));
    let mut output = bed.output("web-1").await;
    assert_eq!(output.pop().unwrap(), "asked");
    // What a pipe held while nobody read it is not lost; nothing is doubled.
    let distinct: BTreeSet<&String> = output.iter().collect();
    assert_eq!(distinct.len(), output.len(), "{output:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_hangs_holds_up_no_start_of_the_daemon() {
    let (engine, mut bed) = begin(false);
    let run = quiet("trap 'exit 143' TERM; echo up; while true; do usleep 20000; done");
    bed.start(&run).await;
    bed.prints("web-1", |output| output == ["up"]).await;
    bed.close().await;
    engine.signal(Signal::STOP);
    bed.open_untouched();
    bed.events = bed.runtime.events().unwrap();
    let begun = std::time::Instant::now();
    let unknown = held(&bed).await;
    assert!(begun.elapsed() < Duration::from_secs(15), "it took {:?}", begun.elapsed());
    assert_eq!((unknown.len(), &unknown[0].exit), (1, &None));
    engine.signal(Signal::CONT);
    bed.runtime.stop(run.key, Millis::from_secs(20)).await.unwrap();
    assert_eq!(bed.ended(run.key).await.signal, Some(15));
}

/// Whatever the moment of the engine's death: a start that failed leaves nothing, one that was answered runs, or is told to have ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn starts_that_meet_the_engines_death_leave_nothing() {
    let (mut engine, bed) = begin(true);
    let mark = uuid::Uuid::now_v7().to_string();
    let line = format!("while true; do usleep 20000; done # {mark}");
    let runs: Vec<RunSpec> = (0..6).map(|_| quiet(&line)).collect();
    let starting = futures_util::future::join_all(runs.iter().map(|run| bed.runtime.start(run.clone())));
    let (started, ()) = tokio::join!(starting, async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        tokio::task::block_in_place(|| engine.kill());
    });
    tokio::task::block_in_place(|| engine.start());
    let answered: BTreeSet<_> =
        runs.iter().zip(&started).filter(|(_, started)| started.is_ok()).map(|(run, _)| run.key.id).collect();
    let docker = bed.docker();
    let deadline = tokio::time::Instant::now() + crate::support::PATIENCE;
    loop {
        let found = docker.list_containers(Some(everything())).await.unwrap();
        let there: BTreeSet<uuid::Uuid> = found
            .iter()
            .filter_map(|one| one.labels.as_ref()?.get("pando.run")?.split('.').next()?.parse().ok())
            .collect();
        if there == answered {
            break;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "there are {there:?}, and {answered:?} were answered"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for (run, _) in runs.iter().zip(&started).filter(|(_, started)| started.is_err()) {
        bed.start(run).await;
    }
    assert_eq!(held(&bed).await.len(), 6);
    // The engine may know nothing of what came of a start in which it died.
    until("six processes, and no others", || processes_with(&mark) == 6).await;
}

/// Processes whose command line says so.
fn processes_with(mark: &str) -> usize {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let says = |entry: std::fs::DirEntry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(mark)
    };
    all.filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok())
        .map(says)
        .filter(|says| *says)
        .count()
}

fn everything() -> bollard::query_parameters::ListContainersOptions {
    bollard::query_parameters::ListContainersOptions { all: true, ..Default::default() }
}
