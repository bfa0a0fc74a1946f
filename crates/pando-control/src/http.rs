//! The control plane's HTTP API.
//!
//! Every route stands in one table with what it takes to use it; one gate reads
//! that table before any handler runs, and what is not in the table can't be
//! reached. Handlers write wishes to the store; deciding is the planner's.

mod agents;
mod apps;
mod artifacts;
mod balancers;
mod certificates;
mod connection;
mod deployments;
mod directories;
mod events;
mod exec;
mod extract;
mod firewall;
mod gate;
mod images;
mod interludes;
mod join;
mod logs;
mod meta;
mod openapi;
mod poll;
mod prune;
mod registries;
mod reply;
mod routes;
mod server;
mod servers;
mod settings;
mod tokens;
mod wishes;

pub use gate::Access;
pub use openapi::openapi_json;
pub use routes::{RouteInfo, routes};
pub use server::{Limits, serve, serve_tls, serve_within};

/// The longest that a long poll waits.
pub const MAX_WAIT: std::time::Duration = std::time::Duration::from_secs(30);
