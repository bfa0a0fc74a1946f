//! The secret part of tables, opened.

use std::collections::HashSet;

use pando_routing::{Certificate, Host, Secrets};
use pando_trust::Vault;

use super::keys::StoredKeys;
use super::{Certificates, Secret, StoredCertificate};

/// Everything that proxies are to have, and what can't be opened. One certificate that is damaged keeps back no other.
#[must_use]
pub fn open(certificates: &Certificates, keys: Option<&StoredKeys>, vault: &Vault) -> (Secrets, Vec<String>) {
    let (mut secrets, mut faults) = (Secrets::default(), Vec::new());
    let mut taken = HashSet::new();
    for (name, stored) in certificates {
        let hosts = stored.hosts.iter().filter(|host| taken.insert(*host)).cloned().collect();
        match certificate(name, stored, hosts, vault) {
            Ok(certificate) => secrets.certificates.push(certificate),
            Err(fault) => faults.push(fault),
        }
    }
    match keys.map(|keys| keys.open(vault)) {
        Some(Ok(keys)) => {
            secrets.balancing_key = Some(keys.balancing);
            secrets.ticket_keys = keys.in_order();
        }
        Some(Err(fault)) => faults.push(fault.to_string()),
        None => {}
    }
    (secrets, faults)
}

/// One that load balancers take: they would refuse the whole table for one that they don't.
fn certificate(
    name: &Host,
    stored: &StoredCertificate,
    hosts: Vec<Host>,
    vault: &Vault,
) -> Result<Certificate, String> {
    let Secret { chain_pem, key_pem } = stored.open(name, vault).map_err(|fault| fault.to_string())?;
    let certificate = Certificate { hosts, chain_pem, key_pem };
    match certificate.check() {
        Ok(_) => Ok(certificate),
        Err(faults) => {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            Err(format!("the certificate `{name}`: {}", faults.join("; ")))
        }
    }
}
