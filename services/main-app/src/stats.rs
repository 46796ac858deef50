//! Queue statistics, polled once a second.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jobs_queue::{Depth, Dispatch, Priority};
use jobs_store::{JobsStore, Overview};
use kit_process::readiness::Check;

use crate::Metrics;
use crate::backlog::Backlog;
use crate::history::{History, Series};

/// Time between two polls.
const INTERVAL: Duration = Duration::from_secs(1);

/// Time until the next poll when more jobs could be accepted than are.
const SOON: Duration = Duration::from_millis(100);

/// The results of the last poll, and the history of all. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stats(Arc<Mutex<(Look, History)>>);

/// The results of one poll.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Look {
    /// `None` if the database did not answer.
    pub(crate) overview: Option<Overview>,
    /// `None` if the broker did not answer.
    pub(crate) depth: Option<Depth>,
}

impl Stats {
    /// The results of the last poll.
    pub(crate) fn get(&self) -> Look {
        self.lock().0
    }

    /// The rates of the last minutes, until `now` in milliseconds since the Unix epoch.
    pub(crate) fn history(&self, now: i64) -> Series {
        self.lock().1.series(now)
    }

    fn set(&self, look: Look) {
        let mut stats = self.lock();
        stats.0 = look;
        if let Some(overview) = &look.overview {
            stats.1.record(overview);
        }
    }

    fn lock(&self) -> MutexGuard<'_, (Look, History)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Polls until it is aborted.
pub(crate) async fn run(
    stats: Stats,
    backlog: Backlog,
    store: Arc<dyn JobsStore>,
    dispatch: Arc<dyn Dispatch>,
    metrics: Metrics,
    check: Check,
) {
    loop {
        let count = backlog.count();
        let (overview, depth) = tokio::join!(store.overview(), dispatch.depth());
        // Jobs are accepted without a broker, too.
        check.set(overview.is_ok());
        if let Ok(overview) = &overview {
            count.found(overview.queued + overview.retry_wait);
        }
        let look = Look { overview: overview.ok(), depth: depth.ok() };
        stats.set(look);
        show(&metrics, look);
        tokio::time::sleep(SOON).await;
        let _ = tokio::time::timeout(INTERVAL.saturating_sub(SOON), backlog.in_doubt()).await;
    }
}

fn show(metrics: &Metrics, look: Look) {
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    if let Some(overview) = look.overview {
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
    if let Some(depth) = look.depth {
        for priority in Priority::ALL {
            metrics.queue_depth.get_or_create(&[("queue", priority.name())]).set(number(depth.of(priority)));
        }
        metrics.queue_depth.get_or_create(&[("queue", "dead")]).set(number(depth.dead));
    }
}
