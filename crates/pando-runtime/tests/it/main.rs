//! The runtime with real processes, sockets and signals.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod contract;
mod docker;
mod ends;
mod keeper;
mod limits;
mod restarts;
mod support;
mod users;
