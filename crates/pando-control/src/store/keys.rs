//! Every key of the store, as a type.
//!
//! ```text
//! /v1/meta/epoch            /v1/leader                     /v1/servers/ID/{spec,observed,assignment}
//! /v1/agents/ID/alive       /v1/apps/A/{spec,counter}      /v1/apps/A/releases/N
//! /v1/apps/A/deployments/ID /v1/apps/A/assigned            /v1/tables/current
//! /v1/ports/SERVER/PORT     /v1/events/ID                  /v1/schedules/A/NAME
//! /v1/runs/A/NAME/TS        /v1/secrets/NAME               /v1/tokens/ID
//! /v1/settings/NAME         /v1/certificates/HOST          /v1/registries/HOST
//! ```

use std::fmt;
use std::str::FromStr;

use pando_model::desired::PortKey;
use pando_model::id::{DeploymentId, ServerId};
use pando_model::name::{AppName, check_label};
use pando_model::registry::RegistryHost;
use pando_model::release::ReleaseNumber;
use pando_model::time::Timestamp;
use pando_routing::Host;
use uuid::Uuid;

pub const SERVERS: &str = "/v1/servers/";
pub const APPS: &str = "/v1/apps/";
pub const PORTS: &str = "/v1/ports/";
pub const EVENTS: &str = "/v1/events/";
pub const TOKENS: &str = "/v1/tokens/";
pub const CERTIFICATES: &str = "/v1/certificates/";
pub const REGISTRIES: &str = "/v1/registries/";

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A number; see `pando_model::id::Version`.
    Epoch,
    Leader,
    /// A `Server`.
    ServerSpec(ServerId),
    /// What is kept of a server's reports across restarts.
    ServerObserved(ServerId),
    /// The `Assignment` as last published to the server.
    ServerAssignment(ServerId),
    AgentAlive(ServerId),
    /// A `Wish`.
    AppSpec(AppName),
    /// The number of the app's newest release.
    AppCounter(AppName),
    /// A `Release`.
    AppRelease(AppName, ReleaseNumber),
    /// A `Deployment`.
    AppDeployment(AppName, DeploymentId),
    /// An `Assigned`.
    AppAssigned(AppName),
    /// A `PublishedTable`.
    Table,
    /// A `PortLease`.
    Port(PortKey),
    /// An `Event`.
    Event(Uuid),
    Schedule(AppName, String),
    Run(AppName, String, Timestamp),
    /// `cluster` holds the cluster's `Authority`, `table` the keys that load balancers share; both sealed.
    Secret(String),
    /// A `StoredToken`, by the first digits of the hash of its text.
    Token(String),
    /// `cluster` holds `Settings`.
    Setting(String),
    /// A `StoredCertificate`, by its name: the first of its hosts.
    Certificate(Host),
    /// A `StoredRegistry`.
    Registry(RegistryHost),
}

impl Key {
    /// Where everything about an app lies.
    #[must_use]
    pub fn app_prefix(app: &AppName) -> String {
        format!("{APPS}{app}/")
    }

    /// Where the app's deployments lie, in the order of their making.
    #[must_use]
    pub fn deployments_prefix(app: &AppName) -> String {
        format!("{APPS}{app}/deployments/")
    }

    /// Where the app's releases lie.
    #[must_use]
    pub fn releases_prefix(app: &AppName) -> String {
        format!("{APPS}{app}/releases/")
    }

    /// The cluster's `Authority`, with its secrets.
    #[must_use]
    pub fn cluster_secret() -> Self {
        Self::Secret("cluster".to_owned())
    }

    /// The load balancers' `StoredKeys`.
    #[must_use]
    pub fn table_keys() -> Self {
        Self::Secret("table".to_owned())
    }

    /// The cluster's `Settings`.
    #[must_use]
    pub fn cluster_settings() -> Self {
        Self::Setting("cluster".to_owned())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Epoch => f.write_str("/v1/meta/epoch"),
            Self::Leader => f.write_str("/v1/leader"),
            Self::ServerSpec(id) => write!(f, "{SERVERS}{id}/spec"),
            Self::ServerObserved(id) => write!(f, "{SERVERS}{id}/observed"),
            Self::ServerAssignment(id) => write!(f, "{SERVERS}{id}/assignment"),
            Self::AgentAlive(id) => write!(f, "/v1/agents/{id}/alive"),
            Self::AppSpec(app) => write!(f, "{APPS}{app}/spec"),
            Self::AppCounter(app) => write!(f, "{APPS}{app}/counter"),
            Self::AppRelease(app, number) => write!(f, "{APPS}{app}/releases/{}", number.0),
            Self::AppDeployment(app, id) => write!(f, "{APPS}{app}/deployments/{id}"),
            Self::AppAssigned(app) => write!(f, "{APPS}{app}/assigned"),
            Self::Table => f.write_str("/v1/tables/current"),
            Self::Port(port) => write!(f, "{PORTS}{}/{}", port.server, port.port),
            Self::Event(id) => write!(f, "{EVENTS}{id}"),
            Self::Schedule(app, name) => write!(f, "/v1/schedules/{app}/{name}"),
            Self::Run(app, name, time) => write!(f, "/v1/runs/{app}/{name}/{}", time.as_millis()),
            Self::Secret(name) => write!(f, "/v1/secrets/{name}"),
            Self::Token(id) => write!(f, "{TOKENS}{id}"),
            Self::Setting(name) => write!(f, "/v1/settings/{name}"),
            Self::Certificate(name) => write!(f, "{CERTIFICATES}{name}"),
            Self::Registry(host) => write!(f, "{REGISTRIES}{host}"),
        }
    }
}

/// A text that is no key of this version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a key of the store")]
pub struct UnknownKey(pub String);

impl FromStr for Key {
    type Err = UnknownKey;

    fn from_str(text: &str) -> Result<Self, UnknownKey> {
        let unknown = || UnknownKey(text.to_owned());
        let rest = text.strip_prefix("/v1/").ok_or_else(unknown)?;
        let parts: Vec<&str> = rest.split('/').collect();
        parse(&parts).filter(|key| key.to_string() == text).ok_or_else(unknown)
    }
}

fn parse(parts: &[&str]) -> Option<Key> {
    Some(match parts {
        ["meta", "epoch"] => Key::Epoch,
        ["leader"] => Key::Leader,
        ["tables", "current"] => Key::Table,
        ["servers", id, "spec"] => Key::ServerSpec(id.parse().ok()?),
        ["servers", id, "observed"] => Key::ServerObserved(id.parse().ok()?),
        ["servers", id, "assignment"] => Key::ServerAssignment(id.parse().ok()?),
        ["agents", id, "alive"] => Key::AgentAlive(id.parse().ok()?),
        ["apps", app, rest @ ..] => parse_app(app.parse().ok()?, rest)?,
        ["ports", server, port] => {
            Key::Port(PortKey { server: server.parse().ok()?, port: port.parse().ok()? })
        }
        ["events", id] => Key::Event(id.parse().ok()?),
        ["schedules", app, name] => Key::Schedule(app.parse().ok()?, label(name)?),
        ["runs", app, name, millis] => {
            let time = Timestamp::from_millis(millis.parse().ok()?);
            Key::Run(app.parse().ok()?, label(name)?, time)
        }
        ["secrets", name] => Key::Secret(segment(name)?),
        ["tokens", id] => Key::Token(segment(id)?),
        ["settings", name] => Key::Setting(segment(name)?),
        ["certificates", name] => Key::Certificate(name.parse().ok().filter(|host| *host != Host::Any)?),
        ["registries", host] => Key::Registry(host.parse().ok()?),
        _ => return None,
    })
}

fn parse_app(app: AppName, rest: &[&str]) -> Option<Key> {
    Some(match rest {
        ["spec"] => Key::AppSpec(app),
        ["counter"] => Key::AppCounter(app),
        ["assigned"] => Key::AppAssigned(app),
        ["releases", number] => Key::AppRelease(app, ReleaseNumber(number.parse().ok()?)),
        ["deployments", id] => Key::AppDeployment(app, id.parse().ok()?),
        _ => return None,
    })
}

fn label(text: &str) -> Option<String> {
    check_label(text).ok().map(|()| text.to_owned())
}

/// What may stand between two slashes.
fn segment(text: &str) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (!text.is_empty() && text.bytes().all(plain)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every() -> Vec<Key> {
        let app = AppName::new("hits").unwrap();
        let uuid = Uuid::from_u128(7);
        let server = ServerId::from_uuid(uuid);
        vec![
            Key::Epoch,
            Key::Leader,
            Key::Table,
            Key::ServerSpec(server),
            Key::ServerObserved(server),
            Key::ServerAssignment(server),
            Key::AgentAlive(server),
            Key::AppSpec(app.clone()),
            Key::AppCounter(app.clone()),
            Key::AppAssigned(app.clone()),
            Key::AppRelease(app.clone(), ReleaseNumber(42)),
            Key::AppDeployment(app.clone(), DeploymentId::from_uuid(uuid)),
            Key::Port(PortKey { server, port: 20_000 }),
            Key::Event(uuid),
            Key::Schedule(app.clone(), "report".to_owned()),
            Key::Run(app, "report".to_owned(), Timestamp::from_millis(1_700_000_000_000)),
            Key::Secret("secret_key".to_owned()),
            Key::Token("0123abcd".to_owned()),
            Key::cluster_settings(),
            Key::Certificate("*.example.com".parse().unwrap()),
            Key::Registry("registry.example.com:5000".parse().unwrap()),
        ]
    }

    #[test]
    fn keys_round_trip() {
        for key in every() {
            assert_eq!(key.to_string().parse(), Ok(key.clone()));
        }
    }

    /// A change of this list needs a migration and a page in docs/decisions.
    #[test]
    fn the_layout_stays_as_it_is() {
        let uuid = "00000000-0000-0000-0000-000000000007";
        let lines: Vec<String> = every().iter().map(|key| key.to_string().replace(uuid, "ID")).collect();
        let expected = [
            "/v1/meta/epoch",
            "/v1/leader",
            "/v1/tables/current",
            "/v1/servers/ID/spec",
            "/v1/servers/ID/observed",
            "/v1/servers/ID/assignment",
            "/v1/agents/ID/alive",
            "/v1/apps/hits/spec",
            "/v1/apps/hits/counter",
            "/v1/apps/hits/assigned",
            "/v1/apps/hits/releases/42",
            "/v1/apps/hits/deployments/ID",
            "/v1/ports/ID/20000",
            "/v1/events/ID",
            "/v1/schedules/hits/report",
            "/v1/runs/hits/report/1700000000000",
            "/v1/secrets/secret_key",
            "/v1/tokens/0123abcd",
            "/v1/settings/cluster",
            "/v1/certificates/*.example.com",
            "/v1/registries/registry.example.com:5000",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn other_texts_are_no_keys() {
        for bad in [
            "",
            "/v2/leader",
            "/v1/leader/",
            "/v1/apps/hits",
            "/v1/apps/Hits/spec",
            "/v1/apps/hits/releases/01",
            "/v1/apps/hits/releases/x",
            "/v1/ports/1/2",
            "/v1/tokens/a b",
            "/v1/settings/",
            "/v1/certificates/*",
            "/v1/certificates/A.example",
            "/v1/registries/index.docker.io",
        ] {
            assert!(bad.parse::<Key>().is_err(), "{bad}");
        }
    }
}
