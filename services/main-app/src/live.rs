//! The snapshot of queues and jobs that the page and the event stream show.

use std::sync::Arc;
use std::time::Duration;

use jobs_core::{Priority, State};
use jobs_store::{Error, Page, QueryStore, RATE_MS};
pub(crate) use kit_web::live::Reader;
use kit_web::live::{self, Frame, Source};
use serde::Serialize;

use crate::api::Job;
use crate::history::Series;
use crate::stats::Stats;

/// Highest number of jobs in each list of a snapshot.
const SHOWN: u32 = 20;

pub(crate) type Live = live::Live<Snapshot>;

/// Queues and jobs at one moment.
#[derive(Debug, Serialize)]
pub(crate) struct Snapshot {
    /// Milliseconds since the Unix epoch, by the database's clock.
    pub(crate) now_ms: i64,
    /// Jobs that wait to be run.
    pub(crate) queued: u64,
    /// Jobs that run.
    pub(crate) running: u64,
    /// Jobs that wait for their next attempt.
    pub(crate) retry_wait: u64,
    /// Jobs that failed and are still kept.
    pub(crate) failed: u64,
    /// Seconds for which the oldest waiting job is overdue.
    pub(crate) oldest_waits: f64,
    /// Jobs accepted per second, over the last ten seconds.
    pub(crate) accepted_rate: f64,
    /// Jobs that succeeded per second, over the last ten seconds.
    pub(crate) succeeded_rate: f64,
    /// Jobs that failed per second, over the last ten seconds.
    pub(crate) failed_rate: f64,
    /// The same rates over the last minutes.
    pub(crate) history: Series,
    /// Messages in each queue of the broker. `None` while the broker does not answer.
    pub(crate) queues: Option<[(&'static str, u64); 4]>,
    pub(crate) running_jobs: Vec<Job>,
    pub(crate) failed_jobs: Vec<Job>,
    pub(crate) recent_jobs: Vec<Job>,
}

/// The source of snapshots.
pub(crate) struct Jobs {
    pub(crate) store: Arc<dyn QueryStore>,
    pub(crate) stats: Stats,
}

impl Source for Jobs {
    type Snapshot = Snapshot;
    type Error = Error;

    async fn read(&mut self) -> Result<Frame<Snapshot>, Error> {
        let overview = self.store.overview().await?;
        let queues = self.stats.get().depth.map(|depth| {
            let of = |priority: Priority| (priority.name(), depth.of(priority));
            let [high, default, low] = Priority::ALL;
            [of(high), of(default), of(low), ("dead", depth.dead_letters)]
        });
        Ok(Frame::new(Snapshot {
            now_ms: overview.now,
            queued: overview.queued,
            running: overview.running,
            retry_wait: overview.retry_wait,
            failed: overview.failed,
            oldest_waits: overview.oldest_due.map_or(0.0, |at| seconds(overview.now.saturating_sub(at).max(0))),
            accepted_rate: rate(overview.recently_accepted),
            succeeded_rate: rate(overview.recently_succeeded),
            failed_rate: rate(overview.recently_failed),
            history: self.stats.history(overview.now),
            queues,
            running_jobs: self.newest(Some(State::Running)).await?,
            failed_jobs: self.newest(Some(State::Failed)).await?,
            recent_jobs: self.newest(None).await?,
        }))
    }
}

impl Jobs {
    /// Reads the newest jobs, of all or in `state`.
    async fn newest(&self, state: Option<State>) -> Result<Vec<Job>, Error> {
        let page = Page { state, limit: SHOWN, ..Page::default() };
        Ok(self.store.list(&page).await?.iter().map(Job::summary).collect())
    }
}

fn seconds(ms: i64) -> f64 {
    Duration::from_millis(ms.unsigned_abs()).as_secs_f64()
}

/// The rate per second of `count` events within [`RATE_MS`].
pub(crate) fn rate(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / seconds(RATE_MS)
}
