//! What is happening now, read once for all who watch.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::Event;
use futures_util::{Stream, StreamExt, stream};
use jobs_core::{Priority, State};
use jobs_store::{Error, Page, QueryStore, RATE_MS};
use kit_process::Shutdown;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::api::Job;
use crate::stats::Stats;

/// How often the database is read while somebody watches.
const INTERVAL: Duration = Duration::from_millis(500);

/// Jobs of each sort in a frame at most.
const SHOWN: u32 = 20;

/// Clients that may watch at once.
const MAX_WATCHERS: usize = 256;

/// Frames for all who watch; nothing is read while nobody does. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Live {
    frames: watch::Sender<Arc<(&'static str, String)>>,
    places: Arc<Semaphore>,
    shutdown: Shutdown,
}

/// Queues and jobs at one moment.
#[derive(Serialize)]
pub(crate) struct Snapshot {
    pub(crate) queued: u64,
    pub(crate) running: u64,
    pub(crate) retry_wait: u64,
    pub(crate) failed: u64,
    /// Seconds.
    pub(crate) oldest_waits: f64,
    /// Each second, lately.
    pub(crate) accepted_rate: f64,
    pub(crate) succeeded_rate: f64,
    pub(crate) failed_rate: f64,
    /// Messages that wait in the broker, by queue; nothing while it does not answer.
    pub(crate) queues: Option<[(&'static str, u64); 4]>,
    pub(crate) running_jobs: Vec<Job>,
    pub(crate) failed_jobs: Vec<Job>,
    pub(crate) recent_jobs: Vec<Job>,
}

impl Snapshot {
    pub(crate) async fn read(store: &dyn QueryStore, stats: &Stats) -> Result<Self, Error> {
        let overview = store.overview().await?;
        let of = |state| Page { state, limit: SHOWN, ..Page::default() };
        let jobs = async |state| -> Result<Vec<Job>, Error> {
            Ok(store.list(&of(state)).await?.iter().map(Job::summary).collect())
        };
        let queues = stats.get().depth.map(|depth| {
            let of = |priority: Priority| (priority.name(), depth.of(priority));
            let [high, default, low] = Priority::ALL;
            [of(high), of(default), of(low), ("dead", depth.dead_letters)]
        });
        let seconds = |ms: i64| Duration::from_millis(ms.unsigned_abs()).as_secs_f64();
        let rate = |count: u64| f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / seconds(RATE_MS);
        Ok(Self {
            queued: overview.queued,
            running: overview.running,
            retry_wait: overview.retry_wait,
            failed: overview.failed,
            oldest_waits: overview.oldest_due.map_or(0.0, |at| seconds(overview.now.saturating_sub(at).max(0))),
            accepted_rate: rate(overview.recently_accepted),
            succeeded_rate: rate(overview.recently_succeeded),
            failed_rate: rate(overview.recently_failed),
            queues,
            running_jobs: jobs(Some(State::Running)).await?,
            failed_jobs: jobs(Some(State::Failed)).await?,
            recent_jobs: jobs(None).await?,
        })
    }
}

impl Live {
    pub(crate) fn new(store: Arc<dyn QueryStore>, stats: Stats, shutdown: Shutdown) -> Self {
        let (frames, _) = watch::channel(Arc::new(("state", String::new())));
        tokio::spawn(read(store, stats, frames.clone(), shutdown.clone()));
        Self { frames, places: Arc::new(Semaphore::new(MAX_WATCHERS)), shutdown }
    }

    /// The events from now on, unless too many watch already.
    pub(crate) fn subscribe(&self) -> Option<impl Stream<Item = Result<Event, Infallible>> + use<>> {
        let watcher = (self.frames.subscribe(), self.place()?);
        let frames = stream::unfold(watcher, |(mut frames, place)| async move {
            frames.changed().await.ok()?;
            let frame = Arc::clone(&frames.borrow_and_update());
            Some((Ok(Event::default().event(frame.0).data(&frame.1)), (frames, place)))
        });
        Some(frames.take_until(self.shutdown.draining()))
    }

    /// A place for somebody who watches one job.
    pub(crate) fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }
}

async fn read(
    store: Arc<dyn QueryStore>,
    stats: Stats,
    frames: watch::Sender<Arc<(&'static str, String)>>,
    shutdown: Shutdown,
) {
    while !shutdown.is_draining() {
        if frames.receiver_count() > 0 {
            let frame = match Snapshot::read(store.as_ref(), &stats).await {
                Ok(snapshot) => ("state", serde_json::to_string(&snapshot).unwrap_or_default()),
                Err(error) => ("unavailable", error.to_string()),
            };
            frames.send_replace(Arc::new(frame));
        }
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = shutdown.draining() => {}
        }
    }
}
