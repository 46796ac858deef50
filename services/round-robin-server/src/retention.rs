//! Deletes messages and turns after their retention.

use std::sync::Arc;
use std::time::Duration;

use kit_process::HumanDuration;
use round_robin_store::{Error, RetentionStore};

use crate::Metrics;

/// Time between two runs. All replicas delete, each at its own times.
const INTERVAL: Duration = Duration::from_secs(10);

/// Time between two parts of a run, for other transactions.
const PAUSE: Duration = Duration::from_millis(50);

/// Answers without an acknowledgement stay at least so many milliseconds: a day.
const UNACKNOWLEDGED_MS: i64 = 24 * 3600 * 1000;

/// Turns stay at least so many milliseconds: an hour, for the page.
const TURNS_MS: i64 = 3600 * 1000;

/// Deletes until it is aborted.
pub(crate) async fn run(store: Arc<dyn RetentionStore>, retention: HumanDuration, metrics: Metrics) {
    loop {
        tokio::time::sleep(INTERVAL.mul_f64(0.5 + fastrand::f64())).await;
        if let Err(error) = delete(store.as_ref(), retention.as_millis()).await {
            metrics.store_errors.inc();
            tracing::warn!(%error, "cannot delete old messages; trying again");
        }
    }
}

async fn delete(store: &dyn RetentionStore, retention_ms: i64) -> Result<(), Error> {
    while store.delete_old_messages(retention_ms, retention_ms.max(UNACKNOWLEDGED_MS)).await? > 0 {
        tokio::time::sleep(PAUSE).await;
    }
    store.delete_old_turns(retention_ms.max(TURNS_MS)).await?;
    Ok(())
}
