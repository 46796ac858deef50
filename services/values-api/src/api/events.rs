//! `/events`.

use axum::extract::State as Shared;
use axum::response::Response;
use kit_web::Problem;
use kit_web::extract::{NoParameters, Query};

use super::State;

/// Watch workers, ids and moves as Server-Sent Events.
///
/// Event `state`, at once and then twice a second: `{"now_ms", "ids", "workers": [...],
/// "values": [[id, value, owner or null], ...]}`, with the first 1000 ids.
/// Event `moves`, when the owner of some of those changed: `[{"id", "from", "to"}, ...]`.
/// Event `unavailable`, while the database does not answer.
#[utoipa::path(
    get,
    path = "/events",
    responses(
        (status = 200, content_type = "text/event-stream", body = String),
        (status = 400, body = Problem),
        (status = 503, body = Problem, description = "too many clients watch already"),
    )
)]
pub(super) async fn stream(
    Shared(state): Shared<State>,
    Query(NoParameters {}): Query<NoParameters>,
) -> Result<Response, Problem> {
    state.live.stream()
}
