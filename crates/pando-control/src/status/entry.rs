//! Entry points: what arrives at each, and whether it has what it should balance.

use std::collections::BTreeMap;

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
            warnings: self.https_warnings(),
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

    pub(super) fn domain_owners(&self) -> Vec<DomainOwner> {
        let apps = self.state.world.apps.iter();
        let all = apps.flat_map(|(name, app)| {
            let of_app = shown_release(app).map(|release| domains(&release.spec)).unwrap_or_default();
            of_app.into_iter().map(move |domain| DomainOwner { domain, app: name.clone() })
        });
        all.collect()
    }

    /// What each server accepts, as it follows from roles by now.
    #[must_use]
    pub fn firewall(&self, rules: &BTreeMap<ServerId, FirewallRules>) -> FirewallView {
        let settings = self.state.world.settings.firewall.clone();
        let servers = self.sorted_servers().into_iter();
        FirewallView { settings, servers: servers.map(|server| self.firewall_of(server, rules)).collect() }
    }

    fn firewall_of(&self, server: &Server, rules: &BTreeMap<ServerId, FirewallRules>) -> ServerFirewall {
        let rules = rules.get(&server.id).cloned().unwrap_or_default();
        let seen = self.observed.servers.get(&server.id);
        let status = seen.and_then(|seen| seen.report.firewall.clone()).unwrap_or_default();
        let held = self.state.world.assignments.get(&server.id);
        let current = held.is_some_and(|held| held.firewall.as_ref() == Some(&rules));
        let acts = self.is_current(server);
        ServerFirewall {
            server: server.id,
            name: server.name.clone(),
            state: self.server_state(server.id),
            enforced: rules.enforced,
            in_force: rules.enforced && current && acts && status.in_force,
            rules: rules.rules,
            problems: status.problems,
        }
    }
}
