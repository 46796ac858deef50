//! A client's connection on a server as a state machine: which answers were sent over it, which are
//! due, and when it has to be closed.
//!
//! The server sends every answer from the place that [`Connected`] names, in order, each once. It
//! reads them as the client takes them, so a connection keeps nothing but counters.

use crate::tables::{Accepted, Connected, Lost};
use crate::types::{ClientId, Epoch, Range, Served};

/// What a server does on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Say that the message with this counter is stored.
    Accepted(i64),
    /// Say that the message with this counter was served.
    Served(i64, Served),
    /// Say that the answers before this counter are gone.
    Lost(i64, Lost),
    /// Say that a message was refused.
    Refused(i64, Refusal),
    /// Close the connection. Nothing follows.
    Close(Closed),
}

/// Why a message is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Another text is stored under the counter.
    Conflict,
    /// The counter is too far ahead of the first missing one.
    TooFar {
        /// The first missing counter.
        expected: i64,
    },
    /// The message was served, and its answer was deleted.
    Gone,
}

/// Why a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// A newer connection of the client took over.
    TakenOver,
    /// The client acknowledged an answer that was not sent to it.
    WrongAcknowledgement,
}

/// A connection after its `hello` was answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Connection {
    client: ClientId,
    epoch: Epoch,
    /// The counter of the next answer to send.
    next: i64,
    /// The lowest counter that may still wait.
    waiting: i64,
    /// Whether the client may still begin with counter 0.
    may_begin_with_0: bool,
    is_closed: bool,
}

impl Connection {
    /// A connection that begins with `connected`.
    #[must_use]
    pub fn new(connected: &Connected) -> Self {
        let Connected { client, resume } = connected;
        Self {
            client: client.id.clone(),
            epoch: client.epoch,
            next: resume.from(),
            waiting: client.last_served().map_or(0, |last_served| last_served + 1),
            may_begin_with_0: client.is_new() && client.kept == 1,
            is_closed: false,
        }
    }

    /// The epoch of the connection, which is part of each of its requests.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether the connection is closed. Then nothing follows.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// The counter of the next answer to send.
    #[must_use]
    pub const fn next(&self) -> i64 {
        self.next
    }

    /// A message of this connection with this counter was stored or refused.
    pub fn accepted(&mut self, counter: i64, accepted: &Accepted) -> Vec<Output> {
        if self.is_closed {
            return Vec::new();
        }
        let refusal = match accepted {
            Accepted::Stored(row) => {
                self.begin_with(counter);
                return self.stored(counter, row.served.as_ref());
            }
            Accepted::Fenced => return self.close(Closed::TakenOver),
            Accepted::Conflict => Refusal::Conflict,
            Accepted::TooFar { expected } => Refusal::TooFar { expected: *expected },
            Accepted::Gone { .. } => Refusal::Gone,
        };
        vec![Output::Refused(counter, refusal)]
    }

    fn stored(&mut self, counter: i64, served: Option<&Served>) -> Vec<Output> {
        let mut outputs = vec![Output::Accepted(counter)];
        if let Some(served) = served {
            self.waiting = self.waiting.max(counter + 1);
            // The client repeated a message although its answer is not among those that follow.
            if counter < self.next {
                outputs.push(Output::Served(counter, served.clone()));
            }
        }
        outputs
    }

    /// The client's latest connection has the epoch `epoch`, and its messages before the counter
    /// `next` are served; 0 if none is. News may arrive late and in any order.
    pub fn progress(&mut self, epoch: Epoch, next: i64) -> Vec<Output> {
        if self.is_closed {
            return Vec::new();
        }
        if epoch > self.epoch {
            return self.close(Closed::TakenOver);
        }
        self.waiting = self.waiting.max(next);
        Vec::new()
    }

    /// The answers that are to be read and sent next, at most `limit`; `None` if none is known.
    #[must_use]
    pub fn due(&self, limit: u32) -> Option<Range> {
        let last = self.waiting.min(self.next.saturating_add(i64::from(limit))) - 1;
        let is_due = !self.is_closed && self.next <= last;
        is_due.then(|| Range { client: self.client.clone(), first: self.next, last })
    }

    /// The answers to the messages that were [due](Self::due) up to the counter `last`, in the order
    /// of counters. Those that are missing are deleted.
    pub fn answers(&mut self, last: i64, answers: impl IntoIterator<Item = (i64, Served)>) -> Vec<Output> {
        let mut outputs = Vec::new();
        if self.is_closed {
            return outputs;
        }
        for (counter, served) in answers {
            if counter < self.next {
                self.begin_with(counter);
            }
            if counter >= self.next {
                self.skip_to(counter, &mut outputs);
                outputs.push(Output::Served(counter, served));
                self.next = counter + 1;
                self.may_begin_with_0 = false;
            }
        }
        self.skip_to(last + 1, &mut outputs);
        self.waiting = self.waiting.max(self.next);
        outputs
    }

    fn skip_to(&mut self, counter: i64, outputs: &mut Vec<Output>) {
        if self.next < counter {
            self.next = counter;
            outputs.push(Output::Lost(counter, Lost::Deleted));
        }
    }

    /// The client has all answers up to the counter. Closes the connection if it cannot have them.
    pub fn acknowledged(&mut self, counter: i64) -> Vec<Output> {
        if self.is_closed || counter < self.next { Vec::new() } else { self.close(Closed::WrongAcknowledgement) }
    }

    /// A client whose first counter is 0 is known as such only once that message is stored.
    const fn begin_with(&mut self, counter: i64) {
        if counter == 0 && self.may_begin_with_0 && self.next == 1 {
            self.next = 0;
        }
    }

    fn close(&mut self, closed: Closed) -> Vec<Output> {
        self.is_closed = true;
        vec![Output::Close(closed)]
    }
}
