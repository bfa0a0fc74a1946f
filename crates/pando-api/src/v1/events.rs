//! The log of decisions: what Pando did, or was asked to do, and why.

use pando_model::id::DeploymentId;
use pando_model::name::AppName;
use pando_model::time::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// `GET /v1/events?…`: with `wait_millis`, a long poll.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventQuery {
    /// Only events of this app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppName>,
    /// Only events after this cursor (an earlier page's `next`), oldest first. Without it: the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// At most so many (and the rest of the last one's decision); default 100, at most 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// How long to wait while there is none after `after`; at most 30,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_millis: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EventPage {
    /// Oldest first.
    pub events: Vec<Event>,
    /// Give it as `after` to go on from here.
    pub next: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Event {
    #[schema(value_type = String)]
    pub id: Uuid,
    pub time: Timestamp,
    pub level: EventLevel,
    /// `None`: of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<DeploymentId>,
    /// One line.
    pub text: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventLevel {
    #[default]
    Info,
    /// Something went wrong and Pando deals with it.
    Warning,
    /// Something failed, and a person is needed.
    Error,
}
