//! The balancer's mathematics at work: on virtual time, and without memory.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod allocation;
mod simulation;
mod slow_replica;
mod warming_replica;
