//! Messages that nobody could take: their jobs lose an attempt, and end when they
//! have none left.

use std::sync::Arc;
use std::time::Duration;

use jobs_core::Event;
use jobs_queue::{Dispatch, Rejection};
use jobs_runner::Backoff;
use jobs_store::{JobsStore, happen};

use crate::Metrics;

/// Dead letters that are held at once.
const PREFETCH: u16 = 20;

/// Takes dead letters until it is aborted.
pub(crate) async fn run(store: Arc<dyn JobsStore>, dispatch: Arc<dyn Dispatch>, metrics: Metrics) {
    let mut letters = dispatch.dead_letters(PREFETCH);
    while let Some(letter) = letters.next().await {
        metrics.dead_letters.inc();
        let delay_ms = Backoff::default().delay_ms(1, jobs_runner::random());
        let reason = "it was delivered again and again, and nobody came to run it".to_owned();
        let events = [(letter.message.job, Event::Dead { delay_ms }, Some(reason))];
        match happen(store.as_ref(), &events).await {
            Ok(_) => letter.ack(),
            Err(error) => {
                tracing::warn!(%error, "a dead letter waits for the database");
                tokio::time::sleep(Duration::from_secs(1)).await;
                letter.reject(Rejection::Requeue);
            }
        }
    }
}
