//! `GET /events`.

use axum::extract::State as Shared;
use axum::response::Response;
use kit_web::Problem;
use kit_web::extract::{NoParameters, Query};

use super::State;

/// Watch turns and clients as Server-Sent Events.
///
/// Event `state`, at once and then four times a second: `{"now_ms", "quantum_ms", "replicas",
/// "turns", "clients", "client_count", "waiting"}`, with the latest turns and the clients that were
/// active last. Event `unavailable`, while the database does not answer.
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
