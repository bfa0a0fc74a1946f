//! Calls about servers, entry points, the firewall and the cluster's settings.

use http::Method;
use pando_model::name::ServerName;
use pando_routing::Host;

use super::transport::{Call, query};
use super::{Client, ClientError};
use crate::v1::balancers::{BalancerList, LockdownRequest};
use crate::v1::certificates::{
    CertificateImport, CertificateImported, CertificateList, CertificateRemoveQuery,
};
use crate::v1::cluster::{ClusterSettings, SettingsChange, SettingsChanged};
use crate::v1::firewall::FirewallView;
use crate::v1::servers::{
    DrainRequest, LabelsRequest, Removal, RemoveQuery, RolesRequest, ServerDetail, ServerList,
};
use crate::v1::traffic::{EndpointTraffic, TrafficQuery};

/// Errors: see [`ClientError`].
#[allow(clippy::missing_errors_doc, reason = "the same for each, and said above")]
impl Client {
    pub async fn servers(&self) -> Result<ServerList, ClientError> {
        self.get("/v1/servers".to_owned()).await
    }

    pub async fn server(&self, server: &ServerName) -> Result<ServerDetail, ClientError> {
        self.get(format!("/v1/servers/{server}")).await
    }

    /// Records it; replicas move by themselves then.
    pub async fn set_roles(
        &self,
        server: &ServerName,
        request: &RolesRequest,
    ) -> Result<ServerDetail, ClientError> {
        self.post(format!("/v1/servers/{server}/roles"), request).await
    }

    pub async fn set_labels(
        &self,
        server: &ServerName,
        request: &LabelsRequest,
    ) -> Result<ServerDetail, ClientError> {
        self.post(format!("/v1/servers/{server}/labels"), request).await
    }

    /// Records it; the server is emptied by itself then.
    pub async fn drain(
        &self,
        server: &ServerName,
        request: &DrainRequest,
    ) -> Result<ServerDetail, ClientError> {
        self.post(format!("/v1/servers/{server}/drain"), request).await
    }

    pub async fn undrain(&self, server: &ServerName) -> Result<ServerDetail, ClientError> {
        let call = Call::new(Method::POST, &format!("/v1/servers/{server}/undrain"));
        self.transport.send(call).await?.json().await
    }

    pub async fn remove_server(
        &self,
        server: &ServerName,
        wanted: &RemoveQuery,
    ) -> Result<Removal, ClientError> {
        let path = format!("/v1/servers/{server}{}", query(wanted)?);
        self.transport.send(Call::new(Method::DELETE, &path)).await?.json().await
    }

    pub async fn settings(&self) -> Result<ClusterSettings, ClientError> {
        self.get("/v1/settings".to_owned()).await
    }

    pub async fn change_settings(&self, change: &SettingsChange) -> Result<SettingsChanged, ClientError> {
        let call = Call::new(Method::PATCH, "/v1/settings").json(change)?;
        self.transport.send(call).await?.json().await
    }

    /// Every endpoint as each load balancer sees it; of one app, or all.
    pub async fn endpoints(&self, wanted: &TrafficQuery) -> Result<EndpointTraffic, ClientError> {
        self.get(format!("/v1/traffic/endpoints{}", query(wanted)?)).await
    }

    pub async fn balancers(&self) -> Result<BalancerList, ClientError> {
        self.get("/v1/balancers".to_owned()).await
    }

    /// Closes direct access: only servers with the role `lb` take requests from outside then.
    pub async fn lockdown(&self, request: &LockdownRequest) -> Result<BalancerList, ClientError> {
        self.post("/v1/balancers/lockdown".to_owned(), request).await
    }

    /// Opens direct access again.
    pub async fn unlock(&self) -> Result<BalancerList, ClientError> {
        self.transport.send(Call::new(Method::POST, "/v1/balancers/unlock")).await?.json().await
    }

    pub async fn certificates(&self) -> Result<CertificateList, ClientError> {
        self.get("/v1/certificates".to_owned()).await
    }

    /// Brings a certificate with its key.
    pub async fn import_certificate(
        &self,
        import: &CertificateImport,
    ) -> Result<CertificateImported, ClientError> {
        self.post("/v1/certificates".to_owned(), import).await
    }

    pub async fn remove_certificate(
        &self,
        name: &Host,
        wanted: &CertificateRemoveQuery,
    ) -> Result<(), ClientError> {
        let path = format!("/v1/certificates/{name}{}", query(wanted)?);
        self.transport.send(Call::new(Method::DELETE, &path)).await.map(drop)
    }

    pub async fn firewall(&self) -> Result<FirewallView, ClientError> {
        self.get("/v1/firewall".to_owned()).await
    }
}
