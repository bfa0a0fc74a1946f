//! The certificates of one table, ready for handshakes.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use pando_routing::matcher::{LONGEST_HOST, normalise};
use pando_routing::{CertificateFault, Host, NameMap, Table, TableError};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};

/// One certificate with its key.
#[derive(Debug)]
pub(crate) struct Certificate {
    pub(crate) label: String,
    /// What it says of itself, in lower case.
    names: Vec<String>,
    /// Seconds since 1970.
    pub(crate) not_after: i64,
    key: Arc<CertifiedKey>,
}

impl Certificate {
    fn of(source: &pando_routing::Certificate, now: i64) -> Result<Self, Vec<CertificateFault>> {
        let facts = source.check()?;
        let chain = source.chain().map_err(|fault| vec![fault])?;
        let key = source.key().map_err(|fault| vec![fault])?;
        let unusable = |why: &Error| vec![CertificateFault::BadKey(why.to_string())];
        let key = any_supported_type(&key).map_err(|error| unusable(&error))?;
        let key = CertifiedKey::new(chain, key);
        match key.keys_match() {
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(Error::InconsistentKeys(_)) => return Err(vec![CertificateFault::OtherKey]),
            Err(error) => return Err(unusable(&error)),
        }
        if facts.not_after < now {
            let days = (now - facts.not_after) / 86_400;
            tracing::warn!(
                certificate = source.label(),
                days,
                "a certificate has expired; clients will not take it"
            );
        }
        let (names, not_after) = (facts.names, facts.not_after);
        Ok(Self { label: source.label(), names, not_after, key: Arc::new(key) })
    }

    /// Whether it proves to be `host`, which is normalised; a `*` stands for one label.
    pub(crate) fn is_for(&self, host: &[u8]) -> bool {
        self.names.iter().any(|name| match name.strip_prefix("*.") {
            Some(parent) => after_first_label(host) == Some(parent.as_bytes()),
            None => name.as_bytes() == host,
        })
    }
}

fn after_first_label(host: &[u8]) -> Option<&[u8]> {
    host.iter().position(|byte| *byte == b'.').map(|dot| &host[dot + 1..])
}

/// A table's certificates, by the hosts that they are used for.
#[derive(Debug, Default)]
pub(crate) struct Certificates {
    /// In the table's order.
    pub(crate) all: Vec<Arc<Certificate>>,
    exact: NameMap<Arc<Certificate>>,
    /// By what follows `*.`.
    wildcard: NameMap<Arc<Certificate>>,
}

impl Certificates {
    /// Those of `table`, at `now` (seconds since 1970). What `held` has already is not read again: reading a key takes longer than a handshake.
    ///
    /// # Errors
    /// Each certificate that can't be used, and why.
    pub(crate) fn of(
        table: &Table,
        held: Option<(&Table, &Self)>,
        now: i64,
    ) -> Result<Self, Vec<TableError>> {
        let known: HashMap<_, _> = held
            .iter()
            .flat_map(|(table, certificates)| table.secret.certificates.iter().zip(&certificates.all))
            .collect();
        let (mut certificates, mut errors) = (Self::default(), Vec::new());
        for source in &table.secret.certificates {
            match known.get(source).map(|held| Arc::clone(held)) {
                Some(held) => certificates.add(source, held),
                None => match Certificate::of(source, now) {
                    Ok(certificate) => certificates.add(source, Arc::new(certificate)),
                    Err(faults) => errors.extend(faults.into_iter().map(|fault| named(source, fault))),
                },
            }
        }
        if errors.is_empty() { Ok(certificates) } else { Err(errors) }
    }

    fn add(&mut self, source: &pando_routing::Certificate, certificate: Arc<Certificate>) {
        for host in &source.hosts {
            match host {
                Host::Exact(name) => self.exact.insert(name.as_bytes().into(), Arc::clone(&certificate)),
                Host::Wildcard(parent) => {
                    self.wildcard.insert(parent.as_bytes().into(), Arc::clone(&certificate))
                }
                Host::Any => None,
            };
        }
        self.all.push(certificate);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The one for a host, which is normalised.
    pub(crate) fn find(&self, host: &[u8]) -> Option<&Arc<Certificate>> {
        self.exact.get(host).or_else(|| self.wildcard.get(after_first_label(host)?))
    }

    /// Whether every host that a rule is for has one.
    pub(crate) fn has(&self, host: &Host) -> bool {
        match host {
            Host::Exact(name) => self.find(name.as_bytes()).is_some(),
            Host::Wildcard(parent) => self.wildcard.contains_key(parent.as_bytes()),
            // Nobody could say which.
            Host::Any => true,
        }
    }
}

fn named(source: &pando_routing::Certificate, fault: CertificateFault) -> TableError {
    TableError::Certificate { certificate: source.label(), fault }
}

/// Chooses in a handshake.
#[derive(Debug)]
pub(super) struct Resolver {
    pub(super) certificates: Arc<ArcSwap<Certificates>>,
    /// For whoever names no host, or one that has none.
    pub(super) fallback: Arc<CertifiedKey>,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let mut room = [0; LONGEST_HOST];
        let certificates = self.certificates.load();
        let found = hello
            .server_name()
            .and_then(|name| certificates.find(normalise(name.as_bytes(), &mut room)))
            .map_or(&self.fallback, |certificate| &certificate.key);
        Some(Arc::clone(found))
    }
}
