//! Certificates for tests.

use pando_trust::Vault;

use super::*;

/// For these hosts, with nothing in it.
pub(crate) fn stored(hosts: &[&str]) -> StoredCertificate {
    let hosts: Vec<Host> = hosts.iter().map(|host| host.parse().unwrap()).collect();
    let at = Timestamp::from_millis;
    StoredCertificate {
        source: CertificateSource::Imported,
        names: hosts.iter().map(ToString::to_string).collect(),
        hosts,
        issuer: "Example CA".to_owned(),
        not_before: at(1_780_000_000_000),
        not_after: at(1_800_000_000_000),
        key: "ECDSA P-256".to_owned(),
        fingerprint: "00".repeat(32),
        added_at: at(1_790_000_000_000),
        added_by: "tester".to_owned(),
        warned: None,
        secret: Vault::ephemeral().unwrap().seal("nowhere", &"nothing").unwrap(),
    }
}

/// By the first host of each.
pub(crate) fn all(hosts: &[&[&str]]) -> Certificates {
    hosts.iter().map(|hosts| (hosts[0].parse().unwrap(), stored(hosts))).collect()
}
