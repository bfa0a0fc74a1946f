//! `pando cluster init`: this server becomes the first of a new cluster.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use anyhow::Context as _;
use pando_model::name::{RoleName, ServerName};
use serde_json::json;

use crate::cli::ClusterInitArgs;
use crate::context::Context;
use crate::daemons::found::{EVERYTHING, Founding, found};
use crate::daemons::layout::Layout;
use crate::daemons::start::{Held, start};
use crate::exit::Trouble;

/// Where other servers' agents are reached.
pub(crate) const AGENT_PORT: u16 = 7421;

pub(super) async fn run(args: &ClusterInitArgs, context: &Context) -> anyhow::Result<()> {
    let founding = founding(args)?;
    let layout = Layout::make(&args.state_dir)?;
    let me = found(&layout, &founding).await?;
    let held = if args.no_start { None } else { Some(start(&layout, &me).await?) };
    let printer = context.printer();
    if printer.is_json() {
        return printer.json(&json!({ "server": me.name, "url": me.control, "started": held.is_some() }));
    }
    printer.line(format_args!("{} is the first server of a new cluster", me.name))?;
    printer.line(format_args!("its address for you and for other servers: {}", me.control))?;
    printer.talk(match held {
        Some(Held::Systemd) => "its daemon runs under systemd: `systemctl status pando`",
        Some(Held::Keeper) => {
            "its daemon runs; without systemd, let this machine's start run `pando server start`"
        }
        None => "start its daemon with `pando server start`",
    });
    printer.talk("next: `pando server add HOST --role web`, and in an app's directory `pando deploy`");
    Ok(())
}

fn founding(args: &ClusterInitArgs) -> anyhow::Result<Founding> {
    let private = match args.private_ip {
        Some(address) => address,
        None => own_address()?,
    };
    if private.is_unspecified() || private.is_multicast() {
        return Err(Trouble::wrong(format!("{private} is no address of one server")).into());
    }
    let everywhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let roles: BTreeSet<RoleName> = if args.roles.is_empty() {
        EVERYTHING.iter().map(|role| RoleName::new(*role)).collect::<Result<_, _>>()?
    } else {
        let control = RoleName::new("control")?;
        args.roles.iter().cloned().chain([control]).collect()
    };
    Ok(Founding {
        name: args.name.clone().map_or_else(|| ServerName::new("main"), Ok)?,
        roles,
        private_address: private,
        public_address: args.public_ip,
        api: args.listen.unwrap_or(SocketAddr::new(everywhere, pando_trust::CONTROL_PORT)),
        agent: SocketAddr::new(private, AGENT_PORT),
        http: args.http.clone(),
        https: (!args.https.is_empty()).then(|| args.https.clone()),
        dev: false,
    })
}

/// The address by which this server reaches others; nothing is sent.
fn own_address() -> anyhow::Result<IpAddr> {
    let failed = "can't tell this server's address on the network that servers share; give it: --private-ip";
    let socket = UdpSocket::bind("0.0.0.0:0").context(failed)?;
    // An address that is for examples only; what counts is the way there.
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).context(failed)?;
    Ok(socket.local_addr().context(failed)?.ip())
}
