//! Deploying, going back, restarting; and following how it goes.

use pando_model::app::AppSpec;
use pando_model::desired::Deployment;
use pando_model::id::DeploymentId;
use pando_model::release::{Digest, ReleaseNumber};
use serde::{Deserialize, Serialize};

use super::apps::ReplicaStatus;
use super::events::Event;

/// `POST /v1/apps/APP/deployments`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DeployRequest {
    #[serde(flatten)]
    pub action: DeployAction,
    #[serde(default)]
    pub if_busy: IfBusy,
    /// Change nothing; answer what would happen.
    #[serde(default)]
    pub dry_run: bool,
    /// A remark for the event log, such as a commit; at most 500 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum DeployAction {
    /// Make a new release and run it.
    Deploy {
        spec: Box<AppSpec>,
        /// The packed source, sent before. Left out for a dry run of one that was not sent yet.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        artifact: Option<Digest>,
    },
    /// Run a kept release again, with its settings.
    Rollback {
        /// `None`: the one that ran before the current one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        release: Option<ReleaseNumber>,
    },
    /// Replace every replica by a new one of the same release.
    Restart,
}

/// What to do when a deployment of the app is under way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum IfBusy {
    /// Queue behind it.
    #[default]
    Wait,
    /// Refuse with `busy`.
    Refuse,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum DeployResponse {
    /// Recorded; it goes on whoever stays to watch.
    Accepted(Accepted),
    /// The answer to `dry_run`.
    DryRun(DryRun),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Accepted {
    pub deployment: DeploymentId,
    pub release: ReleaseNumber,
    /// The deployments that come before it, the one under way first.
    #[serde(default)]
    pub queued_behind: Vec<DeploymentId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DryRun {
    /// The number that the release would get, or has.
    pub release: ReleaseNumber,
    /// What would happen, a line each, in order.
    pub plan: Vec<String>,
}

/// `GET /v1/apps/APP/deployments/ID?…`: with `wait_millis`, a long poll.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DeploymentQuery {
    /// The `cursor` of the view that the caller has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// How long to wait for a view that differs from `after`'s; at most 30,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_millis: Option<u64>,
}

/// A deployment and everything that a person who waits for it wants to see.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DeploymentView {
    /// Names this view; not a number to count with. Give it back as `after`.
    pub cursor: u64,
    pub deployment: Deployment,
    /// The deployments that come before it, the one under way first.
    pub queued_behind: Vec<DeploymentId>,
    /// What was decided for it so far, oldest first; the newest 1,000.
    pub progress: Vec<Event>,
    /// What it waits for now, a line each.
    pub waiting_on: Vec<String>,
    /// The app's replicas, of every release, by name.
    pub replicas: Vec<ReplicaStatus>,
}

/// `GET /v1/apps/APP/deployments`: newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DeploymentList {
    pub deployments: Vec<Deployment>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scripts write these by hand.
    #[test]
    fn requests_are_flat_and_what_is_left_out_has_a_default() {
        for (text, action) in [
            (r#"{"kind":"restart"}"#, DeployAction::Restart),
            (r#"{"kind":"rollback"}"#, DeployAction::Rollback { release: None }),
            (
                r#"{"kind":"rollback","release":4}"#,
                DeployAction::Rollback { release: Some(ReleaseNumber(4)) },
            ),
        ] {
            let request: DeployRequest = serde_json::from_str(text).unwrap();
            assert_eq!(
                request,
                DeployRequest { action, if_busy: IfBusy::Wait, dry_run: false, note: None },
                "{text}"
            );
        }
        let written = serde_json::to_string(&DeployRequest {
            action: DeployAction::Restart,
            if_busy: IfBusy::Refuse,
            dry_run: true,
            note: Some("why".to_owned()),
        });
        assert_eq!(written.unwrap(), r#"{"kind":"restart","if_busy":"refuse","dry_run":true,"note":"why"}"#);
    }

    #[test]
    fn answers_say_which_they_are() {
        let dry_run =
            DeployResponse::DryRun(DryRun { release: ReleaseNumber(2), plan: vec!["x".to_owned()] });
        let text = serde_json::to_string(&dry_run).unwrap();
        assert_eq!(text, r#"{"answer":"dry_run","release":2,"plan":["x"]}"#);
        assert_eq!(serde_json::from_str::<DeployResponse>(&text).unwrap(), dry_run);
    }
}
