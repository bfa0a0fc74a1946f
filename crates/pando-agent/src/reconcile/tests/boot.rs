//! A start: what is newest is asked for before anything is started, and what runs goes on.

use pando_model::assignment::{Assignment, Entry};
use pando_model::observed::{InstanceState, ProxyStatus};
use pando_runtime::Held;

use super::kit::*;
use crate::ledger::Ledger;
use crate::reconcile::{ASK_FOR, Effect, Event, State, step};

/// An agent whose ledger says `assignment`, and that has just looked around.
fn started(assignment: Assignment, held: Vec<Held>) -> (Agent, Vec<Effect>) {
    let mut ledger = Ledger::empty(server());
    ledger.accept(assignment);
    let mut agent = Agent::with(ledger);
    agent.control = false;
    let effects = agent.on(Event::Adopted { held, releases: vec![on_disk(1)] });
    (agent, effects)
}

#[test]
fn nothing_is_started_before_somebody_says_that_it_is_still_wanted() {
    let (mut agent, effects) = started(assignment(5, &[1]), vec![]);
    assert!(effects.is_empty(), "{effects:?}");
    assert!(agent.after(4000, Event::Tick).is_empty());
    assert_eq!(agent.state_of(1), Some(InstanceState::Waiting));
    assert_eq!(starts(&agent.on(Event::TargetHeard)), [run(1, 0)]);
    assert!(agent.on(Event::TargetHeard).is_empty(), "to hear it twice changes nothing");
}

#[test]
fn if_nobody_answers_the_ledger_holds() {
    let (mut agent, _) = started(assignment(5, &[1]), vec![]);
    assert_eq!(agent.state.wake, Some(agent.now + ASK_FOR));
    assert!(agent.after(4999, Event::Tick).is_empty());
    assert_eq!(agent.state.wake, Some(agent.now + pando_model::time::Millis(1)));
    assert_eq!(starts(&agent.after(1, Event::Tick)), [run(1, 0)]);
}

#[test]
fn what_is_no_longer_ours_is_never_started() {
    let (mut agent, _) = started(assignment(5, &[1, 2]), vec![]);
    agent.disk = false;
    let effects = agent.on(Event::Assignment(assignment(6, &[2])));
    assert!(matches!(effects[..], [Effect::SaveLedger(_)]), "{effects:?}");
    assert!(agent.on(Event::TargetHeard).is_empty(), "the newer one is not on disk yet");
    assert_eq!(starts(&agent.on(Event::LedgerSaved)), [run(2, 0)]);
    assert_eq!(agent.state_of(1), None);
}

#[test]
fn what_runs_goes_on_and_what_nobody_wants_stops_meanwhile() {
    let runs = vec![held(run(1, 3), "web-1", None), held(run(9, 0), "web-9", None)];
    let (mut agent, effects) = started(assignment(5, &[1]), runs);
    assert_eq!(stops(&effects).iter().map(|stop| stop.0).collect::<Vec<_>>(), [run(9, 0)]);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::StartCheck(_))));
    agent.pass(run(1, 3));
    assert_eq!(agent.state_of(1), Some(InstanceState::Ready));
    // One that ends now may have been moved elsewhere: its next run waits as the others do.
    assert!(starts(&agent.ends(run(1, 3), 1)).is_empty());
    assert_eq!(starts(&agent.on(Event::TargetHeard)), [run(1, 4)]);
}

#[test]
fn neither_tasks_nor_downloads_begin_from_an_old_ledger() {
    let mut with_task = assignment(5, &[]);
    with_task.tasks.insert(task_id(50), task(1));
    with_task.releases.push(assigned_release(2, None).into());
    let (mut agent, effects) = started(with_task, vec![]);
    assert!(effects.is_empty(), "{effects:?}");
    let effects = agent.on(Event::TargetHeard);
    assert_eq!(starts(&effects), [run(50, 0)]);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::EnsureRelease(_))));
}

/// What the endpoints that left the table are.
fn peers(gone: &[u128]) -> Event {
    Event::PeersHeard { gone: gone.iter().map(|n| instance_id(*n)).collect() }
}

#[test]
fn a_peer_s_word_ends_the_wait_but_for_what_left_the_table() {
    let (mut agent, _) = started(assignment(5, &[1, 2]), vec![]);
    assert_eq!(starts(&agent.on(peers(&[1, 77]))), [run(2, 0)]);
    assert!(starts(&agent.after(60_000, Event::Tick)).is_empty());
    assert_eq!(agent.state_of(1), Some(InstanceState::Waiting));
    assert_eq!(starts(&agent.on(Event::TargetHeard)), [run(1, 0)], "the control plane knows that it is ours");
}

#[test]
fn what_left_the_table_is_not_started_again_until_the_newest_is_in_force() {
    let mut agent = Agent::running(&[1, 2]);
    agent.on(peers(&[1]));
    assert!(starts(&agent.ends(run(1, 0), 1)).is_empty(), "it runs as long as it runs");
    assert_eq!(starts(&agent.ends(run(2, 0), 1)), [run(2, 1)]);
    agent.disk = false;
    agent.on(Event::Assignment(assignment(6, &[2])));
    assert!(starts(&agent.on(Event::TargetHeard)).is_empty(), "the newer one is not on disk yet");
    assert!(starts(&agent.on(Event::LedgerSaved)).is_empty());
    assert_eq!(agent.state_of(1), None);
}

#[test]
fn what_is_not_believed_is_said_until_something_is() {
    let mut agent = Agent::new();
    agent.on(Event::Mistrusted(Some("not signed".to_owned())));
    assert_eq!(agent.report().warnings, ["not signed"]);
    agent.on(Event::Mistrusted(None));
    assert!(agent.report().warnings.is_empty());
}

fn entries(effects: &[Effect]) -> Vec<Option<Entry>> {
    let entry = |effect: &Effect| match effect {
        Effect::Entry(entry) => Some(*entry),
        _ => None,
    };
    effects.iter().filter_map(entry).collect()
}

/// Every effect of one event, with saves that succeed.
fn all(state: &mut State, event: Event) -> Vec<Effect> {
    let mut effects = step(state, event, pando_model::time::Timestamp::from_millis(0));
    if effects.iter().any(|effect| matches!(effect, Effect::SaveLedger(_))) {
        effects.extend(step(state, Event::LedgerSaved, pando_model::time::Timestamp::from_millis(0)));
    }
    effects
}

#[test]
fn the_entry_point_is_told_once_it_is_sure_and_when_it_changes() {
    let (near, any) = (Entry { prefer_local: true }, Entry { prefer_local: false });
    let with = |revision, entry| Event::Assignment(Assignment { entry, ..assignment(revision, &[]) });
    let mut site = site();
    (site.proxy, site.keeps_entry) = (true, true);
    let mut state = State::new(site, Ledger::empty(server()), 1);
    let adopted = Event::Adopted { held: vec![], releases: vec![] };
    assert_eq!(entries(&all(&mut state, adopted)), []);
    assert_eq!(entries(&all(&mut state, with(1, Some(near)))), [Some(near)]);
    assert_eq!(state.facts().proxy, Some(ProxyStatus::default()));
    assert_eq!(entries(&all(&mut state, with(2, Some(near)))), []);
    assert_eq!(entries(&all(&mut state, with(3, Some(any)))), [Some(any)]);
    assert_eq!(entries(&all(&mut state, with(4, None))), [None]);
    // It may still finish requests: it is told of until it is gone.
    let status = ProxyStatus { alive: true, ..ProxyStatus::default() };
    all(&mut state, Event::ProxyChanged(status.clone()));
    assert_eq!(state.facts().proxy, Some(status.clone()));
    all(&mut state, Event::EntryKept(Err("it hangs".to_owned())));
    assert_eq!(state.facts().warnings, ["it hangs"]);
    assert_eq!(state.facts().proxy.unwrap().error.as_deref(), Some("it hangs"));
    all(&mut state, Event::EntryKept(Ok(false)));
    all(&mut state, Event::ProxyChanged(status));
    assert_eq!((state.facts().proxy, state.facts().warnings.len()), (None, 0));
}
