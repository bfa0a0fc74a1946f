//! TLS towards endpoints: whom a pool believes, by which name, and who the proxy says that it is.
//!
//! What can be said without computing with keys is checked here; whether a key belongs to its certificate is for whoever has the
//! means.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, DnsName};
use serde::{Deserialize, Serialize};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::certificate::{CertificateFault, SecretText, read_chain, read_key};
use crate::table::{PoolId, Protocol, Table};
use crate::validate::TableError;

/// Bytes of one set of authorities at most; those of whole systems have a quarter of it.
const MOST_CA_BYTES: usize = 1 << 20;

/// A pool whose endpoints speak TLS. Both sides must agree on 1.2 or 1.3; sessions are resumed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UpstreamTls {
    /// One of the table's `ca_certificates`, and nobody else is believed. Default: the authorities that the proxy's system
    /// believes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<Arc<str>>,
    /// A host or an address: endpoints must have a certificate for it, and a host is named to them (SNI). Default: each endpoint's own
    /// address, and nothing is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<Arc<str>>,
    /// Whatever certificate is shown is taken, so that anybody on the way can read and change everything.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub insecure_skip_verify: bool,
    /// One of `secret.client_certificates`, for endpoints that ask for one. Default: none is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<Arc<str>>,
}

/// What a proxy shows to endpoints that ask who it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientCertificate {
    /// The proxy's certificate first, then those that lead to its authority.
    pub chain_pem: String,
    /// PKCS #8, PKCS #1 or SEC 1.
    pub key_pem: SecretText,
}

impl ClientCertificate {
    /// The chain as it goes over the wire.
    ///
    /// # Errors
    /// It is too large, or is not PEM.
    pub fn chain(&self) -> Result<Vec<CertificateDer<'static>>, CertificateFault> {
        read_chain(&self.chain_pem)
    }

    /// # Errors
    /// It is too large, or is no private key in PEM.
    pub fn key(&self) -> Result<rustls_pki_types::PrivateKeyDer<'static>, CertificateFault> {
        read_key(&self.key_pem)
    }

    fn faults(&self) -> Vec<CertificateFault> {
        let chain = self.chain().and_then(|chain| all_readable(&chain));
        chain.err().into_iter().chain(self.key().err()).collect()
    }
}

/// A set of authorities as certificates, from PEM.
///
/// # Errors
/// It is too large, is not PEM, has none, or one of them can't be read.
pub fn authorities(pem: &str) -> Result<Vec<CertificateDer<'static>>, CertificateFault> {
    if pem.len() > MOST_CA_BYTES {
        return Err(CertificateFault::Large { what: "set", size: pem.len(), most: MOST_CA_BYTES });
    }
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let all = read.map_err(|error| CertificateFault::Unreadable { place: 1, why: error.to_string() })?;
    if all.is_empty() {
        return Err(CertificateFault::NoCertificate);
    }
    all_readable(&all)?;
    Ok(all)
}

fn all_readable(chain: &[CertificateDer<'_>]) -> Result<(), CertificateFault> {
    for (n, der) in chain.iter().enumerate() {
        X509Certificate::from_der(der)
            .map_err(|error| CertificateFault::Unreadable { place: n + 1, why: error.to_string() })?;
    }
    Ok(())
}

/// Whether a certificate can be for it.
#[must_use]
pub fn is_server_name(name: &str) -> bool {
    name.parse::<IpAddr>().is_ok() || DnsName::try_from(name).is_ok()
}

pub(crate) fn check(table: &Table, held: Option<&Table>, errors: &mut Vec<TableError>) {
    for (name, pem) in &table.ca_certificates {
        let known = held.is_some_and(|held| held.ca_certificates.get(name) == Some(pem));
        if let Some(fault) = (!known).then(|| authorities(pem).err()).flatten() {
            errors.push(TableError::Ca { ca: name.to_string(), fault });
        }
    }
    for (name, certificate) in &table.secret.client_certificates {
        let named = |fault| TableError::ClientCertificate { certificate: name.to_string(), fault };
        errors.extend(certificate.faults().into_iter().map(named));
    }
    for (id, pool) in &table.pools {
        check_protocol(id, pool.protocol, pool.tls.is_some(), errors);
        if let Some(tls) = &pool.tls {
            check_pool(table, id, tls, errors);
        }
    }
}

fn check_protocol(id: &PoolId, protocol: Protocol, tls: bool, errors: &mut Vec<TableError>) {
    let why = match (protocol, tls) {
        (Protocol::H2c, true) => "`h2c` is HTTP/2 without TLS; with `tls` it is called `h2`",
        (Protocol::H2, false) => {
            "`h2` is HTTP/2 over TLS, and the pool has no `tls`; without TLS it is called `h2c`"
        }
        _ => return,
    };
    errors.push(TableError::Tls { pool: id.to_string(), why: why.to_owned() });
}

fn check_pool(table: &Table, id: &PoolId, tls: &UpstreamTls, errors: &mut Vec<TableError>) {
    let mut wrong = |why: String| errors.push(TableError::Tls { pool: id.to_string(), why });
    if let Some(ca) = tls.ca.as_ref().filter(|ca| !table.ca_certificates.contains_key(*ca)) {
        wrong(format!("`ca_certificates` has no `{ca}`"));
    }
    if tls.ca.is_some() && tls.insecure_skip_verify {
        wrong("authorities mean nothing with `insecure_skip_verify`".to_owned());
    }
    if let Some(name) = tls.server_name.as_ref().filter(|name| !is_server_name(name)) {
        wrong(format!("`{name}` is neither a host nor an address that a certificate can be for"));
    }
    let certificates: &BTreeMap<_, _> = &table.secret.client_certificates;
    if let Some(name) = tls.client_certificate.as_ref().filter(|name| !certificates.contains_key(*name)) {
        wrong(format!("`secret.client_certificates` has no `{name}`"));
    }
}

#[cfg(test)]
mod tests;
