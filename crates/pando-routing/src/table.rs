//! The routing table: which requests go to which endpoints.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::certificate::Secrets;
pub use crate::host::Host;
use crate::https::HostOptions;
use crate::policy::{
    AdaptiveLimit, AllDown, Drain, Expect, HashKey, Hedge, Outlier, ProxyProtocol, Queue, Retry, Sticky,
};
use crate::rule::Rule;
use crate::rule::answers::ErrorPages;
use crate::upstream::UpstreamTls;

/// `(epoch, revision)`: a proxy keeps the highest that it has seen and refuses lower ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TableVersion {
    pub epoch: u64,
    pub revision: u64,
}

impl fmt::Display for TableVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.revision)
    }
}

/// A whole routing table. [`Table::validate`] says whether a proxy may use it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// The shape of this document; 1.
    #[serde(default = "schema_one")]
    pub schema: u32,
    pub version: TableVersion,
    #[serde(default)]
    pub rules: Vec<Rule>,
    #[serde(default)]
    pub pools: BTreeMap<PoolId, Pool>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hosts: BTreeMap<Host, HostOptions>,
    /// Sets of pages for errors, which rules name. The one called `default` is for all that name none, and for requests that no rule
    /// is for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub error_pages: BTreeMap<Arc<str>, ErrorPages>,
    /// Sets of authorities in PEM, by name: whom pools believe that speak TLS with their endpoints.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ca_certificates: BTreeMap<Arc<str>, String>,
    /// Endpoints of this locality get the requests while one of them is in rotation. Set by whoever hands the table to one
    /// proxy; a published table has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locality: Option<String>,
    /// For proxies alone; see [`Table::public`].
    #[serde(default, skip_serializing_if = "Secrets::is_empty")]
    pub secret: Secrets,
}

fn schema_one() -> u32 {
    1
}

impl Table {
    /// Equal but for the version and what is near to whom.
    #[must_use]
    pub fn same_content(&self, other: &Self) -> bool {
        self.rules == other.rules
            && self.pools == other.pools
            && self.hosts == other.hosts
            && self.error_pages == other.error_pages
            && self.ca_certificates == other.ca_certificates
            && self.secret == other.secret
    }

    /// Every endpoint of every pool.
    pub fn endpoints(&self) -> impl Iterator<Item = (&PoolId, &Endpoint)> {
        self.pools.iter().flat_map(|(id, pool)| pool.endpoints.iter().map(move |endpoint| (id, endpoint)))
    }
}

/// The name of a pool, such as `hits/web`; shown in metrics and logs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PoolId(pub String);

impl fmt::Display for PoolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Endpoints that serve alike.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pool {
    pub algorithm: Algorithm,
    /// What the endpoints speak.
    #[serde(skip_serializing_if = "is_default")]
    pub protocol: Protocol,
    /// Default: what is spoken is spoken in the clear.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<UpstreamTls>,
    /// Default: endpoints are told of clients by headers alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocol>,
    pub endpoints: Vec<Endpoint>,
    pub probe: Probe,
    pub timeouts: Timeouts,
    /// How long an endpoint that comes into rotation is spared: from a tenth of its weight to all of it. Default 15 s; 0: not at
    /// all.
    #[serde(skip_serializing_if = "is_slow_start")]
    pub slow_start_millis: u64,
    /// Default: nobody stays anywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sticky: Option<Sticky>,
    /// Default: on, see [`Outlier`]; `null`: off.
    #[serde(skip_serializing_if = "is_outlier")]
    pub outlier: Option<Outlier>,
    #[serde(skip_serializing_if = "is_default")]
    pub retry: Retry,
    /// Whether what takes long is asked of a second endpoint too. Default: no. Not with `sticky`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hedge: Option<Hedge>,
    /// What one endpoint may have under way. Default: as much as comes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<u32>,
    /// The same, found out by itself; the lower of both counts. Default: off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adaptive_limit: Option<AdaptiveLimit>,
    /// Where requests wait that no endpoint may have yet. Default: none do, they get 503.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<Queue>,
    /// How long WebSockets and streams of events go on while their endpoint drains.
    #[serde(skip_serializing_if = "is_default")]
    pub drain: Drain,
    /// When nobody is in rotation. Default: who might serve is asked.
    #[serde(skip_serializing_if = "is_default")]
    pub when_all_down: AllDown,
}

/// 15 s.
const SLOW_START_MILLIS: u64 = 15_000;

impl Default for Pool {
    fn default() -> Self {
        Self {
            algorithm: Algorithm::default(),
            protocol: Protocol::default(),
            tls: None,
            proxy_protocol: None,
            endpoints: Vec::new(),
            probe: Probe::default(),
            timeouts: Timeouts::default(),
            slow_start_millis: SLOW_START_MILLIS,
            sticky: None,
            outlier: Some(Outlier::default()),
            retry: Retry::default(),
            hedge: None,
            max_in_flight: None,
            adaptive_limit: None,
            queue: None,
            drain: Drain::default(),
            when_all_down: AllDown::default(),
        }
    }
}

impl Pool {
    /// Equal but for the endpoints.
    #[must_use]
    pub fn same_settings(&self, other: &Self) -> bool {
        // Taken apart whole, so that a new field can't be forgotten here.
        let Self {
            algorithm,
            protocol,
            tls,
            proxy_protocol,
            endpoints: _,
            probe,
            timeouts,
            slow_start_millis,
            sticky,
            outlier,
            retry,
            hedge,
            max_in_flight,
            adaptive_limit,
            queue,
            drain,
            when_all_down,
        } = self;
        (algorithm, protocol, tls, probe) == (&other.algorithm, &other.protocol, &other.tls, &other.probe)
            && *proxy_protocol == other.proxy_protocol
            && (timeouts, slow_start_millis) == (&other.timeouts, &other.slow_start_millis)
            && (sticky, outlier, retry, hedge) == (&other.sticky, &other.outlier, &other.retry, &other.hedge)
            && (max_in_flight, adaptive_limit, queue)
                == (&other.max_in_flight, &other.adaptive_limit, &other.queue)
            && (drain, when_all_down) == (&other.drain, &other.when_all_down)
    }
}

fn is_slow_start(millis: &u64) -> bool {
    *millis == SLOW_START_MILLIS
}

fn is_outlier(outlier: &Option<Outlier>) -> bool {
    outlier.as_ref() == Some(&Outlier::default())
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Which endpoint gets a request; see [`Method`](crate::balance::pick::Method) for what each promises.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Algorithm {
    RoundRobin,
    WeightedRoundRobin,
    LeastConnections,
    PowerOfTwo,
    /// The default: one slow replica of several costs next to nothing.
    #[default]
    PeakEwma,
    Hash {
        key: HashKey,
        /// How much more than its share one endpoint may have in flight, in percent: 101 to 1,000, default 125; 0: no bound.
        #[serde(default = "bound_percent")]
        bound_percent: u32,
    },
}

fn bound_percent() -> u32 {
    crate::balance::hash::BOUND_PERCENT
}

/// What is spoken with endpoints; by probes over HTTP too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 without TLS and without asking first, as gRPC servers speak it.
    H2c,
    /// HTTP/2 over TLS, agreed on by ALPN.
    H2,
}

impl Protocol {
    #[must_use]
    pub fn is_http2(self) -> bool {
        matches!(self, Self::H2c | Self::H2)
    }
}

/// An address that serves. Its counters live on from table to table while the id is the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    pub id: EndpointId,
    pub address: SocketAddr,
    /// A name for people, such as `web-2`.
    #[serde(default)]
    pub name: String,
    /// Where it is, for proxies that prefer what is near.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locality: Option<String>,
    #[serde(default)]
    pub state: EndpointState,
    /// Its part of the requests relative to others: 1 to 256, default 1.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub weight: u32,
    /// Endpoints with the lowest serve while one of them can; the others are there in case. Default 0.
    #[serde(default, skip_serializing_if = "is_default")]
    pub priority: u8,
}

fn one() -> u32 {
    1
}

fn is_one(weight: &u32) -> bool {
    *weight == 1
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EndpointId(pub Uuid);

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointState {
    /// Gets requests, once the proxy's own probe has passed.
    #[default]
    Active,
    /// Gets no new request; those in flight go on until the deadline (Unix milliseconds). Open WebSockets get a close frame
    /// (1001) by then, see [`Drain`].
    Draining { deadline_millis: i64 },
}

/// The proxy's own look at each active endpoint: at once when it is new, then at `interval_millis`, a tenth more or less; every
/// 250 ms at least until it passes for the first time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    pub kind: ProbeKind,
    pub interval_millis: u64,
    pub timeout_millis: u64,
    /// Passes in a row that put an endpoint back into rotation; the first ever needs one.
    pub rise: u32,
    /// Failures in a row that take an endpoint out.
    pub fall: u32,
    /// What the answer of an HTTP probe must be. Default: any status of 200 to 399.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<Expect>,
}

impl Default for Probe {
    /// TCP, every 500 ms, time-out 500 ms, out after two, back after one.
    fn default() -> Self {
        Self {
            kind: ProbeKind::Tcp,
            interval_millis: 500,
            timeout_millis: 500,
            rise: 1,
            fall: 2,
            expect: None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ProbeKind {
    /// The address accepts a connection.
    Tcp,
    /// GET `path` answers as expected.
    Http {
        path: String,
        #[serde(default)]
        host: Option<String>,
    },
    /// `grpc.health.v1.Health/Check` answers `SERVING`. For pools that speak HTTP/2.
    Grpc {
        /// Which service is asked about; the empty name stands for the whole server.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        service: String,
    },
    /// In rotation without a look; only traffic tells.
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// To open a connection to an endpoint. Default 2 s.
    pub connect_millis: u64,
    /// From the whole request sent to the head of the answer. Default 60 s.
    pub response_millis: u64,
    /// Without a byte either way while a body or an upgraded connection goes on. Default 5 min.
    pub idle_millis: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect_millis: 2_000, response_millis: 60_000, idle_millis: 300_000 }
    }
}
