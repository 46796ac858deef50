//! How it goes, read once a second for all who ask.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jobs_queue::{Depth, Dispatch, Priority};
use jobs_store::{JobsStore, Overview};
use kit_process::readiness::Check;

use crate::Metrics;
use crate::backlog::Backlog;

/// How often it is read.
const INTERVAL: Duration = Duration::from_secs(1);

/// How soon it is read again when more jobs could be accepted than are.
const SOON: Duration = Duration::from_millis(100);

/// How it went when last looked. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stats(Arc<Mutex<Look>>);

/// One look.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Look {
    /// Nothing, while the database does not answer.
    pub(crate) overview: Option<Overview>,
    /// Nothing, while the broker does not answer.
    pub(crate) depth: Option<Depth>,
}

impl Stats {
    pub(crate) fn get(&self) -> Look {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks until it is aborted.
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
        // A broker that is away keeps nobody from accepting jobs.
        check.set(overview.is_ok());
        if let Ok(overview) = &overview {
            count.found(overview.queued + overview.retry_wait);
        }
        let look = Look { overview: overview.ok(), depth: depth.ok() };
        *stats.0.lock().unwrap_or_else(PoisonError::into_inner) = look;
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
