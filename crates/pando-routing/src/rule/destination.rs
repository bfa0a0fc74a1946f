//! Where a rule leads: to a pool, to one of several, elsewhere, or to an answer that stands in the table.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::template::Template;
use crate::policy::{HashKey, SameSite};
use crate::table::{Host, PoolId};

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    Pool(PoolId),
    Split(Split),
    Redirect(Redirect),
    Respond(Respond),
}

/// Requests are shared out among pools: a canary gets its part, and one visitor may stay on one side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// 2 to 16.
    pub sides: Vec<Side>,
    /// Default: nobody stays anywhere, each request is drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stick: Option<Stick>,
}

/// One pool of a split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Side {
    pub pool: PoolId,
    /// Its part of the requests relative to the others': 0 to 1,000,000. With 0 it gets none, visitors who stay there included.
    pub weight: u32,
}

/// How a visitor stays on one side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stick {
    /// By a cookie that the proxy sets and takes off again.
    Cookie(SideCookie),
    /// By a keyed hash of what the request shows: the same key is on the same side for as long as weights stay; when they change, only the
    /// difference moves. A request that shows nothing is drawn.
    Hash(HashKey),
}

/// The cookie of a split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SideCookie {
    /// Its name, a token. Default `pando_side`.
    pub name: Arc<str>,
    /// For how long the browser keeps it. Default 86,400; 0: until it is closed.
    pub max_age_seconds: u64,
    pub same_site: SameSite,
}

impl Default for SideCookie {
    fn default() -> Self {
        Self { name: "pando_side".into(), max_age_seconds: 86_400, same_site: SameSite::Lax }
    }
}

/// The client is sent elsewhere. What is not named stays as the client asked for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308. Default 302.
    pub status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<Scheme>,
    /// One host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Host>,
    /// Default: that of the request, or that of the scheme where scheme or host is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<Rewrite>,
    /// Whether the query comes along. Default true.
    pub keep_query: bool,
}

impl Default for Redirect {
    fn default() -> Self {
        Self { status: 302, scheme: None, host: None, port: None, path: None, keep_query: true }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    Http,
    Https,
}

/// Another path. Written `{"prefix": "/new"}` or `{"to": "/users/{id}"}`. The query stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rewrite {
    /// Takes the place of the prefix that matched.
    Prefix(String),
    /// The whole path. Begins with `/`; what comes out of variables can't change that, nor where the path ends.
    To(Template),
}

/// An answer that stands here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Respond {
    /// 200 to 599. Default 200.
    pub status: u16,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<Arc<str>, Template>,
    /// At most 64 KiB. Without a `content-type` among the headers it is plain text.
    #[serde(skip_serializing_if = "body_is_empty")]
    pub body: Arc<str>,
}

fn body_is_empty(body: &Arc<str>) -> bool {
    body.is_empty()
}

impl Default for Respond {
    fn default() -> Self {
        Self { status: 200, headers: BTreeMap::new(), body: "".into() }
    }
}
