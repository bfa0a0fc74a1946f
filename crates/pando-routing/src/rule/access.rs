//! Who gets in: with a password, with another service's word, or not now.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::network::Network;
use crate::table::PoolId;

/// Passwords over HTTP (RFC 7617). Without a right one: 401.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BasicAuth {
    /// Which of `secret.users` may come in.
    pub users: Arc<str>,
    /// What browsers show. Default `Restricted`.
    #[serde(default = "realm", skip_serializing_if = "is_realm")]
    pub realm: String,
    /// The replica gets the `Authorization` header too. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pass_on: bool,
}

fn realm() -> String {
    "Restricted".to_owned()
}

fn is_realm(text: &String) -> bool {
    *text == realm()
}

/// Another service is asked about each request: `GET` on its `path`, with what was asked for in `X-Forwarded-Method`, `-Proto`, `-Host`,
/// `-Uri` and `-For`. 2xx lets the request pass; 5xx, or no answer in time, is 503; any other answer goes to the client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForwardAuth {
    pub pool: PoolId,
    /// With a query, if you like.
    pub path: String,
    /// Which of the request's headers the service sees. Default: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send: Option<Vec<Arc<str>>>,
    /// Headers of its answer that go to the replica, in place of the client's own of those names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copy: Vec<Arc<str>>,
    /// To the end of its answer. Default 5 s.
    #[serde(default = "auth_millis", skip_serializing_if = "is_auth_millis")]
    pub timeout_millis: u64,
}

fn auth_millis() -> u64 {
    5_000
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_auth_millis(millis: &u64) -> bool {
    *millis == auth_millis()
}

/// Everybody gets 503 with a page, but who is let through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Maintenance {
    /// Default 60 s.
    pub retry_after_seconds: u32,
    /// Default: nobody.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<Network>,
    /// The sentence on the page. Default: one that says that it is maintenance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Arc<str>>,
}

impl Default for Maintenance {
    fn default() -> Self {
        Self { retry_after_seconds: 60, allow: Vec::new(), message: None }
    }
}

/// Requests are held until the pause ends, or a table comes in which their rule has none, and go on in the order in which they came. Who has
/// waited for too long, or finds too many waiting, gets 503 with `Retry-After`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pause {
    /// Default 30 s; at most 5 min.
    pub hold_millis: u64,
    /// How many wait, of this rule. Default 1,000.
    pub most: u32,
    /// When it ends by itself, in Unix milliseconds: then whoever is held goes on. Default: with the table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until_millis: Option<i64>,
}

impl Pause {
    /// How long it goes on from `now_millis` (Unix); `Some(None)`: until another table comes.
    #[must_use]
    pub fn left(&self, now_millis: i64) -> Option<Option<Duration>> {
        let Some(until) = self.until_millis else { return Some(None) };
        let left = u64::try_from(until.saturating_sub(now_millis)).ok().filter(|left| *left > 0)?;
        Some(Some(Duration::from_millis(left)))
    }
}

impl Default for Pause {
    fn default() -> Self {
        Self { hold_millis: 30_000, most: 1_000, until_millis: None }
    }
}
