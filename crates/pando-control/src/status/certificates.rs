//! Certificates: whom each serves, and who has none.

use std::collections::{BTreeMap, BTreeSet};

use pando_api::v1::balancers::DomainOwner;
use pando_api::v1::certificates::{CertificateInfo, CertificateList};
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
