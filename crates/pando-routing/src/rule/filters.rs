//! What is done to a request and its answer on the way.
//!
//! However they are written, they are gone through in one order: maintenance, pause, `allow` and `deny`, rate limits,
//! CORS preflights, basic auth, forward auth; then header changes and the rewrite, buffering, the mirror; on the way
//! back header changes, CORS, error pages, compression.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::access::{BasicAuth, ForwardAuth, Maintenance, Pause};
use super::answers::{Compression, Cors};
use super::destination::Rewrite;
use super::limits::{Buffering, Mirror, RateLimit};
use super::template::Template;
use crate::network::Network;
use crate::table::PoolId;

/// Each is off unless it is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filters {
    /// The path that the replica sees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<Rewrite>,
    #[serde(skip_serializing_if = "HeaderChanges::is_empty")]
    pub request_headers: HeaderChanges,
    #[serde(skip_serializing_if = "HeaderChanges::is_empty")]
    pub response_headers: HeaderChanges,
    /// Others get 403. Default: everybody may.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<Network>,
    /// These get 403, even if they are among `allow`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<Network>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forward_auth: Option<ForwardAuth>,
    /// All of them must let a request pass. At most 8.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rate_limits: Vec<RateLimit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// A request is sent up once it is whole; a larger one than that gets 413.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buffer_request: Option<Buffering>,
    /// So much of an answer is taken off the replica at once, however slow the client is; the rest as the client takes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buffer_response: Option<Buffering>,
    /// One of the table's `error_pages`. Default: the one called `default`, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_pages: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<Mirror>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<Maintenance>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause: Option<Pause>,
}

impl Filters {
    /// Pools that are named here.
    pub fn pools(&self) -> impl Iterator<Item = &PoolId> {
        let auth = self.forward_auth.iter().map(|auth| &auth.pool);
        auth.chain(self.mirror.iter().map(|mirror| &mirror.pool))
    }
}

/// Changes of header fields: first `remove`, then `set`, then `add`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeaderChanges {
    /// In place of all fields of that name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<Arc<str>, Template>,
    /// Beside those that are there.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub add: BTreeMap<Arc<str>, Template>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<Arc<str>>,
}

impl HeaderChanges {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty()
    }

    /// What is set, then what is added.
    pub fn values(&self) -> impl Iterator<Item = (&Arc<str>, &Template)> {
        self.set.iter().chain(&self.add)
    }
}
