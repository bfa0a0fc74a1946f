//! `pando registry`: who the cluster is to registries of images.

use std::io::{IsTerminal as _, Read as _};
use std::process::ExitCode;

use pando_api::v1::registries::RegistryCredentials;
use pando_routing::SecretText;
use serde_json::json;

use crate::cli::{RegistryArgs, RegistryCommand, RegistryLoginArgs};
use crate::context::Context;
use crate::exit::Trouble;
use crate::table::Table;
use crate::terminal;
use crate::words::{age, harmless, now};

/// No password is longer: somebody may have piped a disk.
const MOST: u64 = 16 * 1024;

pub(crate) async fn run(args: &RegistryArgs, context: &Context) -> anyhow::Result<ExitCode> {
    match &args.command {
        RegistryCommand::Login(args) => login(args, context).await?,
        RegistryCommand::Ls => list(context).await?,
        RegistryCommand::Logout { host } => {
            context.client()?.remove_registry(host).await?;
            if context.printer().is_json() {
                context.printer().json(&json!({ "removed": host }))?;
            } else {
                context.printer().line(format_args!("signed out of {host}"))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn login(args: &RegistryLoginArgs, context: &Context) -> anyhow::Result<()> {
    let client = context.client()?;
    let password = SecretText(password(args)?);
    let credentials = RegistryCredentials { username: args.username.clone(), password };
    let info = client.set_registry(&args.host, &credentials).await?;
    let printer = context.printer();
    if printer.is_json() {
        return printer.json(&info);
    }
    printer.line(format_args!(
        "servers are `{}` to {} from now on; whether it lets them in shows with the next pull",
        harmless(&info.username),
        info.host
    ))
}

fn password(args: &RegistryLoginArgs) -> anyhow::Result<String> {
    let stdin = std::io::stdin();
    let text = if stdin.is_terminal() {
        terminal::ask_hidden(&format!("Password of `{}` at {}: ", args.username, args.host))?
    } else {
        let mut text = String::new();
        let unreadable = |error| Trouble::wrong(format!("the password on stdin can't be read: {error}"));
        stdin.lock().take(MOST + 2).read_to_string(&mut text).map_err(unreadable)?;
        text
    };
    let password = text.trim_end_matches(['\n', '\r']);
    if password.is_empty() || password.contains('\n') || password.len() as u64 > MOST {
        let trouble = Trouble::wrong("the password has to be one line on stdin, and there is none, or more");
        return Err(trouble
            .hint(format!("pando registry login {} -u {} < FILE", args.host, args.username))
            .into());
    }
    Ok(password.to_owned())
}

async fn list(context: &Context) -> anyhow::Result<()> {
    let list = context.client()?.registries().await?;
    let printer = context.printer();
    if printer.is_json() {
        return printer.json(&list);
    }
    if list.registries.is_empty() {
        return printer
            .line("no credentials: servers pull images as anybody; `pando registry login` gives them some");
    }
    let mut table = Table::new(&["HOST", "USER", "AGE", "BY"]);
    for one in &list.registries {
        table.row(vec![
            one.host.as_str().into(),
            harmless(&one.username).into(),
            age(one.added_at, now()).into(),
            harmless(&one.added_by).into(),
        ]);
    }
    printer.lines(&table.lines(printer.paint()))
}
