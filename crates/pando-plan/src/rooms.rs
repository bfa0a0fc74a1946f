//! How much of each server nobody has set aside.
//!
//! Set aside is what a process asks for in `resources`, once for each replica
//! that lives on a server: a replica that is being replaced in place counts once.

use std::collections::BTreeMap;

use pando_model::desired::{AppDesired, Phase};
use pando_model::resources::{Capacity, Resources};

use crate::view::View;

/// What is left of one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Room {
    pub(crate) memory_bytes: u64,
    pub(crate) cpu_millis: u64,
}

impl Room {
    pub(crate) fn of(capacity: Capacity) -> Self {
        Self { memory_bytes: capacity.memory_bytes, cpu_millis: u64::from(capacity.cpu_millis) }
    }

    pub(crate) fn of_nothing() -> Self {
        Self { memory_bytes: 0, cpu_millis: 0 }
    }

    pub(crate) fn holds(&self, wanted: Resources) -> bool {
        let (memory, cpu) = amounts(wanted);
        memory <= self.memory_bytes && cpu <= self.cpu_millis
    }

    pub(crate) fn set_aside(&mut self, wanted: Resources) {
        let (memory, cpu) = amounts(wanted);
        self.memory_bytes = self.memory_bytes.saturating_sub(memory);
        self.cpu_millis = self.cpu_millis.saturating_sub(cpu);
    }
}

fn amounts(wanted: Resources) -> (u64, u64) {
    (wanted.memory_bytes.unwrap_or(0), wanted.cpu_millis.map_or(0, u64::from))
}

/// By place. Looked up when somebody asks for the first time: most plans place nothing.
#[derive(Debug, Default)]
pub(crate) struct Rooms(Option<Vec<Room>>);

impl Rooms {
    pub(crate) fn known(rooms: Vec<Room>) -> Self {
        Self(Some(rooms))
    }

    pub(crate) fn all(&mut self, view: &View<'_>) -> &[Room] {
        self.0.get_or_insert_with(|| left(view))
    }

    /// Counts a replica that planning has just placed.
    pub(crate) fn set_aside(&mut self, view: &View<'_>, place: usize, wanted: Resources) {
        if wanted == Resources::default() {
            return;
        }
        let rooms = self.0.get_or_insert_with(|| left(view));
        if let Some(room) = rooms.get_mut(place) {
            room.set_aside(wanted);
        }
    }
}

fn left(view: &View<'_>) -> Vec<Room> {
    let mut rooms: Vec<Room> = view.seats.iter().map(|seat| Room::of(seat.server.capacity)).collect();
    for app in view.input.desired.apps.values() {
        for ((_, place), wanted) in reserved(view, app) {
            if let Some(room) = rooms.get_mut(place) {
                room.set_aside(wanted);
            }
        }
    }
    rooms
}

/// What the replicas of an app set aside, by name and place.
fn reserved<'a>(
    view: &View<'_>,
    app: &'a AppDesired,
) -> BTreeMap<(&'a pando_model::ReplicaName, usize), Resources> {
    let mut reserved = BTreeMap::new();
    let staying = app
        .assigned
        .instances
        .values()
        .filter(|i| matches!(i.phase, Phase::Starting | Phase::Serving { .. }));
    for instance in staying {
        let release = app.releases.get(&instance.target.release);
        let process = release.and_then(|release| release.spec.processes.get(&instance.replica.process));
        let wanted = process.map_or_else(Resources::default, |process| process.resources);
        if wanted == Resources::default() {
            continue;
        }
        let Some(place) = view.place_of(instance.server) else { continue };
        let held = reserved.entry((&instance.replica, place)).or_insert(wanted);
        held.memory_bytes = held.memory_bytes.max(wanted.memory_bytes);
        held.cpu_millis = held.cpu_millis.max(wanted.cpu_millis);
    }
    reserved
}
