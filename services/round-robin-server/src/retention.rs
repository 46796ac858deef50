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

#[cfg(test)]
mod tests {
    use kit_database::Options;
    use round_robin_core::tables::{Hello, Request};
    use round_robin_core::turns::Quantum;
    use round_robin_core::types::{ClientId, Range};
    use testkit::SqlBackend;

    use round_robin_store::Registered;

    use super::*;

    #[tokio::test]
    async fn what_was_not_acknowledged_stays_for_a_day() {
        let backend = SqlBackend::sqlite(Options::DEFAULT);
        backend.database().migrate(&round_robin_store::MIGRATIONS).await.unwrap();
        // A turn that does not end during the test.
        let store = round_robin_store::open(backend.database(), Quantum::from_millis(i64::MAX / 4).unwrap());
        let Registered::As(replica) = store.register("a").await.unwrap() else { panic!("the quantum is new") };
        let turn = store.beat(replica).await.unwrap().turn;
        let mut ranges = Vec::new();
        let names = ["acknowledges", "does not"].map(|name| ClientId::try_from(name.to_owned()).unwrap());
        for client in &names {
            let request = |counter| Request { client: client.clone(), counter, message: String::new(), epoch: None };
            store.accept(&[request(1), request(2), request(3)]).await.unwrap();
            ranges.push(Range { client: client.clone(), first: 1, last: 3 });
        }
        store.serve(replica, turn, &ranges, (None, 1)).await.unwrap().unwrap();
        let hello = Hello { client: names[0].clone(), epoch: None, last_served: None };
        let epoch = store.connect(&hello).await.unwrap().client.epoch;
        store.acknowledge(&[(names[0].clone(), epoch, 3)]).await.unwrap();

        delete(store.as_ref(), 60_000).await.unwrap();
        assert_eq!(backend.number("SELECT COUNT(*) FROM messages").await, 6, "it is too early");
        // All messages are older than this.
        delete(store.as_ref(), -60_000).await.unwrap();
        let kept = |client: &str| format!("SELECT COUNT(*) FROM messages WHERE client_id = '{client}'");
        assert_eq!(backend.number(&kept("acknowledges")).await, 1, "the last one stays");
        assert_eq!(backend.number(&kept("does not")).await, 3);
        assert_eq!(backend.number("SELECT COUNT(*) FROM turns").await, 1);
    }
}
