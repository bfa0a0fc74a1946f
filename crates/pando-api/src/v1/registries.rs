//! Registries that servers pull images from, and who the cluster is to them.

use pando_model::registry::RegistryHost;
use pando_model::time::Timestamp;
use pando_routing::SecretText;
use serde::{Deserialize, Serialize};

/// `GET /v1/registries`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RegistryList {
    /// By host.
    pub registries: Vec<RegistryInfo>,
}

/// All that is told of a registry's credentials; the password never is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RegistryInfo {
    pub host: RegistryHost,
    pub username: String,
    pub added_at: Timestamp,
    /// Whose token it was.
    pub added_by: String,
}

/// `PUT /v1/registries/{registry}`, and what an agent that pulls from it is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegistryCredentials {
    /// 1 to 256 characters, none of them a colon.
    pub username: String,
    /// A password or an access token of the registry, of at most 16 KiB.
    #[schema(value_type = String)]
    pub password: SecretText,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_printed() {
        let credentials =
            RegistryCredentials { username: "bot".to_owned(), password: SecretText("hush".to_owned()) };
        assert!(!format!("{credentials:?}").contains("hush"));
    }
}
