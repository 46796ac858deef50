//! Event streams of all jobs and of one.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::response::Response;
use futures_util::stream;
use jobs_store::JobRow;
use kit_web::extract::{NoParameters, Path, Query};
use kit_web::{Problem, sse};
use uuid::Uuid;

use super::jobs::{Job, no_such_job};
use super::{State, problem};

/// Time between two reads of a job that a client watches.
const INTERVAL: Duration = Duration::from_millis(250);

/// Watch queues and jobs as Server-Sent Events.
///
/// Event `state`, at once and then twice a second: numbers of jobs by status, rates now
/// and over the last minutes, queues, and the newest jobs that run, failed, and of all.
/// Event `unavailable`, while the database does not answer.
#[utoipa::path(
    get,
    path = "/events",
    responses(
        (status = 200, content_type = "text/event-stream", body = String),
        (status = 400, body = Problem),
        (status = 503, body = Problem, description = "too many clients watch already"),
    )
)]
pub(super) async fn of_all(
    Shared(state): Shared<State>,
    Query(NoParameters {}): Query<NoParameters>,
) -> Result<Response, Problem> {
    state.live.stream()
}

/// Watch a job as Server-Sent Events.
///
/// Event `job`, at once and after each change: the job as in `/jobs/{id}`. The stream ends
/// when the job has ended.
#[utoipa::path(
    get,
    path = "/jobs/{id}/events",
    params(("id" = Uuid, Path)),
    responses(
        (status = 200, content_type = "text/event-stream", body = String),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
        (status = 503, body = Problem, description = "too many clients watch already"),
    )
)]
pub(super) async fn of_job(
    Shared(state): Shared<State>,
    Path(id): Path<Uuid>,
    Query(NoParameters {}): Query<NoParameters>,
) -> Result<Response, Problem> {
    let row = state.store.get(id).await.map_err(|error| problem(&error))?.ok_or_else(|| no_such_job(id))?;
    let live = state.live.clone();
    live.stream_of(stream::unfold(Watcher { state, sent: None, row: Some(row) }, Watcher::next))
}

struct Watcher {
    state: State,
    /// The last event.
    sent: Option<Bytes>,
    /// `None` once the job has ended and its last event was sent.
    row: Option<JobRow>,
}

impl Watcher {
    async fn next(mut self) -> Option<(Bytes, Self)> {
        loop {
            let mut row = self.row.take()?;
            if self.sent.is_some() {
                tokio::time::sleep(INTERVAL).await;
                // While the database does not answer, the client waits.
                match self.state.store.get(row.id).await {
                    Ok(Some(now)) => row = now,
                    Ok(None) => return None,
                    Err(_) => {}
                }
            }
            let attempts = self.state.store.attempts(row.id).await.unwrap_or_default();
            let event = sse::json("job", &Job::whole(&row, attempts));
            let is_new = self.sent.as_ref() != Some(&event);
            let has_ended = row.job.state.is_terminal();
            self.row = Some(row).filter(|_| !has_ended);
            if is_new || has_ended {
                self.sent = Some(event.clone());
                return Some((event, self));
            }
        }
    }
}
