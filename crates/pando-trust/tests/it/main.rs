//! Handshakes over real sockets: who is let in, who is believed, and what is said otherwise.

// A test that can't go on should stop where it stands.
#![allow(clippy::unwrap_used)]

mod bed;
mod callers;
mod servers;
mod swaps;
