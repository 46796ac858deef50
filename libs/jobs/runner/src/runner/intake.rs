//! Takes messages and claims their jobs.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::FutureExt;
use jobs_queue::{Consumer, Delivery};
use jobs_store::{Claim, JobRow};
use kit_process::{Shutdown, Spawner};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use uuid::Uuid;

use super::Shared;
use super::attempt::{self, Ended};
use super::retry::Retry;

/// Highest number of jobs in one claim.
const BATCH: usize = 100;

/// A message, and the slot that its job occupies.
pub(super) type Taken = (Delivery, OwnedSemaphorePermit);

/// Takes messages until `shutdown` drains or the queue is closed.
pub(super) async fn run(
    shared: Arc<Shared>,
    tasks: Spawner,
    slots: Arc<Semaphore>,
    ended: mpsc::Sender<Ended>,
    shutdown: Shutdown,
) {
    let mut consumer = shared.deps.queue.consume(shared.config.concurrency);
    loop {
        let taken = tokio::select! {
            biased;
            () = shutdown.draining() => return,
            taken = take(consumer.as_mut(), &slots) => taken,
        };
        let Some(taken) = taken else { return };
        let ids: Vec<Uuid> = taken.iter().map(|(delivery, _)| delivery.message.job).collect();
        // Without an answer, the deliveries are dropped, and the queue delivers them to other workers.
        let Some(claimed) = claim(&shared, &ids, &shutdown).await else { return };
        start(&shared, &tasks, taken, claimed, &ended);
    }
}

/// Waits for a slot and a message, and takes further messages that are ready while there
/// are slots.
async fn take(consumer: &mut dyn Consumer, slots: &Arc<Semaphore>) -> Option<Vec<Taken>> {
    let mut slot = Arc::clone(slots).acquire_owned().await.ok()?;
    let mut taken = Vec::new();
    let mut next = consumer.next().await?;
    loop {
        taken.push((next, slot));
        if taken.len() == BATCH {
            return Some(taken);
        }
        let Ok(next_slot) = Arc::clone(slots).try_acquire_owned() else { return Some(taken) };
        let Some(Some(delivery)) = consumer.next().now_or_never() else { return Some(taken) };
        (next, slot) = (delivery, next_slot);
    }
}

/// Claims jobs. Repeats the claim, under the same id, until the database answers. Returns
/// `None` if `shutdown` drains before.
///
/// The drain does not cut off a request in flight: the database may have claimed the jobs,
/// which would then wait until their leases expire.
async fn claim(shared: &Shared, ids: &[Uuid], shutdown: &Shutdown) -> Option<Vec<JobRow>> {
    let claim = Claim { id: fastrand::i64(..), worker: &shared.config.name, lease_ms: shared.config.lease.as_millis() };
    let mut retry = Retry::new();
    loop {
        match shared.store().claim(ids, claim).await {
            Ok(claimed) => return Some(claimed),
            Err(error) => shared.failed("claim", &error),
        }
        tokio::select! {
            () = retry.wait() => {}
            () = shutdown.draining() => return None,
        }
    }
}

/// Starts the jobs that were claimed, and acknowledges the other messages.
fn start(shared: &Arc<Shared>, tasks: &Spawner, taken: Vec<Taken>, claimed: Vec<JobRow>, ended: &mpsc::Sender<Ended>) {
    let mut claimed: HashMap<Uuid, JobRow> = claimed.into_iter().map(|row| (row.id, row)).collect();
    for (delivery, slot) in taken {
        if let Some(row) = claimed.remove(&delivery.message.job) {
            attempt::start(shared, tasks, row, (delivery, slot), ended.clone());
        } else {
            // The message is out of date or a duplicate.
            shared.deps.metrics.stale_messages.inc();
            delivery.ack();
        }
    }
}
