//! `GET /events`.

use axum::extract::State as Shared;
use axum::response::Response;
use kit_web::Problem;
use kit_web::extract::{NoParameters, Query};

use super::State;

/// Watch the count as Server-Sent Events.
///
/// Event `state`, at once and then four times a second: `{"now_ms", "last_number", "latest", "counting",
/// "clients", "waiting", "error", "rates", "happenings"}`.
#[utoipa::path(
    get,
    path = "/events",
    responses(
        (status = 200, content_type = "text/event-stream", body = String),
        (status = 400, body = Problem),
        (status = 503, body = Problem, description = "too many clients watch already"),
    )
)]
pub(super) async fn events(
    Shared(state): Shared<State>,
    Query(NoParameters {}): Query<NoParameters>,
) -> Result<Response, Problem> {
    state.live.stream()
}
