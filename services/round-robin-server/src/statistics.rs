//! Numbers of the whole system, for metrics.

use std::sync::Arc;
use std::time::Duration;

use round_robin_core::turns::is_live;
use round_robin_store::QueryStore;

use crate::Metrics;

/// Time between two reads.
const INTERVAL: Duration = Duration::from_secs(2);

/// Reads until it is aborted. While the database does not answer, the metrics keep their values.
pub(crate) async fn run(store: Arc<dyn QueryStore>, metrics: Metrics) {
    loop {
        if let Ok(overview) = store.overview(0, 0).await {
            let live = overview.replicas.iter().filter(|replica| is_live(replica, overview.now)).count();
            metrics.live_replicas.set(i64::try_from(live).unwrap_or(i64::MAX));
            metrics.clients.set(overview.client_count);
            metrics.waiting.set(overview.waiting);
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
