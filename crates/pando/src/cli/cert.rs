//! The words of `pando cert`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use pando_routing::Host;

/// Certificates for visitors: bring, list and remove them
#[derive(Debug, Args)]
#[command(after_help = "\
A domain that has a certificate is served over HTTPS by every load balancer, and redirected to it from HTTP.

Examples:
  pando cert import --cert fullchain.pem --key privkey.pem
  pando cert ls
  pando cert rm old.example.com")]
pub(crate) struct CertArgs {
    #[command(subcommand)]
    pub(crate) command: CertCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CertCommand {
    Import(CertImportArgs),
    /// List the certificates, and the domains that have none
    #[command(
        visible_alias = "list",
        after_help = "\
Examples:
  pando cert ls
  pando cert ls --json | jq -r '.missing[].domain'"
    )]
    Ls,
    Rm(CertRmArgs),
}

/// Bring a certificate with its key; load balancers use it within a second
#[derive(Debug, Args)]
#[command(after_help = "\
The files are judged here before anything is sent: chain, key, dates, names and strength. The key is sealed in the \
cluster's store and sent to load balancers alone. Domains that another certificate served are this one's from then on, \
and no connection is closed for it: that is also how a renewed one is brought.

Examples:
  pando cert import --cert fullchain.pem --key privkey.pem
  pando cert import --cert wildcard.pem --key wildcard.key --domain example.com --domain '*.example.com'
  pando cert import --cert fullchain.pem --key privkey.pem --dry-run")]
pub(crate) struct CertImportArgs {
    /// The chain as PEM: the host's certificate first, then those that lead to its authority
    #[arg(long, value_name = "FILE")]
    pub(crate) cert: PathBuf,
    /// Its private key as PEM, not encrypted
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// What it is to be used for (repeatable) [default: every name that it has]
    #[arg(long = "domain", value_name = "DOMAIN")]
    pub(crate) domains: Vec<Host>,
    /// Judge the files, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Even when a domain is left without a certificate
    #[arg(long)]
    pub(crate) force: bool,
}

/// Remove a certificate
#[derive(Debug, Args)]
#[command(after_help = "\
Its domains are answered with another certificate that is for them. When there is none, this is refused, since their \
visitors would be warned off.

Examples:
  pando cert rm old.example.com
  pando cert rm '*.example.com' --force")]
pub(crate) struct CertRmArgs {
    /// As `pando cert ls` shows it
    #[arg(value_name = "NAME")]
    pub(crate) name: Host,
    /// Even when a domain is left without a certificate
    #[arg(long)]
    pub(crate) force: bool,
}
