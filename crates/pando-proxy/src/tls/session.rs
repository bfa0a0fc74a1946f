//! What a handshake has settled about a connection.

use std::sync::Arc;

use pando_routing::matcher::{LONGEST_HOST, normalise};

use rustls_pki_types::CertificateDer;

use super::certificates::Certificate;
use super::clients::{Asker, Mark, lines};

/// For whom a client has taken us.
#[derive(Debug)]
pub(crate) struct Session {
    /// The name that it asked for, normalised. `None`: it named none, as who connects to a mere address does.
    name: Option<Box<[u8]>>,
    /// What we answered with; `None`: the fallback.
    certificate: Option<Arc<Certificate>>,
    /// What the client was asked for.
    asked: Option<Mark>,
    /// What it has shown and was looked at, in lines for replicas.
    shown: Option<Arc<[u8]>>,
}

impl Session {
    pub(super) fn new(name: Option<&str>, certificates: &super::Certificates) -> Self {
        let mut room = [0; LONGEST_HOST];
        let name = name.map(|name| normalise(name.as_bytes(), &mut room));
        let certificate = name.and_then(|name| certificates.find(name)).cloned();
        Self { name: name.map(Into::into), certificate, asked: None, shown: None }
    }

    /// The client was asked, and what it has `shown` is good.
    pub(super) fn was_asked(&mut self, asker: &Asker, shown: Option<&[CertificateDer<'_>]>) {
        self.asked = Some(asker.mark);
        self.shown = shown.and_then(<[_]>::first).map(lines);
    }

    /// Whether the client was looked at as this policy has it.
    pub(crate) fn has_passed(&self, mark: &Mark) -> bool {
        self.asked.as_ref() == Some(mark)
    }

    /// What it has shown then, in lines for replicas.
    pub(crate) fn shown(&self) -> Option<&Arc<[u8]>> {
        self.shown.as_ref()
    }

    /// Whether a request for `host`, as it stands in its head, may come over this connection: it is the one that was asked for,
    /// or our certificate proves that too, which is when browsers use one connection for both.
    pub(crate) fn is_for(&self, host: &[u8]) -> bool {
        let Some(name) = &self.name else { return true };
        let mut room = [0; LONGEST_HOST];
        let host = normalise(host, &mut room);
        **name == *host || self.certificate.as_ref().is_some_and(|certificate| certificate.is_for(host))
    }
}
