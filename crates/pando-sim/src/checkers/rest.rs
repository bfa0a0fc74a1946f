//! Whether the cluster has come to rest: what runs is what is wanted, everywhere, and everybody knows it.

use std::collections::{BTreeMap, BTreeSet};

use pando_control::state::State as Loaded;
use pando_model::app::ReplicaCount;
use pando_model::desired::{AppDesired, Phase};
use pando_model::id::InstanceId;
use pando_model::name::{AppName, ReplicaName, RoleName};
use pando_model::server::Standing;

use crate::world::World;

/// Of one name there is one so long after the last fault.
pub(crate) const ONE_WITHIN: u64 = 30_000;

impl World {
    /// What is still missing; `None`: nothing.
    pub(crate) fn unrest(&self) -> Option<String> {
        let Some((state, loaded)) = self.control.state() else { return Some("no control plane".to_owned()) };
        for (app, known) in &loaded.world.apps {
            let report = state.report.apps.get(app);
            if !report.is_some_and(|report| report.settled) && !lacks_servers(loaded, known) {
                let lines: Vec<&str> = report.iter().flat_map(|report| report.lines()).collect();
                return Some(format!("{app} is not settled: {}", lines.join("; ")));
            }
            if let Some(why) = unrest_of_app(app, known) {
                return Some(why);
            }
        }
        self.unrest_of_servers(loaded).or_else(|| self.unrest_of_processes(loaded))
    }

    fn unrest_of_servers(&self, loaded: &Loaded) -> Option<String> {
        let newest = loaded.world.table.as_ref().map(|table| table.version);
        loaded.world.servers.values().find_map(|server| {
            let machine = &self.machines[*self.by_address.get(&server.private_address)?];
            if server.standing == Standing::Leaving {
                return Some(format!("{} has not left yet", machine.name));
            }
            let published = loaded.world.assignments.get(&server.id).map(|assignment| assignment.version);
            let held = machine.daemon.as_deref().map(|daemon| daemon.state.ledger().assignment.version);
            if held != published {
                return Some(format!("{} has {held:?} in force, not {published:?}", machine.name));
            }
            let used = machine.proxy.as_deref().map(crate::proxy::Proxy::version);
            let entry = server.is_entry_point(&loaded.world.settings);
            if entry && used != Some(newest) {
                return Some(format!("the load balancer of {} uses {used:?}", machine.name));
            }
            let mark = machine.proxy.as_deref().map(crate::proxy::Proxy::mark);
            if entry && mark.as_ref() != Some(&loaded.world.table_secrets) {
                return Some(format!("the load balancer of {} has older keys", machine.name));
            }
            if !entry && self.holds_secrets(machine.index) {
                return Some(format!("{} is no entry point, yet holds keys", machine.name));
            }
            (!entry && used.is_some()).then(|| format!("{} is no entry point, yet balances", machine.name))
        })
    }

    /// The processes that run are those that are assigned, and as many as are wanted.
    fn unrest_of_processes(&self, loaded: &Loaded) -> Option<String> {
        let assigned: BTreeSet<InstanceId> =
            loaded.world.assignments.values().flat_map(|one| one.instances.keys().copied()).collect();
        let mut running = BTreeSet::new();
        let mut names: BTreeMap<(AppName, String), usize> = BTreeMap::new();
        for machine in &self.machines {
            for (key, process) in machine.processes.iter().filter(|(_, process)| process.replica.is_some()) {
                running.insert(InstanceId::from_uuid(key.id));
                let kind = process.replica.as_ref().map(|name| name.process.to_string()).unwrap_or_default();
                *names.entry((process.app.clone(), kind)).or_default() += 1;
            }
        }
        if running != assigned {
            let (more, less) = (running.difference(&assigned).count(), assigned.difference(&running).count());
            return Some(format!("{more} processes run that are not assigned, {less} that are don't run"));
        }
        let wanted = wanted(loaded);
        (names != wanted).then(|| format!("running are {names:?}, wanted are {wanted:?}"))
    }

    /// A name that runs more than once though nothing is being replaced.
    pub(crate) fn doubled_name(&self) -> Option<String> {
        let (_, loaded) = self.control.state()?;
        let mut seen: BTreeMap<(&AppName, &ReplicaName), &str> = BTreeMap::new();
        for machine in &self.machines {
            for (key, process) in &machine.processes {
                let Some(replica) = process.replica.as_ref().filter(|_| !process.ending) else { continue };
                let Some(app) = loaded.app(&process.app).filter(|app| app.deployments.is_empty()) else {
                    continue;
                };
                let held = app.assigned.instances.get(&InstanceId::from_uuid(key.id));
                let leaving = held.is_some_and(|instance| {
                    matches!(instance.phase, Phase::Draining { .. } | Phase::Stopping { .. })
                });
                let handed_over = held.is_some_and(|i| !matches!(i.phase, Phase::Starting)) && leaving;
                if handed_over || self.is_handover(loaded, &process.app, replica) {
                    continue;
                }
                if let Some(other) = seen.insert((&process.app, replica), &machine.name) {
                    let here = &machine.name;
                    return Some(format!("{}/{replica} runs on {other} and on {here}", process.app));
                }
            }
        }
        None
    }

    /// One of the name is about to take over from another that is assigned as well.
    fn is_handover(&self, loaded: &Loaded, app: &AppName, replica: &ReplicaName) -> bool {
        let Some(app) = loaded.app(app) else { return false };
        let of_name = app.assigned.instances.values().filter(|instance| instance.replica == *replica);
        of_name.count() > 1
    }
}

fn unrest_of_app(app: &AppName, known: &AppDesired) -> Option<String> {
    if let Some(open) = known.deployments.front() {
        return Some(format!("a deployment of {app} is {:?}", open.phase));
    }
    let leaving = known
        .assigned
        .instances
        .values()
        .find(|instance| matches!(instance.phase, Phase::Draining { .. } | Phase::Stopping { .. }));
    leaving.map(|instance| format!("{app}/{} is {:?}", instance.replica, instance.phase))
}

/// People have left no server for one of its processes: they started the app again after they took the role from the last one.
fn lacks_servers(loaded: &Loaded, known: &AppDesired) -> bool {
    let release = known.assigned.committed.and_then(|target| known.releases.get(&target.release));
    let mut processes = release.into_iter().flat_map(|release| release.spec.processes.values());
    processes.any(|process| servers_with(loaded, &process.role) == 0)
}

/// How many of each process there should be, from the wishes and the roles alone.
fn wanted(loaded: &Loaded) -> BTreeMap<(AppName, String), usize> {
    let mut wanted = BTreeMap::new();
    for (name, app) in &loaded.world.apps {
        let release = app.assigned.committed.and_then(|target| app.releases.get(&target.release));
        let Some(release) = release.filter(|_| !app.wish.stopped) else { continue };
        for (process, spec) in &release.spec.processes {
            let servers = servers_with(loaded, &spec.role);
            let scaled = app.wish.scale.get(process).map_or(spec.count, |count| ReplicaCount::Total(*count));
            let count = match scaled {
                ReplicaCount::Total(count) | ReplicaCount::PerServer(count) if spec.singleton => count.min(1),
                ReplicaCount::Total(count) => count,
                ReplicaCount::PerServer(count) => count * u32::try_from(servers).unwrap_or(0),
            };
            if count > 0 && servers > 0 {
                wanted.insert((name.clone(), process.to_string()), count as usize);
            }
        }
    }
    wanted
}

fn servers_with(loaded: &Loaded, role: &RoleName) -> usize {
    let servers = loaded.world.servers.values();
    servers.filter(|server| server.roles.contains(role) && server.standing == Standing::Active).count()
}
