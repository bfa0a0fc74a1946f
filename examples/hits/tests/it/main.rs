//! The real binary, spoken to over real sockets.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends with a panic")]

mod app;
mod commands;
mod modes;
mod postgres;
mod servers;
mod sqlite;
mod stop;
mod web;
