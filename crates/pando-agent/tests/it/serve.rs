//! The agent's own API, as the control plane calls it.

mod artifacts;
mod exec;
mod gate;
mod host;
mod leaving;
mod limits;
mod logs;
mod support;
mod terminal;
mod trust;
