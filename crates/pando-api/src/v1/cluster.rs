//! The cluster's own settings.

use std::collections::BTreeSet;

use pando_model::desired::FirewallSettings;
use pando_model::firewall::{Cidr, OpenPort, Protocol, Sources};
use pando_model::name::ServerName;
use serde::{Deserialize, Serialize};

/// `GET /v1/settings`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ClusterSettings {
    /// Requests from outside are taken by servers with the role `lb` alone.
    pub lockdown: bool,
    pub firewall: FirewallSettings,
    /// Rises with each change; see [`SettingsChange::if_revision`].
    pub revision: u64,
}

/// `PATCH /v1/settings`. What is left out stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SettingsChange {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lockdown: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firewall: Option<FirewallChange>,
    /// Refused with `conflict` when the settings are of another revision: somebody changed them since they were looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_revision: Option<u64>,
    /// Even if it closes something that is in use.
    #[serde(default)]
    pub force: bool,
    /// Only say what would change.
    #[serde(default)]
    pub dry_run: bool,
}

/// What is left out stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FirewallChange {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Empty: everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub ssh_from: Option<BTreeSet<Cidr>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub control_from: Option<BTreeSet<Cidr>>,
    /// What else stays open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<BTreeSet<OpenPort>>,
    /// Rules come into force even when somebody who is connected now could not connect again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut_sessions: Option<bool>,
}

/// The answer to `PATCH /v1/settings`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SettingsChanged {
    /// As they are now, or would be; the revision is that of what is stored.
    pub settings: ClusterSettings,
    /// By server name; servers whose rules stay as they are are left out.
    pub rules: Vec<RuleChanges>,
}

/// How the packet filter of a server changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RuleChanges {
    pub server: ServerName,
    /// All rules come into force, or none is in force any more.
    pub switched: Option<bool>,
    /// In the order of ports.
    pub changes: Vec<RuleChange>,
}

/// One difference, at one range of ports. `None`: nobody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RuleChange {
    /// First and last.
    pub ports: (u16, u16),
    pub protocol: Protocol,
    /// Who may come in so far …
    pub before: Option<Sources>,
    /// … and from now on.
    pub after: Option<Sources>,
    /// The whole of it in words, with the reason.
    pub text: String,
}
