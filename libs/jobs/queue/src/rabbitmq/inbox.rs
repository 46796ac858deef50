//! Where messages wait between the broker and whoever takes the next one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use lapin::Acker;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::delivery::Outcome;
use crate::turn::Turn;
use crate::{Consumer, Delivery, Message, Priority};

/// How deliveries that were handed out are settled: on the channel they came from.
pub(crate) type Settlements = mpsc::UnboundedSender<(Acker, Outcome)>;

/// A message that nobody has taken yet.
pub(crate) struct Arrival {
    pub(crate) message: Message,
    pub(crate) redelivered: bool,
    pub(crate) acker: Acker,
    pub(crate) settlements: Settlements,
}

/// It never holds more than the broker delivers without any being settled. Cheap
/// to clone.
#[derive(Clone, Default)]
pub(crate) struct Inbox(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    /// There is something new, or nothing will come any more.
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

    /// Takes out what nobody has taken, of one channel.
    pub(crate) fn take_all(&self, settlements: &Settlements) -> Vec<Arrival> {
        let mut taken = Vec::new();
        for waiting in &mut self.state().waiting {
            let is_of_it = |arrival: &Arrival| arrival.settlements.same_channel(settlements);
            let (of_it, others) = std::mem::take(waiting).into_iter().partition::<VecDeque<_>, _>(is_of_it);
            *waiting = others;
            taken.extend(of_it);
        }
        taken
    }

    /// Says that nothing will come any more. What waits is left to the channels that
    /// it came from: [`take_all`](Self::take_all).
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.0.changed.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The only one who takes messages out of an inbox.
pub(crate) struct RabbitMqConsumer {
    inbox: Inbox,
    turn: Turn,
    _abandoned_when_dropped: DropGuard,
}

impl RabbitMqConsumer {
    /// Cancels `abandoned` when it is dropped.
    pub(crate) fn new(inbox: Inbox, abandoned: CancellationToken) -> Self {
        Self { inbox, turn: Turn::default(), _abandoned_when_dropped: abandoned.drop_guard() }
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
                if let Some(priority) = self.turn.next(is_waiting) {
                    return state.waiting[priority.index()].pop_front().map(Arrival::deliver);
                }
            }
            // One is kept for us if it comes right now, as nobody else waits here.
            self.inbox.0.changed.notified().await;
        }
    }
}

impl Arrival {
    fn deliver(self) -> Delivery {
        let Self { message, redelivered, acker, settlements } = self;
        // A channel that is gone takes no settlement: its messages are delivered again anyway.
        Delivery::new(message, redelivered, move |outcome| drop(settlements.send((acker, outcome))))
    }
}
