//! Assigns a number to each visit, with one addition for all waiting visits.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use kit_batch::{Batcher, Failure, Limits, Operation};
use tokio::time::Instant;
use visits_core::{Assigned, Count, Numbering};
use visits_store::Total;

use crate::metrics::Metrics;
use crate::store::Store;

/// Highest number of visits that wait for the next addition, which all of them share;
/// more than a listener admits.
const LIMITS: Limits = Limits { waiting: 4096, items: 4096, weight: usize::MAX };

/// Time limit of an addition. A visit waits for at most two additions, the one in
/// progress and its own, and has to be answered within two seconds.
const ADD_TIMEOUT: Duration = Duration::from_millis(800);

/// The store does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the store is down")]
pub(crate) struct Unavailable;

/// A visit that waits for its number.
struct Visit;

/// Counts visits.
pub(crate) struct Counter {
    visits: Batcher<Adder>,
    store: Arc<Store>,
    metrics: Metrics,
}

/// Executes the additions, one at a time.
pub(crate) struct Worker {
    visits: kit_batch::Worker<Adder>,
    adder: Adder,
}

struct Adder {
    store: Arc<Store>,
    numbering: Numbering,
    metrics: Metrics,
}

impl Counter {
    /// Creates a counter and its worker, which has to run for visits to be counted.
    pub(crate) fn new(store: Store, metrics: Metrics) -> (Self, Worker) {
        let store = Arc::new(store);
        let (visits, worker) = Batcher::new(LIMITS, metrics.batches.clone());
        let adder = Adder { store: Arc::clone(&store), numbering: Numbering::new(), metrics: metrics.clone() };
        (Self { visits, store, metrics }, Worker { visits: worker, adder })
    }

    /// Counts a visit and returns its number. A visit is counted even if this is dropped.
    pub(crate) async fn visit(&self) -> Result<i64, Unavailable> {
        self.visits.call(Visit).await.map_err(|_| {
            self.metrics.turned_away.inc();
            Unavailable
        })
    }

    /// The value of the counter.
    pub(crate) async fn read(&self) -> Result<i64, Unavailable> {
        self.store.read().await.map_err(|error| {
            tracing::debug!(%error, "the counter cannot be read");
            Unavailable
        })
    }

    /// Whether the store counted when it was last used.
    pub(crate) fn is_up(&self) -> bool {
        self.store.is_up()
    }

    /// Keeps [`is_up`](Self::is_up) current while there are no visits. Never ends.
    pub(crate) async fn watch(&self) {
        self.store.watch().await;
    }
}

impl Worker {
    /// Counts until the [`Counter`] is dropped.
    pub(crate) async fn run(self) {
        self.visits.run(self.adder).await;
    }
}

impl Operation for Adder {
    type Item = Visit;
    type Output = i64;
    type Outputs = RangeInclusive<i64>;
    type Error = Unavailable;

    /// Adds the visits to the counter. If that fails, all waiting visits fail too, so
    /// that none waits for a second timeout.
    async fn execute(&mut self, visits: &[Visit]) -> Result<RangeInclusive<i64>, Failure<Unavailable>> {
        let began = Instant::now();
        let visits = i64::try_from(visits.len()).unwrap_or(i64::MAX);
        let mut amount = visits;
        loop {
            let added = self.store.add(amount, ADD_TIMEOUT.saturating_sub(began.elapsed())).await;
            let Total { total, contact } = added.map_err(|_| Failure::All(Unavailable))?;
            match self.numbering.assign(visits, Count { total, contact }) {
                Assigned::Numbers(numbers) => {
                    self.metrics.added(visits.unsigned_abs(), began.elapsed());
                    return Ok(numbers);
                }
                Assigned::SetForward(missing) => {
                    tracing::warn!(total, missing, "the store has lost numbers that were assigned; setting it forward");
                    self.metrics.set_forward.inc();
                    amount = missing;
                }
            }
        }
    }
}
