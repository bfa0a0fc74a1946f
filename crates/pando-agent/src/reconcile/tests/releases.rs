//! Releases: had before anything starts in them, removed when nothing needs them.

use pando_model::app::PullPolicy;
use pando_model::assignment::{AssignedRelease, ReleaseImage};
use pando_model::observed::{FailureReason, Fetched, InstanceState, ReleaseState};

use super::kit::*;
use crate::ledger::Ledger;
use crate::reconcile::{Effect, Event, OnDisk};

fn state(agent: &Agent) -> ReleaseState {
    agent.report().releases[0].state.clone()
}

fn with_prepare(revision: u64) -> Event {
    let mut assignment = assignment(revision, &[1]);
    assignment.releases = vec![assigned_release(1, Some("make")).into()];
    Event::Assignment(assignment)
}

fn removals(effects: &[Effect]) -> Vec<u64> {
    let removed = effects.iter().filter_map(|effect| match effect {
        Effect::RemoveRelease(key) => Some(key.1.0),
        _ => None,
    });
    removed.collect()
}

#[test]
fn an_instance_waits_until_its_release_is_sealed() {
    let mut agent = Agent::new();
    let effects = agent.on(Event::Assignment(assignment(1, &[1])));
    assert!(matches!(effects[..], [Effect::EnsureRelease(_)]), "{effects:?}");
    assert_eq!((state(&agent), agent.state_of(1)), (fetching(0), Some(InstanceState::Waiting)));
    agent.on(Event::ReleaseFetched(release(1)));
    assert_eq!(state(&agent), ReleaseState::Unpacking);
    let effects = agent.on(Event::ReleaseUnpacked(release(1)));
    assert!(matches!(effects[..], [Effect::SealRelease(_)]), "{effects:?}");
    let effects = agent.on(Event::ReleaseReady(release(1)));
    assert_eq!((starts(&effects), state(&agent)), (vec![run(1, 0)], ReleaseState::Ready));
}

fn fetching(bytes: u64) -> ReleaseState {
    ReleaseState::Fetching(Fetched { bytes, of: (bytes > 0).then_some(100) })
}

#[test]
fn what_has_come_is_told_until_it_is_whole() {
    let mut agent = Agent::new();
    agent.on(Event::Assignment(assignment(1, &[1])));
    let comes = |number, bytes| Event::ReleaseComes {
        release: release(number),
        fetched: Fetched { bytes, of: Some(100) },
    };
    agent.on(comes(1, 30));
    agent.on(comes(2, 70));
    assert_eq!(state(&agent), fetching(30));
    agent.on(Event::ReleaseFetched(release(1)));
    agent.on(comes(1, 60));
    assert_eq!(state(&agent), ReleaseState::Unpacking);
}

#[test]
fn prepare_runs_between_unpacking_and_sealing() {
    let mut agent = Agent::new();
    agent.on(with_prepare(1));
    let effects = agent.on(Event::ReleaseUnpacked(release(1)));
    let [Effect::Start(spec)] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!((spec.name.as_str(), spec.command.as_str()), ("prepare", "make"));
    assert_eq!(spec.directory().unwrap().to_str(), Some("/r/hits/v1.tmp"));
    assert_eq!(state(&agent), ReleaseState::Preparing);
    let key = spec.key;
    agent.on(Event::RunStarted(held(key, "prepare", None)));
    let effects = agent.ends(key, 0);
    assert!(matches!(effects[..], [Effect::Forget(_), Effect::SealRelease(_)]), "{effects:?}");
}

#[test]
fn a_failed_prepare_shows_its_last_lines_and_is_tried_again_with_the_next_assignment() {
    let mut agent = Agent::new();
    agent.on(with_prepare(1));
    let key = starts(&agent.on(Event::ReleaseUnpacked(release(1))))[0];
    agent.on(Event::RunStarted(held(key, "prepare", None)));
    let mut end = exit(2);
    end.last_lines = vec!["cc: not found".to_owned()];
    let effects = agent.on(Event::RunEnded { key, exit: end });
    assert_eq!(removals(&effects), [1]);
    let message = "`prepare` of v1 ended with exit code 2\ncc: not found".to_owned();
    assert_eq!(state(&agent), ReleaseState::Failed { message: message.clone() });
    let reason = FailureReason::Release;
    assert_eq!(agent.state_of(1), Some(InstanceState::Failed { reason, message }));
    agent.on(Event::ReleaseRemoved(release(1)));
    assert!(agent.on(Event::Tick).is_empty());
    let effects = agent.on(with_prepare(2));
    assert!(matches!(effects[..], [Effect::EnsureRelease(_)]), "{effects:?}");
}

#[test]
fn a_prepare_that_hangs_is_stopped() {
    let mut agent = Agent::new();
    agent.on(with_prepare(1));
    let key = starts(&agent.on(Event::ReleaseUnpacked(release(1))))[0];
    agent.on(Event::RunStarted(held(key, "prepare", None)));
    assert_eq!(stops(&agent.after(30 * 60_000, Event::Tick)), [(key, 10_000)]);
    agent.ends(key, 0);
    let message = "`prepare` of v1 did not end within 30 min".to_owned();
    assert_eq!(state(&agent), ReleaseState::Failed { message });
}

#[test]
fn a_prepare_that_is_no_longer_wanted_is_stopped_then_removed() {
    let mut agent = Agent::new();
    agent.on(with_prepare(1));
    let key = starts(&agent.on(Event::ReleaseUnpacked(release(1))))[0];
    agent.on(Event::RunStarted(held(key, "prepare", None)));
    let mut none = assignment(2, &[]);
    none.releases.clear();
    let effects = agent.on(Event::Assignment(none));
    assert_eq!((stops(&effects), removals(&effects)), (vec![(key, 10_000)], vec![]));
    assert_eq!(removals(&agent.ends(key, 143))[0], 1);
}

#[test]
fn an_earlier_agents_prepare_ends_before_its_place_is_used_again() {
    let mut before = Agent::new();
    before.on(with_prepare(1));
    let mut agent = Agent::with(before.state.ledger().clone());
    let mut orphan = held(run(70, 0), "prepare", None);
    orphan.spec.place = pando_runtime::Place::Directory("/r/hits/v1.tmp".into());
    let releases = vec![OnDisk { release: release(1), sealed: None }];
    let effects = agent.on(Event::Adopted { held: vec![orphan], releases });
    assert!(matches!(effects[..], [Effect::Stop { .. }]), "{effects:?}");
    let effects = agent.ends(run(70, 0), 143);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::EnsureRelease(_))), "{effects:?}");
}

#[test]
fn a_release_leaves_after_its_last_run() {
    let mut agent = Agent::running(&[1]);
    let mut none = assignment(2, &[]);
    none.releases.clear();
    assert!(removals(&agent.on(Event::Assignment(none))).is_empty());
    assert_eq!(removals(&agent.ends(run(1, 0), 0)), [1]);
    agent.on(Event::RemovalFailed(release(1)));
    assert_eq!(removals(&agent.after(1000, Event::Tick)), [1]);
    agent.on(Event::ReleaseRemoved(release(1)));
    assert!(agent.state.releases.is_empty());
}

/// A new agent that found two replicas of release 1 running, which is an image or a directory, and what it did.
fn back_to_two(image: Option<ReleaseImage>) -> (Agent, Vec<Effect>) {
    let mut assigned = assignment(1, &[1, 2]);
    assigned.releases = vec![AssignedRelease { image, ..assigned_release(1, None) }.into()];
    let mut before = Agent::new();
    before.on(Event::Assignment(assigned));
    let mut agent = Agent::with(before.state.ledger().clone());
    let held = vec![held(run(1, 0), "web-1", None), held(run(2, 0), "web-2", None)];
    let there = OnDisk { release: release(1), sealed: None };
    let effects = agent.on(Event::Adopted { held, releases: vec![there] });
    (agent, effects)
}

fn an_image() -> Option<ReleaseImage> {
    Some(ReleaseImage { reference: "hits:1".to_owned(), pull_policy: PullPolicy::IfMissing })
}

fn is_ensured(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::EnsureRelease(_)))
}

#[test]
fn a_new_agent_looks_for_an_image_while_replicas_of_it_run() {
    let (_, effects) = back_to_two(None);
    assert!(!is_ensured(&effects), "a directory is not touched under what runs in it");
    let (mut agent, effects) = back_to_two(an_image());
    assert!(is_ensured(&effects));
    agent.on(Event::ReleaseReady(release(1)));
    assert_eq!(starts(&agent.ends(run(1, 0), 1)), [run(1, 1)], "one that ends is started again");
}

/// As after a start of the machine, when the agent comes before the engine.
#[test]
fn an_image_that_the_engine_could_not_be_asked_for_is_looked_for_when_it_tells_of_an_end() {
    let (mut agent, _) = back_to_two(an_image());
    let message = "the container engine can't be reached".to_owned();
    agent.on(Event::ReleaseFailed { release: release(1), message });
    assert!(!is_ensured(&agent.after(1000, Event::Tick)));
    let effects = agent.ends(run(1, 0), 137);
    assert!(is_ensured(&effects));
    assert_eq!(agent.state_of(1), Some(InstanceState::Waiting), "it is not one that can't run here");
    assert_eq!(starts(&agent.on(Event::ReleaseReady(release(1)))), [run(1, 1)]);
}

/// Somebody removed what no container used at that moment.
#[test]
fn an_image_that_the_engine_lost_is_brought_again_before_the_next_start() {
    let (mut agent, _) = back_to_two(an_image());
    agent.on(Event::ReleaseReady(release(1)));
    assert_eq!(starts(&agent.ends(run(1, 0), 1)), [run(1, 1)]);
    let (reason, message) = (FailureReason::Start, "this server's engine has no image".to_owned());
    let effects = agent.on(Event::StartFailed { key: run(1, 1), reason, message, image_lost: true });
    assert!(is_ensured(&effects));
    assert!(starts(&agent.after(60_000, Event::Tick)).is_empty(), "not before it is there");
    assert_eq!(starts(&agent.on(Event::ReleaseReady(release(1)))), [run(1, 2)]);
}

#[test]
fn what_an_assignment_on_its_way_wants_is_not_removed() {
    let mut agent = Agent::running(&[]);
    agent.disk = false;
    let mut none = assignment(2, &[]);
    none.releases.clear();
    agent.on(Event::Assignment(none));
    agent.on(Event::Assignment(assignment(3, &[])));
    assert!(removals(&agent.on(Event::LedgerSaved)).is_empty());
    assert!(agent.on(Event::LedgerSaved).is_empty());
}

#[test]
fn halves_and_leftovers_on_disk_are_removed() {
    let mut agent = Agent::with(Ledger::empty(server()));
    let half = OnDisk { release: release(2), sealed: None };
    let effects = agent.on(Event::Adopted { held: vec![], releases: vec![on_disk(1), half] });
    assert_eq!(removals(&effects), [1, 2]);
}

#[test]
fn a_number_that_was_used_for_other_content_is_fetched_again() {
    let mut before = Agent::ready();
    before.on(Event::Assignment(assignment(1, &[1])));
    let mut agent = Agent::with(before.state.ledger().clone());
    let other = OnDisk { release: release(1), sealed: Some(digest(99)) };
    let effects = agent.on(Event::Adopted { held: vec![], releases: vec![other] });
    assert!(effects.iter().any(|effect| matches!(effect, Effect::EnsureRelease(_))), "{effects:?}");
    assert!(starts(&effects).is_empty());
    assert_eq!(state(&agent), fetching(0));
}

#[test]
fn an_instance_of_a_release_that_was_never_promised_says_so() {
    let mut agent = Agent::new();
    let mut odd = assignment(1, &[1]);
    odd.releases.clear();
    agent.on(Event::Assignment(odd));
    let state = agent.state_of(1);
    assert!(matches!(state, Some(InstanceState::Failed { reason: FailureReason::Release, .. })), "{state:?}");
}

#[test]
fn a_failed_fetch_is_said() {
    let mut agent = Agent::new();
    agent.on(Event::Assignment(assignment(1, &[1])));
    let message = "no space left on the disk".to_owned();
    agent.on(Event::ReleaseFailed { release: release(1), message: message.clone() });
    assert_eq!(state(&agent), ReleaseState::Failed { message });
}

#[test]
fn what_failed_is_tried_again_by_itself_after_longer_and_longer() {
    let mut agent = Agent::new();
    agent.on(Event::Assignment(assignment(1, &[1])));
    let fails =
        || Event::ReleaseFailed { release: release(1), message: "no space left on the disk".to_owned() };
    let ensures = |effects: &[Effect]| effects.iter().any(|e| matches!(e, Effect::EnsureRelease(_)));
    for pause in [30_000, 60_000, 120_000, 240_000, 480_000, 600_000, 600_000] {
        agent.on(fails());
        assert!(!ensures(&agent.after(pause - 1, Event::Tick)), "before {pause} ms have passed");
        assert!(ensures(&agent.after(1, Event::Tick)), "after {pause} ms");
    }
    agent.on(Event::ReleaseReady(release(1)));
    assert_eq!(state(&agent), ReleaseState::Ready);
}
