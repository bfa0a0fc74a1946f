//! How Pando's programs run: task groups, shutdown, signals, clock, backoff, telemetry.
//!
//! Whatever runs for long belongs to a [`tasks::Tasks`] group that waits for it.
//! Time comes from a [`clock::Clock`], so that tests can stand in for it.

pub mod backoff;
pub mod clock;
pub mod error_chain;
pub mod fds;
pub mod fs;
pub mod shutdown;
pub mod slots;
pub mod tasks;
pub mod telemetry;
