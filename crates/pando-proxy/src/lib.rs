//! The data plane: an HTTP load balancer that runs from a routing table alone.
//!
//! [`run()`] is the whole interface: give it listeners that are bound already,
//! say where tables come from (a control socket, or a file that is watched), and
//! it serves until told to end. What a table means is `pando-routing`'s to say;
//! who writes tables and why is nobody's business here.
//!
//! The HTTP engine is `engine`; nothing outside it knows hyper.

mod access_log;
mod balance;
mod control;
mod engine;
mod error;
mod forward;
mod health;
mod listen;
mod live;
mod plane;
mod run;
mod settings;
mod snapshot;
mod stats;
mod tables;
mod time;
mod tunnel;

pub use error::ProxyError;
pub use listen::Listeners;
pub use run::run;
pub use settings::{AccessLog, Limits, LogFormat, LogTarget, Settings};
