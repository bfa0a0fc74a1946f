//! The contract between the planes: a validated, versioned routing table, pure
//! matching, and what a proxy reports back.
//!
//! A table says everything that a proxy needs and nothing of apps, deploys or
//! servers. It is a value: how it travels and is put to use is left to others.

pub mod balance;
pub mod certificate;
mod host;
pub mod https;
pub mod matcher;
mod names;
mod network;
pub mod policy;
mod read;
pub mod rule;
pub mod secrets;
pub mod stats;
pub mod table;
pub mod upstream;
mod validate;

pub use certificate::{Certificate, CertificateFacts, CertificateFault, SecretText, Secrets, TicketKey};
pub use https::{HostOptions, Hsts, Https};
pub use matcher::{Match, Matcher};
pub use names::NameMap;
pub use network::{Network, NetworkSet};
pub use policy::{
    AdaptiveLimit, AllDown, Drain, Expect, HashKey, Hedge, Outlier, ProxyProtocol, Queue, Retry, SameSite,
    Sticky,
};
pub use rule::{Asks, Destination, Filters, PathMatch, Rule};
pub use secrets::SecretMark;
pub use stats::{Acknowledgement, Ejected, EndpointStats, Latency, PoolStats, ProxyStats};
pub use table::{
    Algorithm, Endpoint, EndpointId, EndpointState, Host, Pool, PoolId, Probe, ProbeKind, Protocol, Table,
    TableVersion, Timeouts,
};
pub use upstream::{ClientCertificate, UpstreamTls};
pub use validate::{Fault, Place, RuleFault, TableError};
