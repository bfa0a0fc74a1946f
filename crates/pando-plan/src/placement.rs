//! Which replicas are wanted, and where.
//!
//! A replica stays where it is while its server may run it. A new one goes to the
//! server with the fewest of the process that has room for it, then the one with
//! the most free memory, then by name. With a count for each server, every server
//! that may run the process has so many.
//!
//! Replicas of a server that is lost are wanted elsewhere, but for a `singleton`'s
//! and those that belong to their server (`per_server`): they wait for it. One that
//! others hear, but that the control plane can tell nothing, is emptied likewise:
//! what runs there serves until its replacement does. What can go nowhere stays where it is, so that nothing is emptied into nowhere;
//! unless people have left no server at all for it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use pando_model::app::{ProcessSpec, ReplicaCount};
use pando_model::desired::{Instance, Target};
use pando_model::id::InstanceId;
use pando_model::name::{ProcessName, ReplicaName};
use pando_model::server::{Server, Standing};
use pando_model::time::Timestamp;

use crate::input::Liveness;
use crate::rooms::Rooms;
use crate::view::{Seat, View};

/// A wanted replica and its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) ordinal: u32,
    pub(crate) place: usize,
    pub(crate) stand: Stand,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stand {
    /// It can be started there.
    Open,
    /// It belongs to a server that is lost or cut off, and waits for it; nobody waits for the replica.
    Awaited,
    /// What runs there may stay, but nothing new is started: there is no better place just now.
    Refuge,
}

/// Where the replicas of a process are to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Placement {
    /// By ordinal.
    pub(crate) slots: Vec<Slot>,
    /// Wanted, with no place at all.
    pub(crate) homeless: Vec<u32>,
}

/// A live replica as it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Home {
    pub(crate) ordinal: u32,
    pub(crate) place: usize,
    /// Among several of one ordinal the greatest counts: one that runs what is wanted, then the newest.
    pub(crate) rank: (bool, Timestamp, InstanceId),
}

impl Home {
    pub(crate) fn of(id: InstanceId, instance: &Instance, place: usize, wanted: Option<Target>) -> Self {
        let runs_it = Some(instance.target) == wanted;
        Self { ordinal: instance.replica.ordinal, place, rank: (runs_it, instance.created_at, id) }
    }
}

/// What `pando scale` set wins over the release's. A singleton is never more than one, in all.
pub(crate) fn wanted_count(spec: &ProcessSpec, scale: Option<u32>) -> ReplicaCount {
    let wanted = scale.map_or(spec.count, ReplicaCount::Total);
    match wanted {
        ReplicaCount::Total(count) | ReplicaCount::PerServer(count) if spec.singleton => {
            ReplicaCount::Total(count.min(1))
        }
        wanted => wanted,
    }
}

/// The role, the names and the labels that the process asks for are the server's.
#[must_use]
pub fn accepts(server: &Server, spec: &ProcessSpec) -> bool {
    server.roles.contains(&spec.role) && accepts_beyond_role(server, spec)
}

fn accepts_beyond_role(server: &Server, spec: &ProcessSpec) -> bool {
    (spec.servers.is_empty() || spec.servers.contains(&server.name))
        && spec.labels.iter().all(|(name, value)| server.labels.get(name) == Some(value))
}

pub(crate) fn replica(process: &ProcessName, ordinal: u32) -> ReplicaName {
    ReplicaName::new(process.clone(), ordinal)
}

/// The servers, as one process sees them.
#[derive(Debug)]
pub(crate) struct Ground<'v, 'a> {
    view: &'v View<'a>,
    spec: &'v ProcessSpec,
    count: ReplicaCount,
    /// The places that take new ones, by name.
    pub(crate) open: Vec<usize>,
    /// People have left some server for the process, be it lost or not.
    pub(crate) exists: bool,
    /// By place: people want it there.
    meant: Vec<bool>,
}

impl<'v, 'a> Ground<'v, 'a> {
    pub(crate) fn of(view: &'v View<'a>, spec: &'v ProcessSpec, count: ReplicaCount) -> Self {
        let (mut open, mut exists, mut meant) = (Vec::new(), false, vec![false; view.seats.len()]);
        for place in view.with_role(&spec.role) {
            let narrow = |seat: &&Seat<'_>| is_active(seat.server) && accepts_beyond_role(seat.server, spec);
            let Some(seat) = view.seat(*place).filter(narrow) else { continue };
            exists = true;
            meant.get_mut(*place).into_iter().for_each(|meant| *meant = true);
            if !seat.is_beyond_reach() {
                open.push(*place);
            }
        }
        Self { view, spec, count, open, exists, meant }
    }

    /// How a replica stands at a place where it lives. `None`: it is to leave.
    fn stand(&self, place: usize) -> Option<Stand> {
        let seat = self.view.seat(place)?;
        let each = matches!(self.count, ReplicaCount::PerServer(_));
        let meant = self.meant.get(place) == Some(&true);
        match (meant, seat.is_beyond_reach()) {
            (true, false) => Some(Stand::Open),
            _ if self.view.halted => Some(Stand::Refuge),
            (true, true) if each => Some(Stand::Awaited),
            (_, true) if self.spec.singleton => Some(Stand::Awaited),
            _ => None,
        }
    }

    /// Where the replicas are to be. `spread_out`: they may be moved for the sake of an even spread, one at a time.
    pub(crate) fn place(&self, homes: &[Home], spread_out: bool, rooms: &mut Rooms) -> Placement {
        let newest = Newest::of(self, homes);
        match self.count {
            ReplicaCount::Total(total) => self.spread(total, &newest, spread_out, rooms),
            ReplicaCount::PerServer(each) => self.on_each(each, &newest),
        }
    }

    fn spread(&self, total: u32, newest: &Newest, spread_out: bool, rooms: &mut Rooms) -> Placement {
        let mut placement = Placement::default();
        let mut missing = Vec::new();
        for ordinal in 1..=total {
            match newest.staying(ordinal) {
                Some((place, stand)) => placement.slots.push(Slot { ordinal, place, stand }),
                None => missing.push(ordinal),
            }
        }
        if !missing.is_empty() && self.exists {
            self.settle(&missing, newest, rooms, &mut placement);
        } else if missing.is_empty() && spread_out {
            self.even_out(rooms, &mut placement);
        } else {
            placement.homeless = missing;
        }
        placement
    }

    /// Finds a place for each that has none.
    fn settle(&self, missing: &[u32], newest: &Newest, rooms: &mut Rooms, placement: &mut Placement) {
        let mut search = Search::new(self, rooms, &placement.slots);
        for ordinal in missing {
            let found = search.next().map(|place| (place, Stand::Open));
            match found.or_else(|| newest.anywhere(*ordinal).map(|place| (place, Stand::Refuge))) {
                Some((place, stand)) => placement.slots.push(Slot { ordinal: *ordinal, place, stand }),
                None => placement.homeless.push(*ordinal),
            }
        }
        placement.slots.sort_by_key(|slot| slot.ordinal);
    }

    /// Moves one replica where the fullest place has two more than the emptiest; the next look moves the next one.
    fn even_out(&self, rooms: &mut Rooms, placement: &mut Placement) {
        let mut counts = vec![0_u32; self.view.seats.len()];
        count(&mut counts, &placement.slots);
        let at = |place: &usize| counts.get(*place).copied().unwrap_or(0);
        let heard = |place: &&usize| self.view.seat(**place).is_some_and(|s| s.contact == Liveness::Alive);
        let fewest = self.open.iter().filter(heard).map(at).min();
        let fullest = self.open.iter().max_by_key(|place| (at(place), Reverse(**place)));
        let (Some(fewest), Some(fullest)) = (fewest, fullest) else { return };
        if at(fullest) <= fewest + 1 {
            return;
        }
        let target = Search::new(self, rooms, &placement.slots).next();
        let heard = target.filter(|place| heard(&place) && at(place) + 1 < at(fullest));
        let last = placement.slots.iter_mut().rev().find(|slot| slot.place == *fullest);
        if let (Some(place), Some(slot)) = (heard, last) {
            slot.place = place;
        }
    }

    fn on_each(&self, each: u32, newest: &Newest) -> Placement {
        let mut counts = vec![0_u32; self.view.seats.len()];
        let mut slots = Vec::new();
        for (ordinal, place, stand) in newest.all_staying() {
            let Some(here) = counts.get_mut(place).filter(|here| **here < each) else { continue };
            *here += 1;
            slots.push(Slot { ordinal, place, stand });
        }
        let mut free = free_ordinals(&slots);
        let mut fresh = Vec::new();
        for place in &self.open {
            let here = counts.get(*place).copied().unwrap_or(0);
            let more = (here..each).filter_map(|_| free.next());
            fresh.extend(more.map(|ordinal| Slot { ordinal, place: *place, stand: Stand::Open }));
        }
        drop(free);
        slots.extend(fresh);
        if self.open.is_empty() && self.exists && each > 0 {
            let kept: Vec<u32> = slots.iter().map(|slot| slot.ordinal).collect();
            let others = newest.all_anywhere().filter(|(ordinal, _)| !kept.contains(ordinal));
            slots.extend(others.map(|(ordinal, place)| Slot { ordinal, place, stand: Stand::Refuge }));
        }
        slots.sort_by_key(|slot| slot.ordinal);
        Placement { slots, homeless: Vec::new() }
    }
}

/// People want the process here, whether the server is heard or not.
pub(crate) fn is_meant(server: &Server, spec: &ProcessSpec) -> bool {
    is_active(server) && accepts(server, spec)
}

fn is_active(server: &Server) -> bool {
    server.standing == Standing::Active
}

fn count(counts: &mut [u32], slots: &[Slot]) {
    for slot in slots {
        if let Some(here) = counts.get_mut(slot.place) {
            *here += 1;
        }
    }
}

/// The ordinals that no slot has, lowest first. `slots` are by ordinal.
fn free_ordinals(slots: &[Slot]) -> impl Iterator<Item = u32> + use<> {
    let mut taken: Vec<u32> = slots.iter().map(|slot| slot.ordinal).collect();
    taken.sort_unstable();
    let mut taken = taken.into_iter().peekable();
    (1..).filter(move |ordinal| taken.next_if_eq(ordinal).is_none())
}

/// Of each ordinal the instance that counts, and the one that does among those that may stay: by ordinal.
struct Newest {
    staying: Vec<Option<(Home, Stand)>>,
    anywhere: Vec<Option<Home>>,
}

impl Newest {
    fn of(ground: &Ground<'_, '_>, homes: &[Home]) -> Self {
        let most = homes.iter().map(|home| home.ordinal as usize + 1).max().unwrap_or(0);
        let mut newest = Self { staying: vec![None; most], anywhere: vec![None; most] };
        for home in homes {
            let ordinal = home.ordinal as usize;
            if let Some(held) = newest.anywhere.get_mut(ordinal)
                && held.is_none_or(|held| held.rank < home.rank)
            {
                *held = Some(*home);
            }
            let Some(stand) = ground.stand(home.place) else { continue };
            if let Some(held) = newest.staying.get_mut(ordinal)
                && held.is_none_or(|(held, _)| held.rank < home.rank)
            {
                *held = Some((*home, stand));
            }
        }
        newest
    }

    fn staying(&self, ordinal: u32) -> Option<(usize, Stand)> {
        let held = self.staying.get(ordinal as usize)?.as_ref();
        held.map(|(home, stand)| (home.place, *stand))
    }

    fn all_staying(&self) -> impl Iterator<Item = (u32, usize, Stand)> {
        self.staying.iter().flatten().map(|(home, stand)| (home.ordinal, home.place, *stand))
    }

    fn anywhere(&self, ordinal: u32) -> Option<usize> {
        self.anywhere.get(ordinal as usize)?.as_ref().map(|home| home.place)
    }

    fn all_anywhere(&self) -> impl Iterator<Item = (u32, usize)> {
        self.anywhere.iter().flatten().map(|home| (home.ordinal, home.place))
    }
}

/// What is compared: heard of lately, fewest of the process, most free memory, most free cores, name.
type Rank = Reverse<(bool, u32, Reverse<u64>, Reverse<u64>, usize)>;

/// The best place for one more, again and again.
struct Search<'g, 'v, 'a> {
    ground: &'g Ground<'v, 'a>,
    heap: BinaryHeap<Rank>,
}

impl<'g, 'v, 'a> Search<'g, 'v, 'a> {
    fn new(ground: &'g Ground<'v, 'a>, rooms: &mut Rooms, slots: &[Slot]) -> Self {
        let mut counts = vec![0_u32; ground.view.seats.len()];
        count(&mut counts, slots);
        let rooms = rooms.all(ground.view);
        let rank = |place: &usize| {
            let (room, seat) = (rooms.get(*place)?, ground.view.seat(*place)?);
            let unheard = seat.contact != Liveness::Alive;
            let (memory, cpu) = (room.memory_bytes, room.cpu_millis);
            Some(Reverse((unheard, *counts.get(*place)?, Reverse(memory), Reverse(cpu), *place)))
        };
        Self { ground, heap: ground.open.iter().filter_map(rank).collect() }
    }
}

impl Iterator for Search<'_, '_, '_> {
    type Item = usize;

    /// What has no room for one more has none for a later one.
    fn next(&mut self) -> Option<usize> {
        let wanted = self.ground.spec.resources;
        while let Some(Reverse((unheard, here, memory, cpu, place))) = self.heap.pop() {
            let mut room = crate::rooms::Room { memory_bytes: memory.0, cpu_millis: cpu.0 };
            if !room.holds(wanted) {
                continue;
            }
            room.set_aside(wanted);
            let (memory, cpu) = (Reverse(room.memory_bytes), Reverse(room.cpu_millis));
            self.heap.push(Reverse((unheard, here + 1, memory, cpu, place)));
            return Some(place);
        }
        None
    }
}
