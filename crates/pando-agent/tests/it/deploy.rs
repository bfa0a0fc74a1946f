//! From an assignment to runs, and through the ends of everything on the way.

use std::sync::Arc;

use pando_model::assignment::{AssignedTask, TaskKind};
use pando_model::id::{TaskId, Version};
use pando_model::observed::{ExitReport, FailureReason, InstanceState, ReleaseState, TaskState};
use pando_model::release::ReleaseNumber;
use pando_model::time::Millis;
use pando_runtime::memory::Script;
use uuid::Uuid;

use crate::bench::{Bench, DEADLINE, instance_id, is, listening, run, until};

fn exit(code: i32) -> ExitReport {
    ExitReport { code: Some(code), signal: None, out_of_memory: false, last_lines: vec!["bye".to_owned()] }
}

fn task() -> (TaskId, AssignedTask) {
    let task = AssignedTask {
        app: "hits".parse().unwrap(),
        release: ReleaseNumber(1),
        kind: TaskKind::Release,
        command: "bin/migrate".to_owned(),
        container: None,
        env: std::collections::BTreeMap::new(),
        timeout: Millis(60_000),
        resources: Default::default(),
    };
    (TaskId::from_uuid(Uuid::from_u128(50)), task)
}

#[tokio::test]
async fn an_assigned_instance_gets_its_release_runs_and_is_ready() {
    let mut bench = Bench::new().await;
    let (_replica, port) = listening().await;
    bench.start_agent().await;
    bench.control.assign(bench.assignment(1, &[(1, port)]));
    let body = bench.control.until("ready", |report| is(report, 1, &InstanceState::Ready)).await;
    assert_eq!(body.report.assignment, Version::new(1, 1));
    assert_eq!(body.report.releases[0].state, ReleaseState::Ready);
    assert!(body.report.capacity.memory_bytes > 0);
    let spec = bench.runtime.running().remove(0);
    assert_eq!((spec.key, spec.port.unwrap().port()), (run(1, 0), port));
    assert_eq!(std::fs::read_to_string(spec.directory().unwrap().join("note.txt")).unwrap(), "hello\n");
    // It leaves.
    bench.runtime.script("bin/web", Script::IgnoreSigterm);
    bench.control.assign(bench.assignment(2, &[]));
    bench.control.until("stopping", |report| is(report, 1, &InstanceState::Stopping)).await;
    assert_eq!(bench.runtime.next_kill(), Some(Millis(5000)));
    bench.runtime.pass(Millis(5000));
    bench.control.until("gone", |report| report.instances.is_empty()).await;
    bench.stop_agent().await;
}

#[tokio::test]
async fn an_agent_that_comes_back_finds_everything_as_it_was() {
    let mut bench = Bench::new().await;
    let (_replica, port) = listening().await;
    bench.start_agent().await;
    bench.control.assign(bench.assignment(1, &[(1, port)]));
    bench.control.until("ready", |report| is(report, 1, &InstanceState::Ready)).await;
    bench.stop_agent().await;
    assert_eq!(bench.runtime.running().len(), 1, "the agent's end is not the replica's");
    bench.control.forget_reports();
    bench.start_agent().await;
    bench.control.until("a report", |_| true).await;
    let first = bench.control.reports().remove(0).report;
    assert!(is(&first, 1, &InstanceState::Ready), "never a moment unready: {:?}", first.instances);
    assert_eq!(first.instances[&instance_id(1)].restarts, 0);
    assert_eq!(bench.runtime.running()[0].key, run(1, 0));
    bench.stop_agent().await;
}

#[tokio::test]
async fn replicas_are_restarted_without_a_control_plane() {
    let mut bench = Bench::new().await;
    let (_replica, port) = listening().await;
    bench.start_agent().await;
    bench.control.assign(bench.assignment(1, &[(1, port)]));
    bench.control.until("ready", |report| is(report, 1, &InstanceState::Ready)).await;
    bench.control.go_away().await;
    assert!(bench.runtime.end(run(1, 0), exit(1)));
    let runtime = bench.runtime.clone();
    until("the next run", || runtime.running().iter().any(|spec| spec.key == run(1, 1))).await;
    // Also a new agent needs nobody to know what to do.
    bench.stop_agent().await;
    bench.runtime.end(run(1, 1), exit(1));
    bench.start_agent().await;
    let runtime = bench.runtime.clone();
    until("the third run", || runtime.running().iter().any(|spec| spec.key == run(1, 2))).await;
    bench.control.forget_reports();
    bench.control.come_back().await;
    let body = bench.control.until("ready", |report| is(report, 1, &InstanceState::Ready)).await;
    assert_eq!(body.report.instances[&instance_id(1)].restarts, 2);
    bench.stop_agent().await;
}

#[tokio::test]
async fn an_older_assignment_is_refused_also_after_a_restart() {
    let mut bench = Bench::new().await;
    let (_replica, port) = listening().await;
    bench.start_agent().await;
    bench.control.assign(bench.assignment(5, &[(1, port)]));
    bench.control.until("ready", |report| is(report, 1, &InstanceState::Ready)).await;
    bench.stop_agent().await;
    bench.control.assign(bench.assignment(4, &[]));
    bench.control.forget_reports();
    bench.start_agent().await;
    let body = bench.control.until("a report", |_| true).await;
    assert_eq!(body.report.assignment, Version::new(1, 5));
    assert!(is(&body.report, 1, &InstanceState::Ready));
    bench.stop_agent().await;
}

#[tokio::test]
async fn a_taken_port_is_reported() {
    let mut bench = Bench::new().await;
    let taken = "127.0.0.77:18001".parse().unwrap();
    bench.runtime.set_taken(taken, true);
    bench.start_agent().await;
    bench.control.assign(bench.assignment(1, &[(1, 18_001)]));
    let message = "port 127.0.0.77:18001 is taken by another program".to_owned();
    let failed = InstanceState::Failed { reason: FailureReason::PortTaken, message };
    bench.control.until("failed", |report| is(report, 1, &failed)).await;
    bench.runtime.set_taken(taken, false);
    bench.control.until("started", |report| is(report, 1, &InstanceState::Starting)).await;
    bench.stop_agent().await;
}

#[tokio::test]
async fn a_release_that_control_does_not_have_fails_its_instances() {
    let mut bench = Bench::new().await;
    bench.start_agent().await;
    let mut assignment = bench.assignment(1, &[(1, 18_001)]);
    Arc::make_mut(&mut assignment.releases[0]).artifact = "0".repeat(64).parse().ok();
    bench.control.assign(assignment);
    let failed = |report: &pando_model::AgentReport| match &report.instances.get(&instance_id(1))?.state {
        InstanceState::Failed { reason: FailureReason::Release, message } => Some(message.clone()),
        _ => None,
    };
    let body = bench.control.until("failed", |report| failed(report).is_some()).await;
    let message = failed(&body.report).unwrap();
    assert_eq!(message, "can't fetch the packed release: there is no such artifact");
    bench.stop_agent().await;
}

#[tokio::test]
async fn prepare_runs_before_the_release_is_used_and_its_failure_is_shown() {
    let mut bench = Bench::new().await;
    bench.start_agent().await;
    bench.runtime.script("make", Script::End(exit(2)));
    let mut assignment = bench.assignment(1, &[(1, 18_001)]);
    Arc::make_mut(&mut assignment.releases[0]).prepare = Some("make".to_owned());
    bench.control.assign(assignment.clone());
    let body = bench
        .control
        .until("failed", |report| {
            matches!(
                report.releases.first().map(|one| &one.state),
                Some(ReleaseState::Failed { message }) if message == "`prepare` of v1 ended with exit code 2\nbye"
            )
        })
        .await;
    assert!(bench.runtime.running().is_empty(), "{body:?}");
    bench.runtime.script("make", Script::End(exit(0)));
    assignment.version.revision = 2;
    bench.control.assign(assignment);
    bench.control.until("started", |report| is(report, 1, &InstanceState::Starting)).await;
    bench.stop_agent().await;
}

#[tokio::test]
async fn a_task_runs_once_whatever_becomes_of_the_agent() {
    let mut bench = Bench::new().await;
    bench.start_agent().await;
    let (id, task) = task();
    let mut assignment = bench.assignment(1, &[]);
    assignment.tasks.insert(id, task);
    bench.control.assign(assignment);
    let running = Some(TaskState::Running);
    bench.control.until("running", |report| report.tasks.get(&id).cloned() == running).await;
    bench.stop_agent().await;
    bench.control.forget_reports();
    bench.start_agent().await;
    bench.control.until("running", |report| report.tasks.get(&id).cloned() == running).await;
    assert!(bench.runtime.end(run(50, 0), exit(3)));
    let ended = Some(TaskState::Ended(exit(3)));
    bench.control.until("ended", |report| report.tasks.get(&id).cloned() == ended).await;
    bench.stop_agent().await;
}

#[tokio::test]
async fn a_task_whose_end_nobody_saw_is_unknown() {
    let mut bench = Bench::new().await;
    bench.start_agent().await;
    let (id, task) = task();
    let mut assignment = bench.assignment(1, &[]);
    assignment.tasks.insert(id, task);
    bench.control.assign(assignment);
    let is =
        |state: TaskState| move |report: &pando_model::AgentReport| report.tasks.get(&id) == Some(&state);
    bench.control.until("running", is(TaskState::Running)).await;
    bench.stop_agent().await;
    bench.runtime.restart_machine();
    bench.control.forget_reports();
    bench.start_agent().await;
    bench.control.until("unknown", is(TaskState::Unknown)).await;
    assert!(bench.runtime.running().is_empty());
    bench.stop_agent().await;
}

#[tokio::test]
async fn what_limits_this_machine_is_reported() {
    let mut bench = Bench::new().await;
    let warning = "no cgroups: memory limits are not enforced".to_owned();
    bench.runtime.set_warnings(vec![warning.clone()]);
    bench.start_agent().await;
    let body = bench.control.until("a report", |_| true).await;
    assert_eq!(body.report.warnings, [warning]);
    bench.stop_agent().await;
}

#[tokio::test]
async fn an_agent_without_a_usable_ledger_does_not_begin() {
    let bench = Bench::new().await;
    std::fs::create_dir(bench.directory.path().join("ledger")).unwrap();
    std::fs::write(bench.directory.path().join("ledger/ledger.json"), "{").unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = bench.settings(listener);
    let logs = bench.logs();
    let runtime = std::sync::Arc::new(bench.runtime.clone());
    let error = pando_agent::Agent::run(settings, runtime, logs, pando_rt::shutdown::Shutdown::new())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("is damaged; move it away"), "{error}");
}

#[tokio::test]
async fn everything_can_be_stopped_at_the_end() {
    let mut bench = Bench::new().await;
    bench.start_agent().await;
    bench.control.assign(bench.assignment(1, &[(1, 18_001), (2, 18_002)]));
    let runtime = bench.runtime.clone();
    until("two runs", || runtime.running().len() == 2).await;
    bench.stop_agent().await;
    let stopped = pando_agent::stop_all(&bench.runtime, Millis(1000));
    assert!(tokio::time::timeout(DEADLINE, stopped).await.unwrap().unwrap());
    assert!(bench.runtime.running().is_empty());
    let left = pando_runtime::Runtime::adopt(&bench.runtime).await.unwrap();
    assert!(left.is_empty(), "{left:?}");
}
