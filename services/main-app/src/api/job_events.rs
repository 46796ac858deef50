//! `GET /jobs/{id}/events`.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::response::Response;
use futures_util::stream;
use jobs_store::JobRow;
use kit_web::extract::{NoParameters, Path, Query};
use kit_web::{Problem, sse};
use uuid::Uuid;

use super::State;
use super::job::{self, Job};

/// Interval at which a job is read while a client receives its events.
const INTERVAL: Duration = Duration::from_millis(250);

/// Watch a job as Server-Sent Events.
///
/// Event `job`, at first and after each change: the job as in `GET /jobs/{id}`. The stream
/// ends when the job has ended.
#[utoipa::path(
    get,
    path = "/jobs/{id}/events",
    params(("id" = Uuid, Path)),
    responses(
        (status = 200, content_type = "text/event-stream", body = String),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
        (status = 503, body = Problem, description = "too many clients receive events"),
    )
)]
pub(super) async fn job_events(
    Shared(state): Shared<State>,
    Path(id): Path<Uuid>,
    Query(NoParameters {}): Query<NoParameters>,
) -> Result<Response, Problem> {
    let row = job::row(state.store.as_ref(), id).await?;
    let live = state.live.clone();
    live.stream_of(stream::unfold(Watcher { state, sent: None, row: Some(row) }, Watcher::next))
}

/// A client that receives the events of a job.
struct Watcher {
    state: State,
    /// The latest event that was sent.
    sent: Option<Bytes>,
    /// The latest row of the job; `None` after the end of the job was sent.
    row: Option<JobRow>,
}

impl Watcher {
    async fn next(mut self) -> Option<(Bytes, Self)> {
        loop {
            let mut row = self.row.take()?;
            if self.sent.is_some() {
                tokio::time::sleep(INTERVAL).await;
                // While the database is unreachable, the watcher keeps the latest row.
                match self.state.store.get(row.id).await {
                    Ok(Some(now)) => row = now,
                    Ok(None) => return None,
                    Err(_) => {}
                }
            }
            let attempts = match self.state.store.attempts(row.id).await {
                Ok(attempts) => attempts,
                // An event without the attempts would look as if there had been none.
                Err(_) if self.sent.is_some() => {
                    self.row = Some(row);
                    continue;
                }
                Err(_) => Vec::new(),
            };
            let event = sse::json("job", &Job::detail(&row, attempts));
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
