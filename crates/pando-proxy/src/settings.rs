//! What a proxy is told when it starts; everything else comes with its table.

use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use pando_routing::Network;
use tokio::sync::mpsc;

use crate::handover::{Notice, Predecessor, Successor};

/// Where a proxy listens, where its tables come from and what it may use.
#[derive(Debug, Default)]
pub struct Settings {
    /// Bound and listening already, maybe shared with another process; see [`crate::Listeners`].
    pub listeners: Vec<TcpListener>,
    /// As `listeners`, for connections that begin with a TLS handshake. Certificates come with the table; hosts without one are
    /// answered with one that nobody vouches for.
    pub tls_listeners: Vec<TcpListener>,
    /// The port where clients find `tls_listeners`, for redirects; `None`: the first one's own. Without TLS listeners, requests
    /// are redirected to TLS only if this is set.
    pub https_port: Option<u16>,
    /// Proxies in front of this one that say who connects by way of the PROXY protocol, version 1 or 2. Their connections, on any
    /// listener, must begin with its header; those of others must not.
    pub proxy_protocol_from: Vec<Network>,
    /// A Unix socket (mode 0660) with `PUT`/`GET /v1/table`, `GET /v1/stats` and `GET /metrics`.
    pub control_socket: Option<PathBuf>,
    /// A table to read at the start and whenever the file changes. The control socket then refuses tables.
    pub table_file: Option<PathBuf>,
    /// Where the last table is kept for the next start. Written before a table is acknowledged.
    pub state_file: Option<PathBuf>,
    /// A line for each request. `None`: no access log.
    pub access_log: Option<AccessLog>,
    /// Serves `GET /metrics`, and nothing else, over TCP.
    pub metrics_listener: Option<TcpListener>,
    /// Threads that serve clients. `None`: one a core.
    pub workers: Option<usize>,
    pub limits: Limits,
    /// The proxy to take over from, which goes on until this one serves. Listeners that were [taken](Predecessor::take) from it belong
    /// into the fields above.
    pub predecessor: Option<Predecessor>,
    /// How to start a successor when `POST /v1/upgrade` asks for it. `None`: that is refused.
    pub successor: Option<Successor>,
    /// Where it is said that this proxy serves, and that another one does in its place. Two messages at most are sent; one that
    /// finds no room is left out.
    pub notices: Option<mpsc::Sender<Notice>>,
}

/// Where the access log goes and how its lines look.
#[derive(Debug, Clone)]
pub struct AccessLog {
    pub format: LogFormat,
    pub target: LogTarget,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// The combined format of Apache and nginx.
    Combined,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTarget {
    Stdout,
    /// Appended to; opened anew when it was renamed or removed, so that log rotation needs no signal.
    File(PathBuf),
}

/// Bounds. The defaults are those of a public entry point.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Client connections at a time. For one more, another one is closed that waits for nothing (half a head or handshake first, then
    /// the longest silence); where each has a request under way, the new one waits. Default 16384.
    pub connections: usize,
    /// Bytes of a request's head; more are answered 431. Default 64 KiB, at least 8 KiB.
    pub head_bytes: usize,
    /// Bytes of a request's target; more are answered 414. Default 8 KiB.
    pub target_bytes: usize,
    /// Headers of a request; more are answered 431. Default 100, at most 256.
    pub head_fields: usize,
    /// From accepting a connection to the end of its PROXY header, and from there to the end of its TLS handshake; then it is
    /// closed. Default 10 s.
    pub handshake_time: Duration,
    /// From a request's first byte to the end of its head; then 408. Default 10 s.
    pub head_time: Duration,
    /// Bytes of a request's body; more are answered 413. `None`, the default: any number, as they are never collected here.
    pub body_bytes: Option<u64>,
    /// Bytes a second that a client must send of a body whose length it has told, once it was waited for longer than
    /// `body_grace`; then 408. Default 240, as Apache has it; 0: any. Bodies of unknown length are streams, which may pause.
    pub body_rate: u64,
    /// Default 30 s.
    pub body_grace: Duration,
    /// Connections that one address may have at a time; of IPv6, one network of 64 bits. More are closed at once. `None`, the
    /// default: any number, as whole offices and CDNs come from one address.
    pub connections_per_address: Option<NonZeroUsize>,
    /// A client's connection without a request. Default 75 s.
    pub client_idle: Duration,
    /// A client that takes no byte while there are some for it. Default 60 s.
    pub client_stall: Duration,
    /// A connection to an endpoint without a request. Default 50 s, below what most servers allow.
    pub upstream_idle: Duration,
    /// Idle connections kept for one endpoint. Default 1024.
    pub upstream_idle_connections: usize,
    /// How long an acknowledgement waits for the first probes of new endpoints. Default 300 ms.
    pub first_look: Duration,
    /// How long requests may go on after the shutdown began. Default 30 s.
    pub drain: Duration,
    /// How long requests, streams and WebSockets may go on after another proxy has taken this one's place. Default 300 s.
    pub handover: Duration,
    pub http2: Http2Limits,
}

/// Bounds of one connection over HTTP/2.
#[derive(Debug, Clone, Copy)]
pub struct Http2Limits {
    /// Requests at a time. Default 100, as the standard advises and most servers have it.
    pub streams: u32,
    /// Bytes of one request's body that a client may send before an endpoint takes them. Default 256 KiB: 20 Mbit/s at a round
    /// trip of 100 ms. At most 2³¹ − 1.
    pub stream_window: u32,
    /// Of all requests' together. Default 1 MiB; memory is held only for what endpoints don't take. At most 2³¹ − 1.
    pub connection_window: u32,
    /// Streams that a client may reset in a second, or make us reset; twice as many at once. Beyond that the connection ends.
    /// Default 100.
    pub resets: u32,
    /// PING, SETTINGS, PRIORITY, empty and unknown frames in a second, and window updates that no data called for; twice as many
    /// at once. Beyond that the connection ends. Default 1000.
    pub control_frames: u32,
}

impl Default for Http2Limits {
    fn default() -> Self {
        Self {
            streams: 100,
            stream_window: 256 << 10,
            connection_window: 1 << 20,
            resets: 100,
            control_frames: 1000,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            head_bytes: 64 << 10,
            target_bytes: 8 << 10,
            head_fields: 100,
            handshake_time: Duration::from_secs(10),
            head_time: Duration::from_secs(10),
            body_bytes: None,
            body_rate: 240,
            body_grace: Duration::from_secs(30),
            connections_per_address: None,
            client_idle: Duration::from_secs(75),
            client_stall: Duration::from_secs(60),
            upstream_idle: Duration::from_secs(50),
            upstream_idle_connections: 1024,
            first_look: Duration::from_millis(300),
            drain: Duration::from_secs(30),
            handover: Duration::from_secs(300),
            http2: Http2Limits::default(),
        }
    }
}
