//! Runs replicas and tasks on this machine.
//!
//! One [`Runtime`] starts commands, tells when they end, and finds again what an
//! earlier run of the program started. What should run, and what to do when it
//! ends, is decided elsewhere.
//!
//! - [`process`]: plain processes, each under a [`shim`]; [`memory`]: none at all, for tests. Both keep the [`contract`].
//! - [`logs`]: what runs print, kept and read.
//! - [`account`]: the system users that runs become.
//! - [`keeper`] and [`listen`]: a program that must always listen, and its sockets.

pub mod account;
mod cgroup;
mod command;
pub mod contract;
mod control;
mod dir;
pub mod keeper;
pub mod listen;
pub mod logs;
pub mod memory;
mod proc;
pub mod process;
pub mod run;
pub mod shim;

pub use run::{Held, RunEvent, RunKey, RunSpec, Runtime, RuntimeError, StartError};
