//! What every runtime promises is kept by those that need nothing but this machine.

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use pando_model::observed::ExitReport;
use pando_model::time::{Millis, Timestamp};
use pando_rt::shutdown::Shutdown;
use pando_runtime::contract::{self, Behaviour, Subject};
use pando_runtime::memory::{MemoryRuntime, Script};
use pando_runtime::process::ProcessRuntime;
use pando_runtime::{Place, RunSpec, Runtime};

use crate::support::{PATIENCE, end_everything, settings, until};

struct Processes {
    root: tempfile::TempDir,
    runtime: ProcessRuntime,
    foreign: Option<TcpListener>,
    begin: Instant,
}

impl Processes {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let runtime = ProcessRuntime::open(settings(root.path()), &Shutdown::new()).unwrap();
        Self { root, runtime, foreign: None, begin: Instant::now() }
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        end_everything(self.root.path());
    }
}

impl Subject for Processes {
    type Runtime = ProcessRuntime;

    fn runtime(&self) -> &ProcessRuntime {
        &self.runtime
    }

    async fn reopen(&mut self) {
        assert!(self.runtime.close(PATIENCE).await);
        self.runtime = ProcessRuntime::open(settings(self.root.path()), &Shutdown::new()).unwrap();
    }

    fn command(&self, behaviour: Behaviour) -> (String, Place) {
        let root = self.root.path().to_owned();
        let (command, directory) = match behaviour {
            Behaviour::Runs => ("sleep 1000".to_owned(), root),
            Behaviour::Ends(code) => (format!("echo one; echo two; exit {code}"), root),
            // An ignored signal stays ignored in what the shell starts.
            Behaviour::IgnoresSigterm => {
                ("trap '' TERM; echo up; while true; do sleep 1000; done".to_owned(), root)
            }
            Behaviour::NowhereToRun => ("sleep 1000".to_owned(), root.join("nowhere")),
        };
        (command, Place::Directory(directory))
    }

    async fn settled(&self, spec: &RunSpec) {
        if !spec.command.contains("echo up") {
            return;
        }
        let log = self.root.path().join("logs/contract").join(format!("{}.log", spec.name));
        until("it ignores SIGTERM", || std::fs::read_to_string(&log).is_ok_and(|log| log.contains(" o up")))
            .await;
    }

    async fn pass(&self, time: Millis) {
        tokio::time::sleep(time.duration()).await;
    }

    fn clock(&self) -> Millis {
        self.begin.elapsed().into()
    }

    fn occupy(&mut self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        self.foreign = Some(listener);
        address
    }

    fn free(&mut self) {
        self.foreign = None;
    }
}

struct Memory {
    runtime: MemoryRuntime,
}

const FOREIGN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 20_000);

impl Memory {
    fn new() -> Self {
        let runtime = MemoryRuntime::new();
        for code in [0, 3, 4] {
            let last_lines = vec!["one".to_owned(), "two".to_owned()];
            let exit = ExitReport { code: Some(code), signal: None, out_of_memory: false, last_lines };
            runtime.script(&format!("Ends({code})"), Script::End(exit));
        }
        runtime.script("IgnoresSigterm", Script::IgnoreSigterm);
        runtime.script("NowhereToRun", Script::Refuse("its directory is gone".to_owned()));
        Self { runtime }
    }
}

impl Subject for Memory {
    type Runtime = MemoryRuntime;

    fn runtime(&self) -> &MemoryRuntime {
        &self.runtime
    }

    async fn reopen(&mut self) {
        self.runtime = self.runtime.reopen();
    }

    fn command(&self, behaviour: Behaviour) -> (String, Place) {
        (format!("{behaviour:?}"), Place::Directory("/".into()))
    }

    async fn settled(&self, _: &RunSpec) {}

    async fn pass(&self, time: Millis) {
        self.runtime.pass(time);
    }

    fn clock(&self) -> Millis {
        self.runtime.now().since(Timestamp::from_millis(0))
    }

    fn occupy(&mut self) -> SocketAddr {
        self.runtime.set_taken(FOREIGN, true);
        FOREIGN
    }

    fn free(&mut self) {
        self.runtime.set_taken(FOREIGN, false);
    }
}

/// Each promise as a test of its own for a runtime.
macro_rules! promises {
    ($subject:path) => {
        $crate::contract::promises! { $subject:
            a_start_answers_with_a_process,
    starting_twice_starts_once,
    starting_at_the_same_time_starts_once,
    starting_again_after_a_restart_starts_once,
    an_end_is_told_once_with_code_and_last_lines,
    a_stop_ends_by_sigterm,
    what_ignores_sigterm_is_killed_after_the_timeout,
    stopping_again_may_hasten_the_end,
    stopping_what_does_not_run_changes_nothing,
    a_taken_port_is_refused_and_may_be_had_later,
    a_refused_start_leaves_nothing,
    a_restart_finds_what_runs_and_tells_its_end,
    a_restart_finds_what_ended_meanwhile,
    adopting_twice_changes_nothing,
    what_is_forgotten_is_gone_and_never_starts_again,
    what_runs_is_not_forgotten,
    an_older_start_is_refused,
    events_have_one_reader,
        }
    };
    ($subject:path: $($promise:ident),* $(,)?) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $promise() {
            pando_runtime::contract::$promise(<$subject>::new()).await;
        })*
    };
}
pub(crate) use promises;

mod processes {
    super::promises!(super::Processes);
}

mod memory {
    super::promises!(super::Memory);
}

#[tokio::test]
async fn the_suite_as_a_whole_holds_for_memory() {
    tokio::time::timeout(Duration::from_secs(60), contract::check_all(Memory::new)).await.unwrap();
}

#[tokio::test]
async fn memory_ends_what_it_is_told_to() {
    let memory = Memory::new();
    let mut events = memory.runtime.events().unwrap();
    let spec = contract::spec(&memory, Behaviour::IgnoresSigterm);
    memory.runtime.start(spec.clone()).await.unwrap();
    assert_eq!(memory.runtime.running(), std::slice::from_ref(&spec));
    memory.runtime.stop(spec.key, Millis(50)).await.unwrap();
    assert_eq!(memory.runtime.next_kill(), Some(Millis(50)));
    memory.runtime.pass(Millis(49));
    assert!(events.try_recv().is_err());
    memory.runtime.pass(Millis(1));
    assert!(events.try_recv().is_ok());
    assert!(memory.runtime.running().is_empty());
    let crash = ExitReport { code: Some(1), signal: None, out_of_memory: false, last_lines: Vec::new() };
    assert!(!memory.runtime.end(spec.key, crash));
}
