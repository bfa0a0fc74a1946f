//! `pando firewall`: what servers accept, and changes of it that are seen before they are made.

mod change;
mod show;

use std::collections::BTreeSet;
use std::process::ExitCode;

use pando_api::v1::cluster::{ClusterSettings, FirewallChange};
use pando_model::firewall::{Cidr, OpenPort};

use crate::cli::{AllowArgs, CloseArgs, FirewallArgs, FirewallCommand, OpenArgs};
use crate::context::Context;
use crate::exit::Trouble;

pub(crate) async fn run(args: &FirewallArgs, context: &Context) -> anyhow::Result<ExitCode> {
    match &args.command {
        FirewallCommand::Show { server } => show::run(server.as_ref(), context).await?,
        FirewallCommand::Enable(agree) => change::run(|_| Ok(switch(true)), *agree, context).await?,
        FirewallCommand::Disable(agree) => change::run(|_| Ok(switch(false)), *agree, context).await?,
        FirewallCommand::AllowSsh(args) => {
            let wanted = |held: &ClusterSettings| {
                let ssh_from = Some(allowed(&held.firewall.ssh_from, args));
                Ok(FirewallChange { ssh_from, ..FirewallChange::default() })
            };
            change::run(wanted, args.agree, context).await?;
        }
        FirewallCommand::AllowControl(args) => {
            let wanted = |held: &ClusterSettings| {
                let control_from = Some(allowed(&held.firewall.control_from, args));
                Ok(FirewallChange { control_from, ..FirewallChange::default() })
            };
            change::run(wanted, args.agree, context).await?;
        }
        FirewallCommand::Open(args) => {
            change::run(|held| Ok(opened(held, args)), args.agree, context).await?
        }
        FirewallCommand::Close(args) => change::run(|held| closed(held, args), args.agree, context).await?,
    }
    Ok(ExitCode::SUCCESS)
}

fn switch(enabled: bool) -> FirewallChange {
    FirewallChange { enabled: Some(enabled), ..FirewallChange::default() }
}

fn allowed(held: &BTreeSet<Cidr>, args: &AllowArgs) -> BTreeSet<Cidr> {
    let named = args.ranges.iter().copied().collect();
    if args.remove {
        held.difference(&named).copied().collect()
    } else {
        held.union(&named).copied().collect()
    }
}

fn opened(held: &ClusterSettings, args: &OpenArgs) -> FirewallChange {
    let port =
        OpenPort { ports: args.ports, from: args.from.iter().copied().collect(), role: args.role.clone() };
    let mut open = held.firewall.open.clone();
    open.retain(|other| other.ports != port.ports || other.role != port.role);
    open.insert(port);
    FirewallChange { open: Some(open), ..FirewallChange::default() }
}

fn closed(held: &ClusterSettings, args: &CloseArgs) -> Result<FirewallChange, Trouble> {
    let is_meant =
        |port: &OpenPort| port.ports == args.ports && (args.role.is_none() || port.role == args.role);
    let open = &held.firewall.open;
    if !open.iter().any(is_meant) {
        let trouble = Trouble::wrong(format!("{} was not opened by hand", args.ports));
        let ports: Vec<String> = open.iter().map(|port| port.ports.to_string()).collect();
        let hint = match ports.is_empty() {
            true => "nothing was; what follows from roles closes with them".to_owned(),
            false => format!("these were: {}", ports.join(", ")),
        };
        return Err(trouble.hint(hint));
    }
    let open = open.iter().filter(|port| !is_meant(port)).cloned().collect();
    Ok(FirewallChange { open: Some(open), ..FirewallChange::default() })
}
