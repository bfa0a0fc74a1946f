//! Maintenance and pause: what holds for all requests of an app for a while.
//!
//! Both are wishes, kept with the app: deploys and restarts leave them as they are. The planner puts them into the table.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State as Held;
use pando_api::v1::apps::{MaintenanceRequest, PauseRequest};
use pando_api::{ErrorBody, ErrorCode};
use pando_model::desired::{MaintenanceWish, PauseWish, Wish};
use pando_model::name::AppName;
use pando_model::time::Millis;

use super::extract::{Place, Sent};
use super::reply::{Answer, Refused};
use super::wishes::change;
use crate::shared::Shared;
use crate::tokens::Caller;

const MOST_NETWORKS: usize = 1_000;
const MOST_MESSAGE: usize = 1_000;
const MOST_PAGE: usize = 64 << 10;
const RETRY_AFTER: Millis = Millis::from_secs(60);
const DAY: Millis = Millis::from_secs(86_400);
const PAUSE: Millis = Millis::from_secs(30);
const LONGEST_PAUSE: Millis = Millis::from_secs(300);
const MOST_WAITING: u32 = 1_000;

/// Visitors get 503 with a page, but who is let through.
#[utoipa::path(
    post, operation_id = "begin_maintenance", path = "/v1/apps/{app}/maintenance", tag = "apps", params(("app" = AppName, Path)),
    request_body = MaintenanceRequest,
    responses((status = 200, body = Wish), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody))
)]
pub(crate) async fn begin_maintenance(
    Held(shared): Held<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Place(app): Place<AppName>,
    Sent(request): Sent<MaintenanceRequest>,
) -> Answer<Wish> {
    check_maintenance(&request)?;
    let passes = match request.allow.len() {
        0 => "nobody passes".to_owned(),
        1 => format!("{} passes", request.allow[0]),
        count => format!("{count} networks pass"),
    };
    let text = format!("maintenance begins ({passes}), says {}", caller.name);
    change(&shared, &app, text, |_, known| {
        let since = known.wish.maintenance.as_ref().map_or_else(|| shared.now(), |known| known.since);
        let maintenance = MaintenanceWish {
            since,
            by: caller.name.clone(),
            allow: request.allow.clone(),
            message: request.message.clone(),
            page: request.page.clone(),
            retry_after: request.retry_after.unwrap_or(RETRY_AFTER),
        };
        Ok(Wish { maintenance: Some(maintenance), ..known.wish.clone() })
    })
    .await
}

fn check_maintenance(request: &MaintenanceRequest) -> Result<(), Refused> {
    let size = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let retry_after = request.retry_after.unwrap_or(RETRY_AFTER);
    let wrong = if request.allow.len() > MOST_NETWORKS {
        format!("{} networks; {MOST_NETWORKS} are the most", request.allow.len())
    } else if size(&request.message) > MOST_MESSAGE {
        format!("a message has at most {MOST_MESSAGE} bytes, not {}", size(&request.message))
    } else if size(&request.page) > MOST_PAGE {
        format!("a page has at most {MOST_PAGE} bytes, not {}", size(&request.page))
    } else if !(Millis::from_secs(1)..=DAY).contains(&retry_after) {
        format!("`retry_after` is {retry_after}; it must be 1 s to 1 day")
    } else {
        return Ok(());
    };
    Err(Refused::new(ErrorCode::Invalid, wrong))
}

/// Visitors get the app again.
#[utoipa::path(
    delete, operation_id = "end_maintenance", path = "/v1/apps/{app}/maintenance", tag = "apps", params(("app" = AppName, Path)),
    responses((status = 200, body = Wish), (status = 404, body = ErrorBody))
)]
pub(crate) async fn end_maintenance(
    Held(shared): Held<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Place(app): Place<AppName>,
) -> Answer<Wish> {
    let text = format!("maintenance ends, says {}", caller.name);
    change(&shared, &app, text, |_, known| Ok(Wish { maintenance: None, ..known.wish.clone() })).await
}

/// Requests wait, for so long at the most; then they go on in the order in which they came.
#[utoipa::path(
    post, operation_id = "pause", path = "/v1/apps/{app}/pause", tag = "apps", params(("app" = AppName, Path)), request_body = PauseRequest,
    responses((status = 200, body = Wish), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody))
)]
pub(crate) async fn pause(
    Held(shared): Held<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Place(app): Place<AppName>,
    Sent(request): Sent<PauseRequest>,
) -> Answer<Wish> {
    let length = request.length.unwrap_or(PAUSE);
    let most = request.most.unwrap_or(MOST_WAITING);
    if !(Millis(1)..=LONGEST_PAUSE).contains(&length) {
        let error = ErrorBody::new(ErrorCode::Invalid, format!("a pause of {length}; 5 min is the longest"));
        return Err(error.hint("for longer, tell visitors: `pando maintenance on`").into());
    }
    if !(1..=100_000).contains(&most) {
        return Err(Refused::new(ErrorCode::Invalid, format!("{most} requests; 1 to 100000 may wait")));
    }
    let text = format!("requests wait for {length} at the most, says {}", caller.name);
    change(&shared, &app, text, |_, known| {
        let since = shared.now();
        let pause = PauseWish { since, until: since + length, by: caller.name.clone(), most };
        Ok(Wish { pause: Some(pause), ..known.wish.clone() })
    })
    .await
}

/// Requests that wait go on.
#[utoipa::path(
    delete, operation_id = "resume", path = "/v1/apps/{app}/pause", tag = "apps", params(("app" = AppName, Path)),
    responses((status = 200, body = Wish), (status = 404, body = ErrorBody))
)]
pub(crate) async fn resume(
    Held(shared): Held<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Place(app): Place<AppName>,
) -> Answer<Wish> {
    let text = format!("requests that waited go on, says {}", caller.name);
    change(&shared, &app, text, |_, known| Ok(Wish { pause: None, ..known.wish.clone() })).await
}
