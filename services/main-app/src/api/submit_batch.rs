//! `POST /jobs/batch`.

use axum::extract::State as Shared;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use jobs_core::request;
use jobs_store::NewJob;
use kit_web::Problem;
use kit_web::extract::{Json, NoParameters, Query};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::State;
use super::error::RouteError;
use super::submission::{JobRequest, Submitted, accept, check_key, idempotency_key, traceparent};

/// Highest number of jobs in one batch.
const MAX_BATCH: usize = 1000;

/// Jobs to accept: all of them, or none.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BatchRequest {
    /// 1 to 1000 jobs.
    jobs: Vec<JobRequest>,
}

/// The accepted jobs, in the order of the request.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BatchSubmitted {
    jobs: Vec<Submitted>,
}

/// Submit many jobs at once.
#[utoipa::path(
    post,
    path = "/jobs/batch",
    request_body = BatchRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "repeating a request with the same key and body creates no further jobs; with this header, jobs must not have an idempotency_key")),
    responses(
        (status = 202, body = BatchSubmitted),
        (status = 400, body = Problem),
        (status = 409, body = Problem, description = "a key was used for a different request; no job was accepted"),
        (status = 413, body = Problem),
        (status = 415, body = Problem),
        (status = 422, body = Problem, description = "no job was accepted"),
        (status = 429, body = Problem, description = "too many jobs are waiting"),
        (status = 503, body = Problem),
    )
)]
pub(super) async fn batch(
    Shared(state): Shared<State>,
    Query(NoParameters {}): Query<NoParameters>,
    headers: HeaderMap,
    Json(request): Json<BatchRequest>,
) -> Result<Response, RouteError> {
    if !(1..=MAX_BATCH).contains(&request.jobs.len()) {
        return Err(RouteError::Invalid(format!("{} jobs: send between 1 and {MAX_BATCH}", request.jobs.len())));
    }
    let key = idempotency_key(&headers)?;
    if key.is_some() && request.jobs.iter().any(|job| job.idempotency_key.is_some()) {
        let detail = "Send either the header Idempotency-Key or an idempotency_key in the jobs.";
        return Err(RouteError::Invalid(detail.to_owned()));
    }
    let traceparent = traceparent(&headers);
    let jobs = request.jobs.into_iter().enumerate().map(|(index, mut job)| {
        let key = job.idempotency_key.take();
        job.validate(&state.rules(), key, traceparent.clone())
            .map_err(|error| RouteError::InvalidJobOfBatch { index, error })
    });
    let mut jobs = jobs.collect::<Result<Vec<_>, _>>()?;
    if let Some(key) = &key {
        identify(&mut jobs, key)?;
    }
    let jobs = accept(&state, jobs).await.map_err(|error| match error {
        // The key belongs to the batch and conflicts in all its jobs.
        RouteError::KeyConflicts(_) if key.is_some() => RouteError::KeyConflict,
        error => error,
    })?;
    Ok((StatusCode::ACCEPTED, axum::Json(BatchSubmitted { jobs })).into_response())
}

/// Gives each job a key and a hash that are derived from the key and the jobs of its batch.
fn identify(jobs: &mut [NewJob], key: &str) -> Result<(), RouteError> {
    check_key(key)?;
    let hashes: Vec<_> = jobs.iter().map(|job| job.request_hash).collect();
    for (job, (key, hash)) in jobs.iter_mut().zip(request::batch(key, &hashes)) {
        (job.key, job.request_hash) = (Some(key), hash);
    }
    Ok(())
}
