//! `pando cluster`: which clusters there are for you, how one is, and a way in for servers.

mod known;
mod status;

use std::process::ExitCode;

use crate::cli::{ClusterArgs, ClusterCommand};
use crate::context::Context;
use crate::exit::Trouble;

pub(crate) async fn run(args: &ClusterArgs, context: &Context) -> anyhow::Result<ExitCode> {
    match &args.command {
        ClusterCommand::Status => status::run(context).await?,
        ClusterCommand::Ls => known::list(context)?,
        ClusterCommand::Add(args) => known::add(args, context).await?,
        ClusterCommand::Use { name } => known::choose(name, context)?,
        ClusterCommand::Rm { name } => known::remove(name, context)?,
        ClusterCommand::Token(_) => return Err(Trouble::wrong("this build can't add servers").into()),
    }
    Ok(ExitCode::SUCCESS)
}
