//! `/jobs`.

use std::time::{Duration, UNIX_EPOCH};

use ::jobs_core::{Event, State as JobState};
use axum::extract::State as Shared;
use axum::http::StatusCode;
use jobs_store::{AttemptRow, JobRow, Page, happen};
use kit_web::Problem;
use kit_web::extract::{NoParameters, Path, Query};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{State, problem};

/// Jobs in one page at most.
const MAX_PAGE: u32 = 500;

/// A job. All times are in RFC 3339.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Job {
    #[serde(rename = "job_id")]
    pub(crate) id: Uuid,
    pub(crate) kind: String,
    /// queued, running, `retry_wait`, succeeded, failed or cancelled.
    pub(crate) status: &'static str,
    /// high, default or low.
    priority: &'static str,
    /// How often it was begun and not given back.
    pub(crate) attempt: u32,
    pub(crate) max_attempts: u32,
    /// 0 to 1.
    pub(crate) progress: f64,
    /// Whether it is to end as soon as it can.
    cancel_requested: bool,
    created_at: String,
    /// Not begun before.
    run_at: String,
    /// When the last attempt began.
    started_at: Option<String>,
    ended_at: Option<String>,
    /// Who ran it last.
    pub(crate) worker: Option<String>,
    /// Why the last attempt failed.
    pub(crate) error: Option<String>,
    /// What came of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Value>,
    /// Only of a single job.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    callback_url: Option<String>,
    /// Only of a single job: the attempts that are over.
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<Vec<Attempt>>,
}

/// An attempt that is over.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Attempt {
    #[serde(rename = "attempt")]
    number: u32,
    /// succeeded, failed, lost, undeliverable, released or cancelled.
    outcome: &'static str,
    worker: Option<String>,
    started_at: Option<String>,
    ended_at: String,
    error: Option<String>,
}

impl Job {
    /// Without what may be long.
    pub(crate) fn brief(row: &JobRow) -> Self {
        Self {
            id: row.id,
            kind: row.kind.clone(),
            status: row.job.state.name(),
            priority: row.priority.name(),
            attempt: row.job.attempt,
            max_attempts: row.job.max_attempts,
            progress: row.progress,
            cancel_requested: row.job.cancel_requested,
            created_at: time(row.created_at),
            run_at: time(row.job.run_at),
            started_at: row.started_at.map(time),
            ended_at: row.ended_at.map(time),
            worker: row.worker.clone(),
            error: row.error.clone(),
            result: None,
            payload: None,
            callback_url: None,
            attempts: None,
        }
    }

    /// All of it.
    pub(crate) fn whole(row: &JobRow, attempts: Vec<AttemptRow>) -> Self {
        let parsed = |text: &str| serde_json::from_str(text).unwrap_or_default();
        Self {
            result: row.result.as_deref().map(parsed),
            payload: Some(parsed(&row.payload)),
            callback_url: row.callback_url.clone(),
            attempts: Some(attempts.into_iter().map(Attempt::from).collect()),
            ..Self::brief(row)
        }
    }
}

impl From<AttemptRow> for Attempt {
    fn from(row: AttemptRow) -> Self {
        Self {
            number: row.attempt,
            outcome: row.outcome.name(),
            worker: row.worker,
            started_at: row.started_at.map(time),
            ended_at: time(row.ended_at),
            error: row.error,
        }
    }
}

fn time(ms: i64) -> String {
    // Within years of four digits, which is what can be written down.
    let ms = u64::try_from(ms).unwrap_or(0).min(253_402_300_799_999);
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(ms)).to_string()
}

/// Which jobs to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// How many jobs, 1 to 500.
    #[param(minimum = 1, maximum = 500, default = 100)]
    limit: Option<u32>,
    /// Only jobs accepted before this one: the `next` of the page before.
    before: Option<Uuid>,
    /// Only jobs of this status.
    status: Option<String>,
    /// Only jobs of this kind.
    kind: Option<String>,
}

/// A part of all jobs, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct JobPage {
    jobs: Vec<Job>,
    /// Give this as `before` to go on; null at the end.
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
) -> Result<axum::Json<JobPage>, Problem> {
    let limit = query.limit.unwrap_or(100);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(Problem::unprocessable(format!("limit {limit} is not between 1 and {MAX_PAGE}")));
    }
    let status = query.status.as_deref().map(str::parse::<JobState>).transpose();
    let status = status.map_err(|error| Problem::unprocessable(format!("status: {error}")))?;
    // One more than asked for tells whether there is a next page.
    let page = Page { before: query.before, state: status, kind: query.kind, limit: limit + 1 };
    let mut rows = state.store.list(&page).await.map_err(|error| problem(&error))?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next = rows.last().filter(|_| more).map(|row| row.id);
    Ok(axum::Json(JobPage { jobs: rows.iter().map(Job::brief).collect(), next }))
}

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
) -> Result<axum::Json<Job>, Problem> {
    whole(&state, id).await.map(axum::Json)
}

async fn whole(state: &State, id: Uuid) -> Result<Job, Problem> {
    let row = state.store.get(id).await.map_err(|error| problem(&error))?.ok_or_else(|| no_such_job(id))?;
    let attempts = state.store.attempts(id).await.map_err(|error| problem(&error))?;
    Ok(Job::whole(&row, attempts))
}

/// Cancel a job.
///
/// One that runs is asked to end, and may still succeed.
#[utoipa::path(
    delete,
    path = "/jobs/{id}",
    params(("id" = Uuid, Path)),
    responses(
        (status = 200, body = Job, description = "cancelled, or about to be"),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "it has ended already"),
        (status = 503, body = Problem),
    )
)]
pub(super) async fn cancel(
    Shared(state): Shared<State>,
    Path(id): Path<Uuid>,
    Query(NoParameters {}): Query<NoParameters>,
) -> Result<axum::Json<Job>, Problem> {
    change(&state, id, Event::Cancel, "has ended").await
}

/// Retry a job that failed, was cancelled, or waits for its next attempt: now, and
/// with all its attempts.
#[utoipa::path(
    post,
    path = "/jobs/{id}/retry",
    params(("id" = Uuid, Path)),
    responses(
        (status = 200, body = Job),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "it waits, runs or has succeeded"),
        (status = 503, body = Problem),
    )
)]
pub(super) async fn retry(
    Shared(state): Shared<State>,
    Path(id): Path<Uuid>,
    Query(NoParameters {}): Query<NoParameters>,
) -> Result<axum::Json<Job>, Problem> {
    change(&state, id, Event::Retry, "waits, runs or has succeeded").await
}

async fn change(state: &State, id: Uuid, event: Event, otherwise: &str) -> Result<axum::Json<Job>, Problem> {
    let happened = happen(state.store.as_ref(), &[(id, event, None)]).await.map_err(|error| problem(&error))?;
    let happened = happened.into_values().next().ok_or_else(|| no_such_job(id))?;
    let Some(effects) = happened.effects else {
        return Err(Problem::new(StatusCode::CONFLICT, format!("The job {otherwise}: {}.", happened.seen.job.state)));
    };
    if effects.publish {
        state.outbox.publish([happened.seen.into()]);
    }
    whole(state, id).await.map(axum::Json)
}

pub(super) fn no_such_job(id: Uuid) -> Problem {
    Problem::not_found(format!("There is no job {id}."))
}
