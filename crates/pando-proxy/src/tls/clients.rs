//! Hosts whose clients have to show who they are.
//!
//! Each such policy has a configuration of its own. Tickets are bound to it: one that was given under another policy, or
//! under none, opens no session here, so that nobody is let in by what some other policy has looked at. A session that is
//! resumed is looked at again all the same, since certificates end sooner than sessions.

use std::sync::Arc;

use ::aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pando_routing::certificate::subject;
use pando_routing::https::ClientAuth;
use pando_routing::matcher::{LONGEST_HOST, normalise};
use pando_routing::{Host, Table, TableError};
use rustls::crypto::aws_lc_rs;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ProducesTickets, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::Tls;
use super::tickets::Tickets;
use crate::hosts::HostMap;

/// What tells one policy from every other: whom it believes, and whether it insists.
pub(crate) type Mark = [u8; 32];

/// Of one policy, by the table that it stands in. `None`: the table has no such authorities.
pub(crate) fn mark(table: &Table, policy: &ClientAuth) -> Option<Mark> {
    let pem = table.ca_certificates.get(&policy.ca)?;
    let text = [&[u8::from(policy.optional)], pem.as_bytes()].concat();
    digest(&SHA256, &text).as_ref().try_into().ok()
}

/// One policy, ready for handshakes.
#[derive(Debug)]
pub(crate) struct Asker {
    pub(crate) mark: Mark,
    verifier: Arc<dyn ClientCertVerifier>,
    pub(super) config: Arc<ServerConfig>,
}

/// Those of one table.
#[derive(Debug, Default)]
pub(crate) struct Askers {
    by_host: Option<HostMap<Arc<Asker>>>,
    all: Vec<Arc<Asker>>,
}

impl Askers {
    /// Those of `table`, which was validated. What is as it was among `held` is taken from there.
    ///
    /// # Errors
    /// Each host whose clients can't be asked, and why.
    pub(crate) fn of(table: &Table, tls: &Tls, held: &Self) -> Result<Self, Vec<TableError>> {
        let (mut askers, mut errors, mut by_host) = (Self::default(), Vec::new(), Vec::new());
        for (host, options) in &table.hosts {
            let Some(policy) = &options.https.client_auth else { continue };
            // Where there are others, this one has none: who would have to be asked is asked for nothing.
            let Some(mark) = mark(table, policy) else { continue };
            let known = askers.all.iter().chain(&held.all).find(|known| known.mark == mark).map(Arc::clone);
            match known.map_or_else(|| Asker::new(table, policy, mark, tls).map(Arc::new), Ok) {
                Ok(asker) => {
                    by_host.push((host.clone(), Arc::clone(&asker)));
                    if !askers.all.iter().any(|known| known.mark == mark) {
                        askers.all.push(asker);
                    }
                }
                Err(why) => errors.push(fault(host, why)),
            }
        }
        askers.by_host = (!by_host.is_empty()).then(|| by_host.into_iter().collect());
        if errors.is_empty() { Ok(askers) } else { Err(errors) }
    }

    /// Who asks a client that wants this host; one that names none may want any.
    pub(super) fn find(&self, name: Option<&str>) -> Option<Arc<Asker>> {
        let by_host = self.by_host.as_ref()?;
        let mut room = [0; LONGEST_HOST];
        by_host.find(normalise(name.unwrap_or_default().as_bytes(), &mut room)).map(Arc::clone)
    }
}

fn fault(host: &Host, why: String) -> TableError {
    TableError::ClientAuth { host: host.to_string(), why }
}

impl Asker {
    fn new(table: &Table, policy: &ClientAuth, mark: Mark, tls: &Tls) -> Result<Self, String> {
        let pem = table.ca_certificates.get(&policy.ca).map_or("", String::as_str);
        let authorities = pando_routing::upstream::authorities(pem).map_err(|fault| fault.to_string())?;
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(authorities);
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let verifier = if policy.optional { verifier.allow_unauthenticated() } else { verifier };
        let verifier = verifier.build().map_err(|error| error.to_string())?;
        let tickets = Arc::new(Bound { tickets: Arc::clone(&tls.tickets), mark });
        let config = super::config(Some(Arc::clone(&verifier)), Arc::clone(&tls.resolver), tickets);
        Ok(Self { mark, verifier, config: Arc::new(config.map_err(|error| error.to_string())?) })
    }

    /// Whether what a client has shown is good now; in a session that is resumed that was a while ago.
    pub(super) fn looks_again(&self, shown: Option<&[CertificateDer<'_>]>) -> Result<(), rustls::Error> {
        match shown.and_then(<[_]>::split_first) {
            Some((own, rest)) => self.verifier.verify_client_cert(own, rest, UnixTime::now()).map(|_| ()),
            None if self.verifier.client_auth_mandatory() => Err(rustls::Error::NoCertificatesPresented),
            None => Ok(()),
        }
    }
}

/// Seals and opens for one policy alone.
#[derive(Debug)]
struct Bound {
    tickets: Arc<Tickets>,
    mark: Mark,
}

impl ProducesTickets for Bound {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.tickets.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.tickets.seal_for(&self.mark, plain)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.tickets.open_for(&self.mark, ticket)
    }
}

/// Fields that replicas believe of who has shown a certificate, whoever writes them.
const CLAIMS: [&[u8]; 4] =
    [b"client-cert", b"client-cert-chain", b"x-client-cert-subject", b"x-client-cert-fingerprint"];

/// Whether a field is one of ours to write; with `_` for `-` it is the same one to a CGI or WSGI program.
pub(crate) fn is_claim(name: &[u8]) -> bool {
    let plain = |byte: &u8| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    CLAIMS.iter().any(|claim| claim.len() == name.len() && claim.iter().copied().eq(name.iter().map(plain)))
}

/// What replicas are told of a client's certificate, as lines of a head: itself (RFC 9440), its subject, and its SHA-256.
pub(super) fn lines(own: &CertificateDer<'_>) -> Arc<[u8]> {
    let fingerprint = digest(&SHA256, own);
    let fingerprint: String = fingerprint.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let (certificate, subject) = (STANDARD.encode(own), subject(own));
    let text = format!(
        "client-cert: :{certificate}:\r\nx-client-cert-subject: {subject}\r\nx-client-cert-fingerprint: {fingerprint}\r\n"
    );
    text.into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_known_in_any_spelling() {
        for claim in [
            "client-cert",
            "Client-Cert",
            "CLIENT_CERT",
            "x-client_cert-Subject",
            "X_CLIENT_CERT_FINGERPRINT",
        ] {
            assert!(is_claim(claim.as_bytes()), "{claim}");
        }
        for other in ["client-certs", "x-client-cert", "", "client cert"] {
            assert!(!is_claim(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn a_ticket_is_good_for_the_policy_that_it_was_given_under() {
        let tickets = Arc::new(Tickets::new().unwrap());
        let bound = |mark| Bound { tickets: Arc::clone(&tickets), mark: [mark; 32] };
        let ticket = bound(1).encrypt(b"a session").unwrap();
        assert_eq!(bound(1).decrypt(&ticket).as_deref(), Some(&b"a session"[..]));
        assert_eq!(bound(2).decrypt(&ticket), None);
        assert_eq!(tickets.decrypt(&ticket), None);
        let free = tickets.encrypt(b"a session").unwrap();
        assert_eq!(bound(1).decrypt(&free), None);
        assert!(tickets.decrypt(&free).is_some());
    }
}
