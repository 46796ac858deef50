//! Watching.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State as Shared;
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use jobs_store::JobRow;
use kit_web::Problem;
use kit_web::extract::{NoParameters, Path, Query};
use uuid::Uuid;

use super::jobs::{Job, no_such_job};
use super::{State, problem};

/// How often a job is looked at while somebody watches it.
const INTERVAL: Duration = Duration::from_millis(250);

/// Watch queues and jobs as Server-Sent Events.
///
/// Event `state`, twice a second: how many jobs wait, run and failed, rates, queues,
/// and the first of those that run, failed and were accepted last. Event
/// `unavailable`, while the database does not answer.
#[utoipa::path(
    get,
    path = "/events",
    responses(
        (status = 200, content_type = "text/event-stream", body = String),
        (status = 400, body = Problem),
        (status = 503, body = Problem, description = "too many watch already"),
    )
)]
pub(super) async fn of_all(
    Shared(state): Shared<State>,
    Query(NoParameters {}): Query<NoParameters>,
) -> Result<Response, Problem> {
    let events = state.live.subscribe().ok_or_else(too_many)?;
    Ok(Sse::new(events).keep_alive(KeepAlive::default()).into_response())
}

/// Watch a job as Server-Sent Events.
///
/// Event `job`, at first and whenever something has changed, as it is at
/// `/jobs/{id}`. The stream ends when the job has.
#[utoipa::path(
    get,
    path = "/jobs/{id}/events",
    params(("id" = Uuid, Path)),
    responses(
        (status = 200, content_type = "text/event-stream", body = String),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
        (status = 503, body = Problem, description = "too many watch already"),
    )
)]
pub(super) async fn of_job(
    Shared(state): Shared<State>,
    Path(id): Path<Uuid>,
    Query(NoParameters {}): Query<NoParameters>,
) -> Result<Response, Problem> {
    let row = state.store.get(id).await.map_err(|error| problem(&error))?.ok_or_else(|| no_such_job(id))?;
    let place = state.live.place().ok_or_else(too_many)?;
    let draining = state.shutdown.draining();
    let watcher = Watcher { state, seen: None, row: Some(row), _place: place };
    let events = stream::unfold(watcher, Watcher::next).map(Ok::<_, Infallible>);
    Ok(Sse::new(events.take_until(draining)).keep_alive(KeepAlive::default()).into_response())
}

fn too_many() -> Problem {
    Problem::unavailable("Too many clients watch already.")
}

struct Watcher {
    state: State,
    seen: Option<String>,
    /// Nothing, once the job has ended and that was told.
    row: Option<JobRow>,
    _place: tokio::sync::OwnedSemaphorePermit,
}

impl Watcher {
    async fn next(mut self) -> Option<(sse::Event, Self)> {
        loop {
            let mut row = self.row.take()?;
            if self.seen.is_some() {
                tokio::time::sleep(INTERVAL).await;
                // A database that is away is waited for.
                match self.state.store.get(row.id).await {
                    Ok(Some(now)) => row = now,
                    Ok(None) => return None,
                    Err(_) => {}
                }
            }
            let attempts = self.state.store.attempts(row.id).await.unwrap_or_default();
            let data = serde_json::to_string(&Job::whole(&row, attempts)).unwrap_or_default();
            let is_new = self.seen.as_ref() != Some(&data);
            let is_over = row.job.state.is_terminal();
            self.row = Some(row).filter(|_| !is_over);
            if is_new || is_over {
                self.seen = Some(data.clone());
                return Some((sse::Event::default().event("job").data(data), self));
            }
        }
    }
}
