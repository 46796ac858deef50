//! `GET /jobs/{id}`.

use axum::extract::State as Shared;
use kit_web::Problem;
use kit_web::extract::{NoParameters, Path, Query};
use uuid::Uuid;

use super::State;
use super::error::RouteError;
use super::job::{self, Job};

/// Read a job.
#[utoipa::path(
    get,
    path = "/jobs/{id}",
    params(("id" = Uuid, Path)),
    responses(
        (status = 200, body = Job),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
        (status = 503, body = Problem),
    )
)]
pub(super) async fn get(
    Shared(state): Shared<State>,
    Path(id): Path<Uuid>,
    Query(NoParameters {}): Query<NoParameters>,
) -> Result<axum::Json<Job>, RouteError> {
    job::detail(state.store.as_ref(), id).await.map(axum::Json)
}
