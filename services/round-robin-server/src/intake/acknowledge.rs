//! Records which answers clients have. Acknowledgements that arrive during a commit share the next
//! one.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use kit_batch::{Batcher, Failure, Limits, Operation, Pending};
use round_robin_core::types::{ClientId, Epoch};
use round_robin_store::IntakeStore;

use crate::Metrics;

/// Each socket waits for one acknowledgement at a time.
const LIMITS: Limits = Limits { waiting: 16 * 1024, items: 512, weight: usize::MAX };

/// The answers that a client has.
#[derive(Debug, Clone)]
pub(crate) struct Acknowledgement {
    pub(crate) client: ClientId,
    /// The epoch of its connection.
    pub(crate) epoch: Epoch,
    /// It has all answers up to this counter.
    pub(crate) counter: i64,
}

/// Takes acknowledgements in. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Acknowledgements(Batcher<Recorder>);

/// Commits acknowledgements.
pub(crate) struct Worker {
    acknowledgements: kit_batch::Worker<Recorder>,
    recorder: Recorder,
}

/// An acknowledgement that is being recorded, even if this is dropped. Resolves to whether its
/// connection is the latest one of its client. If the database does not answer, that counts as the
/// case: the next acknowledgement covers this one.
pub(crate) struct Acknowledging(Pending<Recorder>);

impl Acknowledgements {
    pub(crate) fn new(store: Arc<dyn IntakeStore>, metrics: Metrics) -> (Self, Worker) {
        let (acknowledgements, worker) = Batcher::new(LIMITS, metrics.acknowledge_batches.clone());
        (Self(acknowledgements), Worker { acknowledgements: worker, recorder: Recorder { store, metrics } })
    }

    /// Hands in an acknowledgement. `None` if too many wait, or the service ends.
    pub(crate) fn submit(&self, acknowledgement: Acknowledgement) -> Option<Acknowledging> {
        self.0.submit(acknowledgement).ok().map(Acknowledging)
    }
}

impl Future for Acknowledging {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<bool> {
        Pin::new(&mut self.0).poll(context).map(|result| result.unwrap_or(true))
    }
}

impl Worker {
    /// Commits until every [`Acknowledgements`] is dropped.
    pub(crate) async fn run(self) {
        self.acknowledgements.run(self.recorder).await;
    }
}

struct Recorder {
    store: Arc<dyn IntakeStore>,
    metrics: Metrics,
}

/// The acknowledgement was not recorded.
#[derive(Debug, Clone, Copy)]
struct NotRecorded;

impl Operation for Recorder {
    type Item = Acknowledgement;
    type Output = bool;
    type Outputs = Vec<bool>;
    type Error = NotRecorded;

    async fn execute(&mut self, items: &[Acknowledgement]) -> Result<Vec<bool>, Failure<NotRecorded>> {
        let answers: Vec<(ClientId, Epoch, i64)> =
            items.iter().map(|item| (item.client.clone(), item.epoch, item.counter)).collect();
        self.store.acknowledge(&answers).await.map_err(|error| {
            if error.is_transient() || items.len() == 1 {
                self.metrics.store_errors.inc();
                tracing::warn!(%error, count = items.len(), "acknowledgements were not recorded");
            }
            if error.is_transient() { Failure::Batch(NotRecorded) } else { Failure::Item(NotRecorded) }
        })
    }
}
