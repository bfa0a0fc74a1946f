//! The identity in use: swapped whole when a certificate is renewed, without a restart.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::Identity;

/// Configurations of [`crate::tls`] that were made with it present the newest identity in each new handshake; connections that
/// were made before go on.
#[derive(Debug)]
pub struct LiveIdentity(ArcSwap<Identity>);

impl LiveIdentity {
    #[must_use]
    pub fn new(identity: Identity) -> Arc<Self> {
        Arc::new(Self(ArcSwap::from_pointee(identity)))
    }

    #[must_use]
    pub fn current(&self) -> Arc<Identity> {
        self.0.load_full()
    }

    /// The next handshake uses `renewed`: of the same subject and authority, since both ends of it were checked for those.
    /// False: it is of others, and nothing was changed.
    pub fn swap(&self, renewed: Identity) -> bool {
        let current = self.0.load();
        let same = current.subject() == renewed.subject() && current.anchor() == renewed.anchor();
        if same {
            self.0.store(Arc::new(renewed));
        }
        same
    }
}

impl ResolvesServerCert for LiveIdentity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load().certified())
    }
}

impl ResolvesClientCert for LiveIdentity {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let certified = self.0.load().certified();
        certified.key.choose_scheme(schemes).is_some().then_some(certified)
    }

    fn has_certs(&self) -> bool {
        true
    }
}
