//! The agent as a process of its own over real processes, killed without warning.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use pando_model::app::HealthKind;
use pando_model::assignment::{AssignedTask, Assignment, TaskKind};
use pando_model::id::{TaskId, Version};
use pando_model::name::AppName;
use pando_model::observed::{AgentReport, InstanceState, TaskState};
use pando_model::release::ReleaseNumber;
use pando_model::time::Millis;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use uuid::Uuid;

use crate::bench::{DEADLINE, instance, instance_id, is, packed, server, until};
use crate::control::Control;

const PROGRAM: &str = env!("CARGO_BIN_EXE_agent-test");

struct Machine {
    control: Control,
    directory: TempDir,
    agent: Option<Child>,
    base: Assignment,
}

impl Machine {
    /// With an agent, and an app whose `bin/web` is a web server.
    async fn new(prepare: Option<&str>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let control = Control::start().await;
        let script = format!("#!/bin/sh\nexec {PROGRAM} web\n");
        let (content, digest) = packed(&[("bin/web", &script)]);
        control.store(digest.as_str(), content);
        let mut base = Assignment::empty(server());
        base.releases = vec![
            pando_model::assignment::AssignedRelease {
                app: app(),
                release: ReleaseNumber(1),
                artifact: Some(digest),
                image: None,
                prepare: prepare.map(str::to_owned),
                asset_path: None,
                env: std::collections::BTreeMap::new(),
            }
            .into(),
        ];
        let mut machine = Self { control, directory, agent: None, base };
        machine.start_agent();
        machine
    }

    fn start_agent(&mut self) {
        let id = server().to_string();
        let state_dir = self.directory.path().to_str().unwrap();
        let mut command = Command::new(PROGRAM);
        command.args(["agent", &id, state_dir, &self.control.url(), "caller"]);
        command.stdin(Stdio::null()).kill_on_drop(true);
        self.agent = Some(command.spawn().unwrap());
    }

    async fn kill_agent(&mut self) {
        let mut agent = self.agent.take().unwrap();
        agent.kill().await.unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Instance `n` on a free port, checked over HTTP.
    fn assign(&mut self, revision: u64, instances: &[(u16, u16)]) {
        let mut assignment = self.base.clone();
        assignment.version = Version::new(1, revision);
        for (n, port) in instances {
            let mut one = instance(*n, *port);
            one.health.kind = HealthKind::Http { path: "/health".to_owned() };
            one.env.insert("PORT".to_owned(), port.to_string());
            assignment.instances.insert(instance_id(u128::from(*n)), one.into());
        }
        self.control.assign(assignment);
    }

    async fn ready(&self, n: u128) -> AgentReport {
        self.control.until("ready", |report| is(report, n, &InstanceState::Ready)).await.report
    }

    /// Nothing runs any more when this returns.
    async fn end(mut self) {
        self.assign(1_000_000, &[]);
        let empty =
            |report: &AgentReport| report.assignment.revision == 1_000_000 && report.instances.is_empty();
        self.control.until("an empty server", empty).await;
        let mut agent = self.agent.take().unwrap();
        let pid = Pid::from_raw(i32::try_from(agent.id().unwrap()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        let ended = tokio::time::timeout(DEADLINE, agent.wait()).await.expect("it ends in time").unwrap();
        assert!(ended.success(), "{ended}");
    }
}

fn app() -> AppName {
    "hits".parse().unwrap()
}

/// Free a moment ago; nobody else on this machine is likely to take it meanwhile.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn pid_of(report: &AgentReport, n: u128) -> u32 {
    report.instances[&instance_id(n)].pid.unwrap()
}

#[tokio::test]
async fn a_killed_agent_leaves_its_replicas_and_the_next_takes_them_over() {
    let mut machine = Machine::new(None).await;
    machine.assign(1, &[(1, free_port()), (2, free_port())]);
    machine.ready(1).await;
    let before = machine.ready(2).await;
    for _ in 0..3 {
        machine.kill_agent().await;
        machine.control.forget_reports();
        machine.start_agent();
        machine.control.until("a report", |_| true).await;
        let first = machine.control.reports().remove(0).report;
        for n in [1, 2] {
            assert!(is(&first, n, &InstanceState::Ready), "{:?}", first.instances);
            assert_eq!(pid_of(&first, n), pid_of(&before, n));
        }
    }
    machine.end().await;
}

#[tokio::test]
async fn a_killed_replica_is_back_at_once() {
    let mut machine = Machine::new(None).await;
    machine.assign(1, &[(1, free_port())]);
    let before = machine.ready(1).await;
    let pid = Pid::from_raw(i32::try_from(pid_of(&before, 1)).unwrap()).unwrap();
    let began = std::time::Instant::now();
    kill_process(pid, Signal::KILL).unwrap();
    let again = |report: &AgentReport| {
        is(report, 1, &InstanceState::Ready) && report.instances[&instance_id(1)].restarts == 1
    };
    let after = machine.control.until("ready again", again).await.report;
    assert_ne!(pid_of(&after, 1), pid_of(&before, 1));
    assert_eq!(after.instances[&instance_id(1)].last_exit.as_ref().unwrap().signal, Some(9));
    println!("from the kill to the report of the next run's readiness: {:?}", began.elapsed());
    machine.end().await;
}

#[tokio::test]
async fn a_sick_replica_is_unhealthy_and_says_why() {
    let mut machine = Machine::new(None).await;
    machine.assign(1, &[(1, free_port())]);
    machine.ready(1).await;
    let sick = machine.path("releases/hits/v1/sick");
    std::fs::write(&sick, "").unwrap();
    let body = machine.control.until("sick", |report| is(report, 1, &InstanceState::Unhealthy)).await;
    let status = &body.report.instances[&instance_id(1)];
    assert_eq!((status.check.as_deref(), status.ready_for), (Some("503 from /health"), None));
    std::fs::remove_file(&sick).unwrap();
    machine.ready(1).await;
    machine.end().await;
}

#[tokio::test]
async fn a_crash_at_any_moment_of_a_start_ends_in_one_ready_replica() {
    let mut machine = Machine::new(Some("sleep 0.05 && echo prepared > mark")).await;
    for round in 0..12 {
        let port = free_port();
        machine.assign(round + 1, &[(1 + u16::try_from(round).unwrap(), port)]);
        // Each round a little later than the one before: from before the assignment is seen to after readiness.
        tokio::time::sleep(Duration::from_millis(round * 15)).await;
        machine.kill_agent().await;
        machine.start_agent();
        let n = u128::from(round + 1);
        let matched = |report: &AgentReport| {
            report.assignment.revision == round + 1
                && report.instances.len() == 1
                && is(report, n, &InstanceState::Ready)
        };
        machine.control.until("a match", matched).await;
        assert_eq!(std::fs::read_to_string(machine.path("releases/hits/v1/mark")).unwrap(), "prepared\n");
        let halves = machine.path("releases/hits/v1.tmp");
        assert!(!halves.exists());
    }
    machine.end().await;
}

#[tokio::test]
async fn a_release_command_runs_at_most_once_whenever_the_agent_is_killed() {
    let mut machine = Machine::new(None).await;
    let marks = machine.path("marks");
    let read = || std::fs::read_to_string(&marks).unwrap_or_default();
    let (mut known, mut unknown) = (0, 0);
    for round in 0..12u32 {
        let id = TaskId::from_uuid(Uuid::from_u128(100 + u128::from(round)));
        let task = AssignedTask {
            app: app(),
            release: ReleaseNumber(1),
            kind: TaskKind::Release,
            container: None,
            command: format!("echo {round} >> {}; sleep 0.05", marks.display()),
            env: std::collections::BTreeMap::new(),
            timeout: Millis(60_000),
            resources: Default::default(),
        };
        machine.base.tasks = std::collections::BTreeMap::from([(id, task)]);
        machine.assign(u64::from(round) + 1, &[]);
        tokio::time::sleep(Duration::from_millis(u64::from(round) * 8)).await;
        machine.kill_agent().await;
        machine.start_agent();
        let over = |report: &AgentReport| {
            matches!(report.tasks.get(&id), Some(TaskState::Ended(_) | TaskState::Unknown))
        };
        let state = machine.control.until("over", over).await.report.tasks[&id].clone();
        let runs = read().lines().filter(|line| *line == round.to_string()).count();
        match state {
            TaskState::Ended(exit) => {
                assert_eq!((exit.code, runs), (Some(0), 1));
                known += 1;
            }
            _ => {
                assert!(runs <= 1, "{runs} runs");
                unknown += 1;
            }
        }
    }
    println!("{known} ended, {unknown} are unknown");
    machine.base.tasks.clear();
    machine.end().await;
}

#[tokio::test]
async fn a_prepare_that_was_under_way_begins_anew_after_the_first_is_gone() {
    let mut machine = Machine::new(None).await;
    let (pids, gate) = (machine.path("pids"), machine.path("gate"));
    let command = format!(
        "echo $$ >> {}; while ! test -e {}; do sleep 0.02; done; touch done",
        pids.display(),
        gate.display()
    );
    Arc::make_mut(&mut machine.base.releases[0]).prepare = Some(command);
    machine.assign(1, &[(1, free_port())]);
    let read = || std::fs::read_to_string(&pids).unwrap_or_default();
    until("the first", || read().lines().count() == 1).await;
    machine.kill_agent().await;
    machine.start_agent();
    until("the second", || read().lines().count() == 2).await;
    let first = read().lines().next().unwrap().to_owned();
    assert!(!PathBuf::from(format!("/proc/{first}")).exists(), "the first still runs");
    std::fs::write(&gate, "").unwrap();
    machine.ready(1).await;
    machine.end().await;
}
