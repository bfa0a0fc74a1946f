//! A runtime in a directory of its own, and ways to wait for what should happen.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pando_model::name::AppName;
use pando_model::observed::ExitReport;
use pando_model::resources::Resources;
use pando_model::time::Millis;
use pando_rt::shutdown::Shutdown;
use pando_runtime::logs::{LogSettings, LogStore, Query, Sources, Stream};
use pando_runtime::process::{ProcessRuntime, ProcessSettings};
use pando_runtime::{Held, Place, RunEvent, RunKey, RunSpec, Runtime};
use tokio::sync::mpsc;
use uuid::Uuid;

pub(crate) const SHIM: &str = env!("CARGO_BIN_EXE_runtime-shim");

/// A machine under load is no failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A runtime with the receiver of its events.
pub(crate) struct Fixture {
    pub(crate) runtime: ProcessRuntime,
    pub(crate) events: mpsc::Receiver<RunEvent>,
    pub(crate) root: tempfile::TempDir,
}

pub(crate) fn settings(state_dir: &Path) -> ProcessSettings {
    ProcessSettings {
        state_dir: state_dir.to_owned(),
        shim_program: SHIM.into(),
        shim_args: Vec::new(),
        log: LogSettings::default(),
        use_cgroups: true,
        default_env: BTreeMap::new(),
    }
}

pub(crate) fn open(state_dir: &Path) -> (ProcessRuntime, mpsc::Receiver<RunEvent>) {
    let runtime = ProcessRuntime::open(settings(state_dir), &Shutdown::new()).unwrap();
    let events = runtime.events().unwrap();
    (runtime, events)
}

impl Drop for Fixture {
    fn drop(&mut self) {
        end_everything(self.root.path());
    }
}

/// Leaves nothing running behind a test, even one that failed.
pub(crate) fn end_everything(state_dir: &Path) {
    for run in std::fs::read_dir(state_dir.join("runs")).into_iter().flatten().flatten() {
        let status = std::fs::read(run.path().join("status.json")).unwrap_or_default();
        let status: serde_json::Value = serde_json::from_slice(&status).unwrap_or_default();
        for of in ["child", "shim"] {
            let pid = status[of]["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
            // By now a pid may be anybody's.
            let ours =
                |pid: &u32| start_of(*pid).is_some_and(|start| Some(start) == status[of]["start"].as_u64());
            let pid = pid
                .filter(|pid| status["exit"].is_null() && ours(pid))
                .and_then(|pid| i32::try_from(pid).ok());
            if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}

fn start_of(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let (runtime, events) = open(root.path());
        Self { runtime, events, root }
    }

    /// As after a restart of the daemon.
    pub(crate) async fn reopen(&mut self) {
        assert!(self.runtime.close(PATIENCE).await);
        (self.runtime, self.events) = open(self.root.path());
    }

    pub(crate) async fn start(&self, spec: &RunSpec) -> Held {
        self.runtime.start(spec.clone()).await.unwrap()
    }

    pub(crate) async fn run(&self, command: &str) -> Held {
        self.start(&spec(command)).await
    }

    pub(crate) async fn stop(&self, key: RunKey, timeout: Millis) {
        self.runtime.stop(key, timeout).await.unwrap();
    }

    pub(crate) async fn ended(&mut self, key: RunKey) -> ExitReport {
        let event = tokio::time::timeout(PATIENCE, self.events.recv()).await.expect("an end in time");
        let RunEvent::Ended { key: told, exit } = event.unwrap();
        assert_eq!(told, key);
        exit
    }

    pub(crate) async fn output_of(&mut self, spec: &RunSpec) -> Vec<String> {
        self.start(spec).await;
        self.ended(spec.key).await.last_lines
    }

    pub(crate) fn dir(&self, key: RunKey) -> PathBuf {
        self.root.path().join("runs").join(format!("{}.{}", key.id, key.attempt))
    }

    pub(crate) fn shim_pid(&self, key: RunKey) -> u32 {
        let status = std::fs::read_to_string(self.dir(key).join("status.json")).unwrap();
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        status["shim"]["pid"].as_u64().unwrap().try_into().unwrap()
    }

    /// Pando's own remarks in the log of `name`.
    pub(crate) async fn remarks(&self, name: &str) -> Vec<String> {
        self.log(name).await.into_iter().filter(|(s, _)| *s == Stream::Pando).map(|(_, text)| text).collect()
    }

    pub(crate) async fn log(&self, name: &str) -> Vec<(Stream, String)> {
        read_log(&self.runtime.logs(), name).await
    }
}

pub(crate) async fn read_log(logs: &LogStore, name: &str) -> Vec<(Stream, String)> {
    let sources = Sources::Names([name.to_owned()].into());
    let mut lines = logs.read(Query { sources, ..Query::all(app()) });
    let mut all = Vec::new();
    while let Some(line) = lines.next().await {
        let line = line.unwrap();
        all.push((line.stream, line.text));
    }
    all
}

pub(crate) fn app() -> AppName {
    AppName::new("shop").unwrap()
}

pub(crate) fn spec(command: &str) -> RunSpec {
    RunSpec {
        key: RunKey { id: Uuid::now_v7(), attempt: 0 },
        app: app(),
        name: "web-1".to_owned(),
        command: command.to_owned(),
        place: Place::Directory("/".into()),
        env: BTreeMap::new(),
        user: None,
        resources: Resources::default(),
        port: None,
    }
}

/// Waits for `condition`.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Waits for a file that a run writes, and reads it.
pub(crate) async fn written(path: &Path) -> String {
    until(&format!("{} is written", path.display()), || {
        std::fs::read_to_string(path).is_ok_and(|text| text.ends_with('\n'))
    })
    .await;
    std::fs::read_to_string(path).unwrap().trim().to_owned()
}

/// Whether a process with this pid has not ended.
pub(crate) fn is_running(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z') && !rest.starts_with('X'))
}

pub(crate) fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}
