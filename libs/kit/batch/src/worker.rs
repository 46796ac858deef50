//! The workers' side.

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::oneshot;

use crate::batcher::{Answer, Entry, Shared};
use crate::queue::{Next, Queue};
use crate::{Failure, Operation, Parts};

/// Number of items of one part that may wait for a lock in vain.
const LOCK_WAITS: u32 = 4;

/// Carries out batches. Clones take from the same queue, a batch each.
pub struct Worker<O: Operation>(Arc<Workers<O>>);

/// Answers all callers when it is dropped, as no worker is left to do so.
struct Workers<O: Operation>(Arc<Shared<O>>);

/// The items of a batch, and where their results go.
struct Batch<O: Operation> {
    items: Vec<O::Item>,
    answers: Vec<Answer<O>>,
}

impl<O: Operation> Worker<O> {
    pub(crate) fn new(shared: Arc<Shared<O>>) -> Self {
        Self(Arc::new(Workers(shared)))
    }

    /// Carries out batches, one at a time, until every [`Batcher`](crate::Batcher) is dropped
    /// and no item waits.
    pub async fn run(self, mut operation: O) {
        let mut batch = Batch { items: Vec::new(), answers: Vec::new() };
        while self.fill(&mut batch).await {
            self.carry_out(&mut batch, &mut operation).await;
        }
    }

    /// [Runs](Self::run) with up to `batches` batches in flight.
    pub async fn run_many(self, batches: usize, operation: O)
    where
        O: Clone,
    {
        let workers = std::iter::repeat_n((self, operation), batches);
        join_all(workers.map(|(worker, operation)| worker.run(operation))).await;
    }

    /// Waits for the next batch. Returns `false` at the end.
    async fn fill(&self, batch: &mut Batch<O>) -> bool {
        let Workers(shared) = &*self.0;
        batch.clear();
        loop {
            // Callers that are ready to run submit their items first and share the batch.
            tokio::task::yield_now().await;
            match shared.with_queue(|queue| queue.next(batch)) {
                Next::Batch { wake } => {
                    shared.metrics.record_batch(batch.items.len());
                    shared.woken.add_permits(usize::from(wake));
                    return true;
                }
                Next::Sleep => {
                    // Closed when the batcher is: the next turn ends the worker.
                    if let Ok(permit) = shared.woken.acquire().await {
                        permit.forget();
                    }
                }
                Next::End => return false,
            }
        }
    }

    /// Carries out a batch: all at once, in parts that were halved when they failed, or, where
    /// something is locked, each item alone.
    async fn carry_out(&self, Batch { items, answers }: &mut Batch<O>, operation: &mut O) {
        // Answered in order, part by part.
        let mut answers = answers.drain(..);
        let mut parts = Parts::of(items.len());
        while let Some(part) = parts.next() {
            match operation.execute(&items[part.clone()]).await {
                Ok(results) => {
                    let mut results = results.into_iter();
                    for answer in answers.by_ref().take(part.len()) {
                        if let Some(result) = results.next() {
                            reply(answer, Ok(result));
                        }
                    }
                }
                Err(Failure::Item(_)) if parts.split(&part) => {}
                Err(Failure::Locked(error)) if part.len() > 1 => {
                    let answers = answers.by_ref().take(part.len());
                    carry_out_each(&items[part], answers, operation, &error).await;
                }
                Err(Failure::Item(error) | Failure::Locked(error)) => fail(answers.by_ref().take(1), &error),
                Err(Failure::Batch(error)) => return fail(answers, &error),
                Err(Failure::All(error)) => {
                    fail(answers, &error);
                    let waiting = self.0.0.with_queue(Queue::clear);
                    return fail(waiting.into_iter().map(|entry| entry.answer), &error);
                }
            }
        }
    }
}

/// Carries out each of `items` alone. After [`LOCK_WAITS`], the others get the error `locked`.
async fn carry_out_each<O: Operation>(
    items: &[O::Item],
    answers: impl Iterator<Item = Answer<O>>,
    operation: &mut O,
    locked: &O::Error,
) {
    let mut lock_waits = 0;
    for (item, answer) in items.chunks(1).zip(answers) {
        if lock_waits == LOCK_WAITS {
            reply(answer, Err(locked.clone()));
            continue;
        }
        match operation.execute(item).await {
            Ok(results) => {
                if let Some(result) = results.into_iter().next() {
                    reply(answer, Ok(result));
                }
            }
            Err(failure) => {
                lock_waits += u32::from(matches!(failure, Failure::Locked(_)));
                reply(answer, Err(failure.into_error()));
            }
        }
    }
}

/// Has no effect if the caller has gone away.
fn reply<R, E>(answer: oneshot::Sender<Result<R, E>>, result: Result<R, E>) {
    let _ = answer.send(result);
}

fn fail<R, E: Clone>(answers: impl Iterator<Item = oneshot::Sender<Result<R, E>>>, error: &E) {
    answers.for_each(|answer| reply(answer, Err(error.clone())));
}

impl<O: Operation> Clone for Worker<O> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<O: Operation> Drop for Workers<O> {
    fn drop(&mut self) {
        self.0.close();
        // Their callers learn of it by the end of the channel.
        drop(self.0.with_queue(Queue::clear));
    }
}

impl<O: Operation> Batch<O> {
    fn clear(&mut self) {
        self.items.clear();
        self.answers.clear();
    }
}

impl<O: Operation> Extend<Entry<O>> for Batch<O> {
    fn extend<I: IntoIterator<Item = Entry<O>>>(&mut self, entries: I) {
        for Entry { item, answer } in entries {
            self.items.push(item);
            self.answers.push(answer);
        }
    }
}
