//! What lives on from table to table: endpoints and pools by their ids.
//!
//! A table is swapped whole; what was learned and counted about an endpoint isn't.
//! Requests reach live state through a snapshot, tables reach it through the
//! registry.

pub(crate) mod endpoint;
pub(crate) mod idle;
mod lease;
mod limit;
mod line;
mod pool;
pub(crate) mod registry;

pub(crate) use endpoint::Endpoint;
pub(crate) use lease::Lease;
pub(crate) use line::Line;
pub(crate) use pool::PoolLive;
pub(crate) use registry::Registry;
