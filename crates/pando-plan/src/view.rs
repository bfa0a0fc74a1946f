//! The input with what planning asks of it again and again, looked up once.
//!
//! Servers are numbered by name here (their *place*); what holds of the cluster
//! as a whole, such as whether every load balancer uses the published table, is
//! settled when the view is made.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

use pando_model::assignment::Assignment;
use pando_model::id::{InstanceId, ServerId};
use pando_model::name::{AppName, RoleName};
use pando_model::observed::{AgentReport, ProxyStatus, ReleaseState, ServerObserved};
use pando_model::release::ReleaseNumber;
use pando_model::server::{Server, Standing};
use pando_routing::{Endpoint, EndpointState};

use crate::balancers::Balancers;
use crate::ids::IdHash;
use crate::input::{Input, Liveness};

/// A server as planning sees it.
#[derive(Debug)]
pub(crate) struct Seat<'a> {
    pub(crate) server: &'a Server,
    pub(crate) liveness: Liveness,
    /// As [`Input::contact`] has it.
    pub(crate) contact: Liveness,
    pub(crate) seen: Option<&'a ServerObserved>,
    /// The assignment as last published to it.
    pub(crate) told: Option<&'a Assignment>,
}

impl<'a> Seat<'a> {
    pub(crate) fn is_lost(&self) -> bool {
        self.liveness == Liveness::Lost
    }

    /// Nothing can be told to it any more: it is lost, or others alone hear it.
    pub(crate) fn is_beyond_reach(&self) -> bool {
        self.contact == Liveness::Lost
    }

    /// It has not spoken to the control plane lately.
    pub(crate) fn is_silent(&self) -> bool {
        matches!(self.contact, Liveness::Suspect | Liveness::Lost)
    }

    /// New replicas may be placed here.
    pub(crate) fn takes_new(&self) -> bool {
        self.server.standing == Standing::Active && !self.is_beyond_reach()
    }

    /// Somebody removed it, and nobody hears from it: there is nothing left to wait for.
    pub(crate) fn is_given_up(&self) -> bool {
        self.server.standing == Standing::Leaving && self.is_lost()
    }

    pub(crate) fn report(&self) -> Option<&'a AgentReport> {
        self.seen.map(|seen| &seen.report)
    }

    /// How far a release is here, as the server said last; `None`: it says nothing of it.
    pub(crate) fn release(&self, app: &AppName, number: ReleaseNumber) -> Option<&'a ReleaseState> {
        let mut held = self.report()?.releases.iter();
        held.find(|held| held.app == *app && held.release == number).map(|held| &held.state)
    }

    /// The agent acts on what it was told last.
    pub(crate) fn has_obeyed(&self) -> bool {
        let (Some(report), Some(told)) = (self.report(), self.told) else { return false };
        report.assignment >= told.version
    }
}

#[derive(Debug)]
pub(crate) struct View<'a> {
    pub(crate) input: Input<'a>,
    /// By name, those that are given up included.
    pub(crate) seats: Vec<Seat<'a>>,
    places: HashMap<ServerId, usize, IdHash>,
    by_role: BTreeMap<&'a RoleName, Vec<usize>>,
    endpoints: HashMap<InstanceId, &'a Endpoint, IdHash>,
    out_of_rotation: HashSet<InstanceId, IdHash>,
    pub(crate) balancers: Balancers<'a>,
    /// So many servers are silent that nothing moves.
    pub(crate) halted: bool,
}

impl<'a> View<'a> {
    pub(crate) fn new(input: &Input<'a>) -> Self {
        let seats = seats(input);
        let mut places = HashMap::with_capacity_and_hasher(seats.len(), IdHash::default());
        let mut by_role: BTreeMap<&RoleName, Vec<usize>> = BTreeMap::new();
        for (place, seat) in seats.iter().enumerate() {
            places.insert(seat.server.id, place);
            for role in &seat.server.roles {
                by_role.entry(role).or_default().push(place);
            }
        }
        let balancers = Balancers::new(input, &seats);
        let halted = is_halted(&seats);
        let (endpoints, out_of_rotation) = (endpoints(input), balancers.out_of_rotation());
        Self { input: *input, seats, places, by_role, endpoints, out_of_rotation, balancers, halted }
    }

    /// `None`: it is not of the cluster, or given up.
    pub(crate) fn place_of(&self, server: ServerId) -> Option<usize> {
        let place = *self.places.get(&server)?;
        self.seats.get(place).filter(|seat| !seat.is_given_up()).map(|_| place)
    }

    pub(crate) fn seat(&self, place: usize) -> Option<&Seat<'a>> {
        self.seats.get(place)
    }

    pub(crate) fn seat_of(&self, server: ServerId) -> Option<&Seat<'a>> {
        self.seats.get(self.place_of(server)?)
    }

    /// A name for people, also of what is gone.
    pub(crate) fn name_of(&self, place: usize) -> &'a str {
        self.seats.get(place).map_or("a removed server", |seat| seat.server.name.as_str())
    }

    /// The places with a role, by name.
    pub(crate) fn with_role(&self, role: &RoleName) -> &[usize] {
        self.by_role.get(role).map_or(&[], Vec::as_slice)
    }

    /// Where the services of a role are: the server with it that joined first. An active one before one that is being emptied,
    /// since what people run themselves stays there until they move it.
    pub(crate) fn address_of(&self, role: &RoleName) -> Option<IpAddr> {
        let servers = self.with_role(role).iter().filter_map(|place| self.seats.get(*place));
        let first = servers.min_by_key(|seat| {
            let server = seat.server;
            (server.standing != Standing::Active, server.joined_at, server.id)
        });
        first.map(|seat| seat.server.private_address)
    }

    /// As the published table has it.
    pub(crate) fn endpoint(&self, instance: InstanceId) -> Option<&'a Endpoint> {
        self.endpoints.get(&instance).copied()
    }

    /// Every live load balancer sends requests to the endpoint.
    pub(crate) fn is_in_rotation(&self, endpoint: Option<&Endpoint>, instance: InstanceId) -> bool {
        endpoint.is_some_and(|endpoint| endpoint.state == EndpointState::Active)
            && !self.balancers.lacks_every_one
            && self.balancers.settled
            && !self.out_of_rotation.contains(&instance)
    }

    /// Every live load balancer has confirmed that the instance gets nothing new.
    pub(crate) fn is_drained(&self, instance: InstanceId) -> bool {
        let active = self.endpoint(instance).is_some_and(|endpoint| endpoint.state == EndpointState::Active);
        !active && self.balancers.settled
    }

    /// No live load balancer sends anything to the instance, nor waits for an answer from it.
    pub(crate) fn is_idle_everywhere(&self, instance: InstanceId) -> bool {
        self.is_drained(instance) && self.open_requests(instance) == 0
    }

    /// Requests under way to the instance, as far as anybody says; a load balancer that has ceased to be an entry point finishes
    /// what it has.
    pub(crate) fn open_requests(&self, instance: InstanceId) -> u64 {
        let heard = self.seats.iter().filter(|seat| !seat.is_lost());
        let proxies = heard.filter_map(|seat| seat.report()?.proxy.as_ref());
        let alive = proxies.filter(|proxy: &&ProxyStatus| proxy.alive);
        alive.filter_map(|proxy| proxy.in_flight.get(&instance)).sum()
    }
}

/// The places that are marked.
pub(crate) fn marked(places: &[bool]) -> Vec<usize> {
    places.iter().enumerate().filter(|(_, marked)| **marked).map(|(place, _)| place).collect()
}

fn seats<'a>(input: &Input<'a>) -> Vec<Seat<'a>> {
    let desired = input.desired;
    let seat = |server: &'a Server| Seat {
        server,
        liveness: input.liveness(server.id),
        contact: input.contact(server.id),
        seen: input.observed.servers.get(&server.id).map(AsRef::as_ref),
        told: desired.assignments.get(&server.id),
    };
    let mut seats: Vec<Seat<'a>> = desired.servers.values().map(seat).collect();
    seats.sort_by(|a, b| (&a.server.name, a.server.id).cmp(&(&b.server.name, b.server.id)));
    seats
}

fn endpoints<'a>(input: &Input<'a>) -> HashMap<InstanceId, &'a Endpoint, IdHash> {
    let Some(table) = &input.desired.table else { return HashMap::default() };
    let count = table.pools.values().map(|pool| pool.endpoints.len()).sum();
    let mut endpoints = HashMap::with_capacity_and_hasher(count, IdHash::default());
    endpoints.extend(table.endpoints().map(|(_, endpoint)| (InstanceId::from_uuid(endpoint.id.0), endpoint)));
    endpoints
}

/// More than half of the servers are silent, and one for so long that it would count as lost.
///
/// A broken network at the control plane looks just so, and then the first to pass the limit must not be moved onto servers that
/// will pass it in the next second: that is why the suspect count, too.
fn is_halted(seats: &[Seat<'_>]) -> bool {
    let kept = || seats.iter().filter(|seat| !seat.is_given_up());
    let silent = kept().filter(|seat| seat.is_silent()).count();
    kept().any(Seat::is_beyond_reach) && silent * 2 > kept().count()
}
