//! The wire contract: types, paths, versions, error bodies and the typed client.
//!
//! Command line, agents and control plane share this and nothing else.

pub mod stream;
pub mod v1;
