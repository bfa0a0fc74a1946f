//! The words of `pando prune`.

use clap::Args;
use pando_model::name::ServerName;

/// Show what nothing needs any more on the servers, and remove it with --yes
#[derive(Debug, Args)]
#[command(after_help = "\
Shown, and with --yes removed, are: packed releases and layers that no kept release needs, directories and images of releases that \
a server does not keep, images that lost their names, containers that have ended and belong to nothing, uploads that broke off. What \
a container is made of, what belongs to a kept release and what is not Pando's always stays. `keep_releases` in the file says how many \
releases are kept.

Servers prune by themselves when a disk has less than 15 % free, and when there is no room for an image.

Exit code 1: a server could not be asked, or something could not be removed; what could be is done.

Examples:
  pando prune                     what would go, and why
  pando prune --yes
  pando prune --server web-2 --yes
  pando prune --json | jq .bytes")]
pub(crate) struct PruneArgs {
    /// Remove it; without this, it is only shown
    #[arg(short = 'y', long)]
    pub(crate) yes: bool,
    /// Only show what would go, which is the default
    #[arg(long, conflicts_with = "yes")]
    pub(crate) dry_run: bool,
    /// Only this server, and not the control plane's store
    #[arg(long, value_name = "NAME")]
    pub(crate) server: Option<ServerName>,
}
