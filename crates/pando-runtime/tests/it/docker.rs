//! Containers of a real engine: the one of this machine, and ones that a test may kill.

mod adoption;
mod away;
mod bed;
mod commands;
mod contract;
mod engine;
mod output;
mod pinned;
mod refused;
mod renamed;
mod volumes;
