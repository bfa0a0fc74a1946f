//! Runs replicas and tasks on this machine.
//!
//! One [`Runtime`] starts commands, tells when they end, and finds again what an
//! earlier run of the program started. What should run, and what to do when it
//! ends, is decided elsewhere.

pub mod run;

pub use run::{Held, RunEvent, RunKey, RunSpec, Runtime, RuntimeError, StartError};
