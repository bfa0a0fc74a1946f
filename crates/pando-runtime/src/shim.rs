//! The small processes that stand between the daemon and what it starts.
//!
//! [`run_shim`] is the parent of one run: it holds the run's output and its exit status, stops it when asked, and lives on
//! when the daemon is killed. [`keep`] is the parent of a program that must always listen, such as the load balancer: it
//! holds the sockets and starts the program again whenever it ends. Both are small on purpose, without an async runtime:
//! there is one for every replica.

mod child;
mod ending;
mod keep;

mod output;
mod reaper;
mod run;
mod served;

pub use keep::{KeepSpec, keep, run_keeper};
pub use run::run_shim;

/// How a run ended, for its log: `ended with exit code 1`, `ended by SIGKILL`.
pub(crate) fn how_it_ended(code: Option<i32>, signal: Option<i32>) -> String {
    child::Exit { code, signal }.to_string()
}

/// What a keeper and whoever looks for it share on disk.
pub(crate) mod keep_files {
    pub(crate) use super::keep::{KeepState, LOCK, SPEC, STATE};
}
