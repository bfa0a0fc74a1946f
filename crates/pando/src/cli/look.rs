//! Commands that look and change nothing.

use clap::Args;
use pando_model::name::{ProcessName, ReplicaName};

use super::{AppArgs, Span};

/// Show what runs: the app of this directory, or every app
#[derive(Debug, Args)]
#[command(after_help = "\
Without a pando.yaml in reach (or with --all), the whole cluster is shown.

Examples:
  pando status
  pando status --watch
  pando status --json | jq '.processes[] | {process, wanted, ready}'")]
pub(crate) struct StatusArgs {
    /// Show it anew every second
    #[arg(short = 'w', long)]
    pub(crate) watch: bool,
    /// Show the cluster and all of its apps
    #[arg(long, conflicts_with_all = ["app", "target"])]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) app: AppArgs,
}

/// Show what the replicas wrote
#[derive(Debug, Args)]
#[command(after_help = "\
Every replica of every process is shown, in one stream in the order of time.

Examples:
  pando logs -f
  pando logs --since 10m --process web
  pando logs --replica web-2 --tail 1000
  pando logs --json | jq -r .text")]
pub(crate) struct LogsArgs {
    /// All replicas, which is the default
    #[arg(long, visible_alias = "all", conflicts_with_all = ["replica", "process"])]
    pub(crate) all_containers: bool,
    /// Only this replica, such as web-2
    #[arg(short = 'r', long, value_name = "REPLICA", conflicts_with = "process")]
    pub(crate) replica: Option<ReplicaName>,
    /// Only replicas of this process
    #[arg(short = 'p', long, value_name = "PROCESS")]
    pub(crate) process: Option<ProcessName>,
    /// Go on with new lines, until Ctrl-C
    #[arg(short = 'f', long)]
    pub(crate) follow: bool,
    /// Only lines that are no older than this, such as 10m or 2h
    #[arg(long, value_name = "AGE")]
    pub(crate) since: Option<Span>,
    /// Only so many of the newest lines [default: 100, or all that --since names]
    #[arg(short = 'n', long, value_name = "LINES")]
    pub(crate) tail: Option<usize>,
    /// Begin each line with its time
    #[arg(long)]
    pub(crate) timestamps: bool,
    #[command(flatten)]
    pub(crate) app: AppArgs,
}

/// Show what Pando decided, and why
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pando events
  pando events -f --all
  pando events -n 1000 --json")]
pub(crate) struct EventsArgs {
    /// Go on with new events, until Ctrl-C
    #[arg(short = 'f', long)]
    pub(crate) follow: bool,
    /// So many of the newest events
    #[arg(short = 'n', long, value_name = "EVENTS", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) tail: u32,
    /// Events of every app and of the cluster
    #[arg(long, conflicts_with_all = ["app", "target"])]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) app: AppArgs,
}

/// List the releases that are kept
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pando releases
  pando rollback v41                  run one of them again")]
pub(crate) struct ReleasesArgs {
    #[command(flatten)]
    pub(crate) app: AppArgs,
}
