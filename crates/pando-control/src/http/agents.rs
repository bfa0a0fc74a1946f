//! What agents ask and tell.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Held;
use http::StatusCode;
use pando_api::v1::agents::{AgentTarget, MAX_RELAYED, RelayedReport, ReportBody, TargetQuery};
use pando_api::{ErrorBody, ErrorCode};
use pando_model::id::ServerId;
use pando_plan::input::version_of;
use pando_routing::Secrets;
use pando_rt::error_chain::error_chain;
use pando_trust::Signed;

use super::extract::{Asked, Place, Sent};
use super::reply::{Answer, Refused};
use super::{gate, poll};
use crate::shared::{Published, Shared};
use crate::store::{Key, StoreError};

/// What is newer than what the agent has: its assignment, the routing table, and for an entry point the secret part of that. A long
/// poll.
#[utoipa::path(
    get, operation_id = "agent_target", path = "/v1/agents/{server}/target", tag = "agents",
    params(
        ("server" = ServerId, Path),
        ("assignment_epoch" = u64, Query), ("assignment_revision" = u64, Query),
        ("table_epoch" = u64, Query), ("table_revision" = u64, Query),
        ("secrets" = Option<String>, Query, description = "The mark of the secret part that it has."),
        ("wait_millis" = u64, Query, description = "At most 30,000.")
    ),
    responses((status = 200, description = "The assignment, the table and its secret part, each null unless newer.", body = Object))
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
        if target != AgentTarget::default() {
            return Ok(Json(target));
        }
        if !poll::or_end(&shared, until, async { published.changed().await.is_ok() }).await {
            return Ok(Json(target));
        }
        let forgotten = !published.borrow().assignments.contains_key(&server);
        if forgotten && shared.store.get(&Key::ServerSpec(server)).await?.is_none() {
            return Err(gate::no_member(server));
        }
    }
}

fn newer(published: &Published, server: ServerId, have: &TargetQuery) -> AgentTarget {
    let assignment = published.assignments.get(&server).filter(|it| it.value.version > have.assignment());
    let table = published.table.as_ref().filter(|it| version_of(it.value.version) > have.table());
    AgentTarget {
        assignment: assignment.map(|it| it.bytes.clone()),
        table: table.map(|it| it.bytes.clone()),
        secrets: secrets(published, server, have).map(|it| it.bytes.clone()),
    }
}

/// For an entry point, as it was told to be one: whoever asks has proved to be the server, and what else it says opens nothing. Who
/// has a newer table than there is here, as after a restore, is not given what went with an older one.
fn secrets<'p>(
    published: &'p Published,
    server: ServerId,
    have: &TargetQuery,
) -> Option<&'p Signed<Secrets>> {
    let told = &published.assignments.get(&server)?.value;
    let table = &published.table.as_ref()?.value;
    let secrets = published.secrets.as_deref()?;
    let fits = version_of(table.version) >= have.table() && secrets.value.mark != have.secrets;
    (told.entry.is_some() && fits).then_some(secrets)
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
    Sent(mut body): Sent<ReportBody>,
) -> Result<StatusCode, Refused> {
    if body.report.server != server {
        let text = format!("the report is of the server {}, not of {server}", body.report.server);
        return Err(Refused::new(ErrorCode::Invalid, text));
    }
    if body.relayed.len() > MAX_RELAYED {
        return Err(Refused::new(ErrorCode::Invalid, format!("{} relayed reports", body.relayed.len())));
    }
    let mut taken = true;
    for relayed in std::mem::take(&mut body.relayed) {
        match author_of(&shared, &relayed).await? {
            Ok(report) => taken &= shared.receive(report, true).await,
            // Nobody but its author could mend it, and the one who brought it is to be heard all the same.
            Err(why) => tracing::debug!("a report that {server} relayed is not taken: {why}"),
        }
    }
    if shared.receive(body, false).await && taken {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Refused::new(ErrorCode::Unavailable, "the control plane is too busy for reports; report again"))
    }
}

/// A relayed report as if its author had posted it; else why its author could not have.
async fn author_of(
    shared: &Shared,
    relayed: &RelayedReport,
) -> Result<Result<ReportBody, String>, StoreError> {
    let (author, body) = match relayed.verify(shared.trust.anchor(), shared.wall_now()) {
        Ok(verified) => verified,
        Err(error) => return Ok(Err(error_chain(&error))),
    };
    let server = body.report.server;
    if author.expired {
        return Ok(Err(format!("the certificate of {server} has expired")));
    }
    let known = shared.store.get(&Key::ServerSpec(server)).await?.is_some();
    Ok(if known { Ok(body) } else { Err(format!("{server} is no server of this cluster")) })
}
