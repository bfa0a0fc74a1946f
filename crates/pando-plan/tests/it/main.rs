//! Stories and properties of planning, told in a small world of agents and balancers.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod admission;
mod kept;
mod machine;
mod ports;
mod properties;
mod rehearsal;
mod scenarios;
mod script;
mod secrets;
mod servers;
mod spec;
mod traffic;
mod world;
