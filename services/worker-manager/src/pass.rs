//! One pass: runs the effects of the state machine against the store.

use std::collections::VecDeque;

use kit_process::StoreWatch;
use tokio::time::Instant;
use values_core::assignment::Transfer;
use values_core::manager::{Batch, Effect, Event, Manager, Replicas};
use values_core::tables::Observation;
use values_core::types::{Incarnation, Term};
use values_store::{Error, ManagerStore};

use crate::Deps;
use crate::scaler::Orders;

/// The context of a pass.
pub(crate) struct Pass<'a> {
    pub(crate) holder: &'a str,
    pub(crate) dead_after_ms: i64,
    pub(crate) deps: &'a Deps,
    pub(crate) watch: &'a StoreWatch,
    pub(crate) orders: Option<&'a Orders>,
}

impl Pass<'_> {
    /// Runs one pass, which ends early when the store does not answer.
    pub(crate) async fn run(&self, manager: &mut Manager) {
        let began = Instant::now();
        let led = manager.term();
        let mut effects = VecDeque::from(manager.step(Event::Pass));
        let mut answered = true;
        while let Some(effect) = effects.pop_front() {
            let event = match self.execute(effect).await {
                Ok(Some(event)) => event,
                Ok(None) => continue,
                Err(error) => {
                    self.deps.metrics.store_errors.inc();
                    self.watch.record(Err::<(), _>(error));
                    answered = false;
                    Event::Failed
                }
            };
            let term = manager.term();
            effects.extend(manager.step(event));
            if !answered || manager.term() != term && term.is_some() {
                // The remaining effects were decided on an outdated state.
                break;
            }
        }
        self.report_role(led, manager.term());
        self.deps.metrics.pass_seconds.observe(began.elapsed().as_secs_f64());
        if answered {
            self.watch.record(Ok::<_, Error>(()));
        }
    }

    async fn execute(&self, effect: Effect) -> Result<Option<Event>, Error> {
        let store = self.deps.store.as_ref();
        let event = match effect {
            Effect::Campaign => Event::Campaigned(store.campaign(self.holder).await?),
            Effect::Observe(term) => {
                // Read before the observation: an order given later does not count as done.
                let replicas = self.orders.map_or(Replicas::Unknown, Orders::replicas);
                if let Replicas::Known(replicas) = replicas {
                    self.deps.metrics.desired_replicas.set(i64::from(replicas));
                }
                let observation = store.observe(term).await?;
                if let Some(observation) = &observation {
                    self.count(observation);
                }
                Event::Observed(observation, replicas)
            }
            Effect::Expire(term, workers) => {
                let expired = store.expire(term, &workers, self.dead_after_ms).await?;
                self.deps.metrics.expired.inc_by(expired.unwrap_or(0));
                tracing::info!(
                    term = term.number,
                    workers = numbers(&workers),
                    expired,
                    "workers without a heartbeat declared dead"
                );
                Event::Expired(expired)
            }
            Effect::Assign(term, batch) => Event::Done(self.assign(store, term, &batch).await?),
            Effect::SetDraining(term, workers, draining) => {
                tracing::info!(
                    term = term.number,
                    workers = numbers(&workers),
                    draining,
                    "changed the draining state of workers"
                );
                Event::Done(store.set_draining(term, &workers, draining).await?.is_some())
            }
            Effect::Scale { replicas, victims } => {
                self.deps.metrics.desired_replicas.set(i64::from(replicas));
                if let Some(orders) = self.orders {
                    orders.scale(replicas, victims);
                }
                return Ok(None);
            }
        };
        Ok(Some(event))
    }

    async fn assign(&self, store: &(impl ManagerStore + ?Sized), term: Term, batch: &Batch) -> Result<bool, Error> {
        let moved = store.assign(term, &batch.transfers).await?;
        if let Some(moved) = moved {
            self.deps.metrics.moves.inc_by(moved);
            self.deps.metrics.optimal_moves.inc_by(batch.optimum);
            let transfers = describe(&batch.transfers);
            tracing::info!(term = term.number, moved, optimum = batch.optimum, transfers, "ids moved");
        }
        Ok(moved.is_some())
    }

    fn count(&self, observation: &Observation) {
        let (workers, orphans) = observation.fleet();
        let gauge = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.deps.metrics.ids.set(gauge(observation.ids()));
        self.deps.metrics.workers.set(gauge(workers.len() as u64));
        self.deps.metrics.orphans.set(gauge(orphans.iter().map(|group| group.count).sum()));
    }

    fn report_role(&self, before: Option<Term>, now: Option<Term>) {
        self.deps.metrics.leading.set(i64::from(now.is_some()));
        match (before, now) {
            (before, Some(term)) if before != now => {
                tracing::info!(term = term.number, holder = self.holder, "leading");
            }
            (Some(term), None) => tracing::warn!(term = term.number, holder = self.holder, "no longer leading"),
            _ => {}
        }
    }
}

/// Transfers for a log: `3>7:2` for two ids from incarnation 3 to 7, `->7:2` for two
/// ids without an owner.
fn describe(transfers: &[Transfer]) -> String {
    let from = |transfer: &Transfer| transfer.from.map_or_else(|| "-".to_owned(), |from| from.to_string());
    let words: Vec<_> =
        transfers.iter().map(|transfer| format!("{}>{}:{}", from(transfer), transfer.to, transfer.count)).collect();
    words.join(" ")
}

fn numbers(workers: &[Incarnation]) -> String {
    let words: Vec<_> = workers.iter().map(ToString::to_string).collect();
    words.join(" ")
}
