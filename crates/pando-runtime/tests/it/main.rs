//! The runtime with real processes, sockets and signals.

mod contract;
mod ends;
mod restarts;
mod support;
