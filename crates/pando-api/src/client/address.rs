//! Addresses of control planes: `https://HOST[:PORT]#sha256:HEX`, and `http://HOST[:PORT]` on this machine.

use std::net::IpAddr;

use http::Uri;
use pando_trust::{CONTROL_PORT, ClusterUrl};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// `http://HOST:PORT`, of this machine.
    Plain(String),
    Pinned(ClusterUrl),
}

/// Says why a text is none.
pub(crate) fn read(url: &str) -> Result<Address, String> {
    match url.split_once("://").map(|(scheme, _)| scheme) {
        Some("http") => plain(url).map(Address::Plain).map_err(str::to_owned),
        Some("https") if !url.contains('#') => {
            Err("it must end with the fingerprint of the cluster's authority (`#sha256:…`), \
                 so that no other cluster is taken for it"
                .to_owned())
        }
        Some("https") => url.parse().map(Address::Pinned).map_err(|error| match error {
            pando_trust::TrustError::Word { why, .. } => why.to_owned(),
            other => other.to_string(),
        }),
        _ => Err("it must begin with https:// (or, on this machine, http://)".to_owned()),
    }
}

fn plain(url: &str) -> Result<String, &'static str> {
    let uri: Uri = url.parse().map_err(|_| "it is no URL")?;
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() || url.contains('#') {
        return Err("it must end after the port");
    }
    let authority = uri.authority().ok_or("it has no host")?;
    if authority.as_str().contains('@') || authority.host().is_empty() {
        return Err("it must be a host and a port");
    }
    if !is_this_machine(authority.host()) {
        return Err("http is spoken with this machine alone, since everybody on the way can read it; \
                    use https://HOST:PORT#sha256:…");
    }
    Ok(format!("http://{}:{}", authority.host(), authority.port_u16().unwrap_or(CONTROL_PORT)))
}

/// An unspecified address reaches this machine too: it is what a listener on all addresses tells of itself.
fn is_this_machine(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    match bare.parse::<IpAddr>() {
        Ok(address) => address.is_loopback() || address.is_unspecified(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_addresses_are_a_host_and_a_port_of_this_machine() {
        for (url, base) in [
            ("http://127.0.1.1", "http://127.0.1.1:7420"),
            ("http://localhost:80/", "http://localhost:80"),
            ("http://[::1]:9", "http://[::1]:9"),
            ("http://0.0.0.0:7420", "http://0.0.0.0:7420"),
        ] {
            assert_eq!(read(url), Ok(Address::Plain(base.to_owned())));
        }
        for bad in [
            "",
            "localhost:7420",
            "http://localhost/b",
            "http://localhost?b",
            "http://u:p@localhost",
            "http://localhost#sha256:00",
            "ftp://localhost",
            "http://",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        for elsewhere in
            ["http://10.0.0.1", "http://control", "http://localhost.example.com", "http://[fd00::1]"]
        {
            let why = read(elsewhere).unwrap_err();
            assert!(why.contains("this machine alone") && why.contains("https"), "{elsewhere}: {why}");
        }
    }

    #[test]
    fn addresses_of_elsewhere_carry_the_pin() {
        let pin = "0f".repeat(32);
        let Ok(Address::Pinned(url)) = read(&format!("https://10.0.0.1#sha256:{pin}")) else { panic!() };
        assert_eq!((url.authority().as_str(), url.fingerprint.to_string()), ("10.0.0.1:7420", pin));
        for (bad, words) in
            [("https://10.0.0.1", "fingerprint"), ("https://a#sha256:12", "64 hexadecimal digits")]
        {
            let why = read(bad).unwrap_err();
            assert!(why.contains(words), "{bad}: {why}");
        }
    }
}
