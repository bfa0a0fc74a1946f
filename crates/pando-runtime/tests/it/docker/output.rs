//! What containers print is in the log, once, whatever is restarted meanwhile.

use bollard::models::ContainerSummary;
use bollard::query_parameters::{ListContainersOptions, WaitContainerOptions};
use futures_util::StreamExt;
use pando_runtime::logs::Stream;
use pando_runtime::{RunSpec, Runtime};

use super::bed::{Bed, SOON, spec};

/// Numbers as fast as a shell can, on both streams.
const COUNTS: &str = "i=0; while [ $i -lt 3000 ]; do echo $i; echo e$i >&2; i=$((i+1)); done";

fn of(stream: &str, output: &[String]) -> Vec<String> {
    output.iter().filter_map(|line| line.strip_prefix(stream)).map(str::to_owned).collect()
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|n| n.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_line_is_there_once_in_order_and_by_stream() {
    let mut bed = Bed::new();
    let run = spec(COUNTS);
    bed.start(&run).await;
    let exit = bed.ended(run.key).await;
    assert_eq!(exit.code, Some(0));
    assert_eq!(exit.last_lines.len(), 20);
    let printed = bed.printed("web-1").await;
    let of_stream = |wanted: Stream| {
        let lines = printed.iter().filter(|(stream, _)| *stream == wanted);
        lines.map(|(_, text)| text.clone()).collect::<Vec<String>>()
    };
    assert_eq!(of_stream(Stream::Stdout), numbers(3000));
    assert_eq!(of("e", &of_stream(Stream::Stderr)), numbers(3000));
    let remarks = of_stream(Stream::Pando);
    assert!(remarks[0].starts_with("started in container `pando-shop-web-1-"), "{remarks:?}");
    assert_eq!(remarks[1..], ["ended with exit code 0"]);
}

/// The runtime is closed and opened while a container prints, again and again: the disk knows how far it had come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarts_cost_no_line_and_double_none() {
    let mut bed = Bed::new();
    let run = spec(
        "i=0; while [ $i -lt 4000 ]; do echo $i; i=$((i+1)); [ $((i % 40)) = 0 ] && usleep 20000; done; cat",
    );
    bed.start(&run).await;
    // An end while nobody looked is told by who adopts.
    let mut has_ended = false;
    for round in 1..=8 {
        bed.prints("web-1", |output| output.len() >= round * 200).await;
        bed.reopen().await;
        has_ended = bed.runtime.adopt().await.unwrap()[0].exit.is_some();
    }
    if !has_ended {
        bed.ended(run.key).await;
    }
    assert_eq!(bed.output("web-1").await, numbers(4000));
}

/// Waits at the engine alone.
async fn ends(bed: &Bed, run: &RunSpec) {
    let docker = bed.docker();
    let listed = docker.list_containers(None::<ListContainersOptions>).await.unwrap();
    let of_run = |one: &ContainerSummary| {
        one.labels.as_ref().unwrap()["pando.run"].starts_with(&run.key.id.to_string())
    };
    let id = listed.into_iter().find(of_run).unwrap().id.unwrap();
    docker.wait_container(&id, None::<WaitContainerOptions>).next().await.unwrap().unwrap();
}

/// Nobody reads for a while: what was printed then is stored later, with the times of then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_printed_while_nobody_reads_is_stored_later() {
    let mut bed = Bed::new();
    let run = spec("echo before; sleep 1; echo meanwhile; echo no line end | dd bs=11 count=1 2>/dev/null");
    bed.start(&run).await;
    bed.prints("web-1", |output| output == ["before"]).await;
    bed.close().await;
    ends(&bed, &run).await;
    bed.reopen().await;
    let held = bed.runtime.adopt().await.unwrap();
    assert_eq!(held[0].exit.as_ref().unwrap().last_lines, ["before", "meanwhile", "no line end"]);
    assert_eq!(bed.output("web-1").await, ["before", "meanwhile", "no line end"]);
    let log = std::fs::read_to_string(bed.root.path().join("logs/shop/web-1.log")).unwrap();
    let times: Vec<&str> = log.lines().filter(|line| line.contains(" o ")).map(|line| &line[..24]).collect();
    assert!(times[0] < times[1], "{log}");
}

/// More was printed meanwhile than is stored in a moment: others are adopted, and the end is told when all is stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loud_end_that_nobody_saw_is_told_when_its_output_is_stored() {
    let mut bed = Bed::new();
    let (loud, calm) = (spec("sleep 1; seq 0 149999"), spec("exec sleep 600"));
    bed.start(&calm).await;
    bed.start(&loud).await;
    bed.close().await;
    ends(&bed, &loud).await;
    bed.reopen().await;
    let held = bed.runtime.adopt().await.unwrap();
    assert_eq!(held.len(), 2);
    let of = |run: &RunSpec| held.iter().find(|one| one.spec.key == run.key).unwrap().exit.clone();
    assert!(of(&calm).is_none());
    let exit = match of(&loud) {
        Some(exit) => exit,
        None => bed.ended(loud.key).await,
    };
    assert_eq!(exit.last_lines.last().map(String::as_str), Some("149999"));
    assert_eq!(bed.output("web-1").await.len(), 150_000);
}

/// Two runs of one name share its log, as an old and a new instance do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_containers_share_a_log() {
    let mut bed = Bed::new();
    let (first, second) = (spec("seq 0 499"), spec("for n in $(seq 0 499); do echo e$n; done"));
    let (one, two) = (bed.start(&first), bed.start(&second));
    tokio::join!(one, two);
    for _ in 0..2 {
        bed.events.recv().await.unwrap();
    }
    let output = bed.output("web-1").await;
    let plain: Vec<String> = output.iter().filter(|line| !line.starts_with('e')).cloned().collect();
    assert_eq!((plain, of("e", &output)), (numbers(500), numbers(500)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_for_want_of_memory_is_told_as_that() {
    let mut bed = Bed::new();
    let mut run = spec("echo begun; tail /dev/zero");
    run.resources.memory_bytes = Some(16_000_000);
    bed.start(&run).await;
    let exit = bed.ended(run.key).await;
    assert!(exit.out_of_memory, "{exit:?}");
    assert_eq!(exit.last_lines[0], "begun");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_has_no_more_processes_than_it_may_have() {
    let mut bed = Bed::new();
    // The program that becomes the container's first process counts with all its threads, up to a dozen.
    let mut run = spec("for i in $(seq 60); do sleep 1000 & done; echo all of them");
    run.resources.pids = Some(40);
    bed.start(&run).await;
    let exit = bed.ended(run.key).await;
    assert!(exit.last_lines.iter().any(|line| line.contains("fork")), "{exit:?}");
    assert!(exit.last_lines.iter().all(|line| line != "all of them"), "{exit:?}");
}

/// The daemon dies between SIGTERM and SIGKILL: the engine goes on with it, and nobody has to come back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_is_brought_to_its_end_by_the_engine_alone() {
    let mut bed = Bed::new();
    let run = spec("trap 'echo asked' TERM; echo up; while true; do sleep 0.1; done");
    bed.start(&run).await;
    bed.prints("web-1", |output| output == ["up"]).await;
    bed.runtime.stop(run.key, pando_model::time::Millis(800)).await.unwrap();
    bed.prints("web-1", |output| output == ["up", "asked"]).await;
    bed.close().await;
    let docker = bed.docker();
    let name = container_of(&run);
    let until = tokio::time::Instant::now() + crate::support::PATIENCE;
    loop {
        let found =
            docker.inspect_container(&name, None::<bollard::query_parameters::InspectContainerOptions>).await;
        if found.unwrap().state.unwrap().running == Some(false) {
            break;
        }
        assert!(tokio::time::Instant::now() < until, "it goes on");
        tokio::time::sleep(SOON.duration()).await;
    }
    bed.reopen().await;
    let held = bed.runtime.adopt().await.unwrap();
    assert_eq!(held[0].exit.as_ref().unwrap().signal, Some(9));
    assert_eq!(bed.output("web-1").await, ["up", "asked"], "the signal was sent once");
}

fn container_of(run: &pando_runtime::RunSpec) -> String {
    let id = run.key.id.simple().to_string();
    format!("pando-shop-web-1-{}.{}", &id[20..], run.key.attempt)
}
