//! Handshakes over real sockets: who is let in, who is believed, and what is said otherwise.

mod bed;
mod callers;
mod servers;
mod swaps;
