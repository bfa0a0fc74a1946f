//! The agent as a whole, between a control plane, a proxy and a runtime.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod authority;
mod bench;
mod checks;
mod control;
mod deploy;
mod entry;
mod firewall;
mod links;
mod machine;
mod proxy;
mod serve;
mod spread;
