//! The wire contract: types, paths, versions, error bodies and the typed client.
//!
//! Command line, agents and control plane share this and nothing else. What the
//! types mean to a cluster, and who may do what, is decided by the control plane.

pub mod auth;
pub mod client;
pub mod error;
pub mod stream;
pub mod v1;

pub use auth::{Bearer, Scope};
pub use client::{AgentClient, Client, ClientError};
pub use error::{ErrorBody, ErrorCode};
