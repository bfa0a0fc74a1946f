//! Health checks of an agent, at the pace of the real ones: every 100 ms until the first pass, then at the check's interval.

use pando_agent::reconcile::{CheckSpec, Event as AgentInput};
use pando_model::time::Millis;
use pando_runtime::RunKey;

use super::daemon::AgentEvent;
use crate::world::World;

const EAGER: u64 = 100;

#[derive(Debug)]
pub(crate) struct Check {
    interval: Millis,
    passed: bool,
    turn: u64,
}

impl World {
    pub(crate) fn start_check(&mut self, at: usize, spec: CheckSpec) {
        let Some(daemon) = self.machines[at].daemon.as_deref_mut() else { return };
        daemon.turns += 1;
        let turn = daemon.turns;
        daemon.checks.insert(spec.key, Check { interval: spec.health.interval, passed: false, turn });
        self.put_agent_soon(at, 1, 4, AgentEvent::CheckDue(spec.key, turn));
    }

    pub(crate) fn stop_check(&mut self, at: usize, key: RunKey) {
        if let Some(daemon) = self.machines[at].daemon.as_deref_mut() {
            daemon.checks.remove(&key);
        }
    }

    pub(crate) fn check_due(&mut self, at: usize, key: RunKey, turn: u64) {
        let now = self.now;
        let machine = &mut self.machines[at];
        let process = machine.processes.get(&key);
        let answer = process.map_or(Err("connection refused".to_owned()), |process| process.check(now));
        if let Some(process) = process.filter(|process| process.is_moody()) {
            self.checkers.blame_app(&process.app);
        }
        let Some(daemon) = machine.daemon.as_deref_mut() else { return };
        let Some(check) = daemon.checks.get_mut(&key).filter(|check| check.turn == turn) else { return };
        check.passed |= answer.is_ok();
        let pace = if check.passed { check.interval.0 } else { EAGER };
        let event = match answer {
            Ok(()) => AgentInput::CheckPassed(key),
            Err(answer) => AgentInput::CheckFailed { key, answer },
        };
        self.put_agent(at, pace, AgentEvent::CheckDue(key, turn));
        self.feed(at, event);
    }
}
