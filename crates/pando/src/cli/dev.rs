//! The words of `pando dev`.

use clap::Args;
use pando_model::name::ServerName;

/// Run a whole cluster on this machine and deploy this directory's app to it
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
No root, no Docker. State is in ./.pando; other commands in this directory speak to this cluster. Ctrl-C ends it.

Examples:
  pando dev
  pando dev --servers 3 --port 9000
  pando dev --detach && pando logs -f
  pando dev --kill app-2
  pando dev --stop")]
pub(crate) struct DevArgs {
    /// How many servers the cluster has
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=9))]
    pub(crate) servers: u8,
    /// Where the app answers on this machine
    #[arg(short = 'p', long, value_name = "PORT", default_value_t = 8080)]
    pub(crate) port: u16,
    /// Return when the app runs; the cluster stays
    #[arg(short = 'd', long)]
    pub(crate) detach: bool,
    /// End the cluster that runs in this directory
    #[arg(long, conflicts_with_all = ["servers", "port", "detach"])]
    pub(crate) stop: bool,
    /// Kill all that runs on one server, as a power failure would; `pando dev --servers N` starts it again
    #[arg(long, value_name = "SERVER", conflicts_with_all = ["servers", "port", "detach", "stop"])]
    pub(crate) kill: Option<ServerName>,
}
