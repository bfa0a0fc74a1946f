//! The proxy as its users meet it: real sockets on all sides.

// The tests' helpers fail as tests do.
#![allow(clippy::unwrap_used)]

mod algorithms;
mod announced;
mod back;
mod basics;
mod control;
mod drain;
mod ejection;
mod faults;
mod handover;
mod hedge;
mod hostile;
mod http2;
mod interop;
mod lifecycle;
mod limits;
mod locality;
mod malformed;
mod metrics;
mod probes;
mod proxied;
mod retry;
mod rotation;
mod rules;
mod spans;
mod sticky;
mod storm;
mod streaming;
mod support;
mod swaps;
mod tables;
mod tls;
mod traces;
mod upstream_tls;
mod websocket;
