//! Commands that change a running app, run commands in it, or give access to it.

use clap::{Args, Subcommand, ValueEnum};
use pando_model::name::{AppName, ReplicaName};

use super::{AppArgs, Scaling, Span};

/// Set how many replicas of a process run
#[derive(Debug, Args)]
#[command(after_help = "\
The counts hold until they are set anew, across deploys too.

Examples:
  pando scale web=5 worker=2
  pando scale web=file                as the file has it again")]
pub(crate) struct ScaleArgs {
    /// Such as web=5; `file` instead of a number: as the file has it
    #[arg(value_name = "PROCESS=COUNT", required = true)]
    pub(crate) counts: Vec<Scaling>,
    /// Return at once; it goes on by itself
    #[arg(long)]
    pub(crate) detach: bool,
    #[command(flatten)]
    pub(crate) app: AppArgs,
}

/// Stop every replica, until `pando start` or a deploy
#[derive(Debug, Args)]
#[command(after_help = "\
Requests under way may end; then each replica gets SIGTERM, and SIGKILL after its stop_timeout.

Examples:
  pando stop
  pando stop --remove-containers      remove the unpacked releases from the servers too")]
pub(crate) struct StopArgs {
    /// Remove the unpacked releases from the servers too
    #[arg(long)]
    pub(crate) remove_containers: bool,
    /// Return at once; it goes on by itself
    #[arg(long)]
    pub(crate) detach: bool,
    #[command(flatten)]
    pub(crate) app: AppArgs,
}

/// Start a stopped app again
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pando start
  pando start --app hits --detach")]
pub(crate) struct StartArgs {
    /// Return at once; it goes on by itself
    #[arg(long)]
    pub(crate) detach: bool,
    #[command(flatten)]
    pub(crate) app: AppArgs,
}

/// Run a command once, in the app's current release and environment
#[derive(Debug, Args)]
#[command(after_help = "\
One word is a shell command line; several are a program and its arguments. The exit code is the command's.

Examples:
  pando run bin/rails console
  pando run 'bin/export > /tmp/all.csv && wc -l /tmp/all.csv'
  echo 'select 1' | pando run bin/db
  pando run --release v41 bin/report")]
pub(crate) struct RunArgs {
    /// In this release [default: the one that the app runs]
    #[arg(long, value_name = "RELEASE")]
    pub(crate) release: Option<pando_model::release::ReleaseNumber>,
    /// Stop it after this long [default: never]
    #[arg(long, value_name = "TIME")]
    pub(crate) timeout: Option<Span>,
    #[command(flatten)]
    pub(crate) app: AppArgs,
    /// The command and its arguments
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<String>,
}

/// Run a command beside a running replica, with its environment
#[derive(Debug, Args)]
#[command(after_help = "\
One word is a shell command line; several are a program and its arguments. The exit code is the command's.

Examples:
  pando exec web-1 sh
  pando exec worker-2 ps aux
  pando exec web-1 'env | sort'")]
pub(crate) struct ExecArgs {
    /// Stop it after this long [default: never]
    #[arg(long, value_name = "TIME")]
    pub(crate) timeout: Option<Span>,
    #[command(flatten)]
    pub(crate) app: AppArgs,
    /// Such as web-1; `pando status` lists them
    #[arg(value_name = "REPLICA")]
    pub(crate) replica: ReplicaName,
    /// The command and its arguments
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<String>,
}

/// Make, list and remove access tokens
#[derive(Debug, Args)]
#[command(after_help = "\
Programs such as a CI job take a token from PANDO_TOKEN, and the cluster's address from PANDO_CLUSTER_URL.

Examples:
  pando token create --scope deploy --app hits --expires 90d --name ci
  pando token ls
  pando token rm 0f3a9c5e1b7d2846")]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    pub(crate) command: TokenCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    Create(TokenCreateArgs),
    /// List the tokens, without their texts
    #[command(visible_alias = "list", after_help = "Examples:\n  pando token ls")]
    Ls,
    /// Remove a token: whoever uses it is refused from now on
    #[command(visible_alias = "remove", after_help = "Examples:\n  pando token rm 0f3a9c5e1b7d2846")]
    Rm {
        /// As `pando token ls` shows it
        #[arg(value_name = "ID", value_parser = token_id)]
        id: String,
    },
}

/// Make a token; its text is printed once, on stdout, and never again
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pando token create --scope deploy --app hits --app shop --expires 90d --name ci
  pando token create --scope read --name grafana")]
pub(crate) struct TokenCreateArgs {
    /// What it allows
    #[arg(long, value_name = "SCOPE", value_enum)]
    pub(crate) scope: TokenScope,
    /// With the scope `deploy`: an app that it covers; may be given several times
    #[arg(long, value_name = "APP", num_args = 1.., value_delimiter = ',')]
    pub(crate) app: Vec<AppName>,
    /// How long it lasts, such as 90d [default: until it is removed]
    #[arg(long, value_name = "TIME")]
    pub(crate) expires: Option<Span>,
    /// Whose it is, or what for; stands beside what it does [default: the scope]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TokenScope {
    /// Look at everything, change nothing
    Read,
    /// Everything about the named apps
    Deploy,
    /// Everything
    Admin,
}

/// It becomes a part of a URL's path, so nothing but what an id has may stand in it.
fn token_id(text: &str) -> Result<String, String> {
    let fits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if fits {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("an id has 16 hexadecimal digits; `pando token ls` shows them".to_owned())
    }
}
