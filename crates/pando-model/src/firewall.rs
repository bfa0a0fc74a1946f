//! What a server accepts from the network: data that agents turn into packet filters.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::name::RoleName;

/// Where requests from outside arrive at an entry point.
pub const ENTRY_PORTS: [u16; 2] = [80, 443];
/// Where the API listens on a server with the role `control`.
pub const CONTROL_PORT: u16 = 7420;
/// Where instances listen: below the range from which the system takes ports for outgoing connections.
pub const APP_PORTS: (u16, u16) = (20_000, 32_767);
pub const SSH_PORT: u16 = 22;

/// Whatever matches no rule, is new, and comes from another machine is dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FirewallRules {
    /// The agent keeps them in force. Otherwise the firewall is not Pando's to keep, and the agent only tells what of this
    /// somebody else's firewall would drop.
    #[serde(default)]
    pub enforced: bool,
    /// They come into force even when somebody who is connected now could not connect again.
    #[serde(default)]
    pub cut_sessions: bool,
    pub rules: Vec<FirewallRule>,
}

/// What comes to these ports is accepted from these addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FirewallRule {
    /// First and last; the same for a single port.
    pub ports: (u16, u16),
    #[serde(default)]
    pub protocol: Protocol,
    pub from: Sources,
    /// For people: `postgres (db), from servers that run hits`.
    pub why: String,
}

#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    #[default]
    Tcp,
    Udp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sources {
    Anywhere,
    /// Shared: with many servers the same set is in the rules of each.
    #[schema(value_type = Vec<String>)]
    Of(Arc<BTreeSet<Cidr>>),
}

/// What an agent's packet filter is like now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FirewallStatus {
    /// The rules of the newest assignment are in force.
    pub in_force: bool,
    /// What stands in the way, a line each, with the command that mends it.
    pub problems: Vec<String>,
}

/// A port that people keep open beyond what follows from roles.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OpenPort {
    #[schema(value_type = String)]
    pub ports: Ports,
    /// Empty: anywhere.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub from: BTreeSet<Cidr>,
    /// On the servers with this role. `None`: on all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleName>,
}

/// Ports of one protocol, written `9100`, `51820/udp` or `60000-61000/udp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ports {
    pub first: u16,
    pub last: u16,
    pub protocol: Protocol,
}

/// Why a text names no ports.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no ports; write 9100, 51820/udp or 60000-61000/udp")]
pub struct PortsError(String);

impl FirewallRule {
    #[must_use]
    pub fn covers(&self, port: u16) -> bool {
        (self.ports.0..=self.ports.1).contains(&port)
    }
}

impl Sources {
    #[must_use]
    pub fn contain(&self, address: IpAddr) -> bool {
        match self {
            Self::Anywhere => true,
            // Most are single addresses; looking for one of those is quick.
            Self::Of(ranges) => {
                ranges.contains(&Cidr::single(address)) || ranges.iter().any(|range| range.contains(address))
            }
        }
    }
}

/// `anywhere`, or the ranges after each other.
impl fmt::Display for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anywhere => f.write_str("anywhere"),
            Self::Of(ranges) => {
                let texts: Vec<String> = ranges.iter().map(Cidr::to_string).collect();
                f.write_str(&texts.join(", "))
            }
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

impl FromStr for Ports {
    type Err = PortsError;

    fn from_str(text: &str) -> Result<Self, PortsError> {
        let wrong = || PortsError(text.to_owned());
        let (numbers, protocol) = match text.split_once('/') {
            None | Some((_, "tcp")) => (text.trim_end_matches("/tcp"), Protocol::Tcp),
            Some((numbers, "udp")) => (numbers, Protocol::Udp),
            Some(_) => return Err(wrong()),
        };
        let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
        let number = |text: &str| match text.parse() {
            Ok(port) if port > 0 && !text.starts_with('+') => Ok(port),
            _ => Err(wrong()),
        };
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(wrong());
        }
        Ok(Self { first, last, protocol })
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        if self.last != self.first {
            write!(f, "-{}", self.last)?;
        }
        match self.protocol {
            Protocol::Tcp => Ok(()),
            Protocol::Udp => f.write_str("/udp"),
        }
    }
}

impl TryFrom<String> for Ports {
    type Error = PortsError;

    fn try_from(text: String) -> Result<Self, PortsError> {
        text.parse()
    }
}

impl From<Ports> for String {
    fn from(ports: Ports) -> Self {
        ports.to_string()
    }
}

/// A range of addresses, such as `10.0.0.0/16`; a single one is written without its length.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    address: IpAddr,
    length: u8,
}

/// Why a text is not a range of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    #[error("`{0}` is not an address or a range, such as 10.0.0.7 or 10.0.0.0/16")]
    Form(String),
    #[error("`{text}` has bits beyond its length; did you mean {meant}?")]
    HostBits { text: String, meant: Cidr },
}

impl Cidr {
    /// One address alone.
    #[must_use]
    pub fn single(address: IpAddr) -> Self {
        Self { address, length: full(address) }
    }

    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The highest address in it.
    #[must_use]
    pub fn last(&self) -> IpAddr {
        match self.address {
            IpAddr::V4(v4) => {
                let host = u32::MAX.checked_shr(u32::from(self.length)).unwrap_or(0);
                IpAddr::V4((v4.to_bits() | host).into())
            }
            IpAddr::V6(v6) => {
                let host = u128::MAX.checked_shr(u32::from(self.length)).unwrap_or(0);
                IpAddr::V6((v6.to_bits() | host).into())
            }
        }
    }

    /// 0 to 32, or to 128.
    #[must_use]
    pub fn length(&self) -> u8 {
        self.length
    }

    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        full(self.address) == full(address) && masked(address, self.length) == self.address
    }

    /// Every address of `other` is in this one too.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.length <= other.length && self.contains(other.address)
    }
}

fn full(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn masked(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let form = || CidrError::Form(text.to_owned());
        let (address, length) = match text.split_once('/') {
            None => (text, None),
            Some((address, length)) => (address, Some(length)),
        };
        let address: IpAddr = address.parse().map_err(|_| form())?;
        let length = length.map_or(Ok(full(address)), str::parse).map_err(|_| form())?;
        if length > full(address) {
            return Err(form());
        }
        let meant = Self { address: masked(address, length), length };
        if meant.address != address {
            return Err(CidrError::HostBits { text: text.to_owned(), meant });
        }
        Ok(meant)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.length == full(self.address) {
            return write!(f, "{}", self.address);
        }
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl fmt::Debug for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for Cidr {
    type Error = CidrError;

    fn try_from(text: String) -> Result<Self, CidrError> {
        text.parse()
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> Self {
        cidr.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_written_and_hold_their_addresses() {
        for text in ["10.0.0.0/16", "0.0.0.0/0", "10.1.2.3", "fd00::/8", "::/0", "fd00::1"] {
            assert_eq!(text.parse::<Cidr>().unwrap().to_string(), text);
        }
        assert_eq!("10.0.0.7/32".parse::<Cidr>().unwrap().to_string(), "10.0.0.7");
        let range: Cidr = "10.0.0.0/16".parse().unwrap();
        assert!(range.contains("10.0.255.1".parse().unwrap()));
        assert!(!range.contains("10.1.0.0".parse().unwrap()));
        assert!(!range.contains("::ffff:10.0.0.1".parse().unwrap()));
        for (text, last) in [
            ("10.0.0.0/16", "10.0.255.255"),
            ("10.1.2.3", "10.1.2.3"),
            ("0.0.0.0/0", "255.255.255.255"),
            ("fd00::/120", "fd00::ff"),
        ] {
            assert_eq!(text.parse::<Cidr>().unwrap().last().to_string(), last);
        }
        assert!("::/0".parse::<Cidr>().unwrap().contains("fd00::1".parse().unwrap()));
    }

    #[test]
    fn what_is_no_range_is_refused_with_what_was_meant() {
        for bad in ["", "10.0.0", "10.0.0.0/33", "10.0.0.0/-1", "fd00::/129", "a/8", "10.0.0.0/"] {
            assert!(bad.parse::<Cidr>().is_err(), "{bad}");
        }
        let error = "10.0.0.7/16".parse::<Cidr>().unwrap_err();
        assert!(error.to_string().ends_with("did you mean 10.0.0.0/16?"), "{error}");
    }

    #[test]
    fn a_range_covers_narrower_ones_of_its_kind() {
        let range = |text: &str| text.parse::<Cidr>().unwrap();
        for (wide, narrow, covers) in [
            ("10.0.0.0/8", "10.1.0.0/16", true),
            ("10.1.0.0/16", "10.0.0.0/8", false),
            ("10.0.0.1", "10.0.0.1", true),
            ("0.0.0.0/0", "fd00::/8", false),
            ("::/0", "fd00::1", true),
        ] {
            assert_eq!(range(wide).covers(&range(narrow)), covers, "{wide} {narrow}");
        }
    }

    #[test]
    fn ports_are_read_and_written() {
        for text in ["9100", "51820/udp", "60000-61000/udp", "1-65535"] {
            assert_eq!(text.parse::<Ports>().unwrap().to_string(), text);
        }
        assert_eq!("22/tcp".parse::<Ports>().unwrap().to_string(), "22");
        for bad in ["", "0", "65536", "2-1", "-1", "1-", "22/sctp", "22/", "+22", "http", "1-2-3"] {
            assert!(bad.parse::<Ports>().is_err(), "{bad}");
        }
    }
}
