//! Entry points: what arrives at each, and whether it has what it should balance.

use pando_api::v1::balancers::{BalancerList, DomainOwner, EntryPointStatus, EntryRole, RequestCounts};
use pando_api::v1::firewall::{FirewallView, ServerFirewall};
use pando_model::firewall::FirewallRules;
use pando_model::id::{InstanceId, ServerId};
use pando_model::server::Server;
use pando_routing::EndpointState;

use super::{View, count, domains, shown_release};

impl View<'_> {
    /// Every entry point; `counts` tells what arrived at a server.
    #[must_use]
    pub fn balancers(&self, counts: impl Fn(ServerId) -> RequestCounts) -> BalancerList {
        let servers = self.sorted_servers().into_iter();
        let entry_points = servers.filter_map(|server| {
            let role = self.entry_role(server)?;
            Some(self.entry_point(server, role, counts(server.id)))
        });
        BalancerList {
            lockdown: self.state.world.settings.lockdown,
            entry_points: entry_points.collect(),
            domains: self.domain_owners(),
        }
    }

    fn entry_point(&self, server: &Server, role: EntryRole, requests: RequestCounts) -> EntryPointStatus {
        let seen = self.observed.servers.get(&server.id).and_then(|seen| seen.report.proxy.as_ref());
        let active = self.active_endpoints();
        let gets = |id: &&InstanceId| {
            seen.is_some_and(|proxy| proxy.acknowledged.is_some() && !proxy.not_in_rotation.contains(*id))
        };
        EntryPointStatus {
            server: server.id,
            name: server.name.clone(),
            role,
            state: self.server_state(server.id),
            private_address: server.private_address,
            public_address: server.public_address,
            proxy: self.proxy(server),
            endpoints: count(active.iter()),
            in_rotation: count(active.iter().filter(gets)),
            in_flight: seen.map_or(0, |proxy| proxy.in_flight.values().sum()),
            requests,
        }
    }

    fn active_endpoints(&self) -> Vec<InstanceId> {
        let table = self.state.world.table.iter();
        let endpoints = table.flat_map(|table| table.endpoints());
        let active = endpoints.filter(|(_, endpoint)| endpoint.state == EndpointState::Active);
        active.map(|(_, endpoint)| InstanceId::from_uuid(endpoint.id.0)).collect()
    }

    fn domain_owners(&self) -> Vec<DomainOwner> {
        let apps = self.state.world.apps.iter();
        let all = apps.flat_map(|(name, app)| {
            let of_app = shown_release(app).map(|release| domains(&release.spec)).unwrap_or_default();
            of_app.into_iter().map(move |domain| DomainOwner { domain, app: name.clone() })
        });
        all.collect()
    }

    /// What each server accepts; `rules` tells what it was assigned, or would be while the firewall is off.
    #[must_use]
    pub fn firewall(&self, rules: impl Fn(ServerId) -> Option<FirewallRules>) -> FirewallView {
        let settings = self.state.world.settings.firewall.clone();
        let servers = self.sorted_servers().into_iter().map(|server| {
            let seen = self.observed.servers.get(&server.id);
            let status = seen.and_then(|seen| seen.report.firewall.clone()).unwrap_or_default();
            let held = self.state.world.assignments.get(&server.id);
            let assigned = held.is_some_and(|held| held.firewall.is_some());
            let acts = held.zip(seen).is_some_and(|(held, seen)| seen.report.assignment >= held.version);
            ServerFirewall {
                server: server.id,
                name: server.name.clone(),
                state: self.server_state(server.id),
                assigned,
                rules: rules(server.id).map(|rules| rules.rules).unwrap_or_default(),
                in_force: assigned && acts && status.in_force,
                problems: status.problems,
            }
        });
        FirewallView { settings, servers: servers.collect() }
    }
}
