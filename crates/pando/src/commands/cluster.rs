//! `pando cluster`: which clusters there are for you, how one is, and a way in for servers.

mod init;
mod known;
mod status;
mod token;

use std::process::ExitCode;

use crate::cli::{ClusterArgs, ClusterCommand};
use crate::context::Context;

pub(crate) use init::AGENT_PORT;
pub(crate) use token::reached_at;

pub(crate) async fn run(args: &ClusterArgs, context: &Context) -> anyhow::Result<ExitCode> {
    match &args.command {
        ClusterCommand::Status => status::run(context).await?,
        ClusterCommand::Ls => known::list(context)?,
        ClusterCommand::Add(args) => known::add(args, context).await?,
        ClusterCommand::Use { name } => known::choose(name, context)?,
        ClusterCommand::Rm { name } => known::remove(name, context)?,
        ClusterCommand::Init(args) => init::run(args, context).await?,
        ClusterCommand::Token(args) => token::run(args, context).await?,
    }
    Ok(ExitCode::SUCCESS)
}
