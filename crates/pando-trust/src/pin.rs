//! A cluster's address with its authority's fingerprint: `https://HOST:7420#sha256:HEX`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Fingerprint, TrustError};

/// Where a control plane listens when nothing else is said.
pub const CONTROL_PORT: u16 = 7420;

const LONGEST_HOST: usize = 253;

/// Where a cluster's control plane is, and by what it is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClusterUrl {
    host: String,
    port: u16,
    pub fingerprint: Fingerprint,
}

impl ClusterUrl {
    /// `host` is a name or an address (IPv6 with or without brackets).
    ///
    /// # Errors
    /// When `host` is neither.
    pub fn new(host: &str, port: u16, fingerprint: Fingerprint) -> Result<Self, TrustError> {
        let host = checked_host(host).ok_or_else(|| wrong(host, "the host is no name and no address"))?;
        Ok(Self { host, port, fingerprint })
    }

    /// A name, an IPv4 address, or an IPv6 address in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `HOST:PORT`.
    #[must_use]
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    pub(crate) fn from_authority(text: &str, fingerprint: Fingerprint) -> Result<Self, TrustError> {
        let (host, port) = split(text).ok_or_else(|| wrong(text, "the port is no number"))?;
        Self::new(host, port, fingerprint)
    }
}

/// Host and port; the port may be left out.
fn split(text: &str) -> Option<(&str, u16)> {
    match text.rsplit_once(':') {
        // The colon is one of an IPv6 address in brackets.
        Some((_, rest)) if rest.contains(']') => Some((text, CONTROL_PORT)),
        Some((host, port)) => {
            let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
            let port = port.parse().ok().filter(|port| digits && *port != 0)?;
            Some((host, port))
        }
        None => Some((text, CONTROL_PORT)),
    }
}

fn checked_host(host: &str) -> Option<String> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Ok(address) = bare.unwrap_or(host).parse::<std::net::Ipv6Addr>() {
        return Some(format!("[{address}]"));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let is_name = !host.is_empty() && host.len() <= LONGEST_HOST && host.bytes().all(plain);
    is_name.then(|| host.to_owned())
}

fn wrong(text: &str, why: &'static str) -> TrustError {
    TrustError::Word {
        text: text.to_owned(), what: "a cluster's address (https://HOST:7420#sha256:…)", why
    }
}

impl FromStr for ClusterUrl {
    type Err = TrustError;

    fn from_str(text: &str) -> Result<Self, TrustError> {
        let rest = text.strip_prefix("https://").ok_or_else(|| wrong(text, "it begins with `https://`"))?;
        let (place, fragment) =
            rest.split_once('#').ok_or_else(|| wrong(text, "the authority's fingerprint is missing"))?;
        let place = place.strip_suffix('/').unwrap_or(place);
        let digits = fragment
            .strip_prefix("sha256:")
            .ok_or_else(|| wrong(text, "the fingerprint begins with `sha256:`"))?;
        let fingerprint =
            digits.parse().map_err(|_| wrong(text, "the fingerprint has 64 hexadecimal digits"))?;
        let (host, port) = split(place).ok_or_else(|| wrong(text, "the port is no number"))?;
        let host = checked_host(host).ok_or_else(|| wrong(text, "the host is no name and no address"))?;
        Ok(Self { host, port, fingerprint })
    }
}

impl fmt::Display for ClusterUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}:{}#sha256:{}", self.host, self.port, self.fingerprint)
    }
}

impl TryFrom<String> for ClusterUrl {
    type Error = TrustError;

    fn try_from(text: String) -> Result<Self, TrustError> {
        text.parse()
    }
}

impl From<ClusterUrl> for String {
    fn from(url: ClusterUrl) -> Self {
        url.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_round_trip() {
        let pin = "ab".repeat(32);
        for (given, printed) in [
            ("https://pando.example.com:7420", "https://pando.example.com:7420"),
            ("https://10.0.0.1", "https://10.0.0.1:7420"),
            ("https://10.0.0.1:443/", "https://10.0.0.1:443"),
            ("https://[fd00::1]", "https://[fd00::1]:7420"),
            ("https://[fd00:0::1]:9", "https://[fd00::1]:9"),
        ] {
            let url: ClusterUrl = format!("{given}#sha256:{}", pin.to_uppercase()).parse().unwrap();
            assert_eq!(url.to_string(), format!("{printed}#sha256:{pin}"));
            assert_eq!(url.to_string().parse::<ClusterUrl>().unwrap(), url);
            assert_eq!(ClusterUrl::from_authority(&url.authority(), url.fingerprint).unwrap(), url);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let pin = "ab".repeat(32);
        for (text, why) in [
            (format!("http://h#sha256:{pin}"), "begins with `https://`"),
            ("https://h".to_owned(), "fingerprint is missing"),
            (format!("https://h#sha1:{pin}"), "begins with `sha256:`"),
            (format!("https://h#sha256:{}", &pin[1..]), "64 hexadecimal"),
            (format!("https://h:x#sha256:{pin}"), "no number"),
            (format!("https://h:+1#sha256:{pin}"), "no number"),
            (format!("https://h:0#sha256:{pin}"), "no number"),
            (format!("https://h:65536#sha256:{pin}"), "no number"),
            (format!("https://#sha256:{pin}"), "no name and no address"),
            (format!("https://a@b#sha256:{pin}"), "no name and no address"),
            (format!("https://a/b#sha256:{pin}"), "no name and no address"),
            (format!("https://[fd00::g]#sha256:{pin}"), "no name and no address"),
            (format!("https://fd00::1#sha256:{pin}x"), "64 hexadecimal"),
        ] {
            let error = text.parse::<ClusterUrl>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
