//! What a table may ask of a pool beyond an algorithm: stickiness, ejection, retries,
//! queues, limits. Every field has a default; what is left out of a table is as if the
//! default stood there, and defaults are left out when a table is written, so that a
//! proxy of an older version reads it as long as nothing new is asked of it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What decides where a request belongs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HashKey {
    /// The value of this request header; the first if there are several.
    Header(Arc<str>),
    /// The value of this cookie.
    Cookie(Arc<str>),
    /// The client's address.
    Address,
    /// The path, without the query.
    Path,
}

/// A visitor stays with one replica, by a cookie that the proxy sets and takes off again before the replica sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sticky {
    /// The cookie's name, a token. Default `pando_server`.
    pub cookie: Arc<str>,
    /// For how long the browser keeps it. Default 86,400 (a day, as AWS has it); 0: until it is closed.
    pub max_age_seconds: u64,
    pub same_site: SameSite,
    /// Browsers send it over TLS alone. Default: if it was set over TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secure: Option<bool>,
}

impl Default for Sticky {
    fn default() -> Self {
        Self {
            cookie: "pando_server".into(),
            max_age_seconds: 86_400,
            same_site: SameSite::Lax,
            secure: None,
        }
    }
}

/// Whether the cookie comes along from other sites.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SameSite {
    /// When a link is followed. What browsers assume.
    #[default]
    Lax,
    Strict,
    /// Always. Browsers take it over TLS only; without it, `Lax` is sent.
    None,
}

/// When traffic itself shows that an endpoint fails, it gets none for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Outlier {
    /// So many failures in a row eject. Default 5, as Envoy and linkerd have it.
    pub consecutive: u32,
    /// Fewer successes than this, in percent of the last 10 s, eject too. Default 70; 0: never.
    pub success_percent: u32,
    /// But only of so many requests in those 10 s. Default 20.
    pub min_requests: u32,
    /// How long the first time; n times as long the n-th time. Default 10 s.
    pub eject_millis: u64,
    /// Never longer. Default 300 s, as Envoy has it.
    pub most_millis: u64,
    /// At most this part of a pool is ejected at once, rounded down, and never the last one able. Default 50.
    pub most_percent: u32,
}

impl Default for Outlier {
    fn default() -> Self {
        Self {
            consecutive: 5,
            success_percent: 70,
            min_requests: 20,
            eject_millis: 10_000,
            most_millis: 300_000,
            most_percent: 50,
        }
    }
}

/// Whether a request is tried again elsewhere when that is safe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// Tries beyond the first of what an endpoint may have seen. Default 1.
    pub attempts: u32,
    /// Tries beyond the first while nobody could be connected to. Default 2: a server may die with two replicas.
    pub connect_attempts: u32,
    /// Retries in percent of the requests of the last 10 s. Default 20, as Finagle and linkerd have it.
    pub budget_percent: u32,
    /// And so many a second besides. Default 10.
    pub budget_per_second: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 1, connect_attempts: 2, budget_percent: 20, budget_per_second: 10 }
    }
}

/// A GET or HEAD that takes longer than most is asked of a second endpoint too; the client gets the answer that is there first. What it
/// costs comes out of the budget for retries. Dean and Barroso, "The Tail at Scale" (2013).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hedge {
    /// Of the pool's answers of the last ten to twenty seconds, so many percent took less time than this. Default 95. Nothing is
    /// hedged before twenty are known.
    pub percentile: u32,
    /// But never sooner. Default 10 ms.
    pub least_millis: u64,
    /// After this time, whatever answers take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_millis: Option<u64>,
}

impl Default for Hedge {
    fn default() -> Self {
        Self { percentile: 95, least_millis: 10, after_millis: None }
    }
}

/// Requests wait while every endpoint has all that it may have; then they get 503.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Queue {
    /// How many may wait. Default 100.
    pub length: u32,
    /// How long one waits. Default 5 s.
    pub wait_millis: u64,
}

impl Default for Queue {
    fn default() -> Self {
        Self { length: 100, wait_millis: 5_000 }
    }
}

/// How long what lives for long may go on while its endpoint drains: each kind that long from the beginning of the drain, none
/// beyond the endpoint's deadline. The ends are spread over the last tenth of that time, ten seconds at most.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Drain {
    /// WebSockets, which are told by a close frame (1001, going away), and other upgraded connections. Default 5 min.
    pub websocket_millis: u64,
    /// Streams of events (`text/event-stream`), which end as if the endpoint had ended them, so that browsers come back by
    /// themselves. Default 5 min.
    pub event_stream_millis: u64,
}

impl Default for Drain {
    fn default() -> Self {
        Self { websocket_millis: 300_000, event_stream_millis: 300_000 }
    }
}

/// How endpoints are told on whose behalf a connection is opened, by the PROXY protocol. A connection then carries requests of one
/// client's connection alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProxyProtocol {
    /// As a line of text.
    V1,
    /// In binary.
    V2,
}

/// What becomes of a request while no endpoint is in rotation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AllDown {
    /// It goes to one that was ejected, or that failed its probe after it had been up, in the hope that it can answer. Never to
    /// one that was never ready, refuses connections, or drains. Where all have been up and are out of reach since less than three
    /// seconds, it waits for one to be back.
    #[default]
    Serve,
    /// It gets 503.
    Refuse,
}

/// What an HTTP probe must be answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    /// Ranges of statuses, both ends included, such as `[[200, 299]]`. Default: 200 to 399.
    pub statuses: Vec<(u16, u16)>,
    /// The answer's body has this text in its first 64 KiB. Default: whatever it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

impl Expect {
    #[must_use]
    pub fn has_status(&self, status: u16) -> bool {
        match &*self.statuses {
            [] => (200..400).contains(&status),
            ranges => ranges.iter().any(|(least, most)| (*least..=*most).contains(&status)),
        }
    }
}

/// How many requests an endpoint may have under way follows from how fast it answers, within bounds. The defaults are those of Netflix's
/// `Gradient2Limit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdaptiveLimit {
    /// Default 20.
    pub initial: u32,
    /// Default 20.
    pub least: u32,
    /// Default 200.
    pub most: u32,
}

impl Default for AdaptiveLimit {
    fn default() -> Self {
        Self { initial: 20, least: 20, most: 200 }
    }
}
