//! `pando cert`: certificates for visitors.

mod import;
mod show;

use std::process::ExitCode;

use pando_api::v1::certificates::CertificateRemoveQuery;
use serde_json::json;

use crate::cli::{CertArgs, CertCommand, CertRmArgs};
use crate::context::Context;

pub(crate) async fn run(args: &CertArgs, context: &Context) -> anyhow::Result<ExitCode> {
    match &args.command {
        CertCommand::Import(args) => import::run(args, context).await?,
        CertCommand::Ls => show::list(context).await?,
        CertCommand::Rm(args) => remove(args, context).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn remove(args: &CertRmArgs, context: &Context) -> anyhow::Result<()> {
    let (name, query) = (&args.name, CertificateRemoveQuery { force: args.force });
    context.client()?.remove_certificate(name, &query).await?;
    let printer = context.printer();
    if printer.is_json() {
        return printer.json(&json!({ "removed": name }));
    }
    printer.line(format_args!("removed {name}"))
}
