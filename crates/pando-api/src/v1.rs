//! Version 1 of the wire types.
//!
//! A module per subject. Additions (a new optional field, a new endpoint) stay in
//! version 1; a change of meaning needs version 2 beside it.

pub mod agents;
pub mod apps;
pub mod artifacts;
pub mod balancers;
pub mod certificates;
pub mod cluster;
pub mod deployments;
pub mod events;
pub mod exec;
pub mod firewall;
pub mod images;
pub mod join;
pub mod logs;
pub mod prune;
pub mod registries;
pub mod servers;
pub mod status;
pub mod tokens;
pub mod traffic;
pub mod version;
