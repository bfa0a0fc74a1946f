//! Between an agent and the control plane.
//!
//! The agent calls the control plane for its target and posts reports; the
//! control plane (and, later, other agents) calls the agent for logs and exec.

use std::collections::BTreeMap;

use pando_model::assignment::Assignment;
use pando_model::id::Version;
use pando_model::name::{AppName, ProcessName, ReplicaName};
use pando_model::observed::AgentReport;
use pando_model::release::ReleaseNumber;
use pando_model::time::{Millis, Timestamp};
use pando_routing::{ProxyStats, Table};
use serde::{Deserialize, Serialize};

/// `GET /v1/agents/SERVER/target?…`: a long poll.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TargetQuery {
    /// What the agent has; the answer comes when either is newer, or when the wait is over.
    pub assignment_epoch: u64,
    pub assignment_revision: u64,
    pub table_epoch: u64,
    pub table_revision: u64,
    /// At most 30,000.
    pub wait_millis: u64,
}

impl TargetQuery {
    #[must_use]
    pub fn assignment(&self) -> Version {
        Version::new(self.assignment_epoch, self.assignment_revision)
    }

    #[must_use]
    pub fn table(&self) -> Version {
        Version::new(self.table_epoch, self.table_revision)
    }
}

/// What is newer than the query's versions; both `None` when nothing is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AgentTarget {
    pub assignment: Option<Assignment>,
    pub table: Option<Table>,
}

/// `POST /v1/agents/SERVER/reports`. Posted when anything changes (at most every 20 ms), and every 2 s as a heartbeat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReportBody {
    pub report: AgentReport,
    /// Counters as the server's proxy last told them.
    pub traffic: Option<ProxyStats>,
}

/// `GET /v1/logs?…` of an agent. Answers a line of JSON ([`LogLine`]) each.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LogQuery {
    pub app: Option<AppName>,
    pub process: Option<ProcessName>,
    pub replica: Option<ReplicaName>,
    /// Only lines at or after this time.
    pub since_millis: Option<i64>,
    /// At most so many of the newest lines; default 100 without `since_millis`, else 100,000.
    pub tail: Option<usize>,
    /// Go on with new lines until the reader leaves.
    #[serde(default)]
    pub follow: bool,
}

/// One line that a replica or a task wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LogLine {
    pub time: Timestamp,
    /// `web-2`, or `release` for a release command.
    pub source: String,
    pub stream: LogStream,
    /// Without its line end; bytes that are not UTF-8 are replaced; at most 64 KiB, the rest follows as a line of its own.
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogStream {
    Stdout,
    Stderr,
    /// Pando's own remark, such as "started, pid 4711" or "ended with exit code 1".
    Pando,
}

/// `POST /v1/exec` of an agent, with `Upgrade: pando-exec`: the first frame's channel is [`crate::stream::Channel::Start`] and
/// holds this.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExecStart {
    pub app: AppName,
    /// Where: beside this replica, in its release and environment. `None`: a one-off in `release`.
    pub replica: Option<ReplicaName>,
    /// For a one-off: the release to run in and its whole environment, filled in by the control plane.
    pub release: Option<ReleaseNumber>,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// A shell command line.
    pub command: String,
    /// A terminal of this size instead of pipes.
    pub terminal: Option<TerminalSize>,
    /// Stopped after this; `None`: runs as long as the caller stays.
    pub timeout: Option<Millis>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TerminalSize {
    pub columns: u16,
    pub rows: u16,
}
