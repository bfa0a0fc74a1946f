//! What the machine's network is like: its interfaces, which of them lead to its own containers, and where others are reached.
//!
//! Read from `ip -json`; what it prints is interpreted without looking any further.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use pando_model::firewall::Cidr;
use serde::Deserialize;

use super::tool::{self, ToolError};

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Machine {
    links: Vec<Link>,
    /// A range, and the interface that leads there.
    routes: Vec<(Cidr, String)>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
struct Link {
    ifname: String,
    #[serde(default)]
    master: Option<String>,
    #[serde(default)]
    linkinfo: LinkInfo,
    #[serde(default)]
    addr_info: Vec<Address>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
struct LinkInfo {
    #[serde(default)]
    info_kind: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Address {
    #[serde(default)]
    local: Option<IpAddr>,
    #[serde(default)]
    scope: String,
}

#[derive(Debug, Deserialize)]
struct Route {
    dst: String,
    #[serde(default)]
    dev: Option<String>,
}

impl Machine {
    /// # Errors
    /// When `ip` is not there or fails.
    pub(crate) async fn look() -> Result<Self, ToolError> {
        let links = tool::run("ip", &["-json", "-details", "address", "show"], None).await?;
        let v4 = tool::run("ip", &["-json", "-4", "route", "show"], None).await?;
        let v6 = tool::run("ip", &["-json", "-6", "route", "show"], None).await?;
        Ok(Self::read(&links, &v4, &v6))
    }

    /// What can't be read is as if it were not there.
    pub(crate) fn read(links: &str, v4: &str, v6: &str) -> Self {
        let mut routes = Vec::new();
        for (text, everything) in [(v4, "0.0.0.0/0"), (v6, "::/0")] {
            for route in serde_json::from_str::<Vec<Route>>(text).unwrap_or_default() {
                let range = if route.dst == "default" { everything } else { &route.dst };
                routes.extend(range.parse::<Cidr>().ok().zip(route.dev));
            }
        }
        // The longest first: it decides.
        routes.sort_by_key(|(range, _)| std::cmp::Reverse(range.length()));
        Self { links: serde_json::from_str(links).unwrap_or_default(), routes }
    }

    /// The interfaces behind which there is nothing but containers and machines on this machine: bridges with none but virtual
    /// ports that lead neither to `own`, where this server is reached, nor to the world.
    pub(crate) fn inside(&self, own: &[IpAddr]) -> BTreeSet<String> {
        let mut ports: BTreeMap<&str, Vec<&Link>> = BTreeMap::new();
        for link in &self.links {
            if let Some(master) = &link.master {
                ports.entry(master).or_default().push(link);
            }
        }
        let virtual_port = |link: &&Link| matches!(link.kind(), Some("veth" | "tun"));
        let inner = |link: &&Link| {
            let ports = ports.get(link.ifname.as_str()).map(Vec::as_slice).unwrap_or_default();
            let leads_out = self.routes.iter().any(|(range, dev)| range.length() == 0 && *dev == link.ifname);
            let is_own = link.addr_info.iter().filter_map(|one| one.local).any(|one| own.contains(&one));
            link.kind() == Some("bridge") && ports.iter().all(virtual_port) && !leads_out && !is_own
        };
        let bridges = self.links.iter().filter(inner).map(|link| link.ifname.clone());
        bridges.filter(|name| is_plain(name)).collect()
    }

    /// By which interface packets from there arrive, as far as routes say. `None`: by any.
    pub(crate) fn interface_towards(&self, address: IpAddr) -> Option<&str> {
        self.routes.iter().find(|(range, _)| range.contains(address)).map(|(_, dev)| dev.as_str())
    }

    /// Somebody on another network can reach it over IPv6.
    pub(crate) fn has_global_v6(&self) -> bool {
        let mut addresses = self.links.iter().flat_map(|link| &link.addr_info);
        addresses.any(|one| one.scope == "global" && one.local.is_some_and(|local| local.is_ipv6()))
    }
}

impl Link {
    fn kind(&self) -> Option<&str> {
        self.linkinfo.info_kind.as_deref()
    }
}

/// nft knows wildcards, and the kernel takes nearly any name.
fn is_plain(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@'))
}

#[cfg(test)]
mod tests;
