//! `pando server`: machines of the cluster, what they are for, and their coming and going.

mod add;
mod change;
mod join;
mod show;
mod unasked;
mod wait;

use std::process::ExitCode;

use crate::cli::{ServerArgs, ServerCommand};
use crate::context::Context;

pub(crate) use show::{server_word, standing_word, table as server_table};
pub(crate) use unasked::unasked;

pub(crate) async fn run(args: &ServerArgs, context: &Context) -> anyhow::Result<ExitCode> {
    match &args.command {
        ServerCommand::Ls => show::list(context).await?,
        ServerCommand::Show { name } => show::one(name, context).await?,
        ServerCommand::Roles(args) => change::roles(args, context).await?,
        ServerCommand::Labels(args) => change::labels(args, context).await?,
        ServerCommand::Drain(args) => change::drain(args, context).await?,
        ServerCommand::Undrain(args) => change::undrain(&args.name, context).await?,
        ServerCommand::Rm(args) => change::remove(args, context).await?,
        ServerCommand::Join(args) => join::run(args, context).await?,
        ServerCommand::Start(args) => join::begin(args, context).await?,
        ServerCommand::Add(args) => add::run(args, context).await?,
    }
    Ok(ExitCode::SUCCESS)
}
