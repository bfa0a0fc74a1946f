//! Between an agent and the control plane.
//!
//! The agent calls the control plane for its target and posts reports; the
//! control plane (and, later, other agents) calls the agent for logs and exec.

use std::collections::BTreeMap;

use pando_model::app::VolumeSpec;
use pando_model::id::Version;
use pando_model::name::{AppName, ProcessName, ReplicaName};
use pando_model::observed::AgentReport;
use pando_model::release::ReleaseNumber;
use pando_model::resources::Resources;
use pando_model::time::{Millis, Timestamp};
use pando_routing::{ProxyStats, SecretMark};
use pando_trust::{Anchor, Identity, PeerIdentity, SignedBytes, Subject, TrustError};
use serde::{Deserialize, Serialize};

/// `GET /v1/agents/SERVER/target?…`: a long poll.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TargetQuery {
    /// What the agent has; the answer comes when something is newer, or when the wait is over.
    pub assignment_epoch: u64,
    pub assignment_revision: u64,
    pub table_epoch: u64,
    pub table_revision: u64,
    /// Which secret part it has; empty: none.
    #[serde(default)]
    pub secrets: SecretMark,
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

/// What is newer than what the query names, signed by the cluster's authority; each `None` when nothing is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AgentTarget {
    /// An `Assignment`, of [`Kind::Assignment`](pando_trust::Kind::Assignment).
    pub assignment: Option<SignedBytes>,
    /// A `Table` without certificates and keys, of [`Kind::Table`](pando_trust::Kind::Table).
    pub table: Option<SignedBytes>,
    /// The `Secrets` that the newest table goes with, of [`Kind::Secrets`](pando_trust::Kind::Secrets): for a server that is to take
    /// requests from outside, has another secret part, and has or gets here just that table. Nobody else is told them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<SignedBytes>,
}

/// `POST /v1/agents/SERVER/reports`. Posted when anything changes (at most every 20 ms), and every 2 s as a heartbeat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReportBody {
    pub report: AgentReport,
    /// Counters as the server's proxy last told them.
    pub traffic: Option<ProxyStats>,
    /// Reports of servers that can't reach the control plane themselves; at most [`MAX_RELAYED`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub relayed: Vec<RelayedReport>,
    /// What the agent did by itself and people should hear of, since it was last heard; at most [`MAX_NEWS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub news: Vec<String>,
}

/// The most pieces of news that are taken from one report.
pub const MAX_NEWS: usize = 16;

/// The most reports that one server hands on at a time.
pub const MAX_RELAYED: usize = 256;

/// A report that its author signed, and another server brings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayedReport {
    /// The exact text that was signed: a [`ReportBody`] that relays nothing itself.
    pub body: String,
    /// Hexadecimal.
    pub signature: String,
    /// The author's, in PEM form.
    pub certificate: String,
}

impl RelayedReport {
    /// `body` as its author signs it, to be handed on. What it would relay itself is left out.
    ///
    /// # Errors
    /// When it can't be written or signed.
    pub fn sign(body: ReportBody, author: &Identity) -> Result<Self, TrustError> {
        let body = ReportBody { relayed: Vec::new(), ..body };
        let body = serde_json::to_string(&body).map_err(unreadable)?;
        let signature = author.sign_report(body.as_bytes())?;
        Ok(Self { body, signature, certificate: author.certificate_pem().to_owned() })
    }

    /// The report and its author. Whether the author is still a server of the cluster is for the caller to know.
    ///
    /// # Errors
    /// When the certificate is not of the authority, the signature not of its key, or the text no report of that server.
    pub fn verify(
        &self,
        authority: &Anchor,
        now: Timestamp,
    ) -> Result<(PeerIdentity, ReportBody), TrustError> {
        let author =
            authority.verify_report(self.body.as_bytes(), &self.signature, &self.certificate, now)?;
        let body: ReportBody = serde_json::from_str(&self.body).map_err(unreadable)?;
        if author.subject != Subject::Server(body.report.server) {
            return Err(unreadable(format!(
                "it is of {}, and signed by {}",
                body.report.server, author.subject
            )));
        }
        Ok((author, body))
    }
}

fn unreadable(why: impl std::fmt::Display) -> TrustError {
    TrustError::Unreadable { what: "a relayed report", why: why.to_string() }
}

/// `GET /v1/peer/table?…` of an agent, for other agents that can't reach the control plane. Answers the newest table as it was
/// signed (a [`SignedBytes`]), or 204 when that is not newer. `POST /v1/peer/reports` takes a [`RelayedReport`] of the caller's,
/// and answers 503 when the control plane can't be reached from there either.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerTableQuery {
    pub epoch: u64,
    pub revision: u64,
}

/// `POST /v1/agents/SERVER/certificate`: a new certificate, for the same server and a new key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CertificateRequest {
    /// Signed by the new key, in PEM form; see [`pando_trust::PendingIdentity::request`].
    pub request: String,
}

/// The answer to a [`CertificateRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CertificateIssued {
    /// In PEM form.
    pub certificate: String,
    #[schema(value_type = Object)]
    pub authority: Anchor,
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
    /// For a one-off: as what of its app it runs, filled in by the control plane as well. `None`: as its release says by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub like: Option<ExecLike>,
    /// A shell command line.
    pub command: String,
    /// A terminal of this size instead of pipes.
    pub terminal: Option<TerminalSize>,
    /// Stopped after this; `None`: runs as long as the caller stays.
    pub timeout: Option<Millis>,
}

/// What a one-off has of the processes of its app.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ExecLike {
    /// In a container. `None`: whom the image names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// In a container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<VolumeSpec>,
    #[serde(default)]
    pub resources: Resources,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TerminalSize {
    pub columns: u16,
    pub rows: u16,
}

#[cfg(test)]
mod tests;
