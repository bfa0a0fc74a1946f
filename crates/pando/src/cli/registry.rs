//! The words of `pando registry`.

use clap::{Args, Subcommand};
use pando_model::registry::RegistryHost;

/// Registries that servers pull images from: sign in, list, sign out
#[derive(Debug, Args)]
#[command(after_help = "\
Only images that servers pull need this. What `build` makes, and what your own engine has, is sent without a registry; \
building and looking at images here is done with the logins of your `docker` command.

Examples:
  pando registry login ghcr.io --username my-bot
  pando registry ls
  pando registry logout ghcr.io")]
pub(crate) struct RegistryArgs {
    #[command(subcommand)]
    pub(crate) command: RegistryCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RegistryCommand {
    Login(RegistryLoginArgs),
    /// List the registries that the cluster has credentials for
    #[command(
        visible_alias = "list",
        after_help = "\
Examples:
  pando registry ls
  pando registry ls --json | jq -r '.registries[].host'"
    )]
    Ls,
    /// Forget the credentials for a registry
    #[command(after_help = "\
What runs goes on, and every server keeps the images of kept releases. What is pulled from then on is pulled as by anybody.

Examples:
  pando registry logout ghcr.io")]
    Logout {
        /// As `pando registry ls` shows it
        #[arg(value_name = "HOST")]
        host: RegistryHost,
    },
}

/// Give the cluster credentials for a registry; the password is read from stdin
#[derive(Debug, Args)]
#[command(after_help = "\
The password, best an access token that may only read, is asked for on a terminal, and else read from stdin. It is sealed in the \
cluster's store, shown by no command, and handed to a server only when that is to pull an image from there. The next deploy \
uses it; signing in again replaces it.

Examples:
  pando registry login ghcr.io --username my-bot
  pando registry login registry.example.com:5000 --username ci < token.txt
  pass show hub | pando registry login docker.io --username my-org")]
pub(crate) struct RegistryLoginArgs {
    /// Such as ghcr.io, docker.io or registry.example.com:5000
    #[arg(value_name = "HOST")]
    pub(crate) host: RegistryHost,
    /// The user, as the registry knows it
    #[arg(short = 'u', long, value_name = "NAME")]
    pub(crate) username: String,
}
