//! The agent as a whole, between a control plane, a proxy and a runtime.

mod api;
mod bench;
mod checks;
mod control;
mod deploy;
mod links;
mod proxy;
