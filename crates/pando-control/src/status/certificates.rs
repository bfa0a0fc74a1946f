//! Certificates: whom each serves, and who has none.

use std::collections::{BTreeMap, BTreeSet};

use pando_api::v1::balancers::DomainOwner;
use pando_api::v1::certificates::{CertificateInfo, CertificateList};
use pando_api::v1::status::ServerState;
use pando_model::name::AppName;
use pando_routing::Host;

use super::View;
use crate::certificates::{StoredCertificate, serving};

impl View<'_> {
    /// Every certificate but for its key, and the domains that have none.
    #[must_use]
    pub fn certificates(&self) -> CertificateList {
        let held = &self.state.certificates;
        let mut served: BTreeMap<&Host, BTreeSet<AppName>> = BTreeMap::new();
        let mut missing = Vec::new();
        for owner in self.domain_owners() {
            let Ok(host) = owner.domain.parse::<Host>() else { continue };
            match serving(held, &host) {
                Some((name, _)) => drop(served.entry(name).or_default().insert(owner.app)),
                None => missing.push(owner),
            }
        }
        missing.sort_by(|a: &DomainOwner, b| (&a.domain, &a.app).cmp(&(&b.domain, &b.app)));
        let certificates = held.iter().map(|(name, stored)| {
            let apps = served.remove(name).unwrap_or_default();
            info(name, stored, apps)
        });
        CertificateList { certificates: certificates.collect(), missing, now: self.now }
    }

    pub(super) fn is_certified(&self, domain: &str) -> bool {
        domain.parse().is_ok_and(|host| serving(&self.state.certificates, &host).is_some())
    }

    /// What visitors may ask apps for, by domains and aliases.
    #[must_use]
    pub fn hosts(&self) -> BTreeSet<Host> {
        self.domain_owners().iter().filter_map(|owner| owner.domain.parse().ok()).collect()
    }
}

/// Days from which on a certificate is warned of wherever somebody looks.
const SOON: i64 = 14;

impl View<'_> {
    /// What should be seen to before visitors notice, a line each: load balancers that have not heard of newer certificates, hosts
    /// that they have no certificate for, and certificates that expire.
    pub(super) fn https_warnings(&self) -> Vec<String> {
        let proxies = self.sorted_servers().into_iter().filter(|server| self.entry_role(server).is_some());
        let behind = proxies.clone().filter(|server| self.proxy(server).older_secrets).map(|server| {
            let name = &server.name;
            format!(
                "{name} uses older certificates: it hears of the newest when it reaches the control plane"
            )
        });
        let proxies = proxies.filter(|server| self.server_state(server.id) == ServerState::Alive);
        let reports =
            proxies.filter_map(|server| self.observed.servers.get(&server.id)?.report.proxy.as_ref());
        let bare: BTreeSet<&String> =
            reports.filter(|proxy| proxy.alive).flat_map(|proxy| &proxy.without_certificate).collect();
        let bare = bare.into_iter().map(|host| {
            format!("{host} has no certificate: HTTPS warns its visitors off; `pando cert import` brings one")
        });
        let lines = behind.chain(bare);
        lines
            .chain(self.certificates().certificates.iter().filter_map(|one| self.expiry_warning(one)))
            .collect()
    }

    fn expiry_warning(&self, one: &CertificateInfo) -> Option<String> {
        let day: String = one.not_after.to_string().chars().take(10).collect();
        match one.days_left(self.now) {
            _ if one.not_after < self.now => Some(format!("the certificate {} expired on {day}", one.name)),
            0 => Some(format!("the certificate {} expires within a day", one.name)),
            1 => Some(format!("the certificate {} expires in 1 day, on {day}", one.name)),
            days if days < SOON => {
                Some(format!("the certificate {} expires in {days} days, on {day}", one.name))
            }
            _ => None,
        }
    }
}

fn info(name: &Host, stored: &StoredCertificate, apps: BTreeSet<AppName>) -> CertificateInfo {
    CertificateInfo {
        name: name.to_string(),
        source: stored.source,
        domains: stored.hosts.iter().map(ToString::to_string).collect(),
        names: stored.names.clone(),
        issuer: stored.issuer.clone(),
        not_before: stored.not_before,
        not_after: stored.not_after,
        key: stored.key.clone(),
        fingerprint: stored.fingerprint.clone(),
        added_at: stored.added_at,
        added_by: stored.added_by.clone(),
        apps: apps.into_iter().collect(),
    }
}
