//! The real binary, from outside.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod cli;
mod e2e;
