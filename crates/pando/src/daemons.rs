//! What runs for long: the daemon of a server, the load balancer, the shims.
//!
//! Wiring only: which part gets which directory, address and token. What the
//! parts do is theirs.

pub(crate) mod args;
pub(crate) mod dev;
mod entry;
pub(crate) mod found;
pub(crate) mod join;
pub(crate) mod layout;
pub(crate) mod me;
mod parts;
mod proxy;
mod server;
mod shim;
pub(crate) mod start;

pub(crate) use args::{DaemonArgs, ProxyArgs};
pub(crate) use proxy::proxy;
pub(crate) use server::daemon;
pub(crate) use shim::shim;
