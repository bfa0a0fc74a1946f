//! Whom a pool believes: authorities of the table, or those of the system.

use std::sync::{Arc, OnceLock};

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;

/// The table's. One that can't be used as an authority leaves those beside it in use, as in the system's own sets.
pub(super) fn of(authorities: Vec<CertificateDer<'static>>) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let (_, ignored) = roots.add_parsable_certificates(authorities);
    if ignored > 0 {
        tracing::warn!(ignored, "certificates that can't be used as authorities are left out");
    }
    Arc::new(roots)
}

/// Those that the system believes, as they were when they were first asked for; `SSL_CERT_FILE` and `SSL_CERT_DIR` name others.
pub(super) fn of_the_system() -> Arc<RootCertStore> {
    static SYSTEM: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    Arc::clone(SYSTEM.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "some of the system's authorities can't be read");
        }
        if found.certs.is_empty() {
            tracing::warn!(
                "the system believes no authority: install `ca-certificates`, or name one in the table"
            );
        }
        of(found.certs)
    }))
}
