//! A dry run tells the steps that a deployment would take.

use pando_model::desired::DeploymentKind;
use pando_model::time::Timestamp;
use pando_plan::rehearse;

use crate::spec;
use crate::world::{Behaviour, World, hits};

#[test]
fn every_step_is_told_in_order_and_nothing_changes() {
    let mut world = World::new(1, 5);
    let first = world.release(spec::app(2, 0), Behaviour::Good(100));
    world.deploy(DeploymentKind::Deploy, first);
    assert!(world.settle(60_000));
    let mut next = spec::app(2, 0);
    next.release_command = Some("bin/migrate".to_owned());
    let release = world.release(next, Behaviour::Good(100));
    world.deploy(DeploymentKind::Deploy, release);
    let now = Timestamp::from_millis(i64::try_from(world.now).unwrap());
    let told = rehearse(world.desired.clone(), &hits(), now, 1);
    assert_eq!(
        told,
        [
            "bring v2 to s1",
            "run `bin/migrate` once on s1",
            "start web-1 of v2 on s1, port 20002",
            "web-1 of v2 is ready and gets requests",
            "web-1 of v1 gets no new requests",
            "start web-2 of v2 on s1, port 20003",
            "stop web-1 of v1 on s1",
            "web-2 of v2 is ready and gets requests",
            "web-2 of v1 gets no new requests",
            "stop web-2 of v1 on s1",
            "v2 is live",
        ]
    );
}
