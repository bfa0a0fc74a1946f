//! The real binary, from outside.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod answer;
#[allow(dead_code, reason = "each story uses a part of it")]
mod bed;
mod cli;
mod cluster;
mod docker;
mod e2e;
mod handover;
mod pty;
