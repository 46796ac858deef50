//! `POST /jobs`.

use axum::extract::State as Shared;
use axum::http::HeaderMap;
use axum::response::Response;
use kit_web::Problem;
use kit_web::extract::{Json, NoParameters, Query};

use super::State;
use super::error::RouteError;
use super::submission::{JobRequest, Submitted, one};

/// Submit a job.
#[utoipa::path(
    post,
    path = "/jobs",
    request_body = JobRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "requests with the same key and body are the same job")),
    responses(
        (status = 202, body = Submitted, headers(("Location" = String, description = "path of the job"))),
        (status = 400, body = Problem),
        (status = 409, body = Problem, description = "the key was used for a different request"),
        (status = 413, body = Problem),
        (status = 415, body = Problem),
        (status = 422, body = Problem),
        (status = 429, body = Problem, description = "too many jobs are waiting"),
        (status = 503, body = Problem),
    )
)]
pub(super) async fn submit(
    Shared(state): Shared<State>,
    Query(NoParameters {}): Query<NoParameters>,
    headers: HeaderMap,
    Json(request): Json<JobRequest>,
) -> Result<Response, RouteError> {
    one(&state, request, &headers).await
}
