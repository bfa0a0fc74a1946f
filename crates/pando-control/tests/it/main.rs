//! The control plane with real files, sockets and processes.

// A test that can't go on should stop where it stands.
#![allow(clippy::unwrap_used)]

mod cluster;
mod http;
mod store;
mod whole;
