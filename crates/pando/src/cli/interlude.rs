//! Commands that hold for all requests of an app for a while.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use pando_routing::Network;

use super::{AppArgs, Span};

/// Show visitors a page instead of the app
#[derive(Debug, Args)]
#[command(after_help = "\
It holds until `pando maintenance off`, across deploys too.

Examples:
  pando maintenance on --allow 203.0.113.7 --message 'Back at noon.'
  pando maintenance status
  pando maintenance off")]
pub(crate) struct MaintenanceArgs {
    #[command(subcommand)]
    pub(crate) command: MaintenanceCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum MaintenanceCommand {
    On(MaintenanceOnArgs),
    /// Visitors get the app again
    #[command(after_help = "Examples:\n  pando maintenance off\n  pando maintenance off --app hits")]
    Off {
        #[command(flatten)]
        app: AppArgs,
    },
    /// Whether there is maintenance or a pause, since when and by whom
    #[command(after_help = "Examples:\n  pando maintenance status\n  pando maintenance status --json")]
    Status {
        #[command(flatten)]
        app: AppArgs,
    },
}

/// Visitors get 503 with a page, but who is let through
#[derive(Debug, Args)]
#[command(after_help = "\
It returns when every load balancer has taken it in. Said again, it takes the place of what was said before.

Examples:
  pando maintenance on
  pando maintenance on --allow 203.0.113.7 --allow 10.0.0.0/8
  pando maintenance on --page maintenance.html --retry-after 10m")]
pub(crate) struct MaintenanceOnArgs {
    /// An address or a range whose requests pass; may be given several times
    #[arg(long, value_name = "NET", num_args = 1.., value_delimiter = ',')]
    pub(crate) allow: Vec<Network>,
    /// The sentence on the page
    #[arg(long, value_name = "TEXT", conflicts_with = "page")]
    pub(crate) message: Option<String>,
    /// An HTML page in place of Pando's own, of at most 64 KiB
    #[arg(long, value_name = "FILE")]
    pub(crate) page: Option<PathBuf>,
    /// When visitors may come again, as programs are told [default: 1m]
    #[arg(long, value_name = "TIME")]
    pub(crate) retry_after: Option<Span>,
    #[command(flatten)]
    pub(crate) app: AppArgs,
}

/// Hold requests for a moment, such as a migration takes; none fails
#[derive(Debug, Args)]
#[command(after_help = "\
It returns when every load balancer holds requests. They go on in the order in which they came: at `pando resume`, or by
themselves when the time is over.

Examples:
  pando pause --for 20s && bin/migrate && pando resume
  pando pause --most 5000")]
pub(crate) struct PauseArgs {
    /// How long at the longest, up to 5m
    #[arg(long = "for", value_name = "TIME", default_value = "30s")]
    pub(crate) length: Span,
    /// How many requests wait at each load balancer, of one route; more get 503
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    pub(crate) most: u32,
    #[command(flatten)]
    pub(crate) app: AppArgs,
}

/// Let requests go on that `pando pause` holds
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  pando resume\n  pando resume --app hits")]
pub(crate) struct ResumeArgs {
    #[command(flatten)]
    pub(crate) app: AppArgs,
}
