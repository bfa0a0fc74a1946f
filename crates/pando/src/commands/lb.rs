//! `pando lb`: what arrives where, and the way from direct access to load balancers.

mod cutover;
mod dns;
mod show;
mod top;

use std::process::ExitCode;

use pando_api::v1::balancers::{BalancerList, LockdownRequest};

use crate::cli::{LbArgs, LbCommand};
use crate::context::Context;
use crate::words::listed;

pub(crate) async fn run(args: &LbArgs, context: &Context) -> anyhow::Result<ExitCode> {
    match &args.command {
        LbCommand::Status => show::status(context).await?,
        LbCommand::Top(args) => top::run(args, context).await?,
        LbCommand::Cutover(args) => return cutover::run(args, context).await,
        LbCommand::Lockdown(args) => {
            let list = context.client()?.lockdown(&LockdownRequest { force: args.force }).await?;
            end(&list, "direct access is closed: requests from outside are taken by", context)?;
        }
        LbCommand::Unlock => {
            let list = context.client()?.unlock().await?;
            end(&list, "direct access is open: requests from outside are taken by", context)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn end(list: &BalancerList, what: &str, context: &Context) -> anyhow::Result<()> {
    let printer = context.printer();
    if printer.is_json() {
        return printer.json(list);
    }
    let names = listed(list.entry_points.iter().map(|entry| &entry.name));
    printer.line(format_args!("{what} {}", if names.is_empty() { "nobody" } else { &names }))
}
