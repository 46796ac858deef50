//! Jobs as clients see them.

use std::time::{Duration, UNIX_EPOCH};

use jobs_core::Event;
use jobs_store::{AttemptRow, JobEvent, JobRow, QueryStore, apply};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::State;
use super::error::RouteError;

/// A job. Times are in RFC 3339.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Job {
    #[serde(rename = "job_id")]
    pub(crate) id: Uuid,
    pub(crate) kind: String,
    /// queued, running, `retry_wait`, succeeded, failed or cancelled.
    pub(crate) status: &'static str,
    /// high, default or low.
    priority: &'static str,
    /// Number of attempts that were started and not released.
    pub(crate) attempt: u32,
    pub(crate) max_attempts: u32,
    /// Progress of the latest attempt, 0 to 1.
    pub(crate) progress: f64,
    /// Whether a client asked to cancel the job while it runs.
    cancel_requested: bool,
    created_at: String,
    /// Time before which the job does not start.
    run_at: String,
    /// Time at which the latest attempt began.
    started_at: Option<String>,
    ended_at: Option<String>,
    /// Name of the worker that ran the latest attempt.
    pub(crate) worker: Option<String>,
    /// Error of the latest failed attempt.
    pub(crate) error: Option<String>,
    /// Result of the job. Left out in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Value>,
    /// Payload of the job. Left out in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    callback_url: Option<String>,
    /// Attempts that have ended. Left out in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<Vec<Attempt>>,
}

/// An attempt that has ended.
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
    /// The job as lists show it, without payload, result and attempts.
    pub(crate) fn summary(row: &JobRow) -> Self {
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

    /// The complete job.
    pub(crate) fn detail(row: &JobRow, attempts: Vec<AttemptRow>) -> Self {
        let parsed = |text: &str| serde_json::from_str(text).unwrap_or_default();
        Self {
            result: row.result.as_deref().map(parsed),
            payload: Some(parsed(&row.payload)),
            callback_url: row.callback_url.clone(),
            attempts: Some(attempts.into_iter().map(Attempt::from).collect()),
            ..Self::summary(row)
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

/// The RFC 3339 form of a time in milliseconds since the Unix epoch.
fn time(ms: i64) -> String {
    // RFC 3339 allows only years of four digits.
    let ms = u64::try_from(ms).unwrap_or(0).min(253_402_300_799_999);
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(ms)).to_string()
}

/// Reads the row of a job.
pub(super) async fn row(store: &dyn QueryStore, id: Uuid) -> Result<JobRow, RouteError> {
    store.get(id).await?.ok_or(RouteError::NoSuchJob(id))
}

/// Reads the complete job.
pub(super) async fn detail(store: &dyn QueryStore, id: Uuid) -> Result<Job, RouteError> {
    let row = row(store, id).await?;
    Ok(Job::detail(&row, store.attempts(id).await?))
}

/// Applies a client's event to a job, publishes its message if the event requires one, and
/// returns the job after the event. `action` names the request in an error.
pub(super) async fn change(
    state: &State,
    id: Uuid,
    event: Event,
    action: &'static str,
) -> Result<axum::Json<Job>, RouteError> {
    let applied = apply(state.transitions.as_ref(), &[JobEvent::new(id, event)]).await?;
    let applied = applied.into_values().next().ok_or(RouteError::NoSuchJob(id))?;
    let Some(effects) = applied.effects else {
        return Err(RouteError::WrongState { state: applied.snapshot.job.state, action });
    };
    if effects.publish {
        state.outbox.publish([applied.snapshot.into()]);
    }
    detail(state.store.as_ref(), id).await.map(axum::Json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_at_both_ends() {
        assert_eq!(time(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        assert_eq!(time(-1), "1970-01-01T00:00:00.000Z");
        assert_eq!(time(i64::MAX), "9999-12-31T23:59:59.999Z");
    }
}
