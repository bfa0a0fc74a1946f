//! Registries of container images: which one a reference names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Whose images are meant when nobody else is named.
const HUB: &str = "docker.io";

/// A registry by its host, with a port where it has one of its own: `ghcr.io`, `localhost:5000`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String)]
pub struct RegistryHost(String);

impl RegistryHost {
    /// The registry that an engine would ask for this image.
    #[must_use]
    pub fn of_image(reference: &str) -> Self {
        let first = reference.split_once('/').map(|(first, _)| first);
        // As engines tell a registry from the first part of a name.
        let named = first.filter(|first| first.contains(['.', ':']) || *first == "localhost");
        named.and_then(|host| host.parse().ok()).unwrap_or_else(|| Self(HUB.to_owned()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RegistryHost {
    type Err = String;

    /// Docker Hub's other names become `docker.io`.
    fn from_str(text: &str) -> Result<Self, String> {
        let host = text.to_ascii_lowercase();
        let (name, port) =
            host.rsplit_once(':').map_or((host.as_str(), None), |(name, port)| (name, Some(port)));
        let label = |label: &str| {
            !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        let port_fits = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
        if name.len() > 253 || !name.split('.').all(label) || !port_fits {
            return Err(format!(
                "`{text}` is not a registry, such as `ghcr.io` or `registry.example.com:5000`"
            ));
        }
        Ok(Self(match host.as_str() {
            "index.docker.io" | "registry-1.docker.io" | "hub.docker.com" => HUB.to_owned(),
            _ => host,
        }))
    }
}

impl TryFrom<String> for RegistryHost {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<RegistryHost> for String {
    fn from(host: RegistryHost) -> Self {
        host.0
    }
}

impl fmt::Display for RegistryHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_of_an_image_is_the_one_that_an_engine_asks() {
        for (reference, host) in [
            ("shop", "docker.io"),
            ("my-org/shop:1", "docker.io"),
            ("docker.io/my-org/shop", "docker.io"),
            ("index.docker.io/my-org/shop", "docker.io"),
            ("ghcr.io/my-org/shop:1", "ghcr.io"),
            ("GHCR.io/my-org/shop:1", "ghcr.io"),
            ("localhost/shop", "localhost"),
            ("localhost:5000/shop@sha256:ab", "localhost:5000"),
            ("10.0.0.5:5000/shop", "10.0.0.5:5000"),
            ("shop:5000", "docker.io"),
        ] {
            assert_eq!(RegistryHost::of_image(reference).as_str(), host, "{reference}");
        }
    }

    #[test]
    fn a_host_is_a_name_and_perhaps_a_port() {
        for good in ["ghcr.io", "registry.example.com:5000", "localhost", "10.0.0.5"] {
            assert_eq!(good.parse::<RegistryHost>().unwrap().as_str(), good);
        }
        assert_eq!("Hub.Docker.com".parse::<RegistryHost>().unwrap().as_str(), "docker.io");
        for bad in ["", "https://ghcr.io", "ghcr.io/my-org", "ghcr.io:", "ghcr.io:0", "a..b", "a b", "a:b:5"]
        {
            assert!(bad.parse::<RegistryHost>().is_err(), "{bad}");
        }
    }
}
