//! Who answers, and what it speaks.

use serde::{Deserialize, Serialize};

/// `GET /v1/version`. Open to everybody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct VersionInfo {
    /// `pando`.
    pub name: String,
    /// Of the program, such as `0.1.0`.
    pub version: String,
    /// The versions of this API that it speaks, such as `v1`.
    pub api: Vec<String>,
}
