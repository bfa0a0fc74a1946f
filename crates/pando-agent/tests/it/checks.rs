//! Checks by command: real processes, in the release's directory.

use pando_model::app::HealthKind;
use pando_model::assignment::Assignment;
use pando_model::observed::InstanceState;
use pando_model::time::Millis;
use std::sync::Arc;

use crate::bench::{Bench, instance_id, is, until};

fn checked_by(bench: &Bench, command: &str) -> Assignment {
    let mut assignment = bench.assignment(1, &[(1, 18_001)]);
    for instance in assignment.instances.values_mut().map(Arc::make_mut) {
        instance.health.kind = HealthKind::Command { command: command.to_owned() };
        instance.health.timeout = Millis(400);
    }
    assignment
}

async fn says(command: &str, answer: &str) {
    let mut bench = Bench::new().await;
    bench.start_agent().await;
    bench.control.assign(checked_by(&bench, command));
    let failing = |report: &pando_model::AgentReport| {
        let status = report.instances.get(&instance_id(1));
        status.is_some_and(|status| status.check.as_deref() == Some(answer))
    };
    let body = bench.control.until(answer, failing).await;
    assert!(is(&body.report, 1, &InstanceState::Starting));
    bench.stop_agent().await;
}

#[tokio::test]
async fn a_command_that_exits_0_passes_with_the_replicas_directory_and_environment() {
    let mut bench = Bench::new().await;
    bench.start_agent().await;
    let command =
        r#"grep -q hello note.txt && test "$COLOUR" = green && test -n "$PATH" && test -z "$CARGO""#;
    bench.control.assign(checked_by(&bench, command));
    bench.control.until("ready", |report| is(report, 1, &InstanceState::Ready)).await;
    bench.stop_agent().await;
}

#[tokio::test]
async fn other_ends_have_words() {
    says("exit 3", "exit code 3 from `exit 3`").await;
    says("kill -9 $$", "signal 9 ended `kill -9 $$`").await;
    says("sleep 60", "no answer from `sleep 60` within 400 ms").await;
}

#[tokio::test]
async fn nothing_of_a_late_command_is_left() {
    let mut bench = Bench::new().await;
    bench.start_agent().await;
    let pids = bench.directory.path().join("pids");
    let command = format!("sleep 3600 & echo $! >> {0}; sleep 3600 & echo $! >> {0}; wait", pids.display());
    bench.control.assign(checked_by(&bench, &command));
    let read = || std::fs::read_to_string(&pids).unwrap_or_default();
    until("two checks", || read().lines().count() >= 4).await;
    let early: Vec<String> = read().lines().take(2).map(str::to_owned).collect();
    let lives = |pid: &String| {
        std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with("sleep"))
    };
    until("their end", || !early.iter().any(lives)).await;
    bench.stop_agent().await;
    // Also of the check that the agent's own end found in its middle.
    until("all ends", || !read().lines().map(str::to_owned).any(|pid| lives(&pid))).await;
}
