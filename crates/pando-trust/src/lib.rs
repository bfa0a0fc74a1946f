//! Who trusts whom, and by what: the cluster's authority, identities, TLS, signatures, pins.
//!
//! One [`Authority`] per cluster certifies every server's [`Identity`] and signs
//! what is published; [`tls`] turns identities into configurations that check the
//! name a caller means to reach, whatever the address. Who of the certified is
//! still a server of the cluster is for others to know: they look callers up by
//! their [`PeerIdentity`]. [`Served`] judges certificates for visitors, which come from
//! elsewhere; [`Vault`] seals what the store keeps of secrets.

mod anchor;
mod authority;
mod certificate;
mod error;
mod fingerprint;
mod identity;
mod join;
mod live;
mod pin;
pub mod served;
mod signed;
mod subject;
pub mod tls;
mod validity;
mod vault;

pub use anchor::Anchor;
pub use authority::{Authority, request_key};
pub use certificate::{PeerIdentity, peer_identity};
pub use error::TrustError;
pub use fingerprint::Fingerprint;
pub use identity::{Identity, PendingIdentity};
pub use join::{JoinSecret, JoinWord};
pub use live::LiveIdentity;
pub use pin::{CONTROL_PORT, ClusterUrl};
pub use served::{Served, ServedFault};
pub use signed::{Kind, Signed, SignedBytes, VerifyingKey};
pub use subject::Subject;
pub use validity::{GRACE, LIFETIME};
pub use vault::{Sealed, Vault, VaultError};
