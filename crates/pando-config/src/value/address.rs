//! Domains, and addresses of servers.

use std::net::IpAddr;

use serde_json::{Value as Json, json};

use crate::decode::{Leaf, Wrong};
use crate::diagnostic::quoted;
use crate::tree::Scalar;

/// A host name in lower case, perhaps `*.example.com`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Host(pub(crate) String);

impl Leaf for Host {
    fn expected() -> String {
        "a domain such as `example.com`".to_owned()
    }

    fn parse(scalar: &Scalar) -> Result<Self, Wrong> {
        let name = scalar.text.to_lowercase();
        check_host(name.strip_prefix("*.").unwrap_or(&name), &scalar.text)?;
        Ok(Self(name))
    }

    fn schema() -> Json {
        json!({
            "type": "string",
            "maxLength": 253,
            "pattern": "^(\\*\\.)?[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?(\\.[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*$",
        })
    }
}

/// What a certificate is for: a host or an IP address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerName(pub(crate) String);

impl Leaf for ServerName {
    fn expected() -> String {
        "a host such as `web.internal`, or an IP address".to_owned()
    }

    fn parse(scalar: &Scalar) -> Result<Self, Wrong> {
        let name = scalar.text.to_lowercase();
        if name.parse::<IpAddr>().is_err() {
            check_host(&name, &scalar.text)?;
        }
        Ok(Self(name))
    }

    fn schema() -> Json {
        json!({"type": "string", "minLength": 1, "maxLength": 253, "pattern": "^[-A-Za-z0-9.:]+$"})
    }
}

/// Where a cluster's control server is: a host name or an IP address, perhaps with a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerAddress(pub(crate) String);

impl Leaf for ServerAddress {
    fn expected() -> String {
        "the address of a server".to_owned()
    }

    fn parse(scalar: &Scalar) -> Result<Self, Wrong> {
        let typed = scalar.text.as_str();
        if typed.parse::<IpAddr>().is_ok() || typed.parse::<std::net::SocketAddr>().is_ok() {
            return Ok(Self(typed.to_owned()));
        }
        let host = match typed.rsplit_once(':') {
            Some((host, port)) if port.parse::<u16>().is_ok_and(|port| port > 0) => host,
            _ => typed,
        };
        check_host(&host.to_lowercase(), typed)?;
        Ok(Self(typed.to_lowercase()))
    }

    fn schema() -> Json {
        json!({"type": "string", "minLength": 1, "pattern": "^[-A-Za-z0-9.:\\[\\]]+$"})
    }
}

fn check_host(host: &str, typed: &str) -> Result<(), Wrong> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if typed.trim().is_empty() {
        return Err(Wrong::because("this is empty"));
    }
    if host.len() <= 253 && host.split('.').all(label) {
        return Ok(());
    }
    let wrong = Wrong::because(format!("{} is not a host name", quoted(typed)));
    let without_scheme = typed.split_once("://").map_or(typed, |(_, rest)| rest);
    let bare = without_scheme.split(['/', ':', '?']).next().unwrap_or("");
    Err(if !typed.is_ascii() {
        wrong.hint("write international names in their ASCII form, which starts with `xn--`")
    } else if bare != typed && !bare.is_empty() && bare.split('.').all(label) {
        wrong.hint(format!("write only the name: `{bare}`"))
    } else {
        wrong.hint("it has labels of letters, digits and `-`, joined by `.`")
    })
}
