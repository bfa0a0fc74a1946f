//! The words of `pando cluster`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use pando_model::name::{RoleName, ServerName};

use super::Span;
use crate::daemons::args::STATE_DIR;

/// Clusters that you speak to, and how servers come into one
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pando cluster status
  pando cluster add prod 'https://10.0.0.1:7420#sha256:…' --token -
  pando cluster use prod
  pando cluster token --role worker         what to type on a new server")]
pub(crate) struct ClusterArgs {
    #[command(subcommand)]
    pub(crate) command: ClusterCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    Init(Box<ClusterInitArgs>),
    /// Show the cluster: its servers, apps and settings
    #[command(after_help = "Examples:\n  pando cluster status\n  pando cluster status --cluster prod --json")]
    Status,
    /// List the clusters that are known here
    #[command(visible_alias = "list", after_help = "Examples:\n  pando cluster ls")]
    Ls,
    Add(ClusterAddArgs),
    /// Speak to this cluster when nothing else says which
    #[command(after_help = "Examples:\n  pando cluster use prod")]
    Use {
        /// As `pando cluster ls` shows it
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Forget a cluster, and the token for it
    #[command(visible_alias = "remove", after_help = "Examples:\n  pando cluster rm prod")]
    Rm {
        /// As `pando cluster ls` shows it
        #[arg(value_name = "NAME")]
        name: String,
    },
    Token(ClusterTokenArgs),
}

/// Make this server the first of a new cluster
#[derive(Debug, Args)]
#[command(after_help = "\
The server gets the control plane, a certificate authority of the cluster's own, and every role that is not named otherwise. \
Run it as root, on the server itself.

Examples:
  pando cluster init --public-ip 203.0.113.7
  pando cluster init --private-ip 10.0.0.1 --role web --role worker --role db")]
pub(crate) struct ClusterInitArgs {
    /// This server's name
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<ServerName>,
    /// What it is for, beside holding the control plane (repeatable) [default: everything]
    #[arg(long = "role", value_name = "ROLE", num_args = 1.., value_delimiter = ',')]
    pub(crate) roles: Vec<RoleName>,
    /// Its address on the network that the servers will share [default: the one that it reaches others from]
    #[arg(long, value_name = "IP")]
    pub(crate) private_ip: Option<IpAddr>,
    /// Its address on the internet, if it has one of its own
    #[arg(long, value_name = "IP")]
    pub(crate) public_ip: Option<IpAddr>,
    /// Where the API listens, by TLS [default: 0.0.0.0:7420]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// Where the load balancer listens (repeatable)
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:80")]
    pub(crate) http: Vec<SocketAddr>,
    /// Where it listens for TLS (repeatable) [default: port 443 wherever it listens on port 80]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) https: Vec<SocketAddr>,
    /// Where everything that must last lies
    #[arg(long, value_name = "DIR", default_value = STATE_DIR)]
    pub(crate) state_dir: PathBuf,
    /// Only make it; its daemon is started by other means
    #[arg(long)]
    pub(crate) no_start: bool,
}

/// Make a cluster known by a name
#[derive(Debug, Args)]
#[command(after_help = "\
The fingerprint in the address is of the cluster's own authority: whatever answers there must have a certificate from it.

Examples:
  pando cluster add prod 'https://10.0.0.1:7420#sha256:…' --token - < token
  PANDO_TOKEN=… pando cluster add prod 'https://10.0.0.1:7420#sha256:…'")]
pub(crate) struct ClusterAddArgs {
    /// What you call it
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Its address, as `pando cluster init` and `pando token create` print it
    #[arg(value_name = "URL")]
    pub(crate) url: String,
    /// Your token; `-` reads it from stdin [default: PANDO_TOKEN]
    #[arg(long, value_name = "TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// In place of one of the same name
    #[arg(long)]
    pub(crate) replace: bool,
    /// Don't ask the cluster whether it knows the token
    #[arg(long)]
    pub(crate) no_check: bool,
}

/// Print what to type on a new server, so that it joins; it works once, for 15 minutes
#[derive(Debug, Args)]
#[command(after_help = "\
For servers that `pando server add` can't reach over SSH, such as those that a provider starts from an image.

Examples:
  pando cluster token --role web --role worker
  pando cluster token --role lb --name lb-1 --expires 5m")]
pub(crate) struct ClusterTokenArgs {
    /// What the server is to be for (repeatable)
    #[arg(long = "role", value_name = "ROLE", num_args = 1.., value_delimiter = ',')]
    pub(crate) roles: Vec<RoleName>,
    /// What it is to be called [default: it says so itself]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<ServerName>,
    /// How long it is good for, at most 15m
    #[arg(long, value_name = "TIME")]
    pub(crate) expires: Option<Span>,
    /// Where the control plane is for the new server [default: where it is for you]
    #[arg(long, value_name = "URL")]
    pub(crate) control_url: Option<String>,
}
