//! Takes messages and claims their jobs.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures_util::FutureExt;
use jobs_queue::{Consumer, Delivery};
use jobs_store::{Claim, JobRow};
use kit_batch::Parts;
use kit_process::{Shutdown, Spawner};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use uuid::Uuid;

use super::finish::Recorder;
use super::retry::Retry;
use super::{Shared, attempt};

/// Highest number of jobs in one claim.
const BATCH: usize = 100;

/// A message, and the slot that its job occupies.
pub(super) type Taken = (Delivery, OwnedSemaphorePermit);

/// What claims and starts jobs.
struct Intake {
    shared: Arc<Shared>,
    tasks: Spawner,
    recorder: Recorder,
    shutdown: Shutdown,
}

/// Takes messages until `shutdown` drains or the queue is closed.
pub(super) async fn run(
    shared: Arc<Shared>,
    tasks: Spawner,
    slots: Arc<Semaphore>,
    recorder: Recorder,
    shutdown: Shutdown,
) {
    let intake = Intake { shared, tasks, recorder, shutdown };
    let (locked, again) = mpsc::unbounded_channel();
    tokio::join!(intake.run(&slots, locked), intake.run_again(again));
}

impl Intake {
    /// Takes messages and starts their jobs. Messages whose jobs are locked go to `locked`.
    async fn run(&self, slots: &Arc<Semaphore>, locked: UnboundedSender<Taken>) {
        let mut consumer = self.shared.deps.queue.consume(self.shared.config.concurrency);
        loop {
            let taken = tokio::select! {
                biased;
                () = self.shutdown.draining() => return,
                taken = take(consumer.as_mut(), slots) => taken,
            };
            let Some(taken) = taken else { return };
            for taken in self.claim_and_start(taken).await {
                // Otherwise the message is dropped, and the queue delivers it again.
                let _ = locked.send(taken);
            }
        }
    }

    /// Claims jobs again whose rows were locked, until the locks are released. A job keeps its
    /// message and its slot in the meantime: the queue limits how often it delivers a message.
    ///
    /// When `shutdown` drains, the messages are dropped: the queue delivers them to other workers.
    async fn run_again(&self, mut again: UnboundedReceiver<Taken>) {
        while let Some(first) = again.recv().await {
            let mut left = vec![first];
            let mut retry = Retry::new();
            while !left.is_empty() {
                tokio::select! {
                    biased;
                    () = self.shutdown.draining() => return,
                    () = retry.wait() => {}
                }
                left.extend(std::iter::from_fn(|| again.try_recv().ok()));
                left = self.claim_and_start(left).await;
            }
        }
    }

    /// Returns the messages of the jobs whose rows are locked.
    async fn claim_and_start(&self, taken: Vec<Taken>) -> Vec<Taken> {
        let ids: Vec<Uuid> = taken.iter().map(|(delivery, _)| delivery.message.job).collect();
        let claimed = claim(&self.shared, &ids, &self.shutdown).await;
        start(&self.shared, &self.tasks, taken, claimed, &self.recorder)
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

/// The answer to a claim.
#[derive(Default)]
struct Claimed {
    jobs: HashMap<Uuid, JobRow>,
    /// The jobs that the database refuses to mark as running.
    refused: HashSet<Uuid>,
    /// The jobs whose rows other sessions hold locked.
    locked: HashSet<Uuid>,
    /// The number of ids, counted from the first one, for which the database has answered.
    answered: usize,
}

/// Claims jobs. If the database refuses some of them, claims the others. Ends early if `shutdown`
/// drains.
async fn claim(shared: &Shared, ids: &[Uuid], shutdown: &Shutdown) -> Claimed {
    // All requests share one claim id, so a request also returns the jobs of an earlier request
    // whose answer was lost or could not be read.
    let claim = Claim { id: fastrand::i64(..), worker: &shared.config.name, lease_ms: shared.config.lease.as_millis() };
    let mut claimed = Claimed::default();
    let mut parts = Parts::of(ids.len());
    while let Some(part) = parts.next() {
        let answer = claim_part(shared, &ids[part.clone()], claim, shutdown).await;
        match answer {
            None => break,
            Some(Ok(answer)) => {
                claimed.jobs.extend(answer.jobs.into_iter().map(|job| (job.id, job)));
                claimed.locked.extend(answer.locked);
            }
            Some(Err(_)) if parts.split(&part) => continue,
            Some(Err(error)) => {
                let job = ids[part.start];
                tracing::warn!(%error, %job, "the database refused to start a job");
                claimed.refused.insert(job);
            }
        }
        claimed.answered = part.end;
    }
    claimed
}

/// Repeats the claim until the database answers. Returns `None` if `shutdown` drains before.
///
/// The drain does not cut off a request in flight: the database may have claimed the jobs,
/// which would then wait until their leases expire.
async fn claim_part(
    shared: &Shared,
    ids: &[Uuid],
    claim: Claim<'_>,
    shutdown: &Shutdown,
) -> Option<jobs_store::Result<jobs_store::Claimed>> {
    let mut retry = Retry::new();
    loop {
        match shared.store().claim(ids, claim).await {
            Err(error) if error.is_transient() => shared.failed("claim", &error),
            answer => return Some(answer),
        }
        tokio::select! {
            () = retry.wait() => {}
            () = shutdown.draining() => return None,
        }
    }
}

/// Starts the jobs that were claimed, and acknowledges the other messages. Messages without
/// an answer are dropped: the queue delivers them to other workers. Returns the messages of
/// the jobs whose rows are locked.
fn start(
    shared: &Arc<Shared>,
    tasks: &Spawner,
    taken: Vec<Taken>,
    mut claimed: Claimed,
    recorder: &Recorder,
) -> Vec<Taken> {
    let mut locked = Vec::new();
    for (delivery, slot) in taken.into_iter().take(claimed.answered) {
        let id = delivery.message.job;
        if let Some(row) = claimed.jobs.remove(&id) {
            attempt::start(shared, tasks, row, (delivery, slot), recorder.clone());
        } else if claimed.refused.remove(&id) {
            let recorder = recorder.clone();
            tasks.spawn_work("refused claim", async move {
                if recorder.refuse_claim(id).await.is_ok() {
                    delivery.ack();
                }
                drop(slot);
            });
        } else if claimed.locked.contains(&id) {
            locked.push((delivery, slot));
        } else {
            // The message is out of date or a duplicate.
            shared.deps.metrics.stale_messages.inc();
            delivery.ack();
        }
    }
    locked
}
