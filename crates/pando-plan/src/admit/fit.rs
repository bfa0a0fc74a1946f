//! Does it fit? The sum over everything that would run, server by server, against what each server has.

use std::collections::BTreeMap;

use pando_model::app::{Amount, AppSpec, ProcessSpec, ReplicaCount, Strategy};
use pando_model::desired::{AppDesired, Phase};
use pando_model::name::{AppName, ProcessName};
use pando_model::release::Release;
use pando_model::resources::{Bytes, Cores, Resources};
use pando_model::server::Server;

use super::Refusal;
use crate::placement::{self, Ground, Home, Placement, Stand};
use crate::rooms::{Room, Rooms};
use crate::view::View;
use crate::words;

/// An app as it is to run.
pub(super) struct Wanted<'a> {
    pub(super) name: &'a AppName,
    pub(super) app: Option<&'a AppDesired>,
    pub(super) spec: &'a AppSpec,
    pub(super) scale: &'a BTreeMap<ProcessName, u32>,
    /// How many more than wanted may run at once while it is replaced.
    pub(super) extra: u32,
}

impl<'a> Wanted<'a> {
    /// As it will soon run; `None`: not at all.
    pub(super) fn of(name: &'a AppName, app: &'a AppDesired) -> Option<Self> {
        Self::all_of(name, app).pop()
    }

    /// As it runs, and as each deployment that has not ended would have it: any of them may be what stays.
    pub(super) fn all_of(name: &'a AppName, app: &'a AppDesired) -> Vec<Self> {
        if app.wish.stopped {
            return Vec::new();
        }
        let committed = app.assigned.committed.map(|target| target.release);
        let deployed = app.deployments.iter().map(|deployment| deployment.release);
        let releases = committed.into_iter().chain(deployed).filter_map(|number| app.releases.get(&number));
        let wanted = |release: &'a Release| Self {
            name,
            app: Some(app),
            spec: &release.spec,
            scale: &app.wish.scale,
            extra: 0,
        };
        releases.map(wanted).collect()
    }

    /// Each of its processes, with how many of it there are to be; those of which there is to be none are left out.
    pub(super) fn processes(&self) -> impl Iterator<Item = (&'a ProcessName, &'a ProcessSpec, ReplicaCount)> {
        let counted = self.spec.processes.iter().map(|(process, spec)| {
            (process, spec, placement::wanted_count(spec, self.scale.get(process).copied()))
        });
        counted.filter(|(_, _, count)| !matches!(count, ReplicaCount::Total(0) | ReplicaCount::PerServer(0)))
    }

    fn homes(&self, view: &View<'_>, process: &ProcessName) -> Vec<Home> {
        let instances = self.app.into_iter().flat_map(|app| &app.assigned.instances);
        let live = instances.filter(|(_, i)| {
            matches!(i.phase, Phase::Starting | Phase::Serving { .. }) && i.replica.process == *process
        });
        let home = |(id, instance): (&pando_model::InstanceId, &pando_model::Instance)| {
            let place = view.place_of(instance.server)?;
            Some(Home::of(*id, instance, place, None))
        };
        live.filter_map(home).collect()
    }
}

/// How many more than wanted may run at once while this release replaces another.
pub(super) fn extra(spec: &AppSpec) -> u32 {
    match spec.strategy {
        Strategy::Rolling { max_surge: Amount::Count(count), .. } => count,
        Strategy::Rolling { .. } => 1,
        Strategy::Replace => 0,
    }
}

#[derive(Debug, Clone)]
struct Part {
    name: String,
    resources: Resources,
    count: u64,
}

#[derive(Debug, Default)]
struct Loads {
    parts: BTreeMap<usize, Vec<Part>>,
    /// Some of it is there only while something is replaced.
    surges: BTreeMap<usize, u32>,
}

/// Whether all of `wanted` fits at once.
///
/// # Errors
/// With the arithmetic of the first server that holds too little; or the first process that no server can take.
pub(super) fn fits(view: &View<'_>, wanted: &[Wanted<'_>]) -> Result<(), Refusal> {
    let mut rooms = rooms(view, wanted);
    let mut loads = Loads::default();
    for of_app in wanted {
        for (process, spec, count) in of_app.processes() {
            let ground = Ground::of(view, spec, count);
            if ground.open.is_empty() {
                let (asked_for, instead) = (words::asked_for(spec), words::instead(view, spec));
                let text = format!("no server has {asked_for} that `{process}` needs; {instead}");
                return Err(Refusal::DoesNotFit(text));
            }
            let homes = of_app.homes(view, process);
            let placement = place(&ground, view, spec, count, &homes, &mut rooms);
            loads.add(of_app, process, spec, &placement);
        }
    }
    loads.check(view)
}

/// What is left of each server beside what stays where it is.
fn rooms(view: &View<'_>, wanted: &[Wanted<'_>]) -> Rooms {
    let mut rooms: Vec<Room> = view.seats.iter().map(|seat| Room::of(seat.server.capacity)).collect();
    for of_app in wanted {
        for (process, spec, count) in of_app.processes() {
            let ground = Ground::of(view, spec, count);
            let homes = of_app.homes(view, process);
            let staying =
                ground.place(&homes, false, &mut Rooms::known(vec![Room::of_nothing(); rooms.len()]));
            for slot in staying.slots.iter().filter(|slot| is_home(&homes, slot)) {
                rooms.get_mut(slot.place).into_iter().for_each(|room| room.set_aside(spec.resources));
            }
        }
    }
    Rooms::known(rooms)
}

fn is_home(homes: &[Home], slot: &placement::Slot) -> bool {
    homes.iter().any(|home| home.ordinal == slot.ordinal && home.place == slot.place)
}

/// Where there is room; and where there is not, as if there were, so that the sum can be told.
fn place(
    ground: &Ground<'_, '_>,
    view: &View<'_>,
    spec: &ProcessSpec,
    count: ReplicaCount,
    homes: &[Home],
    rooms: &mut Rooms,
) -> Placement {
    let mut placement = ground.place(homes, false, rooms);
    let misplaced = placement.slots.iter().any(|slot| slot.stand == Stand::Refuge);
    if misplaced || !placement.homeless.is_empty() {
        let boundless = ProcessSpec { resources: Resources::default(), ..spec.clone() };
        placement = Ground::of(view, &boundless, count).place(homes, false, rooms);
    }
    for slot in placement.slots.iter().filter(|slot| !is_home(homes, slot)) {
        rooms.set_aside(view, slot.place, spec.resources);
    }
    placement
}

impl Loads {
    fn add(&mut self, of_app: &Wanted<'_>, process: &ProcessName, spec: &ProcessSpec, placement: &Placement) {
        let mut here: BTreeMap<usize, u32> = BTreeMap::new();
        for slot in &placement.slots {
            *here.entry(slot.place).or_default() += 1;
        }
        for (place, count) in here {
            // Each server in turn has some of the surplus of a rolling deployment.
            let surge = if spec.singleton { 0 } else { of_app.extra.min(count) };
            *self.surges.entry(place).or_default() += surge;
            let name = format!("{}/{process}", of_app.name);
            let part = Part { name, resources: spec.resources, count: u64::from(count + surge) };
            self.parts.entry(place).or_default().push(part);
        }
    }

    fn check(&self, view: &View<'_>) -> Result<(), Refusal> {
        for (place, parts) in &self.parts {
            let surge = self.surges.get(place).copied().unwrap_or(0);
            view.seat(*place).map_or(Ok(()), |seat| check_server(seat.server, parts, surge))?;
        }
        Ok(())
    }
}

fn check_server(server: &Server, parts: &[Part], surge: u32) -> Result<(), Refusal> {
    let memory: u64 = parts.iter().map(|part| part.count * part.resources.memory_bytes.unwrap_or(0)).sum();
    let cpu = |part: &Part| part.count * part.resources.cpu_millis.map_or(0, u64::from);
    let cpu: u64 = parts.iter().map(cpu).sum();
    if memory > server.capacity.memory_bytes {
        let one = |resources: Resources| resources.memory_bytes.map(|bytes| Bytes(bytes).to_string());
        let has = Bytes(server.capacity.memory_bytes).to_string();
        return Err(refuse(server, "memory", &sum(parts, one), &Bytes(memory).to_string(), &has, surge));
    }
    if cpu > u64::from(server.capacity.cpu_millis) {
        let one = |resources: Resources| resources.cpu_millis.map(|cpu| Cores(u64::from(cpu)).to_string());
        let has = Cores(u64::from(server.capacity.cpu_millis)).to_string();
        return Err(refuse(server, "cores", &sum(parts, one), &Cores(cpu).to_string(), &has, surge));
    }
    Ok(())
}

/// `hits/web 4 × 512 MB + blog/web 1 × 1 GB`
fn sum(parts: &[Part], one: impl Fn(Resources) -> Option<String>) -> String {
    let term = |part: &Part| Some(format!("{} {} × {}", part.name, part.count, one(part.resources)?));
    parts.iter().filter_map(term).collect::<Vec<_>>().join(" + ")
}

fn refuse(server: &Server, what: &str, sum: &str, total: &str, has: &str, surge: u32) -> Refusal {
    let surge = match surge {
        0 => String::new(),
        _ => ", one more at a time while it is replaced included (`max_surge`)".to_owned(),
    };
    Refusal::DoesNotFit(format!(
        "{} has {has} of {what}, and {sum} = {total} is more{surge}. Lower `replicas` or `resources`, or add a server",
        server.name
    ))
}
