//! `GET /events`.

use axum::extract::State as Shared;
use axum::response::sse::{KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use kit_web::Problem;
use kit_web::extract::{NoParameters, Query};

use super::State;
use super::error::RouteError;

/// Watch queues and jobs as Server-Sent Events.
///
/// Event `state`, twice a second: numbers of queued, running and failed jobs, rates, queues,
/// and the latest running, failed and accepted jobs. Event `unavailable`, while the database
/// does not answer.
#[utoipa::path(
    get,
    path = "/events",
    responses(
        (status = 200, content_type = "text/event-stream", body = String),
        (status = 400, body = Problem),
        (status = 503, body = Problem, description = "too many clients receive events"),
    )
)]
pub(super) async fn events(
    Shared(state): Shared<State>,
    Query(NoParameters {}): Query<NoParameters>,
) -> Result<Response, RouteError> {
    let events = state.live.subscribe().ok_or(RouteError::TooManyWatchers)?;
    Ok(Sse::new(events).keep_alive(KeepAlive::default()).into_response())
}
