//! What a server accepts from the network: data that agents turn into packet filters.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Whatever matches no rule, is new, and comes from another machine is dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FirewallRules {
    pub rules: Vec<FirewallRule>,
}

/// TCP connections to these ports are accepted from these addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FirewallRule {
    /// First and last; the same for a single port.
    pub ports: (u16, u16),
    pub from: Sources,
    /// For people: `PostgreSQL (db), from servers that run hits`.
    pub why: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sources {
    Anywhere,
    #[schema(value_type = Vec<String>)]
    Of(BTreeSet<Cidr>),
}

/// What an agent's packet filter is like now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FirewallStatus {
    /// The rules of the newest assignment are in force.
    pub in_force: bool,
    /// What stands in the way, a line each, with the command that mends it.
    pub problems: Vec<String>,
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

    /// 0 to 32, or to 128.
    #[must_use]
    pub fn length(&self) -> u8 {
        self.length
    }

    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        full(self.address) == full(address) && masked(address, self.length) == self.address
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
}
