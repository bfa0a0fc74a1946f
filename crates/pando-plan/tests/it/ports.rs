//! Which ports replicas are given.

use std::collections::BTreeSet;

use pando_model::desired::DeploymentKind;

use crate::spec;
use crate::world::{Behaviour, World, hits};

fn ports_of_three_servers(one_machine: bool) -> Vec<u16> {
    let mut world = World::new(3, 7);
    world.desired.settings.one_machine = one_machine;
    world.run_for(1000);
    let release = world.release(spec::app(6, 0), Behaviour::Good(500));
    world.deploy(DeploymentKind::Deploy, release);
    assert!(world.settle(600_000));
    world.desired.apps[&hits()].assigned.instances.values().map(|instance| instance.port).collect()
}

#[test]
fn each_server_has_ports_of_its_own_unless_all_are_on_one_machine() {
    let apart: BTreeSet<u16> = ports_of_three_servers(false).into_iter().collect();
    assert_eq!(apart, BTreeSet::from([20_000, 20_001]));
    let together: BTreeSet<u16> = ports_of_three_servers(true).into_iter().collect();
    assert_eq!(together.len(), 6, "{together:?}");
}
