//! Queue statistics, polled once a second.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jobs_queue::{Depth, JobQueue, Priority};
use jobs_store::{Overview, QueryStore};
use kit_process::StoreWatch;
use tokio::time::Instant;

use crate::Metrics;
use crate::backlog::Backlog;
use crate::history::{History, Series};

/// Delay between two polls.
const INTERVAL: Duration = Duration::from_secs(1);

/// Shortest delay between two polls, when the backlog needs a new count.
const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// The latest sample, and the history of all. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stats(Arc<Mutex<(Sample, History)>>);

/// The statistics at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sample {
    /// Numbers of jobs; `None` while the database does not answer.
    pub(crate) overview: Option<Overview>,
    /// When the latest request to the database ended.
    read_at: Option<Instant>,
    /// Numbers of messages; `None` while the broker does not answer.
    pub(crate) depth: Option<Depth>,
}

impl Stats {
    /// The latest sample.
    pub(crate) fn get(&self) -> Sample {
        self.lock().0
    }

    /// The time of the database's clock, in milliseconds since the Unix epoch, or a little
    /// earlier: the clock at the latest poll, plus the time since. `None` while the database
    /// does not answer.
    pub(crate) fn now(&self) -> Option<i64> {
        let Sample { overview, read_at, .. } = self.get();
        let since = i64::try_from(read_at?.elapsed().as_millis()).ok()?;
        Some(overview?.now.saturating_add(since))
    }

    /// The rates of the last minutes, until `now` in milliseconds since the Unix epoch.
    pub(crate) fn history(&self, now: i64) -> Series {
        self.lock().1.series(now)
    }

    fn set(&self, sample: Sample) {
        let mut stats = self.lock();
        stats.0 = sample;
        if let Some(overview) = &sample.overview {
            stats.1.record(overview);
        }
    }

    fn lock(&self) -> MutexGuard<'_, (Sample, History)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Polls until it is aborted. Updates the statistics, the backlog, the metrics and the
/// watch of the database. main-app accepts jobs without a broker, so its readiness depends
/// only on the database.
pub(crate) async fn run(
    stats: Stats,
    backlog: Backlog,
    store: Arc<dyn QueryStore>,
    queue: Arc<dyn JobQueue>,
    metrics: Metrics,
    watch: StoreWatch,
) {
    loop {
        let count = backlog.count();
        let overview = async {
            let overview = store.overview().await;
            watch.record(overview.as_ref());
            (overview, Instant::now())
        };
        let ((overview, read_at), depth) = tokio::join!(overview, queue.depth());
        if let Ok(overview) = &overview {
            count.finish(overview.queued + overview.retry_wait);
        }
        let sample = Sample { overview: overview.ok(), read_at: Some(read_at), depth: depth.ok() };
        stats.set(sample);
        update_metrics(&metrics, sample);
        tokio::time::sleep(MIN_INTERVAL).await;
        let _ = tokio::time::timeout(INTERVAL.saturating_sub(MIN_INTERVAL), backlog.count_wanted()).await;
    }
}

fn update_metrics(metrics: &Metrics, sample: Sample) {
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    if let Some(overview) = sample.overview {
        for (state, count) in [
            ("queued", overview.queued),
            ("running", overview.running),
            ("retry_wait", overview.retry_wait),
            ("failed", overview.failed),
        ] {
            metrics.in_state.get_or_create(&[("state", state)]).set(number(count));
        }
        let oldest = overview.oldest_due.map_or(0, |at| overview.now.saturating_sub(at) / 1000);
        metrics.oldest_due_seconds.set(oldest);
    }
    if let Some(depth) = sample.depth {
        for priority in Priority::ALL {
            metrics.queue_depth.get_or_create(&[("queue", priority.name())]).set(number(depth.of(priority)));
        }
        metrics.queue_depth.get_or_create(&[("queue", "dead")]).set(number(depth.dead_letters));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_time_of_the_database_goes_on_between_two_polls() {
        let stats = Stats::default();
        assert_eq!(stats.now(), None);
        let overview = Some(Overview { now: 5000, ..Overview::default() });
        stats.set(Sample { overview, read_at: Some(Instant::now()), depth: None });
        assert_eq!(stats.now(), Some(5000));
        tokio::time::advance(Duration::from_millis(700)).await;
        assert_eq!(stats.now(), Some(5700));
        stats.set(Sample { overview: None, read_at: Some(Instant::now()), depth: None });
        assert_eq!(stats.now(), None, "it is not known while the database does not answer");
    }
}
