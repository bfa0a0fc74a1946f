//! Tables by example.

use std::borrow::Borrow;
use std::net::SocketAddr;

use pando_routing::{
    Algorithm, Certificate, ClientCertificate, Endpoint, EndpointId, EndpointState, Pool, PoolId, Rule,
    SecretText, Table, TableVersion, TicketKey,
};
use uuid::Uuid;

use super::Issued;

/// A pool without endpoints.
pub(crate) const NOBODY: [Endpoint; 0] = [];

/// Puts a table together.
#[derive(Debug, Clone, Default)]
pub(crate) struct TableBuilder(Table);

impl TableBuilder {
    pub(crate) fn new(revision: u64) -> Self {
        let version = TableVersion { epoch: 1, revision };
        Self(Table { schema: 1, version, ..Table::default() })
    }

    pub(crate) fn of(table: Table) -> Self {
        Self(table)
    }

    /// A table whose every request goes to these.
    pub(crate) fn serving(revision: u64, endpoints: impl IntoIterator<Item = impl Borrow<Endpoint>>) -> Self {
        Self::new(revision).rule("*", "/", "web").pool("web", endpoints, |_| {})
    }

    pub(crate) fn rule(self, host: &str, path: &str, pool: &str) -> Self {
        self.rule_with(host, path, pool, false)
    }

    pub(crate) fn rule_with(mut self, host: &str, path: &str, pool: &str, strip_prefix: bool) -> Self {
        let pool = PoolId(pool.to_owned());
        let rule = Rule::new(host.parse().unwrap(), path, pool);
        self.0.rules.push(Rule { strip_prefix, ..rule });
        self
    }

    pub(crate) fn pool(
        mut self,
        name: &str,
        endpoints: impl IntoIterator<Item = impl Borrow<Endpoint>>,
        adjust: impl FnOnce(&mut Pool),
    ) -> Self {
        let endpoints = endpoints.into_iter().map(|endpoint| endpoint.borrow().clone()).collect();
        // In turn, so that tests can say who is next.
        let mut pool = Pool { endpoints, algorithm: Algorithm::RoundRobin, ..Pool::default() };
        pool.probe.interval_millis = 50;
        adjust(&mut pool);
        self.0.pools.insert(PoolId(name.to_owned()), pool);
        self
    }

    pub(crate) fn adjust(mut self, pool: &str, adjust: impl FnOnce(&mut Pool)) -> Self {
        adjust(self.0.pools.get_mut(&PoolId(pool.to_owned())).unwrap());
        self
    }

    /// A rule in JSON.
    pub(crate) fn json_rule(mut self, rule: &str) -> Self {
        self.0.rules.push(serde_json::from_str(rule).unwrap());
        self
    }

    /// Sets of error pages in JSON.
    pub(crate) fn error_pages(mut self, pages: &str) -> Self {
        self.0.error_pages = serde_json::from_str(pages).unwrap();
        self
    }

    /// Users with their hashed passwords in JSON.
    pub(crate) fn users(mut self, users: &str) -> Self {
        self.0.secret.users = serde_json::from_str(users).unwrap();
        self
    }

    /// Uses a certificate for `hosts`.
    pub(crate) fn certificate(mut self, issued: &Issued, hosts: &[&str]) -> Self {
        self.0.secret.certificates.push(Certificate {
            hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
            chain_pem: issued.chain_pem.clone(),
            key_pem: SecretText(issued.key_pem.clone()),
        });
        self
    }

    /// Authorities in PEM.
    pub(crate) fn ca(mut self, name: &str, pem: &str) -> Self {
        self.0.ca_certificates.insert(name.into(), pem.to_owned());
        self
    }

    /// What is shown to endpoints that ask.
    pub(crate) fn client_certificate(mut self, name: &str, own: ClientCertificate) -> Self {
        self.0.secret.client_certificates.insert(name.into(), own);
        self
    }

    pub(crate) fn ticket_keys(mut self, keys: &[[u8; 32]]) -> Self {
        self.0.secret.ticket_keys = keys.iter().map(|key| TicketKey(*key)).collect();
        self
    }

    /// What holds for a host, in JSON.
    pub(crate) fn host(mut self, host: &str, options: &str) -> Self {
        self.0.hosts.insert(host.parse().unwrap(), serde_json::from_str(options).unwrap());
        self
    }

    /// What is near to the proxy that gets this.
    pub(crate) fn near(mut self, locality: Option<&str>) -> Self {
        self.0.locality = locality.map(str::to_owned);
        self
    }

    pub(crate) fn build(&self) -> Table {
        self.0.clone()
    }

    pub(crate) fn json(&self) -> String {
        serde_json::to_string(&self.0).unwrap()
    }
}

/// A new active endpoint.
pub(crate) fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint {
        id: EndpointId(Uuid::now_v7()),
        address,
        name: String::new(),
        locality: None,
        state: EndpointState::Active,
        weight: 1,
        priority: 0,
    }
}

/// The same endpoint, said to be there.
pub(crate) fn at(locality: &str, endpoint: &Endpoint) -> Endpoint {
    Endpoint { locality: Some(locality.to_owned()), ..endpoint.clone() }
}

/// So many milliseconds from now, as tables write it.
pub(crate) fn far(millis: i64) -> i64 {
    pando_rt::clock::Clock::system().now_millis() + millis
}
