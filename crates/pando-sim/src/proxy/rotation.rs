//! A load balancer's own looks at its endpoints: at once when one is new or has met trouble, then every 500 ms.

use std::net::SocketAddr;

use pando_routing::{EndpointId, Probe};

use super::ProxyEvent;
use crate::world::World;

pub(super) const LOOK_EVERY: u64 = 500;
const LOOK_TIMEOUT: u64 = 500;

/// What somebody who opens a connection meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Met {
    /// A run that listens there, on this machine.
    Listener(usize, pando_runtime::RunKey),
    Refusal,
    /// Nothing comes back.
    Silence,
}

impl World {
    /// What a connection from a machine to an address meets now.
    pub(crate) fn connect(&self, from: usize, address: SocketAddr) -> Met {
        let Some(to) = self.machine_at(address) else { return Met::Silence };
        let machine = &self.machines[to];
        if !machine.on || !self.network.connects(from, to) {
            return Met::Silence;
        }
        machine.ports.get(&address.port()).map_or(Met::Refusal, |key| Met::Listener(to, *key))
    }

    fn machine_at(&self, address: SocketAddr) -> Option<usize> {
        self.by_address.get(&address.ip()).copied()
    }

    /// All at once: for hundreds of endpoints, an event for each would be most of the work of the world.
    pub(super) fn look_at_all(&mut self, at: usize) {
        let Some(proxy) = self.machines[at].proxy.as_deref() else { return };
        let due: Vec<(EndpointId, SocketAddr)> = proxy
            .endpoints
            .iter()
            .filter(|(_, live)| live.active)
            .map(|(id, live)| (*id, live.address))
            .collect();
        for (id, address) in due {
            let met = self.connect(at, address);
            let late = met == Met::Silence || self.is_late(at, address);
            let Some(proxy) = self.machines[at].proxy.as_deref_mut() else { return };
            let Some(live) = proxy.endpoints.get_mut(&id) else { continue };
            // The one before is still waiting.
            let waits = late && live.silent;
            live.silent = late && !live.silent;
            if !waits {
                self.judge(at, id, !late && matches!(met, Met::Listener(..)));
            }
        }
        self.put_proxy(at, LOOK_EVERY, ProxyEvent::Look);
    }

    fn is_late(&mut self, at: usize, address: SocketAddr) -> bool {
        let to = self.machine_at(address).unwrap_or(at);
        self.network.weather.loss > 0 && self.network.round_trip(at, to) > LOOK_TIMEOUT
    }

    /// One look, now; its result comes when the answer does.
    pub(super) fn look_at(&mut self, at: usize, id: EndpointId) {
        let Some(proxy) = self.machines[at].proxy.as_deref() else { return };
        let Some(address) = proxy.endpoints.get(&id).map(|live| live.address) else { return };
        let to = self.machine_at(address).unwrap_or(at);
        let takes = self.network.round_trip(at, to);
        let met = self.connect(at, address);
        let passed = matches!(met, Met::Listener(..)) && takes <= LOOK_TIMEOUT;
        let after = if met == Met::Silence { LOOK_TIMEOUT } else { takes.min(LOOK_TIMEOUT) };
        self.put_proxy(at, after, ProxyEvent::Seen(id, passed));
    }

    pub(super) fn seen(&mut self, at: usize, id: EndpointId, passed: bool) {
        self.judge(at, id, passed);
        self.acknowledge(at, false);
    }

    fn judge(&mut self, at: usize, id: EndpointId, passed: bool) {
        let Some(proxy) = self.machines[at].proxy.as_deref_mut() else { return };
        let Some(live) = proxy.endpoints.get_mut(&id).filter(|live| live.active) else { return };
        let before = (live.up(), live.looked);
        live.saw(passed, &Probe::default());
        if (live.up(), live.looked) != before {
            self.bump(at);
        }
    }

    /// Traffic found nobody listening: out at once, and looked at again.
    pub(super) fn suspect(&mut self, at: usize, id: EndpointId) {
        let Some(proxy) = self.machines[at].proxy.as_deref_mut() else { return };
        let Some(live) = proxy.endpoints.get_mut(&id) else { return };
        let was_up = live.up();
        live.suspect();
        if was_up {
            self.bump(at);
        }
        self.look_at(at, id);
    }
}
