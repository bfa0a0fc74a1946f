//! Calls about registries of images.

use http::Method;
use pando_model::id::ServerId;
use pando_model::registry::RegistryHost;

use super::transport::Call;
use super::{Client, ClientError};
use crate::v1::registries::{RegistryCredentials, RegistryInfo, RegistryList};

/// Errors: see [`ClientError`].
#[allow(clippy::missing_errors_doc, reason = "the same for each, and said above")]
impl Client {
    pub async fn registries(&self) -> Result<RegistryList, ClientError> {
        self.get("/v1/registries".to_owned()).await
    }

    /// From now on servers are that user to the registry.
    pub async fn set_registry(
        &self,
        host: &RegistryHost,
        credentials: &RegistryCredentials,
    ) -> Result<RegistryInfo, ClientError> {
        let call = Call::new(Method::PUT, &format!("/v1/registries/{host}")).json(credentials)?;
        self.transport.send(call).await?.json().await
    }

    pub async fn remove_registry(&self, host: &RegistryHost) -> Result<(), ClientError> {
        self.transport
            .send(Call::new(Method::DELETE, &format!("/v1/registries/{host}")))
            .await?
            .nothing()
            .await
    }

    /// An agent asks who it is to a registry. [`ErrorCode::NotFound`](crate::ErrorCode::NotFound): nobody, or it is not to pull
    /// from there.
    pub async fn registry_credentials(
        &self,
        server: ServerId,
        host: &RegistryHost,
    ) -> Result<RegistryCredentials, ClientError> {
        self.get(format!("/v1/agents/{server}/registries/{host}")).await
    }
}
