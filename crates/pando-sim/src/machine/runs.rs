//! Processes: started, checked, ended, as their release behaves.
//!
//! The runtime's bookkeeping is that of the real runtimes' contract
//! ([`MemoryRuntime`]); what a process does and when is thrown here.
//!
//! [`MemoryRuntime`]: pando_runtime::memory::MemoryRuntime

use futures_util::FutureExt;
use pando_agent::reconcile::Event as AgentInput;
use pando_model::name::{AppName, ReplicaName};
use pando_model::observed::{ExitReport, FailureReason};
use pando_model::release::ReleaseNumber;
use pando_model::time::Millis;
use pando_runtime::memory::Script;
use pando_runtime::{RunEvent, RunKey, RunSpec, Runtime, StartError};

use super::daemon::AgentEvent;
use crate::behaviour::{Behaviour, Kind};
use crate::scenario::Sabotage;
use crate::trace::say;
use crate::world::{Event, World};

#[derive(Debug, Clone)]
pub(crate) struct Process {
    pub(crate) app: AppName,
    pub(crate) release: ReleaseNumber,
    /// `None`: a release command or `prepare`.
    pub(crate) replica: Option<ReplicaName>,
    pub(crate) port: Option<u16>,
    /// From when on its check passes; `None`: never.
    ready_at: Option<u64>,
    /// Its check fails for a while, again and again.
    moody: bool,
    /// SIGTERM was sent.
    pub(crate) ending: bool,
    behaviour: Behaviour,
}

#[derive(Debug, Clone)]
pub(crate) enum ProcessEvent {
    Listens,
    /// By itself.
    Ends(i32),
    /// After SIGTERM, or by SIGKILL.
    Stops(Option<i32>),
}

impl Process {
    /// Its check fails now and then.
    pub(crate) fn is_moody(&self) -> bool {
        self.moody
    }

    /// From now on its check passes.
    pub(crate) fn calm_down(&mut self) {
        self.moody = false;
    }

    /// What its health check answers.
    pub(crate) fn check(&self, now: u64) -> Result<(), String> {
        let ready = self.ready_at.filter(|at| *at <= now);
        match ready {
            _ if self.ending => Err("connection refused".to_owned()),
            None => Err("503 from /health".to_owned()),
            Some(since) if self.moody && (now - since) / 7000 % 3 == 1 => Err("500 from /health".to_owned()),
            Some(_) => Ok(()),
        }
    }
}

fn exit(code: Option<i32>, signal: Option<i32>) -> ExitReport {
    ExitReport { code, signal, out_of_memory: false, last_lines: Vec::new() }
}

/// `vN`, or `vN.tmp` while it is prepared, is the last part of the directory that a run starts in.
fn release_of(spec: &RunSpec) -> ReleaseNumber {
    let last = spec
        .directory()
        .and_then(|directory| directory.file_name())
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    last.trim_end_matches(".tmp").parse().unwrap_or_default()
}

impl World {
    pub(crate) fn start_run(&mut self, at: usize, spec: RunSpec) {
        let key = spec.key;
        let machine = &mut self.machines[at];
        machine.runtime.script(&spec.command, Script::IgnoreSigterm);
        let known = machine.processes.contains_key(&key);
        let started = machine.runtime.start(spec.clone()).now_or_never();
        let event = match started {
            Some(Ok(held)) => {
                if !known && held.exit.is_none() {
                    self.process_starts(at, &spec);
                }
                AgentInput::RunStarted(held)
            }
            Some(Err(error)) => {
                let reason = match error {
                    StartError::PortTaken(_) => FailureReason::PortTaken,
                    _ => FailureReason::Start,
                };
                AgentInput::StartFailed { key, reason, message: error.to_string(), image_lost: false }
            }
            None => return,
        };
        self.put_agent_soon(at, 0, 2, AgentEvent::Feed(Box::new(event)));
    }

    fn process_starts(&mut self, at: usize, spec: &RunSpec) {
        let release = release_of(spec);
        let behaviour = self.apps.behaviour(&spec.app, release);
        let replica: Option<ReplicaName> = spec.name.parse().ok();
        let port = spec.port.map(|address| address.port());
        say!(self, self.machines[at].name, "{}/{} of {release} starts on {port:?}", spec.app, spec.name);
        let (app, moody) = (spec.app.clone(), behaviour.kind == Kind::Moody);
        let process =
            Process { app, release, replica, port, ready_at: None, moody, ending: false, behaviour };
        self.check_start(at, spec.key, &process);
        let is_replica = process.replica.is_some();
        if is_replica && self.scenario.sabotage == Some(Sabotage::DoublingAgent) && self.dice.chance(20) {
            let twin = RunKey { id: self.dice.uuid(), ..spec.key };
            self.machines[at].processes.insert(twin, process.clone());
        }
        self.machines[at].processes.insert(spec.key, process);
        if is_replica { self.replica_begins(at, spec.key, behaviour) } else { self.task_begins(at, spec) }
    }

    fn replica_begins(&mut self, at: usize, key: RunKey, behaviour: Behaviour) {
        let slow = self.machines[at].slowness;
        let boot = behaviour.boot * slow + self.dice.below(20);
        let ends = match behaviour.kind {
            Kind::Crashes => Some(self.dice.between(20, 400)),
            Kind::CrashesLater(after) => Some(boot + after),
            _ => None,
        };
        if behaviour.kind != Kind::Crashes {
            self.put_process(at, key, boot, ProcessEvent::Listens);
        }
        if let Some(after) = ends {
            self.put_process(at, key, after, ProcessEvent::Ends(1));
        }
    }

    /// `prepare` and release commands end by themselves; some of the latter fail, or hang until they are stopped.
    fn task_begins(&mut self, at: usize, spec: &RunSpec) {
        let behaviour = self.apps.behaviour(&spec.app, release_of(spec));
        let code = if spec.name == "release" { behaviour.command } else { Some(0) };
        let after = self.dice.between(100, 3000);
        if let Some(code) = code {
            self.put_process(at, spec.key, after, ProcessEvent::Ends(code));
        }
    }

    fn put_process(&mut self, at: usize, key: RunKey, after: u64, event: ProcessEvent) {
        self.queue.put(self.now + after, Event::Process(at, key, event));
    }

    pub(crate) fn process_event(&mut self, at: usize, key: RunKey, event: ProcessEvent) {
        let now = self.now;
        let machine = &mut self.machines[at];
        let Some(process) = machine.processes.get_mut(&key) else { return };
        match event {
            ProcessEvent::Listens if !process.ending => {
                process.ready_at = (process.behaviour.kind != Kind::NeverReady).then_some(now);
                if let Some(port) = process.port {
                    machine.ports.insert(port, key);
                }
            }
            ProcessEvent::Listens => {}
            ProcessEvent::Ends(code) => {
                let app = process.app.clone();
                if process.replica.is_some() {
                    self.checkers.blame_app(&app);
                }
                self.end_run(at, key, exit(Some(code), None));
            }
            ProcessEvent::Stops(code) => {
                let signal = if code.is_none() { Some(9) } else { None };
                self.end_run(at, key, exit(code, signal));
            }
        }
    }

    /// SIGTERM now, SIGKILL after the time-out.
    pub(crate) fn stop_run(&mut self, at: usize, key: RunKey, timeout: Millis) {
        let machine = &mut self.machines[at];
        drop(machine.runtime.stop(key, Millis(timeout.0.max(1))).now_or_never());
        let Some(process) = machine.processes.get(&key).filter(|process| !process.ending) else { return };
        let takes = process.behaviour.stop;
        let name = process.replica.as_ref().map_or_else(|| "a task".to_owned(), ToString::to_string);
        say!(self, self.machines[at].name, "SIGTERM to {}/{name}", self.machines[at].processes[&key].app);
        self.check_stop(at, key);
        self.cut_requests_of(at, key);
        let machine = &mut self.machines[at];
        if let Some(process) = machine.processes.get_mut(&key) {
            process.ending = true;
            machine.ports.retain(|_, listener| *listener != key);
        }
        let event = if takes < timeout.0 { ProcessEvent::Stops(Some(0)) } else { ProcessEvent::Stops(None) };
        self.put_process(at, key, takes.min(timeout.0), event);
    }

    /// Nothing of it is left.
    pub(crate) fn end_run(&mut self, at: usize, key: RunKey, exit: ExitReport) {
        let code = exit.code;
        let machine = &mut self.machines[at];
        machine.runtime.end(key, exit);
        let ended = machine.processes.remove(&key);
        machine.ports.retain(|_, listener| *listener != key);
        if let Some(process) = ended {
            let name = process.replica.map_or_else(|| "a task".to_owned(), |name| name.to_string());
            say!(self, self.machines[at].name, "{}/{name} has ended ({code:?})", process.app);
        }
        self.cut_requests_of(at, key);
        self.tell_ends(at);
    }

    /// What the runtime tells goes to the daemon that listens now.
    fn tell_ends(&mut self, at: usize) {
        let mut told = Vec::new();
        if let Some(ends) = &mut self.machines[at].ends {
            while let Ok(RunEvent::Ended { key, exit }) = ends.try_recv() {
                told.push(AgentInput::RunEnded { key, exit });
            }
        }
        for event in told {
            self.put_agent_soon(at, 0, 3, AgentEvent::Feed(Box::new(event)));
        }
    }

    pub(crate) fn forget_run(&mut self, at: usize, key: RunKey) {
        drop(self.machines[at].runtime.forget(key).now_or_never());
    }
}
