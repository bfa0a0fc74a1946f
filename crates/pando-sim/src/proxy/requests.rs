//! Clients' requests through one load balancer.
//!
//! A request is tried at one endpoint and, when nothing of it got there, at one
//! other. A replica that is told to end drops what it still has: the worst that
//! a program can do, so that nobody counts on better.

use pando_model::name::AppName;
use pando_routing::{EndpointId, EndpointState, PoolId};
use pando_runtime::RunKey;

use super::rotation::Met;
use super::{Proxy, ProxyEvent};
use crate::scenario::Sabotage;
use crate::world::{Event, World};

/// To open a connection.
const CONNECT: u64 = 2000;

/// A request that waits for its answer.
#[derive(Debug, Clone)]
pub(crate) struct Flight {
    pub(crate) app: AppName,
    pub(crate) endpoint: EndpointId,
    /// Who works on it; `None`: nobody answers the connection.
    worker: Option<(usize, RunKey)>,
    began: u64,
    length: u64,
    tried: Option<EndpointId>,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    Answered,
    /// The load balancer knew nobody who could serve.
    NobodyReady,
    /// Two were tried, or the only one.
    Unreachable,
    /// The replica ended before it had answered.
    CutOff {
        asked: u64,
        length: u64,
    },
    /// The load balancer itself ended, or was unreachable.
    EntryLost,
}

impl World {
    /// A client speaks to this entry point, and will again.
    pub(crate) fn request_comes(&mut self, at: usize) {
        let pace = self.scenario.request_pace;
        let again = self.dice.between(pace / 2, pace * 3 / 2);
        self.queue.put(self.now + again.max(1), Event::Request(at));
        if !self.takes_requests(at) {
            return;
        }
        let apps = self.workload.served();
        let Some(app) = self.dice.pick(&apps).cloned() else { return };
        let length = match self.dice.below(100) {
            0..85 => self.dice.magnitude(2, 200),
            85..98 => self.dice.between(200, 2500),
            _ => self.dice.between(2500, 20_000),
        };
        self.counts.requests += 1;
        self.try_request(at, app, length, None);
    }

    fn try_request(&mut self, at: usize, app: AppName, length: u64, tried: Option<EndpointId>) {
        if self.scenario.sabotage == Some(Sabotage::RudeProxy) && self.dice.chance(1) {
            return self.request_ended(at, &app, &Ending::NobodyReady);
        }
        let pool = PoolId(format!("{app}/web"));
        let accepts = |proxy: &&mut Box<Proxy>| proxy.accepts && (!proxy.closing || tried.is_some());
        let Some(proxy) = self.machines[at].proxy.as_mut().filter(accepts) else {
            return self.request_ended(at, &app, &Ending::EntryLost);
        };
        let Some(endpoint) = proxy.pick(&pool, tried) else {
            let ending = if tried.is_some() { Ending::Unreachable } else { Ending::NobodyReady };
            return self.request_ended(at, &app, &ending);
        };
        let Some(address) = proxy.endpoints.get(&endpoint).map(|live| live.address) else { return };
        let met = self.connect(at, address);
        let worker = match met {
            Met::Refusal => {
                self.suspect(at, endpoint);
                return self.try_other(at, app, length, endpoint, tried);
            }
            Met::Silence => None,
            Met::Listener(machine, key) => {
                self.check_served(at, &app, machine, key);
                Some((machine, key))
            }
        };
        let Some(proxy) = self.machines[at].proxy.as_deref_mut() else { return };
        proxy.requests += 1;
        let id = proxy.requests;
        let flight = Flight { app, endpoint, worker, began: self.now, length, tried };
        proxy.flights.insert(id, flight);
        match worker {
            Some(_) => self.put_proxy(at, length, ProxyEvent::RequestEnds(id)),
            None => self.put_proxy(at, CONNECT, ProxyEvent::ConnectOver(id)),
        }
    }

    fn try_other(
        &mut self,
        at: usize,
        app: AppName,
        length: u64,
        failed: EndpointId,
        tried: Option<EndpointId>,
    ) {
        match tried {
            None => self.try_request(at, app, length, Some(failed)),
            Some(_) => self.request_ended(at, &app, &Ending::Unreachable),
        }
    }

    pub(super) fn request_ends(&mut self, at: usize, id: u64) {
        let Some(flight) = self.land(at, id) else { return };
        let connected = flight.worker.is_some_and(|(machine, _)| self.network.connects(at, machine));
        let ending = if connected {
            Ending::Answered
        } else {
            Ending::CutOff { asked: flight.began, length: flight.length }
        };
        self.request_ended(at, &flight.app, &ending);
    }

    pub(super) fn connect_over(&mut self, at: usize, id: u64) {
        if let Some(flight) = self.land(at, id) {
            self.try_other(at, flight.app, flight.length, flight.endpoint, flight.tried);
        }
    }

    /// Takes a request out of the books, and tells whoever waits when a draining endpoint is idle.
    fn land(&mut self, at: usize, id: u64) -> Option<Flight> {
        let proxy = self.machines[at].proxy.as_deref_mut()?;
        let flight = proxy.flights.remove(&id)?;
        let active = proxy.endpoints.get(&flight.endpoint).is_some_and(|live| live.active);
        if !active && proxy.in_flight(flight.endpoint) == 0 {
            self.bump(at);
        }
        self.end_if_closed(at);
        Some(flight)
    }

    /// A run has ended, or was told to.
    pub(crate) fn cut_requests_of(&mut self, machine: usize, key: RunKey) {
        for at in 0..self.machines.len() {
            let Some(proxy) = self.machines[at].proxy.as_deref() else { continue };
            let of_run = proxy.flights.iter().filter(|(_, flight)| flight.worker == Some((machine, key)));
            let ids: Vec<u64> = of_run.map(|(id, _)| *id).collect();
            for id in ids {
                if let Some(flight) = self.land(at, id) {
                    let ending = Ending::CutOff { asked: flight.began, length: flight.length };
                    self.request_ended(at, &flight.app, &ending);
                }
            }
        }
    }
}

impl Proxy {
    /// In turn among those in rotation, those nearby first where the table says so.
    fn pick(&mut self, pool: &PoolId, except: Option<EndpointId>) -> Option<EndpointId> {
        let table = self.table.as_ref()?;
        let members = &table.pools.get(pool)?.endpoints;
        let able = members.iter().filter(|endpoint| {
            let live = self.endpoints.get(&endpoint.id);
            let active = endpoint.state == EndpointState::Active;
            active && Some(endpoint.id) != except && live.is_some_and(super::Live::in_rotation)
        });
        let able: Vec<&pando_routing::Endpoint> = able.collect();
        let near: Vec<&pando_routing::Endpoint> = able
            .iter()
            .copied()
            .filter(|endpoint| table.locality.is_some() && endpoint.locality == table.locality)
            .collect();
        let from = if near.is_empty() { able } else { near };
        let turn = self.turns.entry(pool.clone()).or_default();
        *turn = turn.wrapping_add(1);
        from.get(*turn % from.len().max(1)).map(|endpoint| endpoint.id)
    }
}
