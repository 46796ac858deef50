//! Messages are published many at a time, and then noted as published.

use std::sync::Arc;

use jobs_core::Priority;
use jobs_queue::{JobQueue, Message};
use jobs_store::{JobSnapshot, OutboxStore};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::Metrics;

/// Messages that wait to be published here at most; further ones are left to the
/// sweeper.
const QUEUE: usize = 20_000;

/// Messages in one round at most.
const BATCH: usize = 500;

/// Rounds under way at once: while one waits for the broker's confirms, another one
/// is published.
const AT_ONCE: usize = 3;

/// A job whose message is to be published.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) id: Uuid,
    /// Of its row, at this time.
    pub(crate) token: i64,
    pub(crate) priority: Priority,
    pub(crate) traceparent: Option<String>,
}

impl From<JobSnapshot> for Entry {
    fn from(JobSnapshot { id, priority, traceparent, job, .. }: JobSnapshot) -> Self {
        Self { id, token: job.lease_token, priority, traceparent }
    }
}

/// Has messages published. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Outbox(mpsc::Sender<Entry>);

/// What does the publishing.
pub(crate) struct Worker(mpsc::Receiver<Entry>);

impl Outbox {
    pub(crate) fn new() -> (Self, Worker) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self(sender), Worker(receiver))
    }

    /// Has messages published soon. Those that find no room wait for the sweeper.
    pub(crate) fn publish(&self, entries: impl IntoIterator<Item = Entry>) {
        for entry in entries {
            if self.0.try_send(entry).is_err() {
                return;
            }
        }
    }
}

impl Worker {
    /// Publishes until nobody can ask any more.
    pub(crate) async fn run(mut self, store: Arc<dyn OutboxStore>, queue: Arc<dyn JobQueue>, metrics: Metrics) {
        let rounds = Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
        let mut batch = Vec::new();
        loop {
            let Ok(permit) = Arc::clone(&rounds).acquire_owned().await else { return };
            if self.0.recv_many(&mut batch, BATCH).await == 0 {
                drop(permit);
                let all = u32::try_from(AT_ONCE).unwrap_or(u32::MAX);
                let _ = rounds.acquire_many(all).await;
                return;
            }
            let (entries, store) = (std::mem::take(&mut batch), Arc::clone(&store));
            let (queue, metrics) = (Arc::clone(&queue), metrics.clone());
            tokio::spawn(async move {
                publish(store.as_ref(), queue.as_ref(), &metrics, entries).await;
                drop(permit);
            });
        }
    }
}

/// What is not confirmed is left to the sweeper, as is what cannot be noted.
async fn publish(store: &dyn OutboxStore, queue: &dyn JobQueue, metrics: &Metrics, entries: Vec<Entry>) {
    let message =
        |entry: &Entry| Message { job: entry.id, priority: entry.priority, traceparent: entry.traceparent.clone() };
    let results = queue.publish(entries.iter().map(message).collect()).await;
    let mut failure = None;
    let mut confirmed = Vec::with_capacity(entries.len());
    for (entry, result) in entries.iter().zip(results) {
        match result {
            Ok(()) => confirmed.push((entry.id, entry.token)),
            Err(error) => {
                metrics.publish_failures.inc();
                failure = Some(error);
            }
        }
    }
    if let Some(error) = failure {
        let count = entries.len() - confirmed.len();
        tracing::warn!(%error, count, "messages were not published; the sweeper does it again");
    }
    metrics.published.inc_by(confirmed.len() as u64);
    if let Err(error) = store.mark_published(&confirmed).await {
        metrics.store_errors.inc();
        tracing::warn!(%error, "it was not noted that messages were published");
    }
}
