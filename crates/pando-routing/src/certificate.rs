//! The secret part of a table: certificates with their keys, and what session tickets are sealed with.
//!
//! It goes to proxies and to nobody else: what shows a table to people leaves it out ([`Table::public`]), and none of these types
//! shows a key when it is printed. What can be said of a certificate without computing with its key is said here; whether the
//! key belongs to it is for whoever has the means.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::balance::hash::SecretKey;
use crate::secrets::SecretMark;
use crate::table::{Host, Table};
use crate::upstream::ClientCertificate;

mod subject;

pub use subject::subject;

/// Bytes of a chain at most, and of a key.
const MOST_CHAIN_BYTES: usize = 64 << 10;
const MOST_KEY_BYTES: usize = 16 << 10;

/// Certificates of a chain at most. Handshakes carry all of them.
const MOST_CHAIN: usize = 10;

/// What nobody but a proxy may read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    /// Which secrets these are. A table that was published has no certificates and keys, and names here those that it goes with.
    /// Of one version and mark there is one table; proxies take the same version again with another mark.
    #[serde(default, skip_serializing_if = "SecretMark::is_empty")]
    pub mark: SecretMark,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<Certificate>,
    /// Session tickets are sealed with the first and opened with any. Without one each proxy makes its own, which no other
    /// proxy can open.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ticket_keys: Vec<TicketKey>,
    /// What sticky cookies and places of consistent hashing are keyed by, the same on all proxies that share their visitors.
    /// Default: one that each proxy makes up, and keeps beside its last table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balancing_key: Option<SecretKey>,
    /// Users with their hashed passwords, by the name of the set and their own: what rules with `basic_auth` name. Hashes are those of bcrypt
    /// (`$2b$…`, `htpasswd -B`) or SHA-512-crypt (`$6$…`, `openssl passwd -6`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub users: BTreeMap<Arc<str>, BTreeMap<Arc<str>, SecretText>>,
    /// What the proxy shows to endpoints that ask who it is, by name: what pools with `tls` name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub client_certificates: BTreeMap<Arc<str>, ClientCertificate>,
}

impl Secrets {
    /// There is more than what specifications say.
    #[must_use]
    pub fn has_keys(&self) -> bool {
        let Self { mark: _, certificates, ticket_keys, balancing_key, users: _, client_certificates } = self;
        let none = certificates.is_empty() && ticket_keys.is_empty() && client_certificates.is_empty();
        !none || balancing_key.is_some()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.mark.is_empty() && self.users.is_empty() && !self.has_keys()
    }
}

/// A certificate and the hosts that it is used for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// Each is one of the certificate's own names, or covered by one. `*.example.com` stands for one label here, as in
    /// certificates.
    pub hosts: Vec<Host>,
    /// The host's certificate first, then those that lead to its authority.
    pub chain_pem: String,
    /// PKCS #8, PKCS #1 or SEC 1.
    pub key_pem: SecretText,
}

/// A text that is not shown when it is printed.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretText(pub String);

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"(secret)\"")
    }
}

/// 32 bytes that nobody can guess, written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TicketKey(pub [u8; 32]);

impl fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"(secret)\"")
    }
}

impl TryFrom<String> for TicketKey {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut key = [0; 32];
        hex::decode_to_slice(text.trim(), &mut key).map_err(|_| "a ticket key has 64 hexadecimal digits")?;
        Ok(Self(key))
    }
}

impl From<TicketKey> for String {
    fn from(key: TicketKey) -> Self {
        hex::encode(key.0)
    }
}

/// What is wrong with a certificate of a table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateFault {
    #[error("it is for no host; name at least one")]
    NoHost,
    #[error("`{0}` is not a host that a certificate can be for")]
    NotAName(String),
    #[error("the {what} has {size} bytes; at most {most} are taken")]
    Large { what: &'static str, size: usize, most: usize },
    #[error("the chain has no certificate in PEM; it begins with `-----BEGIN CERTIFICATE-----`")]
    NoCertificate,
    #[error("the chain has {0} certificates; at most 10 are taken")]
    LongChain(usize),
    #[error("certificate {place} of the chain can't be read: {why}")]
    Unreadable { place: usize, why: String },
    #[error("the key can't be read: {0}")]
    BadKey(String),
    #[error("the key belongs to another certificate")]
    OtherKey,
    #[error("the certificate is not for `{host}` but for {names}")]
    OtherName { host: String, names: String },
}

/// What a certificate says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Its names, such as `example.com` or `*.example.com`.
    pub names: Vec<String>,
    /// Seconds since 1970.
    pub not_before: i64,
    pub not_after: i64,
}

impl Certificate {
    /// How errors and logs call it.
    #[must_use]
    pub fn label(&self) -> String {
        self.hosts.first().map_or_else(|| "?".to_owned(), ToString::to_string)
    }

    /// The chain as it goes over the wire.
    ///
    /// # Errors
    /// It is too large, or is not PEM.
    pub fn chain(&self) -> Result<Vec<CertificateDer<'static>>, CertificateFault> {
        read_chain(&self.chain_pem)
    }

    /// # Errors
    /// It is too large, or is no private key in PEM.
    pub fn key(&self) -> Result<PrivateKeyDer<'static>, CertificateFault> {
        read_key(&self.key_pem)
    }

    /// Everything that is wrong with it but for the key's belonging to it; or what it says.
    ///
    /// # Errors
    /// As above, at least one.
    pub fn check(&self) -> Result<CertificateFacts, Vec<CertificateFault>> {
        let mut faults = self.host_faults();
        let facts = self.facts().map_err(|fault| faults.push(fault)).ok();
        faults.extend(self.key().err());
        let Some(facts) = facts else { return Err(faults) };
        for host in &self.hosts {
            let covers = |name: &String| name.parse::<Host>().is_ok_and(|name| name.covers(host));
            if !facts.names.iter().any(covers) {
                let (host, names) = (host.to_string(), in_words(&facts.names));
                faults.push(CertificateFault::OtherName { host, names });
            }
        }
        if faults.is_empty() { Ok(facts) } else { Err(faults) }
    }

    fn host_faults(&self) -> Vec<CertificateFault> {
        let is_name = |host: &&Host| match host {
            Host::Exact(name) => !name.starts_with('[') && name.parse::<std::net::IpAddr>().is_err(),
            Host::Wildcard(_) => true,
            Host::Any => false,
        };
        let others = self.hosts.iter().filter(|host| !is_name(host));
        let mut faults: Vec<_> = others.map(|host| CertificateFault::NotAName(host.to_string())).collect();
        if self.hosts.is_empty() {
            faults.push(CertificateFault::NoHost);
        }
        faults
    }

    fn facts(&self) -> Result<CertificateFacts, CertificateFault> {
        let chain = self.chain()?;
        let mut facts = None;
        for (n, der) in chain.iter().enumerate() {
            let parsed = X509Certificate::from_der(der);
            let unreadable = |why: String| CertificateFault::Unreadable { place: n + 1, why };
            let (_, certificate) = parsed.map_err(|error| unreadable(error.to_string()))?;
            facts = facts.or_else(|| Some(facts_of(&certificate)));
        }
        facts.ok_or(CertificateFault::NoCertificate)
    }
}

pub(crate) fn read_chain(pem: &str) -> Result<Vec<CertificateDer<'static>>, CertificateFault> {
    bounded("chain", pem, MOST_CHAIN_BYTES)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err(CertificateFault::NoCertificate),
        Ok(chain) if chain.len() > MOST_CHAIN => Err(CertificateFault::LongChain(chain.len())),
        Ok(chain) => Ok(chain),
        Err(error) => Err(CertificateFault::Unreadable { place: 1, why: error.to_string() }),
    }
}

pub(crate) fn read_key(pem: &SecretText) -> Result<PrivateKeyDer<'static>, CertificateFault> {
    bounded("key", &pem.0, MOST_KEY_BYTES)?;
    let key = PrivateKeyDer::from_pem_slice(pem.0.as_bytes());
    // What the parser says may quote what it met.
    key.map_err(|_| CertificateFault::BadKey("it is no private key in PEM".to_owned()))
}

fn bounded(what: &'static str, text: &str, most: usize) -> Result<(), CertificateFault> {
    let size = text.len();
    if size > most { Err(CertificateFault::Large { what, size, most }) } else { Ok(()) }
}

fn facts_of(certificate: &X509Certificate<'_>) -> CertificateFacts {
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.map_or(&[][..], |names| &names.value.general_names);
    let dns = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    };
    CertificateFacts {
        names: names.iter().filter_map(dns).collect(),
        not_before: certificate.validity().not_before.timestamp(),
        not_after: certificate.validity().not_after.timestamp(),
    }
}

impl Host {
    /// Whether a certificate for this host is good for the other too: a `*` of a certificate covers one label.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Wildcard(parent), Self::Exact(host)) => {
                host.split_once('.').is_some_and(|(_, rest)| rest == parent)
            }
            (Self::Any, _) | (_, Self::Any) => false,
            (own, other) => own == other,
        }
    }
}

fn in_words(names: &[String]) -> String {
    const SHOWN: usize = 5;
    if names.is_empty() {
        return "no host at all".to_owned();
    }
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    let more = names.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

/// What of a text that was met an error may quote: no key is that short.
const QUOTED: usize = 24;

/// Why a text is no table. Errors of `serde_json` quote what they met, which may be a key in the wrong place: long quotes are left out.
#[must_use]
pub fn explain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match (text.find('"'), text.rfind('"')) {
        (Some(start), Some(end)) if end > start + QUOTED => {
            format!("{}(a text){}", &text[..start], &text[end + 1..])
        }
        _ => text,
    }
}

impl Table {
    /// The table without its secret part: what may be shown.
    #[must_use]
    pub fn public(&self) -> Self {
        Self {
            schema: self.schema,
            version: self.version,
            rules: self.rules.clone(),
            pools: self.pools.clone(),
            hosts: self.hosts.clone(),
            error_pages: self.error_pages.clone(),
            ca_certificates: self.ca_certificates.clone(),
            locality: self.locality.clone(),
            secret: Secrets::default(),
        }
    }
}

#[cfg(test)]
mod tests;
