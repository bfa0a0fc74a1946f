//! Bringing a certificate: what is wrong with it, which hosts it takes over, and who would be left without one.

use std::collections::BTreeSet;

use pando_routing::{Certificate, CertificateFault, Host};

use super::{Certificates, StoredCertificate, is_covered};

/// A certificate that was judged and is not kept yet.
#[derive(Debug, Clone)]
pub struct New {
    pub name: Host,
    pub stored: StoredCertificate,
}

/// What the certificates are then.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    pub certificates: Certificates,
    /// Gone, since the new one took all their hosts.
    pub replaced: Vec<Host>,
    /// Changed besides the new one: they have lost hosts.
    pub shortened: Vec<Host>,
}

/// Why a certificate is not taken for the hosts that were named.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotImported {
    #[error("{0}")]
    Host(String),
    #[error("{0}")]
    Fault(CertificateFault),
}

/// A host that an app has and no certificate would be for.
pub type Bare = Host;

/// What a certificate is to be used for: what was named, else all its names. The first is its name: one that is no wildcard, if
/// there is one.
///
/// # Errors
/// Each text that is no host.
pub fn hosts_of(named: &[String], names: &[String]) -> Result<Vec<Host>, Vec<NotImported>> {
    let asked = if named.is_empty() { names } else { named };
    let (mut hosts, mut wrong) = (Vec::new(), Vec::new());
    for text in asked {
        match text.parse::<Host>() {
            Ok(host) if hosts.contains(&host) => {}
            Ok(host) => hosts.push(host),
            Err(why) => wrong.push(NotImported::Host(why)),
        }
    }
    if let Some(first) = hosts.iter().position(|host| matches!(host, Host::Exact(_))) {
        let exact = hosts.remove(first);
        hosts.insert(0, exact);
    }
    if wrong.is_empty() { Ok(hosts) } else { Err(wrong) }
}

/// As proxies will judge it, but for the key.
///
/// # Errors
/// What they would refuse the whole table for.
pub fn check(certificate: &Certificate) -> Result<(), Vec<NotImported>> {
    let faults = certificate.check().err().unwrap_or_default();
    if faults.is_empty() { Ok(()) } else { Err(faults.into_iter().map(NotImported::Fault).collect()) }
}

/// The certificates with the new one among them: its hosts are its own from now on.
#[must_use]
pub fn import(held: &Certificates, new: New) -> Imported {
    let (mut certificates, mut replaced, mut shortened) = (Certificates::new(), Vec::new(), Vec::new());
    for (name, one) in held {
        let kept: Vec<Host> =
            one.hosts.iter().filter(|host| !new.stored.hosts.contains(host)).cloned().collect();
        if *name == new.name {
            continue;
        }
        if kept.is_empty() {
            replaced.push(name.clone());
            continue;
        }
        if kept.len() < one.hosts.len() {
            shortened.push(name.clone());
        }
        certificates.insert(name.clone(), StoredCertificate { hosts: kept, ..one.clone() });
    }
    certificates.insert(new.name, new.stored);
    Imported { certificates, replaced, shortened }
}

/// The hosts among `wanted` that had a certificate and would have none.
#[must_use]
pub fn left_bare(before: &Certificates, after: &Certificates, wanted: &BTreeSet<Host>) -> Vec<Bare> {
    let lost = wanted.iter().filter(|host| is_covered(before, host) && !is_covered(after, host));
    lost.cloned().collect()
}
