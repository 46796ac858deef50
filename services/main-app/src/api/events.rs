//! `GET /events`.

use axum::extract::State as Shared;
use axum::response::Response;
use kit_web::Problem;
use kit_web::extract::{NoParameters, Query};

use super::State;

/// Watch queues and jobs as Server-Sent Events.
///
/// Event `state`, at once and then twice a second: numbers of jobs by status, rates now
/// and over the last minutes, queues, and the newest jobs: of all, of those that run, and of
/// those that failed. Event `unavailable`, while the database does not answer.
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
) -> Result<Response, Problem> {
    state.live.stream()
}
