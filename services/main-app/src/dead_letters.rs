//! Dead letters: if no worker took a message, its job loses an attempt, and fails after
//! the last one.

use std::sync::Arc;
use std::time::Duration;

use jobs_core::Event;
use jobs_queue::{JobQueue, Rejection};
use jobs_runner::Backoff;
use jobs_store::{JobEvent, TransitionStore, apply};

use crate::Metrics;

/// Highest number of unsettled dead letters.
const PREFETCH: u16 = 20;

/// Delay after which a dead letter is requeued while the database is unreachable.
const DELAY: Duration = Duration::from_secs(1);

/// Error of an attempt whose message became a dead letter.
const UNDELIVERABLE: &str = "the message was delivered too often, and no worker started the job";

/// Handles dead letters until it is aborted or the queue is closed.
pub(crate) async fn run(store: Arc<dyn TransitionStore>, queue: Arc<dyn JobQueue>, metrics: Metrics) {
    let mut letters = queue.dead_letters(PREFETCH);
    while let Some(letter) = letters.next().await {
        metrics.dead_letters.inc();
        let delay_ms = Backoff::default().delay_ms(1, fastrand::u64(..));
        let event = JobEvent {
            id: letter.message.job,
            event: Event::DeadLettered { delay_ms },
            error: Some(UNDELIVERABLE.to_owned()),
        };
        match apply(store.as_ref(), &[event]).await {
            Ok(_) => letter.ack(),
            Err(error) => {
                tracing::warn!(%error, "a dead letter waits for the database");
                tokio::time::sleep(DELAY).await;
                letter.reject(Rejection::Requeue);
            }
        }
    }
}
