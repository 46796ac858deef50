//! Messages, and the jobs that they stand for.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::FutureExt;
use jobs_queue::{Consumer, Delivery};
use jobs_store::{Claim, JobRow};
use kit_process::{Shutdown, Spawner};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use uuid::Uuid;

use super::attempt::{self, Ended};
use super::{RETRY, Shared};

/// Jobs that are claimed at once at most.
const BATCH: usize = 100;

/// A message, and the place that its job takes.
pub(super) type Taken = (Delivery, OwnedSemaphorePermit);

/// Takes messages until `shutdown` drains, or there are no more.
pub(super) async fn run(
    shared: Arc<Shared>,
    tasks: Spawner,
    slots: Arc<Semaphore>,
    ended: mpsc::Sender<Ended>,
    shutdown: Shutdown,
) {
    let mut consumer = shared.deps.dispatch.consume(shared.config.concurrency);
    loop {
        let taken = tokio::select! {
            biased;
            () = shutdown.draining() => return,
            taken = take(consumer.as_mut(), &slots) => taken,
        };
        let Some(taken) = taken else { return };
        let ids: Vec<Uuid> = taken.iter().map(|(delivery, _)| delivery.message.job).collect();
        let claimed = tokio::select! {
            claimed = claim(&shared, &ids) => claimed,
            // What was not claimed is dropped, and delivered to somebody else.
            () = shutdown.draining() => return,
        };
        start(&shared, &tasks, taken, claimed, &ended);
    }
}

/// Waits for a message, and takes those that are there, as many as have a place.
async fn take(consumer: &mut dyn Consumer, slots: &Arc<Semaphore>) -> Option<Vec<Taken>> {
    let mut permit = Arc::clone(slots).acquire_owned().await.ok()?;
    let mut taken = Vec::new();
    let mut next = consumer.next().await?;
    loop {
        taken.push((next, permit));
        if taken.len() == BATCH {
            return Some(taken);
        }
        let Ok(place) = Arc::clone(slots).try_acquire_owned() else { return Some(taken) };
        let Some(Some(delivery)) = consumer.next().now_or_never() else { return Some(taken) };
        (next, permit) = (delivery, place);
    }
}

/// Asks until there is an answer: the number of the claim makes it one and the same.
async fn claim(shared: &Shared, ids: &[Uuid]) -> Vec<JobRow> {
    let number = i64::try_from(crate::random()).unwrap_or(i64::MAX);
    let claim = Claim { number, worker: &shared.config.name, lease_ms: shared.config.lease.as_millis() };
    let mut retry = RETRY.0;
    loop {
        match shared.store().claim(ids, claim).await {
            Ok(claimed) => return claimed,
            Err(error) => shared.failed("claim", &error),
        }
        tokio::time::sleep(retry).await;
        retry = (retry * 2).min(RETRY.1);
    }
}

fn start(shared: &Arc<Shared>, tasks: &Spawner, taken: Vec<Taken>, claimed: Vec<JobRow>, ended: &mpsc::Sender<Ended>) {
    let mut claimed: HashMap<Uuid, JobRow> = claimed.into_iter().map(|row| (row.id, row)).collect();
    for (delivery, permit) in taken {
        if let Some(row) = claimed.remove(&delivery.message.job) {
            attempt::start(shared, tasks, row, (delivery, permit), ended.clone());
        } else {
            // Out of date, or a duplicate.
            shared.deps.metrics.stale_messages.inc();
            delivery.ack();
        }
    }
}
