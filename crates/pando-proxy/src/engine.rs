//! The HTTP engine: connections on both sides, over hyper.
//!
//! Everything else speaks of requests with an [`Upload`] and answers with a
//! [`Download`]; [`Link`] is a connection to an endpoint. Another engine would
//! replace this module and nothing else.

mod client;
mod download;
mod gate;
mod look;
mod meter;
mod server;
mod stream;
mod upload;

pub(crate) use client::{ExchangeError, Link, Waits};
pub(crate) use download::Download;
pub(crate) use look::ask;
pub(crate) use server::{Client, serve};
pub(crate) use stream::Stream;
pub(crate) use upload::Upload;

/// An answer's body as it comes; made into a [`Download`].
pub(crate) type Inflow = hyper::body::Incoming;

/// Whatever an engine's body can fail with.
pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;
