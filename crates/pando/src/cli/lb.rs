//! The words of `pando lb`.

use clap::{Args, Subcommand};

use super::Span;

/// See what arrives where, move traffic to the load balancers, close direct access
#[derive(Debug, Args)]
#[command(after_help = "\
From one web server to a load balancer, without an interruption: `pando server add HOST --role lb`, `pando lb cutover`, \
`pando lb lockdown`.

Examples:
  pando lb status
  pando lb cutover
  pando lb lockdown")]
pub(crate) struct LbArgs {
    #[command(subcommand)]
    pub(crate) command: LbCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LbCommand {
    /// Show what each entry point receives, and where each domain points
    #[command(after_help = "\
DNS is asked through this machine's resolver; another's may still remember older records.

Examples:
  pando lb status
  pando lb status --json | jq '.domains[] | select(.points_at != \"balancers\")'")]
    Status,
    Cutover(CutoverArgs),
    Lockdown(LockdownArgs),
    /// Open direct access to web servers again
    #[command(after_help = "Examples:\n  pando lb unlock")]
    Unlock,
}

/// Move every domain to the load balancers: which records to set, and whether it is done
#[derive(Debug, Args)]
#[command(after_help = "\
Nothing is changed by this command: it says what to change in DNS, and looks again. Web servers go on answering all the \
while. The exit code is 0 once every domain points at the load balancers alone and nothing arrives elsewhere.

Examples:
  pando lb cutover
  pando lb cutover --watch            look again until it is done")]
pub(crate) struct CutoverArgs {
    /// Look again every so often until it is done, without asking
    #[arg(long)]
    pub(crate) watch: bool,
    /// Between two looks
    #[arg(long, value_name = "TIME", default_value = "10s")]
    pub(crate) every: Span,
}

/// Close direct access: only load balancers take requests from outside
#[derive(Debug, Args)]
#[command(after_help = "\
Refused while requests arrive elsewhere (in the last minute, or open still), or when no load balancer is alive.

Examples:
  pando lb lockdown
  pando lb unlock                     open it again")]
pub(crate) struct LockdownArgs {
    /// Even so
    #[arg(long)]
    pub(crate) force: bool,
}
