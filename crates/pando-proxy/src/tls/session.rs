//! What a handshake has settled about a connection.

use std::sync::Arc;

use pando_routing::matcher::{LONGEST_HOST, normalise};

use super::certificates::Certificate;

/// For whom a client has taken us.
#[derive(Debug)]
pub(crate) struct Session {
    /// The name that it asked for, normalised. `None`: it named none, as who connects to a mere address does.
    name: Option<Box<[u8]>>,
    /// What we answered with; `None`: the fallback.
    certificate: Option<Arc<Certificate>>,
}

impl Session {
    pub(super) fn new(name: Option<&str>, certificates: &super::Certificates) -> Self {
        let mut room = [0; LONGEST_HOST];
        let name = name.map(|name| normalise(name.as_bytes(), &mut room));
        let certificate = name.and_then(|name| certificates.find(name)).cloned();
        Self { name: name.map(Into::into), certificate }
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
