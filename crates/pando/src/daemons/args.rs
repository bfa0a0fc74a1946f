//! The words of `pando daemon` and `pando proxy`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use pando_model::name::{RoleName, ServerName};

/// Run the agent and the control plane of this server
///
/// What systemd starts. Replicas and the load balancer live on when it ends; the next start finds them again.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  pando daemon --http 0.0.0.0:80\n  pando daemon --state-dir ./state --listen 127.0.0.1:7420 --http 127.0.0.1:8080"
)]
pub(crate) struct DaemonArgs {
    /// Where everything that must last lies
    #[arg(long, value_name = "DIR", default_value = "/var/lib/pando")]
    pub(crate) state_dir: PathBuf,
    /// Where the API listens; only this machine may reach it until servers join over TLS
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7420")]
    pub(crate) listen: SocketAddr,
    /// Where the agent serves logs and exec to the control plane
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7421")]
    pub(crate) agent_listen: SocketAddr,
    /// Where the load balancer listens (repeatable)
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:80")]
    pub(crate) http: Vec<SocketAddr>,
    /// This server's name [default: main]
    #[arg(long, value_name = "NAME", default_value = "main")]
    pub(crate) name: ServerName,
    /// What this server is for (repeatable)
    #[arg(long = "role", value_name = "ROLE", default_values = ["web", "worker", "cron", "lb", "db", "cache", "control"])]
    pub(crate) roles: Vec<RoleName>,
    /// The address that replicas listen on
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub(crate) private_address: IpAddr,
    /// Everything as the caller, and apps without a domain answer every host
    #[arg(long, hide = true)]
    pub(crate) dev: bool,
    /// How log lines look
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
}

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
    after_help = "Examples:\n  pando proxy --table table.json --listen 0.0.0.0:80\n  pando proxy --table table.json --listen 127.0.0.1:8080 --access-log - --metrics 127.0.0.1:9100"
)]
pub(crate) struct ProxyArgs {
    /// The routing table; read again whenever it changes
    #[arg(long, value_name = "FILE", required_unless_present = "control_socket")]
    pub(crate) table: Option<PathBuf>,
    /// Where to listen (repeatable); without it, on the sockets that the service manager gave
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Vec<SocketAddr>,
    /// A Unix socket that takes tables and tells what was counted
    #[arg(long, value_name = "PATH", conflicts_with = "table")]
    pub(crate) control_socket: Option<PathBuf>,
    /// Where the last table is kept for the next start
    #[arg(long, value_name = "FILE")]
    pub(crate) state_file: Option<PathBuf>,
    /// A line for each request: a file, or `-` for stdout
    #[arg(long, value_name = "FILE")]
    pub(crate) access_log: Option<PathBuf>,
    /// How its lines look
    #[arg(long, value_name = "FORMAT", default_value = "combined")]
    pub(crate) access_log_format: AccessLogFormat,
    /// Serve Prometheus metrics here
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) metrics: Option<SocketAddr>,
    /// How log lines look
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AccessLogFormat {
    Combined,
    Json,
}
