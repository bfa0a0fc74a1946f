//! What people want of a server: roles, labels, to be emptied, to leave.

use pando_api::Client;
use pando_api::v1::servers::{DrainRequest, LabelsRequest, RemoveQuery, RolesRequest, ServerDetail};
use pando_model::name::ServerName;
use serde_json::json;

use super::show;
use super::unasked::unasked;
use super::wait::{Goal, until};
use crate::cli::{ServerDrainArgs, ServerLabelsArgs, ServerRmArgs, ServerRolesArgs, labels_of, roles_of};
use crate::context::Context;
use crate::words::listed;

pub(super) async fn roles(args: &ServerRolesArgs, context: &Context) -> anyhow::Result<()> {
    let client = context.client()?;
    let (add, remove) = roles_of(&args.changes);
    let request = RolesRequest { add, remove, force: args.act.force };
    let server = client.set_roles(&args.name, &request).await?;
    if let Some(remark) = unasked(&request.add, &client).await {
        context.printer().talk(remark);
    }
    let server = settled(server, args.act.detach, &client, context).await?;
    if context.printer().is_json() {
        return show::print(&server, context);
    }
    let roles =
        if server.status.roles.is_empty() { "no roles".to_owned() } else { listed(&server.status.roles) };
    end(&args.name, &format!("is for {roles}"), args.act.detach, context)
}

pub(super) async fn labels(args: &ServerLabelsArgs, context: &Context) -> anyhow::Result<()> {
    let client = context.client()?;
    let (set, remove) = labels_of(&args.changes);
    let request = LabelsRequest { set, remove, force: args.act.force };
    let server = client.set_labels(&args.name, &request).await?;
    let server = settled(server, args.act.detach, &client, context).await?;
    if context.printer().is_json() {
        return show::print(&server, context);
    }
    let labels = server.status.labels.iter().map(|(key, value)| format!("{key}={value}"));
    let labels = listed(labels);
    let labels = if labels.is_empty() { "no labels".to_owned() } else { labels };
    end(&args.name, &format!("has {labels}"), args.act.detach, context)
}

pub(super) async fn drain(args: &ServerDrainArgs, context: &Context) -> anyhow::Result<()> {
    let client = context.client()?;
    let mut server = client.drain(&args.name, &DrainRequest { force: args.act.force }).await?;
    if !args.act.detach {
        server = until(Goal::Empty, &client, &args.name, context).await?.unwrap_or(server);
    }
    if context.printer().is_json() {
        return show::print(&server, context);
    }
    end(&args.name, "is empty and gets nothing new", args.act.detach, context)
}

pub(super) async fn undrain(name: &ServerName, context: &Context) -> anyhow::Result<()> {
    let server = context.client()?.undrain(name).await?;
    if context.printer().is_json() {
        return show::print(&server, context);
    }
    end(name, "takes work again", false, context)
}

pub(super) async fn remove(args: &ServerRmArgs, context: &Context) -> anyhow::Result<()> {
    let client = context.client()?;
    let removal = client.remove_server(&args.name, &RemoveQuery { force: args.act.force }).await?;
    let waits = !removal.forgotten && !args.act.detach;
    if waits {
        until(Goal::Gone, &client, &args.name, context).await?;
    }
    let printer = context.printer();
    if printer.is_json() {
        return printer.json(&json!({ "server": args.name, "forgotten": removal.forgotten || waits }));
    }
    end(&args.name, "is no longer a server of the cluster", args.act.detach && !removal.forgotten, context)
}

/// As it is once its replicas follow its roles, or as it was answered.
async fn settled(
    server: ServerDetail,
    detach: bool,
    client: &Client,
    context: &Context,
) -> anyhow::Result<ServerDetail> {
    if detach {
        return Ok(server);
    }
    let name = server.status.name.clone();
    Ok(until(Goal::Settled, client, &name, context).await?.unwrap_or(server))
}

fn end(name: &ServerName, what: &str, detach: bool, context: &Context) -> anyhow::Result<()> {
    let printer = context.printer();
    if detach {
        return printer.line(format_args!("{name}: under way; `pando server show {name}` shows it"));
    }
    printer.line(format_args!("{name} {what}"))
}
