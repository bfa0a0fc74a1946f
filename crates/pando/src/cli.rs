//! The words that `pando` understands: every command, flag and help text.
//!
//! Words only: nothing here reads a file, calls a cluster or decides anything.
//! What a command does is in `commands`, a file each.

mod apps;
mod cert;
mod cluster;
mod deploy;
mod dev;
mod file;
mod firewall;
mod interlude;
mod lb;
mod look;
mod near_miss;
mod prune;
mod registry;
mod server;
mod value;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

pub(crate) use apps::{ExecArgs, RunArgs, ScaleArgs, StartArgs, StopArgs, TokenArgs};
pub(crate) use apps::{TokenCommand, TokenCreateArgs, TokenScope};
pub(crate) use cert::{CertArgs, CertCommand, CertImportArgs, CertRmArgs};
pub(crate) use cluster::{ClusterAddArgs, ClusterArgs, ClusterCommand, ClusterInitArgs, ClusterTokenArgs};
pub(crate) use deploy::{DeployArgs, FollowArgs, RestartArgs, RollbackArgs};
pub(crate) use dev::DevArgs;
pub(crate) use file::{CheckArgs, InitArgs, SourceKind};
pub(crate) use firewall::{AgreeArgs, AllowArgs, CloseArgs, FirewallArgs, FirewallCommand, OpenArgs};
pub(crate) use interlude::{MaintenanceArgs, MaintenanceCommand, MaintenanceOnArgs, PauseArgs, ResumeArgs};
pub(crate) use lb::{CutoverArgs, LbArgs, LbCommand, TopArgs};
pub(crate) use look::{EventsArgs, LogsArgs, ReleasesArgs, StatusArgs};
pub(crate) use prune::PruneArgs;
pub(crate) use registry::{RegistryArgs, RegistryCommand, RegistryLoginArgs};
pub(crate) use server::{ServerAddArgs, ServerArgs, ServerCommand, ServerDrainArgs};
pub(crate) use server::{
    ServerJoinArgs, ServerLabelsArgs, ServerRmArgs, ServerRolesArgs, ServerStartArgs, labels_of, roles_of,
};
pub(crate) use value::{Scaling, Span};

use crate::daemons::{DaemonArgs, ProxyArgs};

const AFTER_HELP: &str = "\
Which cluster, the first that there is: --cluster; PANDO_CLUSTER_URL with PANDO_TOKEN; the `pando dev` of this directory; \
what the file's target names; `pando cluster use`; this server's own.

Exit codes:
  0  done
  1  the work failed
  2  the file or the words are wrong
  3  the cluster can't be reached
  4  refused because it would do harm

Examples:
  pando dev                    run the app of this directory on a whole cluster on this machine
  pando deploy                 make the cluster run what is in this directory
  pando status --watch         see what runs, every second
  pando logs -f                follow what the replicas write";

/// Reads the words. What is wrong with them, and the help that was asked for, come as a `clap::Error`.
pub(crate) fn parse(words: &[OsString]) -> Result<Cli, clap::Error> {
    let shielded = server::shielded(words);
    Cli::try_parse_from(&shielded)
        .map_err(|refusal| near_miss::suggest(refusal, &<Cli as CommandFactory>::command(), &shielded))
}

/// Takes an app from one server to many.
#[derive(Debug, Parser)]
#[command(name = "pando", version, after_help = AFTER_HELP, disable_help_subcommand = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct GlobalArgs {
    /// The app's file [default: the nearest pando.yaml, .yml, .json or .toml, here or above]
    #[arg(short = 'c', long = "config", value_name = "FILE", global = true)]
    pub(crate) file: Option<PathBuf>,
    /// Print data as JSON, errors too
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// The cluster to speak to: a known name, or https://HOST:PORT#sha256:…
    #[arg(long, value_name = "NAME", global = true)]
    pub(crate) cluster: Option<String>,
    /// When to use colours; auto is on a terminal, unless NO_COLOR is set
    #[arg(long, value_name = "WHEN", value_enum, default_value_t, global = true)]
    pub(crate) color: Color,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    // On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    Always,
    Never,
}

/// Which app, for commands about one.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct AppArgs {
    /// The app [default: the one that the file describes]
    #[arg(short = 'a', long, value_name = "NAME")]
    pub(crate) app: Option<String>,
    /// The target of the file whose cluster is meant
    #[arg(short = 't', long, value_name = "TARGET", conflicts_with = "app")]
    pub(crate) target: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Dev(DevArgs),
    Init(InitArgs),
    Check(CheckArgs),
    /// Print the JSON Schema of the app's file
    #[command(after_help = "Examples:\n  pando schema > pando.schema.json    for an editor")]
    Schema,
    Deploy(DeployArgs),
    Rollback(RollbackArgs),
    Releases(ReleasesArgs),
    Restart(RestartArgs),
    Status(StatusArgs),
    Logs(LogsArgs),
    Events(EventsArgs),
    Scale(ScaleArgs),
    Stop(StopArgs),
    Start(StartArgs),
    Maintenance(MaintenanceArgs),
    Pause(PauseArgs),
    Resume(ResumeArgs),
    Run(RunArgs),
    Exec(ExecArgs),
    Cluster(ClusterArgs),
    Server(ServerArgs),
    Lb(LbArgs),
    Cert(CertArgs),
    Firewall(FirewallArgs),
    Registry(RegistryArgs),
    Prune(PruneArgs),
    Token(TokenArgs),
    Daemon(DaemonArgs),
    Proxy(ProxyArgs),
    /// Print the completion script of a shell
    #[command(
        after_help = "Examples:\n  pando completion bash > /etc/bash_completion.d/pando\n  pando completion fish | source"
    )]
    Completion {
        shell: clap_complete::Shell,
    },
    /// Print the version
    #[command(after_help = "Examples:\n  pando version\n  pando version --json")]
    Version,
}
