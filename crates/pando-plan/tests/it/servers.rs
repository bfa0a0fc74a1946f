//! What happens to servers in random histories, and what must be so when all is quiet again.

use std::collections::BTreeMap;

use pando_model::app::{ProcessSpec, ReplicaCount};
use pando_model::id::ServerId;
use pando_model::name::ServerName;
use pando_model::server::{Server, Standing};

use crate::world::{World, hits};

const MOST_SERVERS: usize = 7;
const ROLES: [&str; 3] = ["web", "worker", "lb"];

pub(crate) fn change(world: &mut World, stormy: bool) {
    let Some(id) = world.any_server() else { return join(world) };
    match world.roll(if stormy { 14 } else { 8 }) {
        0 | 1 => join(world),
        2 | 3 => change_a_role(world, id),
        // What the API refuses is refused.
        4 => drop(world.stand(id, Standing::Draining)),
        5 => drop(world.stand(id, Standing::Leaving)),
        6 => drop(world.stand(id, Standing::Active)),
        7 => lock_down(world),
        8 | 9 => world.lose(id),
        10 => world.cut(id),
        11 => world.deafen(id),
        _ => world.come_back(id),
    }
}

fn join(world: &mut World) {
    if world.desired.servers.len() >= MOST_SERVERS {
        return;
    }
    let name = (1..).map(|number| format!("s{number}")).find(|name| {
        let name = ServerName::new(name.as_str()).unwrap();
        world.desired.servers.values().all(|server| server.name != name)
    });
    let draw = world.roll(7) + 1;
    let roles: Vec<&str> =
        ROLES.iter().enumerate().filter(|(bit, _)| draw & (1 << bit) != 0).map(|(_, role)| *role).collect();
    world.join(&name.unwrap(), &roles);
}

fn change_a_role(world: &mut World, id: ServerId) {
    let role = ROLES[usize::try_from(world.roll(3)).unwrap()];
    let has = world.desired.servers[&id].roles.iter().any(|own| own.as_str() == role);
    let change = format!("{}{role}", if has { '-' } else { '+' });
    drop(world.change_roles(id, &[&change]));
}

/// As the command does: only when somebody balances, and is heard.
fn lock_down(world: &mut World) {
    let input = world.input();
    let balances = world.desired.servers.values().any(|server| {
        let lb = server.roles.iter().any(|role| role.as_str() == "lb") && server.standing == Standing::Active;
        lb && input.liveness(server.id) == pando_plan::Liveness::Alive
    });
    world.desired.settings.lockdown = balances && !world.desired.settings.lockdown;
}

/// Everybody is heard again, and what was asked for while nothing ran has a place.
pub(crate) fn all_come_back(world: &mut World) {
    let ids: Vec<ServerId> = world.desired.servers.keys().copied().collect();
    ids.into_iter().for_each(|id| world.come_back(id));
    let has = |server: &Server, role: &str| server.roles.iter().any(|own| own.as_str() == role);
    let active = |world: &World, role: &str| {
        world.desired.servers.values().any(|s| s.standing == Standing::Active && has(s, role))
    };
    if !active(world, "web") || !active(world, "worker") {
        world.join("last", &["web", "worker"]);
    }
}

/// The servers that a process may run on.
pub(crate) fn taking(world: &World, spec: &ProcessSpec) -> Vec<ServerId> {
    let servers = world.desired.servers.values();
    let taking = servers.filter(|s| s.standing == Standing::Active && s.roles.contains(&spec.role));
    taking.map(|server| server.id).collect()
}

/// No server that may run a process has two more of it than another.
pub(crate) fn are_even(seed: u64, world: &World) -> Result<(), String> {
    let app = world.desired.apps[&hits()].clone();
    let Some(target) = app.assigned.committed.filter(|_| !app.wish.stopped) else { return Ok(()) };
    for (name, spec) in &app.releases[&target.release].spec.processes {
        if matches!(spec.count, ReplicaCount::PerServer(_)) && !app.wish.scale.contains_key(name) {
            continue;
        }
        let mut counts: BTreeMap<ServerId, usize> =
            taking(world, spec).into_iter().map(|id| (id, 0)).collect();
        for instance in app.assigned.instances.values().filter(|i| i.replica.process == *name) {
            *counts.entry(instance.server).or_default() += 1;
        }
        let (most, least) = (counts.values().max(), counts.values().min());
        if most > least.map(|least| least + 1).as_ref() {
            let log = world.log.join("\n");
            return Err(format!("seed {seed}: {name} is spread so: {counts:?}\n{log}"));
        }
    }
    Ok(())
}
