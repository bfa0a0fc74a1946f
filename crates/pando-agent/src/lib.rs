//! Makes one server match its assignment and reports what is true.
//!
//! [`Agent::run`] is the whole of it: it takes over what an earlier agent left,
//! asks the control plane for its target, and does what is missing. What to do
//! is decided in [`reconcile`], a pure state machine; the other modules perform
//! it. The agent holds no cloud key, decides nothing about other servers, and
//! goes on without a control plane for as long as it must.

mod account;
mod agent;
pub mod artifacts;
pub mod capacity;
mod control;
mod entry;
mod firewall;
mod housekeeping;
pub mod join;
pub mod leader;
pub mod ledger;
pub mod line;
mod moment;
mod news;
mod peers;
mod probe;
pub mod proxy;
pub mod reconcile;
mod renew;
pub mod serve;
mod session;
mod shell;
mod trust;

pub use agent::{Agent, AgentError, PRUNE_BELOW, Settings, stop_all};
pub use entry::EntryKeeper;
pub use join::{Description, JoinError, Joined, join};
pub use leader::Leader;
pub use trust::{ContactError, Membership, Trust};
