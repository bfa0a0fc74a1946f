//! The control plane: store, observe, plan, execute, and the API.
//!
//! What must last is in the [`store`]; everything else is derived from it and
//! from what agents report. Deciding is the planner's; this crate remembers,
//! asks, carries out and answers.

pub mod admission;
pub mod artifacts;
pub mod certificates;
pub mod deploy;
pub mod events;
pub mod housekeeping;
pub mod http;
pub mod join;
pub mod layers;
pub mod prune;
pub mod reconcile;
pub mod registries;
pub mod room;
pub mod servers;
pub mod settings;
pub mod shared;
pub mod state;
pub mod status;
pub mod store;
pub mod tokens;
pub mod traffic;
pub mod trust;
