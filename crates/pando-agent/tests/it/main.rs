//! The agent from outside: over sockets, with real processes.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod serve;
