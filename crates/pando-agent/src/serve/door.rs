//! Who comes in: each connection's caller, and what that caller may ask for.

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::request::Parts;
use pando_api::{Bearer, ErrorBody, ErrorCode};
use pando_model::assignment::Assignment;
use pando_model::id::ServerId;
use pando_trust::tls::{Callers, server_config};
use pando_trust::{PeerIdentity, Subject, TrustError};
use rustls::ServerConfig;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::trust::Membership;

/// Who may use the API.
#[derive(Debug, Clone)]
pub enum Admission {
    /// Plain HTTP: whoever shows this token may do everything.
    Token(Bearer),
    /// TLS: the control plane may do everything; the servers that the newest assignment names as peers may ask for what servers
    /// share. Nobody else comes in.
    Certificates { membership: Membership, assignment: watch::Receiver<Arc<Assignment>> },
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) enum Caller {
    /// Shows a token with each request.
    Unknown,
    Certified(Subject),
}

impl Caller {
    pub(super) fn of(peer: PeerIdentity) -> Self {
        Self::Certified(peer.subject)
    }

    /// The server that is known by its certificate.
    pub(super) fn server(self) -> Option<ServerId> {
        match self {
            Self::Unknown => None,
            Self::Certified(subject) => subject.server(),
        }
    }
}

/// Below these paths is what servers share.
const SHARED: [&str; 2] = ["/v1/artifacts/", "/v1/peer/"];

impl Admission {
    /// For accepting connections; `None`: they are plain.
    pub(super) fn tls(&self) -> Result<Option<Arc<ServerConfig>>, TrustError> {
        let Self::Certificates { membership, assignment } = self else { return Ok(None) };
        let assignment = assignment.clone();
        let known = move |peer: &PeerIdentity| is_member(peer.subject, &assignment);
        let callers = Callers::Known(Arc::new(known));
        server_config(&membership.identity, callers, &membership.clock).map(Some)
    }

    /// Looked at for each request: who was a server of the cluster when it connected may have been removed.
    ///
    /// # Errors
    /// What the caller is told.
    pub(super) fn admit(&self, caller: Caller, request: &Parts) -> Result<(), ErrorBody> {
        match (self, caller) {
            (Self::Token(token), _) => {
                let shown = request.headers.get(AUTHORIZATION).and_then(Bearer::from_header);
                if shown.is_some_and(|shown| same(&shown, token)) { Ok(()) } else { Err(unauthorized()) }
            }
            (Self::Certificates { .. }, Caller::Certified(Subject::Control)) => Ok(()),
            (Self::Certificates { assignment, .. }, Caller::Certified(subject)) => {
                if !is_member(subject, assignment) {
                    return Err(ErrorBody::new(ErrorCode::Forbidden, "this server is not of the cluster"));
                }
                let shared = SHARED.iter().any(|path| request.uri.path().starts_with(path));
                if shared { Ok(()) } else { Err(for_control_alone()) }
            }
            (Self::Certificates { .. }, Caller::Unknown) => Err(unauthorized()),
        }
    }
}

fn is_member(subject: Subject, assignment: &watch::Receiver<Arc<Assignment>>) -> bool {
    let is_peer = |id: ServerId| assignment.borrow().peers.iter().any(|peer| peer.server == id);
    subject.server().is_none_or(is_peer)
}

fn unauthorized() -> ErrorBody {
    ErrorBody::new(ErrorCode::Unauthorized, "this is for the control plane, and takes its token")
        .hint("ask the control plane instead")
}

fn for_control_alone() -> ErrorBody {
    ErrorBody::new(ErrorCode::Forbidden, "this is for the control plane alone")
}

/// In a time that tells nothing about where they differ: what is compared are digests, each byte in any case.
fn same(shown: &Bearer, token: &Bearer) -> bool {
    let [shown, token] = [shown, token].map(|bearer| Sha256::digest(bearer.reveal().as_bytes()));
    shown.iter().zip(token.iter()).fold(0, |differing, (a, b)| differing | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_token_is_the_same() {
        let bearer = |text: &str| Bearer::new(text).unwrap();
        let token = bearer("pando_abc");
        assert!(same(&bearer("pando_abc"), &token));
        for other in ["pando_ab", "pando_abcd", "pando_abC", "x"] {
            assert!(!same(&bearer(other), &token), "{other}");
        }
    }
}
