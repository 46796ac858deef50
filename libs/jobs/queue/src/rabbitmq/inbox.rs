//! Messages that the broker has delivered and no handler has taken.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use lapin::Acker;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::delivery::Outcome;
use crate::priorities::PriorityScheduler;
use crate::{Consumer, Death, Delivery, Message, Priority};

/// Sends settlements to the channel that their deliveries came from.
pub(crate) type Settlements = mpsc::UnboundedSender<(Acker, Outcome)>;

/// A message in the inbox.
pub(crate) struct Arrival {
    pub(crate) message: Message,
    pub(crate) redelivered: bool,
    pub(crate) death: Option<Death>,
    pub(crate) acker: Acker,
    pub(crate) settlements: Settlements,
}

/// The prefetched messages of a consumer, at most as many as the broker delivers unsettled.
/// Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Inbox(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    /// Notified when a message arrives or the inbox is closed.
    changed: Notify,
}

#[derive(Default)]
struct State {
    waiting: [VecDeque<Arrival>; 3],
    closed: bool,
}

impl Inbox {
    pub(crate) fn push(&self, arrival: Arrival) {
        self.state().waiting[arrival.message.priority.index()].push_back(arrival);
        self.0.changed.notify_one();
    }

    /// Removes the messages that came from one channel.
    pub(crate) fn take_all(&self, settlements: &Settlements) -> Vec<Arrival> {
        let mut taken = Vec::new();
        for waiting in &mut self.state().waiting {
            let is_from = |arrival: &Arrival| arrival.settlements.same_channel(settlements);
            let (from_channel, others) = std::mem::take(waiting).into_iter().partition::<VecDeque<_>, _>(is_from);
            *waiting = others;
            taken.extend(from_channel);
        }
        taken
    }

    /// Closes the inbox. The channels remove the messages that are left, by
    /// [`take_all`](Self::take_all).
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.0.changed.notify_one();
    }

    /// Closes the inbox when the guard is dropped, even by a panic: a consumer that waits for
    /// a subscription that is gone would wait for ever.
    pub(crate) fn close_when_dropped(&self) -> CloseGuard {
        CloseGuard(self.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes an inbox when it is dropped.
pub(crate) struct CloseGuard(Inbox);

impl Drop for CloseGuard {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The consumer of an inbox.
pub(crate) struct RabbitMqConsumer {
    inbox: Inbox,
    scheduler: PriorityScheduler,
    _abandoned_when_dropped: DropGuard,
}

impl RabbitMqConsumer {
    /// Cancels `abandoned` when it is dropped.
    pub(crate) fn new(inbox: Inbox, abandoned: CancellationToken) -> Self {
        Self { inbox, scheduler: PriorityScheduler::default(), _abandoned_when_dropped: abandoned.drop_guard() }
    }
}

impl std::fmt::Debug for RabbitMqConsumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RabbitMqConsumer").finish_non_exhaustive()
    }
}

#[async_trait]
impl Consumer for RabbitMqConsumer {
    async fn next(&mut self) -> Option<Delivery> {
        loop {
            {
                let mut state = self.inbox.state();
                if state.closed {
                    return None;
                }
                let is_waiting = |priority: Priority| !state.waiting[priority.index()].is_empty();
                if let Some(priority) = self.scheduler.choose(is_waiting) {
                    return state.waiting[priority.index()].pop_front().map(Arrival::deliver);
                }
            }
            // A notification that comes right now is kept, since this is the only waiter.
            self.inbox.0.changed.notified().await;
        }
    }
}

impl Arrival {
    fn deliver(self) -> Delivery {
        let Self { message, redelivered, death, acker, settlements } = self;
        // If the channel is gone, the broker delivers its messages again anyway.
        Delivery::new(message, redelivered, move |outcome| drop(settlements.send((acker, outcome)))).with_death(death)
    }
}
