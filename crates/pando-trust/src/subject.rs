//! Whom a certificate speaks for. Names are ids, not addresses.

use std::fmt;

use pando_model::id::ServerId;
use rustls_pki_types::{DnsName, ServerName};

const CONTROL: &str = "control.pando";
const SERVER: &str = ".server.pando";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    /// `ID.server.pando`: a server's agent, as client and as server.
    Server(ServerId),
    /// `control.pando`: the control plane.
    Control,
}

impl Subject {
    /// Reads the DNS name of a certificate.
    #[must_use]
    pub fn from_dns_name(name: &str) -> Option<Self> {
        if name == CONTROL {
            return Some(Self::Control);
        }
        let server = name.strip_suffix(SERVER)?.parse().ok().map(Self::Server)?;
        // A UUID has several spellings; a name has one.
        (server.to_string() == name).then_some(server)
    }

    /// As TLS names it.
    #[must_use]
    pub fn server_name(self) -> ServerName<'static> {
        // Both forms are DNS names by their making.
        let name = DnsName::try_from(self.to_string());
        name.map_or_else(
            |_| ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into()),
            ServerName::DnsName,
        )
    }

    /// The server, if it is one.
    #[must_use]
    pub fn server(self) -> Option<ServerId> {
        match self {
            Self::Server(id) => Some(id),
            Self::Control => None,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(id) => write!(f, "{id}{SERVER}"),
            Self::Control => f.write_str(CONTROL),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_in_one_spelling() {
        let id: ServerId = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
        for subject in [Subject::Server(id), Subject::Control] {
            assert_eq!(Subject::from_dns_name(&subject.to_string()), Some(subject));
            assert_eq!(subject.server_name().to_str(), subject.to_string());
        }
        for other in [
            "",
            "control.pando.",
            "CONTROL.pando",
            "x.control.pando",
            ".server.pando",
            "main.server.pando",
            "01890A5D-AC96-774B-BCCE-B302099A8057.server.pando",
            "01890a5dac96774bbcceb302099a8057.server.pando",
            "*.server.pando",
        ] {
            assert_eq!(Subject::from_dns_name(other), None, "{other}");
        }
    }
}
