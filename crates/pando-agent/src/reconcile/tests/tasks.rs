//! Tasks: at most once.

use pando_model::observed::TaskState;
use pando_model::time::Millis;

use super::kit::*;
use crate::reconcile::{Effect, Event};

fn with_task(revision: u64) -> Event {
    let mut assignment = assignment(revision, &[]);
    assignment.tasks.insert(task_id(50), task(1));
    Event::Assignment(assignment)
}

fn found(runs: Vec<pando_runtime::Held>) -> Event {
    Event::Adopted { held: runs, releases: vec![on_disk(1)] }
}

fn state(agent: &Agent) -> Option<TaskState> {
    agent.report().tasks.get(&task_id(50)).cloned()
}

#[test]
fn the_disk_says_started_before_it_is() {
    let mut agent = Agent::ready();
    agent.disk = false;
    agent.on(with_task(1));
    let effects = agent.on(Event::LedgerSaved);
    let [Effect::SaveLedger(ledger)] = &effects[..] else { panic!("{effects:?}") };
    assert!(ledger.tasks.contains_key(&task_id(50)));
    assert_eq!(state(&agent), Some(TaskState::Waiting));
    assert_eq!(starts(&agent.on(Event::LedgerSaved)), [run(50, 0)]);
    agent.on(Event::RunStarted(held(run(50, 0), "release", None)));
    assert_eq!(state(&agent), Some(TaskState::Running));
    assert!(agent.ends(run(50, 0), 7).is_empty());
    assert_eq!(state(&agent), Some(TaskState::Ended(exit(7))));
    agent.disk = true;
    agent.on(with_task(2));
    assert_eq!(state(&agent), Some(TaskState::Ended(exit(7))), "told as long as it is assigned");
    assert_eq!(forgets(&agent.on(Event::Assignment(assignment(3, &[])))), [run(50, 0)]);
    assert_eq!(state(&agent), None);
}

#[test]
fn it_waits_for_its_release() {
    let mut agent = Agent::new();
    let effects = agent.on(with_task(1));
    assert!(matches!(effects[..], [Effect::EnsureRelease(_)]), "{effects:?}");
    assert_eq!(state(&agent), Some(TaskState::Waiting));
    assert_eq!(starts(&agent.on(Event::ReleaseReady(release(1)))), [run(50, 0)]);
}

#[test]
fn after_a_crash_a_task_that_nobody_holds_is_unknown_and_stays_so() {
    let mut before = Agent::ready();
    before.on(with_task(1));
    let mut agent = Agent::with(before.state.ledger().clone());
    assert!(agent.on(found(vec![])).is_empty());
    assert_eq!(state(&agent), Some(TaskState::Unknown));
    assert!(starts(&agent.on(with_task(2))).is_empty());
    // Withdrawn and, by a restored control plane, assigned again.
    agent.on(Event::Assignment(assignment(3, &[])));
    assert!(starts(&agent.on(with_task(4))).is_empty());
    assert_eq!(state(&agent), Some(TaskState::Unknown));
}

#[test]
fn after_a_crash_a_held_task_goes_on_or_has_ended() {
    let mut before = Agent::ready();
    before.on(with_task(1));
    for (end, expected) in [
        (None, TaskState::Running),
        (Some(exit(0)), TaskState::Ended(exit(0))),
        (Some(unseen()), TaskState::Unknown),
    ] {
        let mut agent = Agent::with(before.state.ledger().clone());
        assert!(agent.on(found(vec![held(run(50, 0), "release", end)])).is_empty());
        assert_eq!(state(&agent), Some(expected));
    }
}

#[test]
fn one_that_could_not_start_is_not_tried_again() {
    let mut agent = Agent::ready();
    agent.on(with_task(1));
    let reason = pando_model::observed::FailureReason::Start;
    let message = "no such user".to_owned();
    agent.on(Event::StartFailed { key: run(50, 0), reason, message: message.clone(), image_lost: false });
    let failed = Some(TaskState::Failed { message });
    assert_eq!(state(&agent), failed);
    let mut next = Agent::with(agent.state.ledger().clone());
    assert!(next.on(found(vec![])).is_empty());
    assert_eq!(state(&next), failed, "known after a crash too");
}

#[test]
fn one_that_is_late_is_stopped_and_has_failed_whatever_it_answers() {
    let mut agent = Agent::ready();
    agent.on(with_task(1));
    agent.on(Event::RunStarted(held(run(50, 0), "release", None)));
    assert_eq!(agent.state.wake, Some(agent.now + Millis(600_000)));
    assert_eq!(stops(&agent.after(600_000, Event::Tick)), [(run(50, 0), 10_000)]);
    let mut next = Agent::with(agent.state.ledger().clone());
    for agent in [&mut agent, &mut next] {
        agent.on(found(vec![held(run(50, 0), "release", None)]));
        agent.ends(run(50, 0), 0);
        let Some(TaskState::Failed { message }) = state(agent) else { panic!("{:?}", state(agent)) };
        assert_eq!(message, "stopped after 10 min, before it had ended");
    }
}

#[test]
fn the_next_agent_keeps_the_time_of_the_first() {
    let mut before = Agent::ready();
    before.on(with_task(1));
    let mut agent = Agent::with(before.state.ledger().clone());
    agent.now = before.now + Millis(599_999);
    agent.on(found(vec![held(run(50, 0), "release", None)]));
    assert_eq!(stops(&agent.after(1, Event::Tick)), [(run(50, 0), 10_000)]);
}

#[test]
fn one_that_is_withdrawn_is_stopped() {
    let mut agent = Agent::ready();
    agent.on(with_task(1));
    agent.on(Event::RunStarted(held(run(50, 0), "release", None)));
    assert_eq!(stops(&agent.on(Event::Assignment(assignment(2, &[])))), [(run(50, 0), 10_000)]);
    assert_eq!(state(&agent), Some(TaskState::Running), "it is not gone yet");
    assert_eq!(forgets(&agent.ends(run(50, 0), 0)), [run(50, 0)]);
    assert_eq!(state(&agent), None);
}

#[test]
fn one_that_is_withdrawn_before_it_began_never_begins() {
    let mut agent = Agent::ready();
    agent.disk = false;
    agent.on(with_task(1));
    agent.on(Event::LedgerSaved);
    agent.on(Event::Assignment(assignment(2, &[])));
    let begun = agent.on(Event::LedgerSaved);
    let withdrawn = agent.on(Event::LedgerSaved);
    assert!(starts(&withdrawn).is_empty());
    // That it was asked for when the disk said so is fair; then it is stopped.
    let stopped = agent.on(Event::RunStarted(held(run(50, 0), "release", None)));
    assert_eq!(starts(&begun).len(), stops(&stopped).len());
}
