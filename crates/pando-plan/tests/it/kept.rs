//! Which releases servers keep, and which the store does.

use pando_model::app::AppSpec;
use pando_model::desired::DeploymentKind;
use pando_model::release::ReleaseNumber;

use crate::spec;
use crate::world::{Behaviour, World, hits};

/// Deploys one more release that asks for so many to be kept.
fn deploy(world: &mut World, keep: u32, behaviour: Behaviour) {
    let release = world.release(AppSpec { keep_releases: keep, ..spec::app(2, 0) }, behaviour);
    world.deploy(DeploymentKind::Deploy, release);
    assert!(world.settle(600_000));
}

fn roll_back(world: &mut World, release: u64) {
    world.deploy(DeploymentKind::Rollback, ReleaseNumber(release));
    assert!(world.settle(600_000));
    assert_eq!(world.app().assigned.committed.unwrap().release, ReleaseNumber(release));
}

/// On the one server, by number.
fn on_server(world: &World) -> Vec<u64> {
    let assignment = world.desired.assignments.values().next().unwrap();
    let mut numbers: Vec<u64> = assignment.releases.iter().map(|release| release.release.0).collect();
    numbers.sort_unstable();
    numbers
}

fn in_store(world: &World) -> Vec<u64> {
    world.desired.apps[&hits()].releases.keys().map(|number| number.0).collect()
}

fn begin() -> World {
    let mut world = World::new(1, 7);
    world.run_for(1000);
    world
}

#[test]
fn the_last_five_that_served_stay_on_servers_and_a_rollback_drops_none_of_them() {
    let mut world = begin();
    (0..7).for_each(|_| deploy(&mut world, 5, Behaviour::Good(500)));
    assert_eq!(on_server(&world), [3, 4, 5, 6, 7]);
    roll_back(&mut world, 4);
    assert_eq!(on_server(&world), [3, 4, 5, 6, 7], "the way forth is kept as well");
    roll_back(&mut world, 7);
    assert_eq!(on_server(&world), [3, 4, 5, 6, 7]);
    // What was run most recently stays, whichever number it has.
    roll_back(&mut world, 3);
    deploy(&mut world, 5, Behaviour::Good(500));
    assert_eq!(on_server(&world), [3, 4, 6, 7, 8]);
}

#[test]
fn what_failed_takes_no_place_of_what_served() {
    let mut world = begin();
    (0..3).for_each(|_| deploy(&mut world, 3, Behaviour::Good(500)));
    (0..4).for_each(|_| deploy(&mut world, 3, Behaviour::NeverReady));
    assert_eq!(on_server(&world), [1, 2, 3]);
    assert_eq!(world.desired.apps[&hits()].assigned.served, [3, 2, 1].map(ReleaseNumber));
}

#[test]
fn the_file_says_how_many_and_the_store_forgets_none_of_them() {
    let mut world = begin();
    (0..14).for_each(|_| deploy(&mut world, 12, Behaviour::Good(500)));
    assert_eq!(on_server(&world), (3..=14).collect::<Vec<u64>>());
    assert_eq!(in_store(&world), (3..=14).collect::<Vec<u64>>());
    deploy(&mut world, 1, Behaviour::Good(500));
    assert_eq!(on_server(&world), [15]);
    assert_eq!(in_store(&world), (6..=15).collect::<Vec<u64>>());
}

/// As it was left by a version that put no such thing on record.
#[test]
fn without_a_record_those_before_the_committed_one_are_kept() {
    let mut world = begin();
    (0..4).for_each(|_| deploy(&mut world, 3, Behaviour::Good(500)));
    world.app().assigned.served.clear();
    world.plan();
    assert!(world.settle(600_000));
    assert_eq!(on_server(&world), [2, 3, 4]);
    roll_back(&mut world, 3);
    assert_eq!(world.desired.apps[&hits()].assigned.served, [3, 4, 2, 1].map(ReleaseNumber));
    assert_eq!(on_server(&world), [2, 3, 4]);
}
