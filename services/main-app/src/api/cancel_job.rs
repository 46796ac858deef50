//! `DELETE /jobs/{id}`.

use axum::extract::State as Shared;
use jobs_core::Event;
use kit_web::Problem;
use kit_web::extract::{NoParameters, Path, Query};
use uuid::Uuid;

use super::State;
use super::error::RouteError;
use super::job::{self, Job};

/// Cancel a job.
///
/// A running job is asked to end, and may still succeed.
#[utoipa::path(
    delete,
    path = "/jobs/{id}",
    params(("id" = Uuid, Path)),
    responses(
        (status = 200, body = Job, description = "the job is cancelled, or its cancellation is requested"),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "the job has ended"),
        (status = 503, body = Problem),
    )
)]
pub(super) async fn cancel(
    Shared(state): Shared<State>,
    Path(id): Path<Uuid>,
    Query(NoParameters {}): Query<NoParameters>,
) -> Result<axum::Json<Job>, RouteError> {
    job::change(&state, id, Event::Cancel, "cancelled").await
}
