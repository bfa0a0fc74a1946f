//! TLS, as clients meet it.

mod carrying;
mod choosing;
mod clients;
mod hostile;
mod hosts;
mod memory;
mod resuming;
mod secrets;
