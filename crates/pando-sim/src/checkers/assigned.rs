//! Never two instances of one name in what is published.
//!
//! Of one target there is one instance of a name. Two are allowed for the length
//! of a handover alone, from one server to another: the new one is ready before the
//! old one drains. That every handover ends is for `rest` to see.

use std::collections::{BTreeMap, BTreeSet};

use pando_control::state::State as Loaded;
use pando_model::desired::{Instance, Phase, Target};
use pando_model::id::{DeploymentId, InstanceId, ServerId};
use pando_model::name::{AppName, ReplicaName};
use pando_routing::EndpointState;

use crate::world::World;

/// App, replica and what it runs.
type Name<'a> = (&'a AppName, &'a ReplicaName, (u64, DeploymentId));

/// The instances of each name that are not on their way out.
fn by_name(loaded: &Loaded) -> BTreeMap<Name<'_>, Vec<&Instance>> {
    let mut names: BTreeMap<Name<'_>, Vec<&Instance>> = BTreeMap::new();
    for (app, desired) in &loaded.world.apps {
        for instance in desired.assigned.instances.values().filter(|instance| is_live(instance)) {
            let Target { release, deployment } = instance.target;
            names.entry((app, &instance.replica, (release.0, deployment))).or_default().push(instance);
        }
    }
    names
}

impl World {
    /// Something was published: the whole of it is looked at.
    pub(crate) fn check_published(&mut self) {
        let complaint = self.doubles().or_else(|| self.ports_twice()).or_else(|| self.strange_endpoints());
        if let Some(what) = complaint {
            self.broke(what);
        }
    }

    fn doubles(&self) -> Option<String> {
        let (_, loaded) = self.control.state()?;
        by_name(loaded).iter().find_map(|((app, replica, _), members)| {
            let servers: BTreeSet<ServerId> = members.iter().map(|instance| instance.server).collect();
            let doubled = members.len() > 2 || servers.len() < members.len();
            let names = servers.iter().map(|server| loaded.server_name(*server));
            let names: Vec<String> = names.collect();
            doubled.then(|| {
                format!("{app}/{replica} is assigned {} times, to {}", members.len(), names.join(", "))
            })
        })
    }

    fn ports_twice(&self) -> Option<String> {
        let (_, loaded) = self.control.state()?;
        let mut held: BTreeMap<(ServerId, u16), InstanceId> = BTreeMap::new();
        for (server, assignment) in &loaded.world.assignments {
            for (id, instance) in &assignment.instances {
                if held.insert((*server, instance.port), *id).is_some() {
                    let name = loaded.server_name(*server);
                    return Some(format!("port {} of {name} is assigned twice", instance.port));
                }
            }
        }
        None
    }

    /// What is active in the table is assigned to the server at whose address it is.
    fn strange_endpoints(&self) -> Option<String> {
        let (_, loaded) = self.control.state()?;
        let table = loaded.world.table.as_ref()?;
        let active = table.endpoints().filter(|(_, endpoint)| endpoint.state == EndpointState::Active);
        active.into_iter().find_map(|(pool, endpoint)| {
            let at = self.by_address.get(&endpoint.address.ip())?;
            let assignment = loaded.world.assignments.get(&self.machines[*at].id);
            let id = InstanceId::from_uuid(endpoint.id.0);
            let assigned = assignment.and_then(|assignment| assignment.instances.get(&id));
            let fits = assigned.is_some_and(|assigned| assigned.port == endpoint.address.port());
            (!fits).then(|| {
                let address = endpoint.address;
                format!("the table sends {pool} to {} at {address}, where it isn't assigned", endpoint.name)
            })
        })
    }
}

fn is_live(instance: &Instance) -> bool {
    matches!(instance.phase, Phase::Starting | Phase::Serving { .. })
}
