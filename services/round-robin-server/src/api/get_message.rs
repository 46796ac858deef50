//! `GET /clients/{id}/messages/{counter}`.

use axum::extract::State as Shared;
use kit_web::Problem;
use kit_web::extract::{NoParameters, Path, Query};
use round_robin_core::types::ClientId;

use super::State;
use super::document::Message;
use super::error::RouteError;

/// Read a message and its answer.
#[utoipa::path(
    get,
    path = "/clients/{id}/messages/{counter}",
    params(("id" = String, Path), ("counter" = i64, Path)),
    responses(
        (status = 200, body = Message, description = "`replica` and `served_at_ms` are null while the message waits"),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
        (status = 410, body = Problem, description = "the message was served and deleted"),
        (status = 422, body = Problem),
        (status = 503, body = Problem),
    )
)]
pub(super) async fn get(
    Shared(state): Shared<State>,
    Path((id, counter)): Path<(String, i64)>,
    Query(NoParameters {}): Query<NoParameters>,
) -> Result<axum::Json<Message>, RouteError> {
    let client = ClientId::try_from(id)?;
    if let Some(row) = state.store.message(&client, counter).await? {
        return Ok(axum::Json(row.into()));
    }
    let status = state.store.client(&client).await?;
    let kept = status.filter(|status| status.row.has_deleted()).map(|status| status.row.kept);
    match kept {
        Some(kept) if (0..kept).contains(&counter) => Err(RouteError::Gone { counter, kept }),
        _ => Err(RouteError::NoSuchMessage { client: client.into(), counter }),
    }
}
