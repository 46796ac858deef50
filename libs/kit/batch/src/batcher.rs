//! The callers' side.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::sync::{Semaphore, oneshot};

use crate::queue::{Item, Queue, Refused};
use crate::{Limits, Metrics, Operation, Worker};

/// Why an item has no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error<E> {
    /// [`Limits::waiting`] items wait already. The item was not taken in.
    #[error("too many items wait")]
    Full,
    /// No worker answers any more: it has panicked, was aborted or has ended. The item may
    /// have been carried out.
    #[error("the worker has stopped")]
    Stopped,
    /// The operation failed.
    #[error("{0}")]
    Failed(E),
}

/// Takes items from callers. Cheap to clone; when the last clone is dropped, the workers
/// finish what waits and end.
pub struct Batcher<O: Operation>(Arc<Callers<O>>);

/// Closes the queue when it is dropped.
struct Callers<O: Operation>(Arc<Shared<O>>);

/// An item that waits or is carried out. Resolves with its result; the item is carried out
/// even if this is dropped.
#[must_use = "the result of the item; drop it to carry out the item without waiting"]
pub struct Pending<O: Operation>(oneshot::Receiver<Result<O::Output, O::Error>>);

/// What callers and workers share.
pub(crate) struct Shared<O: Operation> {
    queue: Mutex<Queue<Entry<O>>>,
    /// One permit for each worker that was woken; closed with the queue.
    pub(crate) woken: Semaphore,
    pub(crate) metrics: Metrics,
}

/// Where the result of an item goes.
pub(crate) type Answer<O> = oneshot::Sender<Result<<O as Operation>::Output, <O as Operation>::Error>>;

/// An item with its caller.
pub(crate) struct Entry<O: Operation> {
    pub(crate) item: O::Item,
    pub(crate) answer: Answer<O>,
}

impl<O: Operation> Batcher<O> {
    /// A batcher and its first worker, which has to be [run](Worker::run).
    #[must_use]
    pub fn new(limits: Limits, metrics: Metrics) -> (Self, Worker<O>) {
        let queue = Mutex::new(Queue::new(limits));
        let shared = Arc::new(Shared { queue, woken: Semaphore::new(0), metrics });
        (Self(Arc::new(Callers(Arc::clone(&shared)))), Worker::new(shared))
    }

    /// Hands in an item and waits for its result.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn call(&self, item: O::Item) -> Result<O::Output, Error<O::Error>> {
        self.submit(item)?.await
    }

    /// Hands in an item without waiting. Items enter batches in the order of these calls.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Stopped`], if the item was not taken in.
    pub fn submit(&self, item: O::Item) -> Result<Pending<O>, Error<O::Error>> {
        let Callers(shared) = &*self.0;
        let (answer, pending) = oneshot::channel();
        let pushed = shared.with_queue(|queue| queue.push(Entry { item, answer }));
        let wake = pushed.map_err(|refused| match refused {
            Refused::Full => Error::Full,
            Refused::Closed => Error::Stopped,
        })?;
        if wake {
            shared.woken.add_permits(1);
        }
        Ok(Pending(pending))
    }
}

impl<O: Operation> Clone for Batcher<O> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<O: Operation> Drop for Callers<O> {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl<O: Operation> Future for Pending<O> {
    type Output = Result<O::Output, Error<O::Error>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match ready!(Pin::new(&mut self.0).poll(context)) {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(error)) => Err(Error::Failed(error)),
            Err(_) => Err(Error::Stopped),
        })
    }
}

impl<O: Operation> Item for Entry<O> {
    fn weight(&self) -> usize {
        O::weight(&self.item)
    }
}

impl<O: Operation> Shared<O> {
    /// Changes the queue and updates the metric.
    pub(crate) fn with_queue<U>(&self, change: impl FnOnce(&mut Queue<Entry<O>>) -> U) -> U {
        let mut queue = self.queue();
        let result = change(&mut queue);
        self.metrics.set_waiting(queue.len());
        result
    }

    /// Refuses further items. Workers finish what waits.
    pub(crate) fn close(&self) {
        self.queue().close();
        self.woken.close();
    }

    fn queue(&self) -> MutexGuard<'_, Queue<Entry<O>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
