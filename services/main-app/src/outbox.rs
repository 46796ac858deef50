//! Publishes the messages of jobs. Messages that arrive during a round share the next
//! one. The job's row is the outbox: the sweeper publishes messages that remain
//! unpublished.

use std::convert::Infallible;
use std::iter::{RepeatN, repeat_n};
use std::sync::Arc;

use jobs_core::Priority;
use jobs_queue::{JobQueue, Message};
use jobs_store::{JobSnapshot, OutboxStore};
use kit_batch::{Batcher, Failure, Limits, Operation, Parts};
use uuid::Uuid;

use crate::Metrics;

/// Limits of waiting messages, and of messages in one round.
const LIMITS: Limits = Limits { waiting: 20_000, items: 500, weight: usize::MAX };

/// Rounds in flight: while one waits for the broker's confirms, the next one is published.
const ROUNDS: usize = 3;

/// A job whose message is to be published.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) id: Uuid,
    /// The lease token in the job's row.
    pub(crate) token: i64,
    pub(crate) priority: Priority,
    pub(crate) traceparent: Option<String>,
}

impl From<JobSnapshot> for Entry {
    fn from(JobSnapshot { id, priority, traceparent, job, .. }: JobSnapshot) -> Self {
        Self { id, token: job.lease_token, priority, traceparent }
    }
}

/// Publishes messages in the background. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Outbox(Batcher<Publisher>);

/// Publishes the messages.
pub(crate) struct Worker(kit_batch::Worker<Publisher>);

impl Outbox {
    pub(crate) fn new(metrics: &Metrics) -> (Self, Worker) {
        let (entries, worker) = Batcher::new(LIMITS, metrics.publish_batches.clone());
        (Self(entries), Worker(worker))
    }

    /// Publishes messages soon. If there is no room, the sweeper publishes them later.
    pub(crate) fn publish(&self, entries: impl IntoIterator<Item = Entry>) {
        for entry in entries {
            if self.0.submit(entry).map(drop).is_err() {
                return;
            }
        }
    }
}

impl Worker {
    /// Publishes until every [`Outbox`] is dropped.
    pub(crate) async fn run(self, store: Arc<dyn OutboxStore>, queue: Arc<dyn JobQueue>, metrics: Metrics) {
        self.0.run_many(ROUNDS, Publisher { store, queue, metrics }).await;
    }
}

#[derive(Clone)]
struct Publisher {
    store: Arc<dyn OutboxStore>,
    queue: Arc<dyn JobQueue>,
    metrics: Metrics,
}

impl Operation for Publisher {
    type Item = Entry;
    type Output = ();
    type Outputs = RepeatN<()>;
    type Error = Infallible;

    /// Publishes messages, and records those that the broker confirms as published. The
    /// sweeper handles the others.
    async fn execute(&mut self, entries: &[Entry]) -> Result<RepeatN<()>, Failure<Infallible>> {
        let message =
            |entry: &Entry| Message { job: entry.id, priority: entry.priority, traceparent: entry.traceparent.clone() };
        let results = self.queue.publish(entries.iter().map(message).collect()).await;
        let mut failure = None;
        let mut confirmed = Vec::with_capacity(entries.len());
        for (entry, result) in entries.iter().zip(results) {
            match result {
                Ok(()) => confirmed.push((entry.id, entry.token)),
                Err(error) => {
                    self.metrics.publish_failures.inc();
                    failure = Some(error);
                }
            }
        }
        if let Some(error) = failure {
            let count = entries.len() - confirmed.len();
            tracing::warn!(%error, count, "messages were not published; the sweeper repeats it");
        }
        self.metrics.published.inc_by(confirmed.len() as u64);
        self.mark_published(&confirmed).await;
        Ok(repeat_n((), entries.len()))
    }
}

impl Publisher {
    /// Records messages as published. If the database refuses some of them, records the others.
    async fn mark_published(&self, confirmed: &[(Uuid, i64)]) {
        let mut parts = Parts::of(confirmed.len());
        while let Some(part) = parts.next() {
            match self.store.mark_published(&confirmed[part.clone()]).await {
                Ok(()) => {}
                Err(error) if !error.is_transient() && parts.split(&part) => {}
                Err(error) => {
                    self.metrics.store_errors.inc();
                    let count = part.len();
                    tracing::warn!(%error, count, "messages were published, but not marked as published");
                }
            }
        }
    }
}
