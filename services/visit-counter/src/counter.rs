//! Gives each visit its number.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use visits_core::{Coalescer, Count, Full, Outcome};
use visits_store::{Error, Total, VisitStore};

use crate::metrics::Metrics;
use crate::presence::Presence;

/// How long an addition may take. A visit waits for the one under way and for its
/// own, and has to be answered within two seconds, whatever happens.
const ADDITION: Duration = Duration::from_millis(800);

/// How long it may take to read.
const READ: Duration = Duration::from_millis(1500);

/// Visits that may wait for the next addition; more than a listener lets in.
const MAX_WAITING: usize = 4096;

/// How long nothing may have been counted before the store is asked whether it would.
const QUIET: Duration = Duration::from_secs(1);

/// Why a visit got no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the counter is away")]
pub(crate) struct Away;

/// Where a visitor waits for a number.
type Visit = oneshot::Sender<i64>;

/// Counts visits, many at a time.
pub(crate) struct Counter {
    store: Arc<dyn VisitStore>,
    visits: Mutex<Coalescer<Visit>>,
    arrived: Notify,
    presence: Presence,
    metrics: Metrics,
}

impl Counter {
    pub(crate) fn new(store: Arc<dyn VisitStore>, presence: Presence, metrics: Metrics) -> Self {
        let visits = Mutex::new(Coalescer::new(MAX_WAITING));
        Self { store, visits, arrived: Notify::new(), presence, metrics }
    }

    /// Counts a visit; says its number. A visitor who goes away meanwhile is counted, too.
    pub(crate) async fn visit(&self) -> Result<i64, Away> {
        let (visit, number) = oneshot::channel();
        match self.visits(|visits| visits.push(visit)) {
            Ok(true) => self.arrived.notify_one(),
            Ok(false) => {}
            Err(Full(visit)) => self.turn_away(vec![visit]),
        }
        number.await.map_err(|_| Away)
    }

    /// What the counter stands at.
    pub(crate) async fn read(&self) -> Result<i64, Away> {
        self.store.read(READ).await.map_err(|error| {
            tracing::debug!(%error, "the counter cannot be read");
            self.metrics.store_errors.inc();
            Away
        })
    }

    /// Whether the store would count a visit, as far as is known.
    pub(crate) fn is_up(&self) -> bool {
        self.presence.is_up()
    }

    /// Makes additions of the visits that come, for ever.
    pub(crate) async fn count(&self) {
        loop {
            // Those whose requests have arrived by now come along; a lone visitor waits
            // for nobody, as there is nobody whose turn it would be.
            tokio::task::yield_now().await;
            match self.visits(Coalescer::start) {
                Some(visits) => self.addition(visits).await,
                None => self.arrived.notified().await,
            }
        }
    }

    /// Keeps up to date whether the store is there while nobody visits, for ever.
    pub(crate) async fn watch(&self) {
        loop {
            if self.presence.quiet_for() >= QUIET {
                let answer = self.store.ping(ADDITION).await;
                self.note(answer.as_ref().err());
            }
            tokio::time::sleep(QUIET).await;
        }
    }

    async fn addition(&self, visits: i64) {
        let (began, mut amount) = (Instant::now(), visits);
        loop {
            let answer = self.store.add(amount, ADDITION.saturating_sub(began.elapsed())).await;
            self.note(answer.as_ref().err());
            let Ok(Total { total, contact }) = answer else {
                return self.turn_away(self.visits(Coalescer::failed));
            };
            match self.visits(|visits| visits.answered(Count { total, contact })) {
                Outcome::Numbers(numbers) => {
                    self.metrics.added(numbers.len(), began.elapsed());
                    for (visit, number) in numbers {
                        // Fails when the visitor has gone.
                        let _ = visit.send(number);
                    }
                    return;
                }
                Outcome::Again(more) => {
                    tracing::warn!(total, more, "the store has lost numbers that were handed out: setting it forward");
                    self.metrics.set_forward.inc();
                    amount = more;
                }
            }
        }
    }

    fn note(&self, error: Option<&Error>) {
        if error.is_some() {
            self.metrics.store_errors.inc();
        }
        self.presence.note(error);
    }

    /// Visitors are told by the end of their channel.
    fn turn_away(&self, visits: Vec<Visit>) {
        self.metrics.turned_away.inc_by(visits.len() as u64);
        drop(visits);
    }

    fn visits<T>(&self, change: impl FnOnce(&mut Coalescer<Visit>) -> T) -> T {
        let mut visits = self.visits.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut visits);
        self.metrics.waiting.set(visits.waiting());
        result
    }
}
