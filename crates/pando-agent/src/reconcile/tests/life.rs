//! Instances: start, readiness, restarts, leaving, and what outlives the agent.

use std::sync::Arc;

use pando_model::app::HealthKind;
use pando_model::observed::{FailureReason, InstanceState, ProxyStatus};
use pando_model::time::{Millis, Timestamp};
use pando_runtime::Held;

use super::kit::*;
use crate::ledger::Ledger;
use crate::reconcile::{Effect, Event, ImageRules, State, step};

fn reported(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Report(_)))
}

#[test]
fn nothing_happens_before_the_assignment_is_on_disk() {
    let mut agent = Agent::ready();
    agent.disk = false;
    let effects = agent.on(Event::Assignment(assignment(1, &[1])));
    assert!(matches!(effects[..], [Effect::SaveLedger(_)]), "{effects:?}");
    assert_eq!(agent.report().assignment.epoch, 0);
    let effects = agent.on(Event::LedgerSaved);
    assert_eq!(starts(&effects), [run(1, 0)]);
    assert_eq!(agent.report().assignment.epoch, 1);
}

#[test]
fn a_failed_save_is_said_and_tried_again_while_the_old_assignment_goes_on() {
    let mut agent = Agent::running(&[1]);
    agent.disk = false;
    agent.on(Event::Assignment(assignment(2, &[1, 2])));
    assert!(agent.on(Event::LedgerFailed("no space left".to_owned())).is_empty());
    assert_eq!(agent.report().warnings, ["no space left"]);
    assert_eq!(starts(&agent.ends(run(1, 0), 1)), [run(1, 1)], "a restart needs no disk");
    assert!(agent.after(999, Event::Tick).is_empty());
    assert!(matches!(agent.after(1, Event::Tick)[..], [Effect::SaveLedger(_)]));
    assert_eq!(starts(&agent.on(Event::LedgerSaved)), [run(2, 0)]);
    assert!(agent.report().warnings.is_empty());
}

#[test]
fn older_and_foreign_assignments_are_refused() {
    let mut agent = Agent::running(&[1]);
    let mut foreign = assignment(9, &[]);
    foreign.server = pando_model::ServerId::from_uuid(uuid::Uuid::nil());
    let mut older_epoch = assignment(5, &[]);
    older_epoch.version.epoch = 0;
    for refused in [assignment(1, &[]), assignment(0, &[]), older_epoch, foreign] {
        assert!(agent.on(Event::Assignment(refused)).is_empty());
    }
    // Also one that is older than what is still on its way to the disk.
    agent.disk = false;
    agent.on(Event::Assignment(assignment(4, &[1])));
    agent.on(Event::Assignment(assignment(3, &[])));
    agent.on(Event::LedgerSaved);
    assert_eq!(agent.report().assignment.revision, 4);
    assert_eq!(agent.state_of(1), Some(InstanceState::Starting));
}

#[test]
fn an_instance_is_ready_by_its_first_pass_and_says_for_how_long() {
    let mut agent = Agent::running(&[1]);
    assert_eq!(agent.state_of(1), Some(InstanceState::Starting));
    agent.fail(run(1, 0));
    let status = agent.status(1).unwrap();
    assert_eq!((status.state, status.check.as_deref()), (InstanceState::Starting, Some("503 from /health")));
    agent.pass(run(1, 0));
    agent.after(5000, Event::Tick);
    let status = agent.status(1).unwrap();
    assert_eq!((status.state, status.ready_for), (InstanceState::Ready, Some(Millis(5000))));
    assert_eq!((status.check, status.pid), (None, Some(4711)));
    for _ in 0..3 {
        agent.fail(run(1, 0));
    }
    let status = agent.status(1).unwrap();
    assert_eq!((status.state, status.ready_for), (InstanceState::Unhealthy, None));
    agent.pass(run(1, 0));
    assert_eq!(agent.state_of(1), Some(InstanceState::Unhealthy));
    agent.pass(run(1, 0));
    assert_eq!(agent.status(1).unwrap().ready_for, Some(Millis(0)));
}

#[test]
fn what_the_image_says_of_its_check_holds_for_all_runs_of_it() {
    let mut agent = Agent::running(&[1]);
    let rules = ImageRules { retries: 1, start_period: Millis::from_secs(90) };
    agent.on(Event::ImageCheck { key: run(1, 0), rules });
    assert_eq!(agent.status(1).unwrap().start_period, Some(Millis::from_secs(90)));
    agent.pass(run(1, 0));
    agent.fail(run(1, 0));
    assert_eq!(agent.state_of(1), Some(InstanceState::Unhealthy));
    agent.ends(run(1, 0), 1);
    assert_eq!(
        agent.status(1).unwrap().start_period,
        Some(Millis::from_secs(90)),
        "the next is of that image, too"
    );
}

#[test]
fn what_a_run_loses_is_reported_also_by_the_next_agent_and_while_it_does_not_run() {
    let losing =
        |attempt, exit| Held { unmounted: vec!["/data".to_owned()], ..held(run(1, attempt), "web-1", exit) };
    let mut agent = Agent::ready();
    agent.on(Event::Assignment(assignment(1, &[1])));
    agent.on(Event::RunStarted(losing(0, None)));
    assert_eq!(agent.status(1).unwrap().unmounted, ["/data"]);
    agent.ends(run(1, 0), 1);
    assert_eq!(agent.status(1).unwrap().unmounted, ["/data"]);
    for exit in [None, Some(exit(1))] {
        let mut next = Agent::with(agent.state.ledger().clone());
        next.on(Event::Adopted { held: vec![losing(3, exit)], releases: vec![on_disk(1)] });
        assert_eq!(next.status(1).unwrap().unmounted, ["/data"]);
    }
    // The next run may have a volume there.
    agent.after(60_000, Event::Tick);
    agent.on(Event::RunStarted(held(run(1, 1), "web-1", None)));
    assert_eq!(agent.status(1).unwrap().unmounted, [""; 0]);
}

#[test]
fn without_a_check_running_is_ready() {
    let mut agent = Agent::ready();
    let mut unchecked = assignment(1, &[1]);
    unchecked.instances.values_mut().map(Arc::make_mut).for_each(|one| one.health.kind = HealthKind::None);
    agent.on(Event::Assignment(unchecked));
    assert_eq!(agent.state_of(1), Some(InstanceState::Starting));
    let effects = agent.on(Event::RunStarted(held(run(1, 0), "web-1", None)));
    assert!(effects.is_empty(), "{effects:?}");
    assert_eq!(agent.state_of(1), Some(InstanceState::Ready));
}

#[test]
fn an_end_is_followed_by_a_start_at_once_then_ever_later() {
    let mut agent = Agent::running(&[1]);
    let mut waits = Vec::new();
    for attempt in 0..8 {
        let mut effects = agent.ends(run(1, attempt), 1);
        let mut waited = 0;
        while starts(&effects).is_empty() {
            let left = InstanceState::BackingOff { next_start_in: Millis(1) };
            let almost = agent.state.wake.unwrap().since(agent.now).0 - 1;
            assert!(agent.after(almost, Event::Tick).is_empty());
            assert_eq!(agent.state_of(1), Some(left));
            effects = agent.after(1, Event::Tick);
            waited += almost + 1;
        }
        waits.push(waited / 1000);
        assert_eq!(starts(&effects), [run(1, attempt + 1)]);
        let effects = agent.on(Event::RunStarted(held(run(1, attempt + 1), "web-1", None)));
        assert_eq!(forgets(&effects), [run(1, attempt)], "only once the next is held");
    }
    assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 60]);
    let status = agent.status(1).unwrap();
    assert_eq!((status.restarts, status.last_exit), (8, Some(exit(1))));
}

#[test]
fn a_minute_of_readiness_forgives_earlier_ends() {
    let mut agent = Agent::running(&[1]);
    agent.ends(run(1, 0), 1);
    agent.on(Event::RunStarted(held(run(1, 1), "web-1", None)));
    agent.pass(run(1, 1));
    agent.after(59_999, Event::Tick);
    assert!(starts(&agent.ends(run(1, 1), 1)).is_empty(), "a second failure waits");
    agent.after(1000, Event::Tick);
    agent.on(Event::RunStarted(held(run(1, 2), "web-1", None)));
    agent.pass(run(1, 2));
    agent.after(60_000, Event::Tick);
    assert_eq!(starts(&agent.ends(run(1, 2), 1)), [run(1, 3)]);
}

#[test]
fn an_end_told_before_the_start_is_still_an_end() {
    let mut agent = Agent::running(&[]);
    agent.on(Event::Assignment(assignment(2, &[1])));
    assert_eq!(starts(&agent.ends(run(1, 0), 1)), [run(1, 1)]);
    let effects = agent.on(Event::RunStarted(held(run(1, 0), "web-1", None)));
    assert!(effects.is_empty(), "{effects:?}");
    assert_eq!(agent.state_of(1), Some(InstanceState::Starting));
}

#[test]
fn answers_about_other_runs_change_nothing() {
    let mut agent = Agent::running(&[1]);
    agent.ends(run(1, 0), 1);
    agent.pass(run(1, 0));
    agent.on(Event::RunStarted(held(run(1, 1), "web-1", None)));
    agent.pass(run(1, 0));
    agent.pass(run(9, 0));
    assert!(agent.ends(run(1, 0), 1).is_empty());
    assert_eq!(agent.state_of(1), Some(InstanceState::Starting));
}

#[test]
fn a_taken_port_is_said_and_tried_again() {
    let mut agent = Agent::running(&[]);
    agent.on(Event::Assignment(assignment(2, &[1])));
    let message = "port 127.0.0.1:20001 is taken by another program".to_owned();
    let reason = FailureReason::PortTaken;
    let effects =
        agent.on(Event::StartFailed { key: run(1, 0), reason, message: message.clone(), image_lost: false });
    assert!(effects.is_empty());
    assert_eq!(agent.state_of(1), Some(InstanceState::Failed { reason, message }));
    assert_eq!(starts(&agent.after(1000, Event::Tick)), [run(1, 0)]);
    assert_eq!(agent.status(1).unwrap().restarts, 0);
}

#[test]
fn who_leaves_is_stopped_with_its_own_timeout_and_shown_until_its_end() {
    let mut agent = Agent::running(&[1, 2]);
    agent.pass(run(2, 0));
    let effects = agent.on(Event::Assignment(assignment(2, &[1])));
    assert_eq!(stops(&effects), [(run(2, 0), 30_000)]);
    let status = agent.status(2).unwrap();
    assert_eq!((status.state, status.ready_for), (InstanceState::Stopping, None));
    assert_eq!(forgets(&agent.ends(run(2, 0), 0)), [run(2, 0)]);
    assert_eq!(agent.status(2), None);
    assert!(agent.state.ledger().leaving.is_empty());
}

#[test]
fn who_leaves_while_it_starts_is_stopped_when_it_runs() {
    let mut agent = Agent::running(&[]);
    agent.on(Event::Assignment(assignment(2, &[1])));
    assert!(stops(&agent.on(Event::Assignment(assignment(3, &[])))).is_empty());
    assert_eq!(agent.state_of(1), Some(InstanceState::Stopping));
    let effects = agent.on(Event::RunStarted(held(run(1, 0), "web-1", None)));
    assert_eq!(stops(&effects), [(run(1, 0), 30_000)]);
}

#[test]
fn who_leaves_between_two_runs_is_gone_at_once() {
    let mut agent = Agent::running(&[1]);
    agent.ends(run(1, 0), 1);
    agent.on(Event::RunStarted(held(run(1, 1), "web-1", None)));
    agent.ends(run(1, 1), 1);
    let effects = agent.on(Event::Assignment(assignment(2, &[])));
    assert_eq!((forgets(&effects), agent.status(1)), (vec![run(1, 1)], None));
}

#[test]
fn a_stop_that_fails_is_tried_again() {
    let mut agent = Agent::running(&[1]);
    agent.on(Event::Assignment(assignment(2, &[])));
    assert!(agent.on(Event::StopFailed(run(1, 0))).is_empty());
    assert_eq!(stops(&agent.after(1000, Event::Tick)), [(run(1, 0), 30_000)]);
}

#[test]
fn a_new_agent_leaves_assigned_runs_untouched_and_waits_for_their_first_word() {
    let before = Agent::running(&[1, 2]);
    let mut agent = Agent::with(before.state.ledger().clone());
    let runs = vec![held(run(1, 3), "web-1", None), held(run(2, 0), "web-2", None)];
    let adopted = Event::Adopted { held: runs, releases: vec![on_disk(1)] };
    let effects = step(&mut agent.state, adopted, agent.now);
    assert!(!reported(&effects) && starts(&effects).is_empty() && stops(&effects).is_empty());
    let effects = step(&mut agent.state, Event::CheckPassed(run(1, 3)), agent.now);
    assert!(!reported(&effects), "one of two has not been heard");
    let effects = step(&mut agent.state, Event::CheckPassed(run(2, 0)), agent.now);
    assert!(reported(&effects));
    assert_eq!(agent.state_of(1), Some(InstanceState::Ready));
    assert_eq!(agent.status(1).unwrap().restarts, 3);
}

#[test]
fn the_first_report_waits_two_seconds_at_most() {
    let before = Agent::running(&[1]);
    let mut agent = Agent::with(before.state.ledger().clone());
    let runs = vec![held(run(1, 0), "web-1", None)];
    step(&mut agent.state, Event::Adopted { held: runs, releases: vec![on_disk(1)] }, agent.now);
    assert_eq!(agent.state.wake, Some(agent.now + Millis(2000)));
    let early = step(&mut agent.state, Event::Tick, agent.now + Millis(1999));
    let late = step(&mut agent.state, Event::Tick, agent.now + Millis(2000));
    assert_eq!((reported(&early), reported(&late)), (false, true));
}

#[test]
fn the_first_report_waits_for_the_proxy_too() {
    let mut with_proxy = site();
    with_proxy.proxy = true;
    let now = Timestamp::from_millis(0);
    let mut state = State::new(with_proxy, Ledger::empty(server()), 1);
    assert!(!reported(&step(&mut state, Event::Adopted { held: vec![], releases: vec![] }, now)));
    let status = ProxyStatus { alive: true, ..ProxyStatus::default() };
    assert!(reported(&step(&mut state, Event::ProxyChanged(status.clone()), now)));
    assert_eq!(state.facts().proxy, Some(status));
}

#[test]
fn a_run_that_ended_while_no_agent_was_there_is_started_again() {
    let before = Agent::running(&[1]);
    let mut agent = Agent::with(before.state.ledger().clone());
    let runs = vec![held(run(1, 0), "web-1", Some(exit(3))), held(run(1, 1), "web-1", Some(exit(4)))];
    let effects = agent.on(Event::Adopted { held: runs, releases: vec![on_disk(1)] });
    assert_eq!((starts(&effects), forgets(&effects)), (vec![run(1, 2)], vec![run(1, 0)]));
    assert_eq!(agent.status(1).unwrap().last_exit, Some(exit(4)));
}

#[test]
fn two_live_runs_of_one_instance_both_end_before_the_next() {
    let before = Agent::running(&[1]);
    let mut agent = Agent::with(before.state.ledger().clone());
    let runs = vec![held(run(1, 0), "web-1", None), held(run(1, 1), "web-1", None)];
    let effects = agent.on(Event::Adopted { held: runs, releases: vec![on_disk(1)] });
    assert_eq!((starts(&effects), stops(&effects).len()), (vec![], 2));
    assert!(starts(&agent.ends(run(1, 1), 0)).is_empty());
    assert_eq!(starts(&agent.ends(run(1, 0), 0)), [run(1, 2)]);
}

#[test]
fn who_was_leaving_is_stopped_by_the_next_agent_with_its_own_timeout() {
    let mut before = Agent::running(&[1]);
    before.on(Event::Assignment(assignment(2, &[])));
    let mut agent = Agent::with(before.state.ledger().clone());
    let runs = vec![held(run(1, 0), "web-1", None)];
    let effects = agent.on(Event::Adopted { held: runs, releases: vec![on_disk(1)] });
    assert_eq!(stops(&effects), [(run(1, 0), 30_000)]);
    assert_eq!(agent.state_of(1), Some(InstanceState::Stopping));
    agent.ends(run(1, 0), 0);
    assert_eq!(agent.status(1), None);
}

#[test]
fn runs_that_the_ledger_does_not_know_are_stopped() {
    let mut agent = Agent::with(Ledger::empty(server()));
    let runs = vec![held(run(1, 0), "web-1", None), held(run(2, 0), "release", None)];
    let more = vec![held(run(3, 0), "web-3", Some(exit(0)))];
    let effects = agent.on(Event::Adopted { held: [runs, more].concat(), releases: vec![] });
    assert_eq!(stops(&effects), [(run(1, 0), 10_000), (run(2, 0), 10_000)]);
    assert_eq!(forgets(&effects), [run(3, 0)]);
    assert_eq!(agent.state_of(1), Some(InstanceState::Stopping));
    assert_eq!(agent.report().instances.len(), 1, "a command is no instance");
    agent.on(Event::StopFailed(run(1, 0)));
    assert_eq!(stops(&agent.after(1000, Event::Tick)), [(run(1, 0), 10_000)]);
    assert_eq!(forgets(&agent.ends(run(1, 0), 0)), [run(1, 0)]);
    assert_eq!(agent.status(1), None);
}

#[test]
fn a_changed_check_begins_anew() {
    let mut agent = Agent::running(&[1]);
    let mut changed = assignment(2, &[1]);
    changed.instances.values_mut().map(Arc::make_mut).for_each(|one| one.health.interval = Millis(500));
    let effects = agent.on(Event::Assignment(changed));
    assert!(matches!(effects[..], [Effect::StopCheck(_), Effect::StartCheck(_)]), "{effects:?}");
}

#[test]
fn a_report_follows_a_change_and_nothing_else() {
    let mut agent = Agent::running(&[1]);
    let pass = |agent: &mut Agent| step(&mut agent.state, Event::CheckPassed(run(1, 0)), agent.now);
    assert!(reported(&pass(&mut agent)));
    assert!(!reported(&pass(&mut agent)));
}
