//! Images through a real engine, which each test starts for itself, apart from the machine's own; as root.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod bed;
mod engine;
