//! A bridge with an address of the test's, and links of servers to it.
//!
//! It lies in a network namespace of its own, and the test's thread moves there: what
//! the machine's firewall does to bridged packets, such as a container engine's rules
//! for what is forwarded, is nothing to it.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::process::Command;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::must;

/// The bridge, of this process alone; gone with it.
#[derive(Debug)]
pub(crate) struct Network {
    /// Its namespace has the same name.
    bridge: String,
    /// `10.X.Y`, drawn by this process's id so that two runs at once don't meet.
    prefix: (u8, u8),
    attached: u8,
}

/// One server's place in the network.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    /// The network namespace.
    pub(crate) namespace: String,
    /// The bridge's end.
    pub(crate) port: String,
    pub(crate) address: Ipv4Addr,
    /// Of the test's own thread, on the same network.
    pub(crate) gateway: Ipv4Addr,
}

impl Network {
    /// From here on the calling thread, the threads and the programs that it starts are on this network, and on no other.
    pub(crate) fn up() -> Self {
        let id = std::process::id();
        let prefix = (64 + u8::try_from(id % 128).unwrap(), u8::try_from((id / 128) % 250).unwrap());
        let bridge = format!("pb{:x}", id & 0xff_ffff);
        must("ip", &["netns", "add", &bridge]);
        let namespace = File::open(format!("/run/netns/{bridge}")).unwrap();
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        must("ip", &["link", "set", "lo", "up"]);
        must("ip", &["link", "add", "name", &bridge, "type", "bridge", "forward_delay", "0"]);
        let network = Self { bridge, prefix, attached: 0 };
        must("ip", &["addr", "add", &format!("{}/24", network.address(254)), "dev", &network.bridge]);
        must("ip", &["link", "set", &network.bridge, "up"]);
        network
    }

    fn address(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, self.prefix.0, self.prefix.1, host)
    }

    /// A namespace with a cable to the bridge. The first gets the address that ends with 1.
    pub(crate) fn attach(&mut self, name: &str) -> Link {
        self.attached += 1;
        let number = self.attached;
        let namespace = format!("{}-{name}", self.bridge);
        let (port, inner) = (format!("{}p{number}", self.bridge), "eth0");
        let link = Link {
            namespace: namespace.clone(),
            port: port.clone(),
            address: self.address(number),
            gateway: self.address(254),
        };
        must("ip", &["netns", "add", &namespace]);
        must("ip", &["link", "add", &port, "type", "veth", "peer", "name", inner, "netns", &namespace]);
        must("ip", &["link", "set", &port, "master", &self.bridge, "up"]);
        let inside = |args: &[&str]| must("ip", &[&["-n", namespace.as_str()], args].concat());
        inside(&["link", "set", "lo", "up"]);
        inside(&["addr", "add", &format!("{}/24", link.address), "dev", inner]);
        inside(&["link", "set", inner, "up"]);
        inside(&["route", "add", "default", "via", &link.gateway.to_string()]);
        link
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // Gone already, or not to be helped.
        let _ = Command::new("ip").args(["-n", &self.bridge, "link", "del", &self.bridge]).output();
        let _ = Command::new("ip").args(["netns", "del", &self.bridge]).output();
    }
}

impl Link {
    /// Pulls the cable, or plugs it in again.
    pub(crate) fn set_plugged(&self, plugged: bool) {
        must("ip", &["link", "set", &self.port, if plugged { "up" } else { "down" }]);
    }

    pub(crate) fn remove(&self) {
        let _ = Command::new("ip").args(["link", "del", &self.port]).output();
        let _ = Command::new("ip").args(["netns", "del", &self.namespace]).output();
    }
}
