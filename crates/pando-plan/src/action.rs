//! What a plan says to do. Each action is complete in itself.

use pando_model::Assignment;
use pando_model::desired::{Assigned, Deployment, PortKey, PortLease};
use pando_model::id::{DeploymentId, ServerId};
use pando_model::name::AppName;
use pando_model::release::ReleaseNumber;
use pando_model::time::Timestamp;
use pando_routing::Table;

use crate::report::Report;

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// To be carried out together, in one transaction.
    pub actions: Vec<Action>,
    /// One line for each decision, for the event log.
    pub notes: Vec<Note>,
    /// Per app, process and server: what is done, or waited for.
    pub report: Report,
    /// Plan again by then even if nothing changes.
    pub wake_at: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    RecordAssigned {
        app: AppName,
        assigned: Assigned,
    },
    RecordDeployment(Deployment),
    /// `None`: the lease is forgotten.
    RecordPort {
        key: PortKey,
        lease: Option<PortLease>,
    },
    /// The release is kept no longer.
    ForgetRelease {
        app: AppName,
        release: ReleaseNumber,
    },
    Publish(Table),
    Assign(Assignment),
    /// The server is not of the cluster any more: everything that is kept of it goes, its assignment and its ports too.
    ForgetServer(ServerId),
}

/// A decision in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// `None`: it is about a server.
    pub app: Option<AppName>,
    /// The deployment that it belongs to.
    pub deployment: Option<DeploymentId>,
    pub severity: Severity,
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Info,
    /// Something went wrong and is dealt with.
    Warning,
    /// Something failed.
    Error,
}
