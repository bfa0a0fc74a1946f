//! The words of `pando daemon` and `pando proxy`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Run this server's agent, and on a control server the control plane too
///
/// What systemd starts. Replicas and the load balancer live on when it ends; the next start finds them again. Who this server
/// is was settled by `pando cluster init` or `pando server join`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  pando daemon\n  pando daemon --prune-below 25\n  pando daemon --state-dir ./state --log-format json"
)]
pub(crate) struct DaemonArgs {
    /// Where everything that must last lies
    #[arg(long, value_name = "DIR", default_value = STATE_DIR)]
    pub(crate) state_dir: PathBuf,
    /// Remove what nothing needs when less than so many percent of a disk are free, of the state's or of the container engine's;
    /// 0: only when there is no room for an image
    #[arg(long, value_name = "PERCENT", env = PRUNE_BELOW_ENV, default_value_t = pando_agent::PRUNE_BELOW, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) prune_below: u8,
    /// How log lines look
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
}

/// In place of `--prune-below`.
pub(crate) const PRUNE_BELOW_ENV: &str = "PANDO_PRUNE_BELOW";

/// Where a server's state lies unless somebody says otherwise.
pub(crate) const STATE_DIR: &str = "/var/lib/pando";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// Run the load balancer alone
///
/// It serves what its table says. The table is a file that is watched, or comes over the control socket.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  pando proxy --table table.json --listen 0.0.0.0:80 --listen-tls 0.0.0.0:443\n  pando proxy --table table.json --listen 127.0.0.1:8080 --access-log - --metrics 127.0.0.1:9100\n  pando proxy --table table.json --listen 0.0.0.0:80 --control-socket proxy.sock --upgrade\n  pando proxy --control-socket proxy.sock --reload"
)]
pub(crate) struct ProxyArgs {
    /// The routing table; read again whenever it changes
    #[arg(long, value_name = "FILE", required_unless_present = "control_socket")]
    pub(crate) table: Option<PathBuf>,
    /// Where to listen (repeatable); without it, on the sockets that the service manager gave
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Vec<SocketAddr>,
    /// Where to listen for TLS (repeatable), with the table's certificates; a socket of that port that the service manager gave
    /// is used
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen_tls: Vec<SocketAddr>,
    /// The port where clients find TLS, if it is not the first one of `--listen-tls`; requests without it are redirected there
    #[arg(long, value_name = "PORT")]
    pub(crate) https_port: Option<std::num::NonZeroU16>,
    /// Where proxies are that say by the PROXY protocol who connects (repeatable): an address, or a range such as 10.0.0.0/8
    #[arg(long, value_name = "NETWORK")]
    pub(crate) proxy_protocol_from: Vec<pando_proxy::Network>,
    /// A Unix socket that takes tables, unless `--table` has one, tells what was counted, and lets a successor in
    #[arg(long, value_name = "PATH")]
    pub(crate) control_socket: Option<PathBuf>,
    /// Where the last table is kept for the next start
    #[arg(long, value_name = "FILE")]
    pub(crate) state_file: Option<PathBuf>,
    /// A line for each request: a file, or `-` for stdout
    #[arg(long, value_name = "FILE")]
    pub(crate) access_log: Option<PathBuf>,
    /// How its lines look: `combined`, `json`, or a text with variables such as '$remote_addr "$request" $status'
    #[arg(long, value_name = "FORMAT", default_value = "combined")]
    pub(crate) access_log_format: pando_proxy::LogFormat,
    /// Take part in traces (W3C Trace Context): `traceparent` and `tracestate` of clients are checked, replicas get the proxy's span
    /// for a parent, and the access log has the ids
    #[arg(long)]
    pub(crate) tracing: bool,
    /// The part of requests that are recorded where no client has decided, 0 to 1 [default: 1]
    #[arg(long, value_name = "RATIO", value_parser = ratio)]
    pub(crate) trace_ratio: Option<f64>,
    /// Send spans of recorded requests there by OTLP over HTTP, such as http://localhost:4318; goes with `--tracing`
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub(crate) otlp_endpoint: Option<String>,
    /// Headers to send with them: `name=value`, several with commas between
    #[arg(long, value_name = "HEADERS", env = "OTEL_EXPORTER_OTLP_HEADERS", hide_env_values = true)]
    pub(crate) otlp_headers: Option<String>,
    /// A PEM file with the authorities to believe when the URL begins with https; else those of the system
    #[arg(long, value_name = "FILE", env = "OTEL_EXPORTER_OTLP_CERTIFICATE")]
    pub(crate) otlp_ca: Option<PathBuf>,
    /// The service that spans are of [default: pando-proxy]
    #[arg(long, value_name = "NAME", env = "OTEL_SERVICE_NAME")]
    pub(crate) otlp_service: Option<String>,
    /// Serve Prometheus metrics here
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) metrics: Option<SocketAddr>,
    /// Take over from the proxy at the control socket, if there is one: its sockets, its table, what it knows of its endpoints
    #[arg(long, requires = "control_socket")]
    pub(crate) upgrade: bool,
    /// Have the proxy at the control socket replace itself by the program that is installed now, and wait until that serves
    #[arg(long, requires = "control_socket", conflicts_with = "upgrade")]
    pub(crate) reload: bool,
    /// How long requests, streams and WebSockets may go on once another proxy has taken over [default: 300]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) drain_timeout: Option<u32>,
    /// Threads that serve; one a core if not given
    #[arg(long, value_name = "COUNT")]
    pub(crate) workers: Option<std::num::NonZeroUsize>,
    /// How log lines look
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
}

fn ratio(text: &str) -> Result<f64, String> {
    let ratio: f64 = text.parse().map_err(|_| "it is no number".to_owned())?;
    if (0.0..=1.0).contains(&ratio) { Ok(ratio) } else { Err("it is not in 0 to 1".to_owned()) }
}
