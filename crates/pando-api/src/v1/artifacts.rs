//! Packed releases, by the SHA-256 of their bytes.
//!
//! `HEAD /v1/artifacts/DIGEST` says whether it is there (200 or 404), `PUT` sends
//! it, `GET` fetches it, whole or by `Range`.

use pando_model::release::Digest;
use serde::{Deserialize, Serialize};

/// The answer to a `PUT` that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ArtifactStored {
    pub digest: Digest,
    pub bytes: u64,
    /// It was there already; what was sent was not needed.
    pub existed: bool,
}
