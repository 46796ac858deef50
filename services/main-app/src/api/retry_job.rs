//! `POST /jobs/{id}/retry`.

use axum::extract::State as Shared;
use jobs_core::Event;
use kit_web::Problem;
use kit_web::extract::{NoParameters, Path, Query};
use uuid::Uuid;

use super::State;
use super::error::RouteError;
use super::job::{self, Job};

/// Retry a job.
///
/// A job that failed, was cancelled or waits for its next attempt is queued at once, with
/// all its attempts.
#[utoipa::path(
    post,
    path = "/jobs/{id}/retry",
    params(("id" = Uuid, Path)),
    responses(
        (status = 200, body = Job),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "the job is queued, runs or has succeeded"),
        (status = 503, body = Problem),
    )
)]
pub(super) async fn retry(
    Shared(state): Shared<State>,
    Path(id): Path<Uuid>,
    Query(NoParameters {}): Query<NoParameters>,
) -> Result<axum::Json<Job>, RouteError> {
    job::change(&state, id, Event::Retry, "retried").await
}
