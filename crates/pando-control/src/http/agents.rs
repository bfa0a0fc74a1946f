//! What agents ask and tell.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Held;
use http::StatusCode;
use pando_api::v1::agents::{AgentTarget, ReportBody, TargetQuery};
use pando_api::{ErrorBody, ErrorCode};
use pando_model::id::ServerId;
use pando_plan::input::version_of;

use super::extract::{Asked, Place, Sent};
use super::poll;
use super::reply::{Answer, Refused};
use crate::shared::{Published, Shared};

/// What is newer than what the agent has: its assignment, the routing table. A long poll.
#[utoipa::path(
    get, operation_id = "agent_target", path = "/v1/agents/{server}/target", tag = "agents",
    params(
        ("server" = ServerId, Path),
        ("assignment_epoch" = u64, Query), ("assignment_revision" = u64, Query),
        ("table_epoch" = u64, Query), ("table_revision" = u64, Query),
        ("wait_millis" = u64, Query, description = "At most 30,000.")
    ),
    responses((status = 200, description = "The assignment and the table, each null unless newer.", body = Object))
)]
pub(crate) async fn target(
    Held(shared): Held<Arc<Shared>>,
    Place(server): Place<ServerId>,
    Asked(have): Asked<TargetQuery>,
) -> Answer<AgentTarget> {
    let until = poll::until(Some(have.wait_millis));
    let mut published = shared.published.subscribe();
    loop {
        let target = newer(&published.borrow_and_update(), server, &have);
        if target.assignment.is_some() || target.table.is_some() {
            return Ok(Json(target));
        }
        if !poll::or_end(&shared, until, async { published.changed().await.is_ok() }).await {
            return Ok(Json(target));
        }
    }
}

fn newer(published: &Published, server: ServerId, have: &TargetQuery) -> AgentTarget {
    let assignment = published.assignments.get(&server).filter(|it| it.version > have.assignment());
    let table = published.table.as_ref().filter(|it| version_of(it.version) > have.table());
    AgentTarget { assignment: assignment.map(|it| (**it).clone()), table: table.map(|it| (**it).clone()) }
}

/// Takes a report: all that is true of the server.
#[utoipa::path(
    post, operation_id = "agent_report", path = "/v1/agents/{server}/reports", tag = "agents", params(("server" = ServerId, Path)),
    request_body(content = Object, description = "The report, and the load balancer's counters."),
    responses((status = 204, description = "It was taken."), (status = 400, body = ErrorBody), (status = 503, body = ErrorBody))
)]
pub(crate) async fn report(
    Held(shared): Held<Arc<Shared>>,
    Place(server): Place<ServerId>,
    Sent(body): Sent<ReportBody>,
) -> Result<StatusCode, Refused> {
    if body.report.server != server {
        let text = format!("the report is of the server {}, not of {server}", body.report.server);
        return Err(Refused::new(ErrorCode::Invalid, text));
    }
    if shared.receive(body).await {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Refused::new(ErrorCode::Unavailable, "the control plane is too busy for reports; report again"))
    }
}
