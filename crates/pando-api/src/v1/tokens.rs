//! Tokens for people and programs.

use pando_model::time::{Millis, Timestamp};
use serde::{Deserialize, Serialize};

use crate::auth::Scope;

/// `GET /v1/tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TokenList {
    pub tokens: Vec<TokenInfo>,
}

/// Everything about a token but its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TokenInfo {
    /// 16 hexadecimal digits.
    pub id: String,
    pub name: String,
    #[serde(flatten)]
    pub scope: Scope,
    pub created_at: Timestamp,
    /// `None`: until it is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// With the scope `join`: a server came with it. Nobody else can.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub used: bool,
}

/// `POST /v1/tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TokenRequest {
    /// Whose it is, or what for; stands in `created_by`. 1 to 100 characters.
    pub name: String,
    #[serde(flatten)]
    pub scope: Scope,
    /// How long it lasts from now. `None`: until it is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<Millis>,
}

/// The only answer that ever has the token's text.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TokenCreated {
    pub token: String,
    pub info: TokenInfo,
}

impl std::fmt::Debug for TokenCreated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenCreated").field("info", &self.info).finish_non_exhaustive()
    }
}
