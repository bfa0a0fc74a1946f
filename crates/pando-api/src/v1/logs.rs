//! What an app's replicas wrote, of all servers in one stream.

use pando_model::name::{ProcessName, ReplicaName};
use serde::{Deserialize, Serialize};

/// `GET /v1/apps/APP/logs?…`. Answers a line of JSON ([`super::agents::LogLine`]) each, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AppLogQuery {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub process: Option<ProcessName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub replica: Option<ReplicaName>,
    /// Only lines at or after this time, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_millis: Option<i64>,
    /// At most so many of the newest lines (of each server, with `follow`); default 100 without `since_millis`, else 100,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<usize>,
    /// Go on with new lines until the reader leaves.
    #[serde(default)]
    pub follow: bool,
}
