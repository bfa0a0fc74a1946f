//! What each command does, a file each; and which one was asked for.

mod cert;
mod check;
mod cluster;
mod deploy;
mod dev;
mod events;
mod exec;
mod firewall;
mod init;
mod interlude;
mod lb;
mod logs;
mod prune;
mod registry;
mod releases;
mod scale;
mod server;
mod status;
mod stop;
mod token;
mod version;

use std::process::ExitCode;

use clap::CommandFactory as _;

use crate::cli::{Cli, Command};
use crate::context::Context;
use crate::{daemons, exit};

/// Runs the command; says what went wrong, if something did.
pub(crate) fn run(cli: Cli) -> ExitCode {
    let context = Context::new(cli.global);
    let ended = match cli.command {
        Command::Daemon(args) => daemons::daemon(args),
        Command::Proxy(args) => daemons::proxy(args),
        Command::Completion { shell } => completion(shell, &context),
        Command::Schema => {
            context.printer().line(pando_config::schema_json().trim_end()).map(|()| ExitCode::SUCCESS)
        }
        Command::Init(args) => init::run(&args, &context),
        Command::Check(args) => check::run(&args, &context),
        other => in_runtime(other, &context),
    };
    ended.unwrap_or_else(|error| exit::report(&error, &context))
}

/// One thread is enough for a command, and starts in no time.
fn in_runtime(command: Command, context: &Context) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let code = runtime.block_on(dispatch(command, context));
    // A read of stdin that never ends must not hold up the end.
    runtime.shutdown_background();
    code
}

async fn dispatch(command: Command, context: &Context) -> anyhow::Result<ExitCode> {
    match command {
        Command::Dev(args) => dev::run(&args, context).await,
        Command::Deploy(args) => deploy::deploy(&args, context).await,
        Command::Rollback(args) => deploy::rollback(&args, context).await,
        Command::Restart(args) => deploy::restart(&args, context).await,
        Command::Releases(args) => releases::run(&args, context).await,
        Command::Status(args) => status::run(&args, context).await,
        Command::Logs(args) => logs::run(&args, context).await,
        Command::Events(args) => events::run(&args, context).await,
        Command::Scale(args) => scale::run(&args, context).await,
        Command::Stop(args) => stop::stop(&args, context).await,
        Command::Start(args) => stop::start(&args, context).await,
        Command::Maintenance(args) => interlude::maintenance(&args, context).await,
        Command::Pause(args) => interlude::pause(&args, context).await,
        Command::Resume(args) => interlude::resume(&args, context).await,
        Command::Run(args) => exec::run(args, context).await,
        Command::Exec(args) => exec::exec(args, context).await,
        Command::Token(args) => token::run(&args, context).await,
        Command::Cluster(args) => cluster::run(&args, context).await,
        Command::Lb(args) => lb::run(&args, context).await,
        Command::Cert(args) => cert::run(&args, context).await,
        Command::Firewall(args) => firewall::run(&args, context).await,
        Command::Registry(args) => registry::run(&args, context).await,
        Command::Prune(args) => prune::run(&args, context).await,
        Command::Server(args) => server::run(&args, context).await,
        Command::Version => version::run(context).await,
        Command::Daemon(_)
        | Command::Proxy(_)
        | Command::Completion { .. }
        | Command::Schema
        | Command::Init(_)
        | Command::Check(_) => Ok(ExitCode::SUCCESS),
    }
}

/// Into memory first: a reader of stdout that leaves is no failure.
fn completion(shell: clap_complete::Shell, context: &Context) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "pando", &mut script);
    context.printer().line(String::from_utf8_lossy(&script).trim_end())?;
    Ok(ExitCode::SUCCESS)
}
