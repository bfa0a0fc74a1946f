//! The words of `pando firewall`.

use clap::{Args, Subcommand};
use pando_model::firewall::{Cidr, Ports};
use pando_model::name::{RoleName, ServerName};

/// Show and change what servers accept from the network
#[derive(Debug, Args)]
#[command(after_help = "\
Rules follow from roles by themselves. Each change is shown before it is made; rules that would cut off the control plane \
or somebody who is connected are taken back within 10 s.

Examples:
  pando firewall show
  pando firewall allow-ssh 203.0.113.0/24
  pando firewall enable")]
pub(crate) struct FirewallArgs {
    #[command(subcommand)]
    pub(crate) command: FirewallCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum FirewallCommand {
    /// Show each server's rules, and why each exists
    #[command(after_help = "Examples:\n  pando firewall show\n  pando firewall show app-2")]
    Show {
        /// Only this server
        #[arg(value_name = "SERVER")]
        server: Option<ServerName>,
    },
    /// Let every server keep its rules in force
    #[command(after_help = "Examples:\n  pando firewall enable\n  pando firewall enable --yes")]
    Enable(AgreeArgs),
    /// Let servers accept everything again; other programs' rules stay as they are
    #[command(after_help = "Examples:\n  pando firewall disable")]
    Disable(AgreeArgs),
    /// Say who may reach SSH; as long as nobody is named, everybody may
    #[command(
        after_help = "Examples:\n  pando firewall allow-ssh 203.0.113.0/24 2001:db8::/48\n  pando firewall allow-ssh --remove 203.0.113.0/24"
    )]
    AllowSsh(AllowArgs),
    /// Say who may reach the API, beside the cluster's servers
    #[command(
        after_help = "Examples:\n  pando firewall allow-control 203.0.113.7\n  pando firewall allow-control --remove 203.0.113.7"
    )]
    AllowControl(AllowArgs),
    Open(OpenArgs),
    Close(CloseArgs),
}

/// How a change is agreed to.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct AgreeArgs {
    /// Don't ask
    #[arg(short = 'y', long)]
    pub(crate) yes: bool,
    /// Even if it cuts off somebody who is connected now
    #[arg(long)]
    pub(crate) force: bool,
    /// Only show what would change
    #[arg(long, conflicts_with = "yes")]
    pub(crate) dry_run: bool,
    /// Return at once; servers follow by themselves
    #[arg(long, visible_alias = "no-wait")]
    pub(crate) detach: bool,
}

/// Whom a door is opened to.
#[derive(Debug, Args)]
pub(crate) struct AllowArgs {
    /// Addresses, or ranges such as 203.0.113.0/24
    #[arg(value_name = "CIDR", required = true)]
    pub(crate) ranges: Vec<Cidr>,
    /// Take them away instead
    #[arg(long)]
    pub(crate) remove: bool,
    #[command(flatten)]
    pub(crate) agree: AgreeArgs,
}

/// Keep a port open that no role brings
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pando firewall open 9100 --from 10.0.0.7
  pando firewall open 51820/udp
  pando firewall open 60000-61000/udp --role web")]
pub(crate) struct OpenArgs {
    /// Such as 9100, 51820/udp or 60000-61000/udp
    #[arg(value_name = "PORTS")]
    pub(crate) ports: Ports,
    /// Only from these addresses or ranges (repeatable) [default: anywhere]
    #[arg(long, value_name = "CIDR", num_args = 1.., value_delimiter = ',')]
    pub(crate) from: Vec<Cidr>,
    /// Only on servers with this role [default: on all]
    #[arg(long, value_name = "ROLE")]
    pub(crate) role: Option<RoleName>,
    #[command(flatten)]
    pub(crate) agree: AgreeArgs,
}

/// Keep a port open no longer
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  pando firewall close 9100\n  pando firewall close 60000-61000/udp --role web"
)]
pub(crate) struct CloseArgs {
    /// As it was opened
    #[arg(value_name = "PORTS")]
    pub(crate) ports: Ports,
    /// Only what was opened for this role
    #[arg(long, value_name = "ROLE")]
    pub(crate) role: Option<RoleName>,
    #[command(flatten)]
    pub(crate) agree: AgreeArgs,
}
