//! How much: requests in a time, bytes that are held, copies that are made.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::table::PoolId;

/// So many requests in so much time, of each subject; others get 429 with `Retry-After`. Answers tell how much is left
/// (`RateLimit-Policy`, `RateLimit`). Each proxy counts for itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// How headers and metrics call it; one of a kind within the rule. Default `default`.
    #[serde(default = "limit_name", skip_serializing_if = "is_limit_name")]
    pub name: Arc<str>,
    /// What comes back in one window, evenly. 1 to 1,000,000.
    pub requests: u32,
    /// 1 to 86,400.
    pub window_seconds: u32,
    /// What may be used at once. Default: `requests`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// Whom it is counted for. Default: the client's address.
    #[serde(default, skip_serializing_if = "is_address")]
    pub key: RateKey,
    /// How many subjects are remembered, of 16 bytes each; beyond that who has used the least is forgotten. Default 8,192;
    /// all limits of a table together have at most 8,000,000.
    #[serde(default = "subjects", skip_serializing_if = "is_subjects")]
    pub subjects: u32,
}

fn limit_name() -> Arc<str> {
    "default".into()
}

fn is_limit_name(name: &Arc<str>) -> bool {
    **name == *"default"
}

fn is_address(key: &RateKey) -> bool {
    *key == RateKey::Address
}

fn subjects() -> u32 {
    8_192
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_subjects(count: &u32) -> bool {
    *count == subjects()
}

/// Whom requests are counted for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RateKey {
    /// The client's address; of IPv6 its /64, of which one visitor has all.
    #[default]
    Address,
    /// Addresses that begin alike. `{"network": {"v4": 24, "v6": 48}}`
    Network(NetworkBits),
    /// The value of this header; without it, the address. Whoever can make values up can make subjects up: add a limit by address.
    Header(Arc<str>),
    /// The value of this cookie; without it, the address. As for a header.
    Cookie(Arc<str>),
    /// All together.
    Everyone,
}

/// How many bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkBits {
    /// 1 to 32. Default 24.
    pub v4: u8,
    /// 1 to 64. Default 48.
    pub v6: u8,
}

impl Default for NetworkBits {
    fn default() -> Self {
        Self { v4: 24, v6: 48 }
    }
}

/// How much of a body is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Buffering {
    /// Default 1 MiB; at most 64 MiB.
    pub max_bytes: u64,
}

impl Default for Buffering {
    fn default() -> Self {
        Self { max_bytes: 1 << 20 }
    }
}

/// Copies of requests go to another pool, too. Its answers are thrown away; nothing that it does is felt by the client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    pub pool: PoolId,
    /// Of the requests. Default 100.
    #[serde(default = "all_percent")]
    pub percent: u32,
    /// Requests with a larger body are not copied. Default 64 KiB; at most 1 MiB.
    #[serde(default = "mirror_bytes")]
    pub max_body_bytes: u64,
    /// Copies under way at most; more are not made. Default 64.
    #[serde(default = "mirror_in_flight")]
    pub max_in_flight: u32,
}

fn all_percent() -> u32 {
    100
}

fn mirror_bytes() -> u64 {
    64 << 10
}

fn mirror_in_flight() -> u32 {
    64
}
