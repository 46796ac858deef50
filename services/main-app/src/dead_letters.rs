//! Dead letters. A job whose message workers rejected or requeued too often loses an attempt, and
//! fails after the last one. A job whose message the broker removed by a policy waits for another
//! message.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jobs_core::Event;
use jobs_queue::{Death, JobQueue, Rejection};
use jobs_runner::Backoff;
use jobs_store::{JobEvent, TransitionStore, apply};
use uuid::Uuid;

use crate::Metrics;

/// Highest number of unsettled dead letters.
const PREFETCH: u16 = 20;

/// Delay after which a dead letter is requeued while the database is unreachable.
const DELAY: Duration = Duration::from_secs(1);

/// Shortest time between two warnings about removed messages.
const WARNING_INTERVAL: Duration = Duration::from_mins(1);

/// Error of an attempt whose message became a dead letter.
const UNDELIVERABLE: &str = "the message was delivered too often, and no worker started the job";

/// Handles dead letters until it is aborted or the queue is closed.
pub(crate) async fn run(store: Arc<dyn TransitionStore>, queue: Arc<dyn JobQueue>, metrics: Metrics) {
    let mut letters = queue.dead_letters(PREFETCH);
    let mut evictions = Evictions::default();
    while let Some(letter) = letters.next().await {
        metrics.dead_letters.inc();
        let is_attempt = was_tried(letter.death);
        if !is_attempt {
            evictions.add(letter.death);
        }
        match apply(store.as_ref(), &[event(letter.message.job, is_attempt)]).await {
            Ok(_) => letter.ack(),
            // The row has the state of the job. If it is damaged, its letter would come back for
            // ever and delay the letters of others.
            Err(error) if !error.is_transient() => {
                tracing::error!(job = %letter.message.job, %error, "the database refused to handle a dead letter");
                letter.ack();
            }
            Err(error) => {
                tracing::warn!(%error, "a dead letter waits for the database");
                tokio::time::sleep(DELAY).await;
                letter.reject(Rejection::Requeue);
            }
        }
    }
}

/// Whether workers received the message. Otherwise a policy of the broker or a user removed it.
const fn was_tried(death: Option<Death>) -> bool {
    matches!(death, Some(Death::Rejected | Death::DeliveryLimit))
}

fn event(job: Uuid, is_attempt: bool) -> JobEvent {
    let delay_ms = Backoff::default().delay_ms(1, fastrand::u64(..));
    if is_attempt {
        let error = Some(UNDELIVERABLE.to_owned());
        JobEvent { id: job, event: Event::DeadLettered { delay_ms }, error }
    } else {
        JobEvent::new(job, Event::MessageEvicted { delay_ms })
    }
}

/// Counts messages that were removed before a worker had them, and warns at intervals.
#[derive(Default)]
struct Evictions {
    count: u64,
    warned_at: Option<Instant>,
}

impl Evictions {
    fn add(&mut self, reason: Option<Death>) {
        self.count += 1;
        if self.warned_at.is_none_or(|at| at.elapsed() >= WARNING_INTERVAL) {
            tracing::warn!(
                count = self.count,
                ?reason,
                "the broker removed messages before a worker received them; publishing them again. Check the \
                 policies of the broker: message-ttl, max-length, overflow"
            );
            *self = Self { count: 0, warned_at: Some(Instant::now()) };
        }
    }
}
