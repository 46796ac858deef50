//! The messages in flight: submitted, and not answered yet.

use std::collections::{BTreeMap, BTreeSet};

use super::Time;

/// The messages in flight, by counter. `T` is the ticket of a message's sender, who waits until the
/// message is accepted.
#[derive(Debug)]
pub(super) struct Window<T> {
    entries: BTreeMap<i64, Entry<T>>,
    /// The counters to send, each of an entry that is not known to be stored.
    queue: BTreeSet<i64>,
    bytes: usize,
}

/// A message in flight.
#[derive(Debug)]
pub(super) struct Entry<T> {
    pub(super) text: String,
    /// `None` once the message was accepted.
    pub(super) ticket: Option<T>,
    pub(super) submitted: Time,
}

impl<T> Window<T> {
    pub(super) const fn new() -> Self {
        Self { entries: BTreeMap::new(), queue: BTreeSet::new(), bytes: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The total length of the texts, in bytes.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn first(&self) -> Option<i64> {
        self.entries.first_key_value().map(|(counter, _)| *counter)
    }

    /// When the first message was submitted.
    pub(super) fn oldest(&self) -> Option<Time> {
        self.entries.first_key_value().map(|(_, entry)| entry.submitted)
    }

    /// Adds a message, which is to be sent.
    pub(super) fn push(&mut self, counter: i64, entry: Entry<T>) {
        self.bytes += entry.text.len();
        self.entries.insert(counter, entry);
        self.queue.insert(counter);
    }

    pub(super) fn has_unsent(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Takes the first message to send.
    pub(super) fn take_unsent(&mut self) -> Option<(i64, String)> {
        let counter = self.queue.pop_first()?;
        self.entries.get(&counter).map(|entry| (counter, entry.text.clone()))
    }

    /// Records that a message is stored. Returns its ticket the first time.
    pub(super) fn accept(&mut self, counter: i64) -> Option<T> {
        self.queue.remove(&counter);
        self.entries.get_mut(&counter)?.ticket.take()
    }

    /// Sends a message again, unless it was accepted meanwhile.
    pub(super) fn send_again(&mut self, counter: i64) {
        if self.entries.get(&counter).is_some_and(|entry| entry.ticket.is_some()) {
            self.queue.insert(counter);
        }
    }

    /// Removes a message that was answered.
    pub(super) fn remove(&mut self, counter: i64) -> Option<Entry<T>> {
        self.queue.remove(&counter);
        let entry = self.entries.remove(&counter)?;
        self.bytes -= entry.text.len();
        Some(entry)
    }

    /// Removes all messages below `counter`, and returns the tickets of those that were not
    /// accepted.
    pub(super) fn remove_below(&mut self, counter: i64) -> Vec<(i64, T)> {
        let mut tickets = Vec::new();
        while let Some(first) = self.first().filter(|first| *first < counter) {
            let ticket = self.remove(first).and_then(|entry| entry.ticket);
            tickets.extend(ticket.map(|ticket| (first, ticket)));
        }
        tickets
    }

    /// The messages that the server has: those below `missing` and in `ahead`.
    pub(super) fn stored(&self, missing: i64, ahead: &BTreeSet<i64>) -> Vec<i64> {
        self.entries.keys().copied().filter(|counter| *counter < missing || ahead.contains(counter)).collect()
    }

    /// Sends all messages on a new connection, except those that were accepted and that the server
    /// [has](Self::stored).
    pub(super) fn send_all(&mut self, missing: i64, ahead: &BTreeSet<i64>) {
        self.queue = self.entries.keys().copied().collect();
        for counter in self.stored(missing, ahead) {
            if self.entries.get(&counter).is_some_and(|entry| entry.ticket.is_none()) {
                self.queue.remove(&counter);
            }
        }
    }

    /// Gives all messages new counters, and sends them again in the same order.
    pub(super) fn renumber(&mut self, mut next: impl FnMut() -> i64) {
        let entries = std::mem::take(&mut self.entries);
        self.entries = entries.into_values().map(|entry| (next(), entry)).collect();
        self.queue = self.entries.keys().copied().collect();
    }
}
