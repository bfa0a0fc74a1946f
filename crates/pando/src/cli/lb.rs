//! The words of `pando lb`.

use clap::{Args, Subcommand};
use pando_model::name::AppName;

use super::Span;

/// See what arrives where, move traffic to the load balancers, close direct access
#[derive(Debug, Args)]
#[command(after_help = "\
From one web server to a load balancer, without an interruption: `pando server add HOST --role lb`, `pando lb cutover`, \
`pando lb lockdown`.

Examples:
  pando lb status
  pando lb top
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
    Top(TopArgs),
    Cutover(CutoverArgs),
    Lockdown(LockdownArgs),
    /// Open direct access to web servers again
    #[command(after_help = "Examples:\n  pando lb unlock")]
    Unlock,
}

/// Watch what each replica gets: requests, failures, time to answer, and why one gets none
#[derive(Debug, Args)]
#[command(after_help = "\
Requests and failures are those of the time between two looks, added up over load balancers. `ejected` is a replica whose \
answers failed, and the reason stands beside it; `pando events` tells of earlier ones.

Examples:
  pando lb top
  pando lb top --app hits --every 5s
  pando lb top --once                 one table, for scripts and notes")]
pub(crate) struct TopArgs {
    /// Only replicas of this app
    #[arg(long, value_name = "APP")]
    pub(crate) app: Option<AppName>,
    /// Between two looks
    #[arg(long, value_name = "TIME", default_value = "2s")]
    pub(crate) every: Span,
    /// Look twice, print one table, end
    #[arg(long)]
    pub(crate) once: bool,
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
