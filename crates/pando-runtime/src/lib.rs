//! Runs replicas and tasks on this machine.
//!
//! One [`Runtime`] starts commands, tells when they end, and finds again what an
//! earlier run of the program started. What should run, and what to do when it
//! ends, is decided elsewhere.
//!
//! - [`process`]: plain processes, each under a [`shim`]; [`docker`]: containers; [`memory`]: none at all, for tests. All keep the
//!   [`contract`].
//! - [`logs`]: what runs print, kept and read.
//! - [`account`]: the system users that runs become.
//! - [`keeper`] and [`listen`]: a program that must always listen, and its sockets.

pub mod account;
mod book;
pub mod cgroup;
mod command;
pub mod contract;
mod control;
mod dir;
pub mod docker;
pub mod keeper;
mod lines;
pub mod listen;
mod live;
pub mod logs;
pub mod memory;
mod port;
mod proc;
pub mod process;
pub mod run;
mod runtimes;
pub mod shim;
mod tombstones;

pub use run::{Held, ImagePlace, Place, RunEvent, RunKey, RunSpec, Runtime, RuntimeError, StartError};
pub use runtimes::Runtimes;
