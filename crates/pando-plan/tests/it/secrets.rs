//! A table goes out anew when its secrets are others, and then only.

use pando_model::desired::DeploymentKind;
use pando_plan::rehearse;

use crate::spec;
use crate::world::{Behaviour, World, hits};

#[test]
fn other_certificates_are_another_revision_of_the_same_table() {
    let mut world = World::new(2, 5);
    let release = world.release(spec::app(2, 0), Behaviour::Good(100));
    world.deploy(DeploymentKind::Deploy, release);
    assert!(world.settle(60_000));
    let before = world.desired.table.clone().unwrap();
    for n in 1..=3_u64 {
        world.change_secrets(&n.to_string());
        assert!(world.settle(60_000));
        let after = world.desired.table.clone().unwrap();
        assert_eq!(after.version.revision, before.version.revision + n);
        assert!(after.same_content(&before), "only its version is another");
        world.change_secrets(&n.to_string());
        assert!(world.settle(60_000));
        assert_eq!(world.desired.table.as_ref().unwrap().version, after.version);
    }
}

/// A dry run ends, though nobody joins secrets to its tables.
#[test]
fn a_rehearsal_publishes_once_for_new_secrets() {
    let mut world = World::new(1, 5);
    world.change_secrets("new");
    let release = world.release(spec::app(1, 0), Behaviour::Good(100));
    world.deploy(DeploymentKind::Deploy, release);
    let now = world.time();
    let told = rehearse(world.desired.clone(), &hits(), now, 1);
    assert_eq!(told.last().map(String::as_str), Some("v1 is live"), "{told:?}");
}
