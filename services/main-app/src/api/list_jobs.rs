//! `GET /jobs`.

use axum::extract::State as Shared;
use jobs_core::State as JobState;
use jobs_store::Page;
use kit_web::extract::Query;
use kit_web::{Problem, page_of};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::State;
use super::error::RouteError;
use super::job::Job;

/// Number of jobs in a page unless the client sets a limit.
const DEFAULT_PAGE: u32 = 100;

/// Highest number of jobs in a page.
const MAX_PAGE: u32 = 500;

/// A selection of jobs.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Highest number of jobs, 1 to 500.
    #[param(minimum = 1, maximum = 500, default = 100)]
    limit: Option<u32>,
    /// Only jobs accepted before the job with this id: the `next` of the previous page.
    before: Option<Uuid>,
    /// Only jobs with this status.
    status: Option<String>,
    /// Only jobs of this kind.
    kind: Option<String>,
}

/// A page of jobs, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct JobPage {
    jobs: Vec<Job>,
    /// Value of `before` for the next page; null on the last page.
    next: Option<Uuid>,
}

/// List jobs.
#[utoipa::path(
    get,
    path = "/jobs",
    params(ListQuery),
    responses(
        (status = 200, body = JobPage),
        (status = 400, body = Problem),
        (status = 422, body = Problem),
        (status = 503, body = Problem),
    )
)]
pub(super) async fn list(
    Shared(state): Shared<State>,
    Query(query): Query<ListQuery>,
) -> Result<axum::Json<JobPage>, RouteError> {
    let limit = query.limit.unwrap_or(DEFAULT_PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(RouteError::Invalid(format!("limit {limit} is not between 1 and {MAX_PAGE}")));
    }
    let status: Option<JobState> = query.status.as_deref().map(str::parse).transpose()?;
    // One job more than requested shows whether there is a next page.
    let page = Page { before: query.before, state: status, kind: query.kind, limit: limit + 1 };
    let rows = state.store.list(&page).await?;
    let (rows, next) = page_of(rows, limit, |row| row.id);
    Ok(axum::Json(JobPage { jobs: rows.iter().map(Job::summary).collect(), next }))
}
