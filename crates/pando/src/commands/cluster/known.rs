//! Clusters that this user named.

use std::io::Read as _;

use pando_api::{Bearer, Client, ErrorCode};
use serde_json::json;

use crate::cli::ClusterAddArgs;
use crate::context::Context;
use crate::exit::Trouble;
use crate::table::Table;

pub(super) fn list(context: &Context) -> anyhow::Result<()> {
    let clusters = context.clusters()?;
    let (known, current) = (clusters.list()?, clusters.current()?);
    let is_current = |name: &str| current.as_deref() == Some(name);
    let printer = context.printer();
    if printer.is_json() {
        let rows = known.iter().map(|it| {
            json!({ "name": it.name, "url": it.url, "current": is_current(&it.name), "token": it.has_token })
        });
        return printer.json(&json!({ "clusters": rows.collect::<Vec<_>>() }));
    }
    if known.is_empty() {
        printer.talk("no cluster is known here; `pando cluster add NAME URL` makes one known");
        return Ok(());
    }
    let mut table = Table::new(&["NAME", "URL", "CURRENT", "TOKEN"]);
    for cluster in &known {
        let url = cluster.url.split('#').next().unwrap_or_default();
        let current = if is_current(&cluster.name) { "yes" } else { "" };
        let token = if cluster.has_token { "" } else { "none" };
        table.row(vec![(&cluster.name).into(), url.into(), current.into(), token.into()]);
    }
    printer.lines(&table.lines(printer.paint()))
}

pub(super) async fn add(args: &ClusterAddArgs, context: &Context) -> anyhow::Result<()> {
    let clusters = context.clusters()?;
    clusters.check_free(&args.name, args.replace)?;
    let token = token(args, context)?;
    let client = Client::new(&args.url, token.clone())?;
    if !args.no_check {
        check(&client, token.is_some()).await?;
    }
    clusters.add(&args.name, &args.url, token.as_ref(), args.replace)?;
    // The first one is meant until somebody says otherwise.
    let chosen = clusters.current()?.is_none();
    if chosen {
        clusters.choose(&args.name)?;
    }
    let printer = context.printer();
    if printer.is_json() {
        return printer.json(&json!({ "name": args.name, "url": args.url, "current": chosen }));
    }
    let current = if chosen { "; commands speak to it now" } else { "" };
    printer.line(format_args!("{} is known{current}", args.name))
}

fn token(args: &ClusterAddArgs, context: &Context) -> anyhow::Result<Option<Bearer>> {
    let text = match args.token.as_deref() {
        Some("-") => {
            let mut text = String::new();
            std::io::stdin().lock().take(4096).read_to_string(&mut text)?;
            Some(text)
        }
        Some(token) => Some(token.to_owned()),
        None => context.token_of_environment().map(str::to_owned),
    };
    let token = text.map(Bearer::new).transpose();
    token.map_err(|error| Trouble::wrong(format!("the token is not usable: {error}")).into())
}

/// Whether it is the cluster of that fingerprint, and knows the token.
async fn check(client: &Client, has_token: bool) -> anyhow::Result<()> {
    client.version().await?;
    if !has_token {
        return Ok(());
    }
    match client.status().await {
        // A token for one app may not see the cluster; that it is known is enough.
        Err(error) if error.code() == Some(ErrorCode::Forbidden) => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_) => Ok(()),
    }
}

pub(super) fn choose(name: &str, context: &Context) -> anyhow::Result<()> {
    context.clusters()?.choose(name)?;
    let printer = context.printer();
    if printer.is_json() {
        return printer.json(&json!({ "current": name }));
    }
    printer.line(format_args!("commands speak to {name} when nothing else says which"))
}

pub(super) fn remove(name: &str, context: &Context) -> anyhow::Result<()> {
    context.clusters()?.remove(name)?;
    let printer = context.printer();
    if printer.is_json() {
        return printer.json(&json!({ "removed": name }));
    }
    printer.line(format_args!(
        "{name} is forgotten here; its token still works elsewhere until `pando token rm`"
    ))
}
