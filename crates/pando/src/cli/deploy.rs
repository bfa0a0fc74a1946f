//! Commands that make a deployment.

use clap::Args;
use pando_model::release::ReleaseNumber;

use super::AppArgs;

/// Make the cluster run what is in this directory
#[derive(Debug, Default, Args)]
#[command(after_help = "\
Replicas are replaced without a failed request; if one of the new ones does not become ready, all go back and the exit \
code is 1. Ctrl-C leaves the deploy going on; `pando status` shows it.

Several targets are deployed one after the other, in the order given (with --all: the file's), and a table says what became \
of each. One that fails does not keep the others from theirs, unless --stop-on-failure is given. The exit code is 0 when all \
are done, else the first of 130, 1, 3, 4 and 2 that one of them came to.

Examples:
  pando deploy
  pando deploy -t staging -t production --stop-on-failure
  pando deploy --all --parallel
  pando deploy --dry-run              say what would happen, change nothing
  pando deploy --no-wait-turn         refuse when another deploy is under way")]
pub(crate) struct DeployArgs {
    /// Deploy this target of the file; may be given several times [default: the only one]
    #[arg(short = 't', long, value_name = "TARGET", num_args = 1.., value_delimiter = ',', conflicts_with = "all")]
    pub(crate) target: Vec<String>,
    /// Deploy every target of the file
    #[arg(long)]
    pub(crate) all: bool,
    /// Deploy the targets at the same time
    #[arg(long, conflicts_with = "stop_on_failure")]
    pub(crate) parallel: bool,
    /// Leave out the targets that come after one that failed
    #[arg(long)]
    pub(crate) stop_on_failure: bool,
    /// A remark for the event log, such as a commit
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: Option<String>,
    #[command(flatten)]
    pub(crate) follow: FollowArgs,
}

/// How a deployment is begun and followed.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct FollowArgs {
    /// Say what would happen, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Refuse, instead of waiting, when a deployment of the app is under way
    #[arg(long)]
    pub(crate) no_wait_turn: bool,
    /// Return as soon as it is recorded; it goes on by itself
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) detach: bool,
}

/// Run a release that is kept again, with its settings
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pando rollback                      the release before the current one
  pando rollback v41
  pando releases                      which ones there are")]
pub(crate) struct RollbackArgs {
    /// Such as v41 [default: the one before the current one]
    #[arg(value_name = "RELEASE")]
    pub(crate) release: Option<ReleaseNumber>,
    #[command(flatten)]
    pub(crate) app: AppArgs,
    #[command(flatten)]
    pub(crate) follow: FollowArgs,
}

/// Replace every replica by a new one of the same release
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pando restart
  pando restart --app hits --detach")]
pub(crate) struct RestartArgs {
    #[command(flatten)]
    pub(crate) app: AppArgs,
    #[command(flatten)]
    pub(crate) follow: FollowArgs,
}
