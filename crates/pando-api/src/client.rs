//! The typed client of the control plane.
//!
//! Every call has a deadline and says in its error whether the control plane was
//! reached, what it refused, or how its answer was not understood. Nothing is
//! tried again by itself: whether that is wise is for the caller to know.

mod address;
mod agent;
mod artifacts;
mod cluster;
mod connect;
mod error;
mod exec;
mod images;
mod lines;
mod members;
mod mistrust;
mod prune;
mod registries;
mod transport;

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use pando_model::desired::Wish;
use pando_model::id::{DeploymentId, ServerId};
use pando_model::name::AppName;
use pando_trust::Subject;
use rustls::ClientConfig;

use crate::auth::Bearer;
use crate::v1::agents::{AgentTarget, ExecStart, ReportBody, TargetQuery};
use crate::v1::apps::{
    AppList, AppStatus, MaintenanceRequest, PauseRequest, ReleaseList, ScaleRequest, StopRequest,
};
use crate::v1::deployments::{
    DeployRequest, DeployResponse, DeploymentList, DeploymentQuery, DeploymentView,
};
use crate::v1::events::{EventPage, EventQuery};
use crate::v1::logs::AppLogQuery;
use crate::v1::status::ClusterStatus;
use crate::v1::tokens::{TokenCreated, TokenList, TokenRequest};
use crate::v1::traffic::{Traffic, TrafficQuery};
use crate::v1::version::VersionInfo;

pub use agent::AgentClient;
pub use artifacts::ArtifactBody;
pub use error::ClientError;
pub use exec::ExecStream;
pub use lines::LogLines;

use transport::{Call, Transport, query};

/// How long a call may take that does not wait for anything: the control plane answers in milliseconds, and a person
/// should not wait longer to hear that it doesn't.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Speaks to a control plane. Cheap to clone; clones share connections.
#[derive(Debug, Clone)]
pub struct Client {
    transport: Transport,
}

impl Client {
    /// `url` is `https://HOST[:PORT]#sha256:HEX` with the fingerprint of the cluster's authority, or `http://HOST[:PORT]` of this
    /// machine; the port is 7420 when left out. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ClientError::Address`] when `url` is none.
    pub fn new(url: &str, token: Option<Bearer>) -> Result<Self, ClientError> {
        Ok(Self { transport: Transport::new(url, token)? })
    }

    /// Speaks TLS to `place` (`HOST:PORT`) and believes whom `config` believes: made by [`pando_trust::tls::client_config`] for the
    /// control plane, with the caller's own certificate. Each new connection uses the newest certificate.
    #[must_use]
    pub fn with_tls(place: &str, token: Option<Bearer>, config: Arc<ClientConfig>) -> Self {
        Self { transport: Transport::with_tls(place, token, config, Subject::Control) }
    }

    /// Where it speaks to, such as `https://10.0.0.1:7420`; without the fingerprint.
    #[must_use]
    pub fn url(&self) -> &str {
        self.transport.base()
    }

    /// Whether the control plane answers. Needs no token.
    ///
    /// # Errors
    /// See [`ClientError`], here and below.
    pub async fn health(&self) -> Result<(), ClientError> {
        self.transport.send(Call::get("/healthz")).await?.nothing().await
    }

    /// Needs no token.
    pub async fn version(&self) -> Result<VersionInfo, ClientError> {
        self.get("/v1/version".to_owned()).await
    }

    /// The OpenAPI document. Needs no token.
    pub async fn openapi(&self) -> Result<serde_json::Value, ClientError> {
        self.get("/v1/openapi.json".to_owned()).await
    }

    pub async fn status(&self) -> Result<ClusterStatus, ClientError> {
        self.get("/v1/status".to_owned()).await
    }

    pub async fn apps(&self) -> Result<AppList, ClientError> {
        self.get("/v1/apps".to_owned()).await
    }

    pub async fn app(&self, app: &AppName) -> Result<AppStatus, ClientError> {
        self.get(format!("/v1/apps/{app}")).await
    }

    pub async fn releases(&self, app: &AppName) -> Result<ReleaseList, ClientError> {
        self.get(format!("/v1/apps/{app}/releases")).await
    }

    /// Records a deployment (or answers what it would do); it goes on by itself then.
    pub async fn deploy(
        &self,
        app: &AppName,
        request: &DeployRequest,
    ) -> Result<DeployResponse, ClientError> {
        self.post(format!("/v1/apps/{app}/deployments"), request).await
    }

    pub async fn deployments(&self, app: &AppName) -> Result<DeploymentList, ClientError> {
        self.get(format!("/v1/apps/{app}/deployments")).await
    }

    /// Answers at once, or as [`DeploymentQuery`] says when it differs from what the caller has.
    pub async fn deployment(
        &self,
        app: &AppName,
        id: DeploymentId,
        wanted: &DeploymentQuery,
    ) -> Result<DeploymentView, ClientError> {
        let path = format!("/v1/apps/{app}/deployments/{id}{}", query(wanted)?);
        self.poll(path, wanted.wait_millis).await
    }

    pub async fn scale(&self, app: &AppName, request: &ScaleRequest) -> Result<Wish, ClientError> {
        self.post(format!("/v1/apps/{app}/scale"), request).await
    }

    pub async fn stop(&self, app: &AppName, request: &StopRequest) -> Result<Wish, ClientError> {
        self.post(format!("/v1/apps/{app}/stop"), request).await
    }

    pub async fn start(&self, app: &AppName) -> Result<Wish, ClientError> {
        self.transport.send(Call::new(Method::POST, &format!("/v1/apps/{app}/start"))).await?.json().await
    }

    pub async fn begin_maintenance(
        &self,
        app: &AppName,
        request: &MaintenanceRequest,
    ) -> Result<Wish, ClientError> {
        self.post(format!("/v1/apps/{app}/maintenance"), request).await
    }

    pub async fn end_maintenance(&self, app: &AppName) -> Result<Wish, ClientError> {
        let call = Call::new(Method::DELETE, &format!("/v1/apps/{app}/maintenance"));
        self.transport.send(call).await?.json().await
    }

    pub async fn pause(&self, app: &AppName, request: &PauseRequest) -> Result<Wish, ClientError> {
        self.post(format!("/v1/apps/{app}/pause"), request).await
    }

    pub async fn resume(&self, app: &AppName) -> Result<Wish, ClientError> {
        self.transport.send(Call::new(Method::DELETE, &format!("/v1/apps/{app}/pause"))).await?.json().await
    }

    /// Forgets a stopped app: its releases, deployments and settings.
    pub async fn delete_app(&self, app: &AppName) -> Result<(), ClientError> {
        self.transport.send(Call::new(Method::DELETE, &format!("/v1/apps/{app}"))).await?.nothing().await
    }

    /// Opens the stream of an app's log lines. The deadline is for its beginning; with `follow` it has no end.
    pub async fn logs(&self, app: &AppName, wanted: &AppLogQuery) -> Result<LogLines, ClientError> {
        let path = format!("/v1/apps/{app}/logs{}", query(wanted)?);
        Ok(LogLines::new(self.transport.send(Call::get(&path)).await?))
    }

    /// Starts a command; what follows is up to both ends.
    pub async fn exec(&self, start: &ExecStart) -> Result<ExecStream, ClientError> {
        exec::open(&self.transport, &format!("/v1/apps/{}/exec", start.app), start).await
    }

    pub async fn events(&self, wanted: &EventQuery) -> Result<EventPage, ClientError> {
        self.poll(format!("/v1/events{}", query(wanted)?), wanted.wait_millis).await
    }

    pub async fn traffic(&self, wanted: &TrafficQuery) -> Result<Traffic, ClientError> {
        self.get(format!("/v1/traffic{}", query(wanted)?)).await
    }

    pub async fn tokens(&self) -> Result<TokenList, ClientError> {
        self.get("/v1/tokens".to_owned()).await
    }

    pub async fn create_token(&self, request: &TokenRequest) -> Result<TokenCreated, ClientError> {
        self.post("/v1/tokens".to_owned(), request).await
    }

    /// `id` as [`Client::tokens`] tells it.
    pub async fn remove_token(&self, id: &str) -> Result<(), ClientError> {
        self.transport.send(Call::new(Method::DELETE, &format!("/v1/tokens/{id}"))).await?.nothing().await
    }

    /// An agent asks for its target; a long poll.
    pub async fn target(&self, server: ServerId, have: &TargetQuery) -> Result<AgentTarget, ClientError> {
        self.poll(format!("/v1/agents/{server}/target{}", query(have)?), Some(have.wait_millis)).await
    }

    /// An agent reports.
    pub async fn report(&self, server: ServerId, body: &ReportBody) -> Result<(), ClientError> {
        let call = Call::new(Method::POST, &format!("/v1/agents/{server}/reports")).json(body)?;
        self.transport.send(call).await?.nothing().await
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, path: String) -> Result<T, ClientError> {
        self.transport.send(Call::get(&path)).await?.json().await
    }

    async fn poll<T: serde::de::DeserializeOwned>(
        &self,
        path: String,
        wait_millis: Option<u64>,
    ) -> Result<T, ClientError> {
        let wait = Duration::from_millis(wait_millis.unwrap_or(0));
        self.transport.send(Call::get(&path).deadline(DEADLINE + wait)).await?.json().await
    }

    async fn post<T: serde::de::DeserializeOwned>(
        &self,
        path: String,
        body: &impl serde::Serialize,
    ) -> Result<T, ClientError> {
        self.transport.send(Call::new(Method::POST, &path).json(body)?).await?.json().await
    }
}

#[cfg(test)]
mod tests;
