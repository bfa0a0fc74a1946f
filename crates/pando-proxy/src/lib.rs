//! The data plane: an HTTP load balancer that runs from a routing table alone.
//!
//! [`run()`] is the whole interface: give it listeners that are bound already,
//! say where tables come from (a control socket, or a file that is watched), and
//! it serves until told to end. What a table means is `pando-routing`'s to say;
//! who writes tables and why is nobody's business here.
//!
//! The way of a request: `worker` accepts, `serve` shakes hands, `http1` or `http2` reads it, `forward` decides, `exchange`
//! carries it out over a connection of `upstream`. What these share is a table's `snapshot`, and the `live` state of its endpoints.

mod access_log;
mod asked;
mod balance;
mod burst;
mod client;
mod control;
mod error;
mod exchange;
mod files;
mod forward;
mod front;
mod handover;
mod health;
mod hosts;
mod http1;
mod http2;
mod https;
mod inbox;
mod listen;
mod live;
mod outbox;
mod parting;
mod plane;
mod proxy_protocol;
mod rules;
mod run;
mod serve;
mod settings;
mod snapshot;
mod stats;
mod tables;
mod time;
mod tls;
mod trace;
mod tunnel;
mod unsent;
mod upstream;
mod wire;
mod worker;

pub use access_log::{BadLogFormat, Template};
pub use error::ProxyError;
pub use handover::{Door, Notice, Predecessor, Successor, upgrade};
pub use listen::Listeners;
pub use pando_routing::Network;
pub use run::run;
pub use settings::{
    AccessLog, BadOtlpHeaders, Http2Limits, Limits, LogFormat, LogTarget, Otlp, OtlpHeaders, Settings,
    Tracing,
};
pub use stats::prometheus::metrics_markdown;
