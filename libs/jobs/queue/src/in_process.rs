//! A job queue in the memory of one process. Its messages end with the process.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::Notify;

use crate::delivery::Outcome;
use crate::priorities::PriorityScheduler;
use crate::{Consumer, Death, Delivery, Depth, JobQueue, Message, Priority, PublishError, Rejection, Unavailable};

/// Limits of an [`InProcessQueue`].
#[derive(Debug, Clone, Copy)]
pub struct InProcessOptions {
    /// Highest number of waiting messages of each priority, and of dead letters. Further
    /// messages are refused.
    pub capacity: usize,
    /// Highest number of times that a message is requeued before it becomes a dead letter.
    pub delivery_limit: u32,
}

impl Default for InProcessOptions {
    fn default() -> Self {
        Self { capacity: 10_000, delivery_limit: 20 }
    }
}

/// A job queue in the memory of this process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct InProcessQueue(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: InProcessOptions,
    state: Mutex<State>,
    /// Notified when a message arrives, a delivery is settled or the queue is closed.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: [VecDeque<Stored>; 3],
    dead: VecDeque<Stored>,
    closed: bool,
}

#[derive(Debug, Clone)]
struct Stored {
    message: Message,
    /// Number of times that the message was requeued, since it is in its present queue.
    requeued: u32,
    /// Why the message is a dead letter; `None` if it is not one.
    death: Option<Death>,
}

impl InProcessQueue {
    /// Creates an empty queue.
    #[must_use]
    pub fn new(options: InProcessOptions) -> Self {
        Self(Arc::new(Inner { options, state: Mutex::default(), changed: Notify::new() }))
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, message: Message) -> Result<(), PublishError> {
        let mut state = self.state();
        if state.closed {
            return Err(closed().into());
        }
        let capacity = self.options.capacity;
        // Dead letters count as well, since each message may become one.
        if state.waiting[message.priority.index()].len() >= capacity || state.dead.len() >= capacity {
            return Err(PublishError::Refused);
        }
        state.waiting[message.priority.index()].push_back(Stored { message, requeued: 0, death: None });
        Ok(())
    }

    /// Requeues, dead-letters or deletes a rejected message.
    fn reject(&self, mut stored: Stored, from: Source, rejection: Rejection) {
        let mut state = self.state();
        stored.requeued += 1;
        match (from, rejection) {
            (Source::Waiting, Rejection::Requeue) if stored.requeued <= self.options.delivery_limit => {
                state.waiting[stored.message.priority.index()].push_front(stored);
            }
            (Source::Waiting, rejection) => {
                let death = match rejection {
                    Rejection::Requeue => Death::DeliveryLimit,
                    Rejection::DeadLetter => Death::Rejected,
                };
                state.dead.push_back(Stored { requeued: 0, death: Some(death), ..stored });
            }
            (Source::Dead, Rejection::Requeue) => state.dead.push_front(stored),
            (Source::Dead, Rejection::DeadLetter) => {}
        }
    }
}

fn closed() -> Unavailable {
    Unavailable("the queue is closed".to_owned())
}

#[async_trait]
impl JobQueue for InProcessQueue {
    async fn publish(&self, messages: Vec<Message>) -> Vec<Result<(), PublishError>> {
        let results = messages.into_iter().map(|message| self.0.publish(message)).collect();
        self.0.changed.notify_waiters();
        results
    }

    fn consume(&self, prefetch: u16) -> Box<dyn Consumer> {
        Box::new(InProcessConsumer::new(&self.0, Source::Waiting, prefetch))
    }

    fn dead_letters(&self, prefetch: u16) -> Box<dyn Consumer> {
        Box::new(InProcessConsumer::new(&self.0, Source::Dead, prefetch))
    }

    async fn depth(&self) -> Result<Depth, Unavailable> {
        let state = self.0.state();
        if state.closed {
            return Err(closed());
        }
        let count = |queue: &VecDeque<Stored>| queue.len() as u64;
        Ok(Depth::new(state.waiting.each_ref().map(count), count(&state.dead)))
    }

    async fn ping(&self) -> Result<(), Unavailable> {
        self.depth().await.map(drop)
    }

    async fn close(&self) {
        self.0.state().closed = true;
        self.0.changed.notify_waiters();
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Waiting,
    Dead,
}

#[derive(Debug)]
struct InProcessConsumer {
    inner: Arc<Inner>,
    source: Source,
    prefetch: usize,
    scheduler: PriorityScheduler,
    /// The number of unsettled deliveries of each priority is the number of clones of its
    /// token, since each delivery holds one.
    held: [Arc<()>; 3],
}

impl InProcessConsumer {
    fn new(inner: &Arc<Inner>, source: Source, prefetch: u16) -> Self {
        let prefetch = usize::from(prefetch.max(1));
        Self {
            inner: Arc::clone(inner),
            source,
            prefetch,
            scheduler: PriorityScheduler::default(),
            held: Default::default(),
        }
    }

    fn has_room(&self, priority: Priority) -> bool {
        let held = &self.held[priority.index()];
        Arc::strong_count(held) - 1 < self.prefetch
    }

    fn take(&mut self) -> Option<Stored> {
        let inner = Arc::clone(&self.inner);
        let mut state = inner.state();
        match self.source {
            Source::Dead => {
                let has_room = state.dead.front().is_some_and(|stored| self.has_room(stored.message.priority));
                if has_room { state.dead.pop_front() } else { None }
            }
            Source::Waiting => {
                let room = Priority::ALL.map(|priority| self.has_room(priority));
                let is_waiting =
                    |priority: Priority| room[priority.index()] && !state.waiting[priority.index()].is_empty();
                let priority = self.scheduler.choose(is_waiting)?;
                state.waiting[priority.index()].pop_front()
            }
        }
    }

    fn deliver(&self, stored: Stored) -> Delivery {
        let (inner, source) = (Arc::clone(&self.inner), self.source);
        let token = Arc::clone(&self.held[stored.message.priority.index()]);
        let (message, redelivered, death) = (stored.message.clone(), stored.requeued > 0, stored.death);
        Delivery::new(message, redelivered, move |outcome| {
            drop(token);
            if let Outcome::Rejected(rejection) = outcome {
                inner.reject(stored, source, rejection);
            }
            inner.changed.notify_waiters();
        })
        .with_death(death)
    }
}

#[async_trait]
impl Consumer for InProcessConsumer {
    async fn next(&mut self) -> Option<Delivery> {
        let inner = Arc::clone(&self.inner);
        loop {
            let mut changed = std::pin::pin!(inner.changed.notified());
            // From here on no notification is missed.
            changed.as_mut().enable();
            if inner.state().closed {
                return None;
            }
            if let Some(stored) = self.take() {
                return Some(self.deliver(stored));
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn a_full_queue_refuses_and_takes_again() {
        let queue = InProcessQueue::new(InProcessOptions { capacity: 2, ..InProcessOptions::default() });
        let message = Message { job: Uuid::now_v7(), priority: Priority::Low, traceparent: None };
        let results = queue.publish(vec![message.clone(); 3]).await;
        assert_eq!(results, [Ok(()), Ok(()), Err(PublishError::Refused)]);
        queue.consume(1).next().await.unwrap().ack();
        assert_eq!(queue.publish(vec![message]).await, [Ok(())]);
    }
}
