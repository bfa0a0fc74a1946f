//! The agent as a whole, between a control plane, a proxy and a runtime.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod authority;
mod bench;
mod checks;
mod control;
mod deploy;
mod detour;
mod entry;
mod firewall;
mod join;
mod links;
mod machine;
mod proxy;
mod renew;
mod serve;
mod spread;
mod wire;
