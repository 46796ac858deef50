//! What a client saw.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use round_robin_protocol::Position;

use crate::oracle::cases::Cases;

/// The text of a message.
pub(crate) fn text_of(client: &str, counter: i64) -> String {
    format!("{counter} from {client}")
}

/// The answer to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The name of the replica that served the message.
    pub(crate) replica: String,
    /// When, in milliseconds since the Unix epoch.
    pub(crate) at: i64,
}

/// The position of a client, as the server says it.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) last_served: Option<i64>,
    pub(crate) first_missing: i64,
    /// Counters above the first missing one that are stored.
    pub(crate) ahead: BTreeSet<i64>,
}

impl From<&Position> for Place {
    fn from(position: &Position) -> Self {
        let ahead = position.ahead.iter().copied().collect();
        Self { last_served: position.last_served, first_missing: position.first_missing, ahead }
    }
}

/// What one client saw, and what was wrong with it.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) client: String,
    /// Counters of messages that a server accepted.
    pub(crate) accepted: BTreeSet<i64>,
    /// The answers, by counter.
    pub(crate) answers: BTreeMap<i64, Answer>,
    /// Events of each kind.
    pub(crate) events: BTreeMap<&'static str, u64>,
    /// From the beginning of each reconnect to the next answer.
    pub(crate) delays: Vec<Duration>,
    /// Number of reconnects whose first answer was looked at.
    pub(crate) first_answers: u64,
    /// First answers after a reconnect that were not the last served counter + 1.
    pub(crate) astray: Cases,
    /// Answers that came out of order on a connection, or twice.
    pub(crate) disorder: Cases,
    /// Answers that differ from the first answer to the same message.
    pub(crate) differing: Cases,
    /// Positions that lack a message that was accepted or answered.
    pub(crate) back: Cases,
    /// Anything else that a server must not say.
    pub(crate) wrong: Cases,
}

impl Record {
    /// An empty record.
    pub(crate) fn new(client: &str) -> Self {
        Self { client: client.to_owned(), ..Self::default() }
    }

    /// Counts an event.
    pub(crate) fn count(&mut self, event: &'static str) {
        *self.events.entry(event).or_default() += 1;
    }

    /// Records that a server accepted a message.
    pub(crate) fn accept(&mut self, counter: i64) {
        self.accepted.insert(counter);
    }

    /// Records an answer.
    pub(crate) fn answer(&mut self, counter: i64, answer: Answer) {
        self.accept(counter);
        match self.answers.entry(counter) {
            Entry::Vacant(place) => {
                place.insert(answer);
            }
            Entry::Occupied(first) if *first.get() != answer => {
                let (client, first) = (&self.client, first.get());
                self.differing.add(|| format!("{client}: {counter} {first:?}, then {answer:?}"));
            }
            Entry::Occupied(_) => {}
        }
    }

    /// Checks what a server says about the position of the client.
    pub(crate) fn check(&mut self, place: &Place) {
        let answered = self.answers.last_key_value().map(|(counter, _)| *counter);
        let forgotten = self.accepted.range(place.first_missing..).find(|counter| !place.ahead.contains(counter));
        if answered > place.last_served || forgotten.is_some() {
            let client = &self.client;
            self.back.add(|| format!("{client} has {answered:?} answered, {forgotten:?} accepted: {place:?}"));
        }
    }

    /// Records the first answer after a reconnect.
    pub(crate) fn first_answer(&mut self, counter: i64, expected: i64, delay: Duration) {
        self.first_answers += 1;
        self.delays.push(delay);
        if counter != expected {
            let client = &self.client;
            self.astray.add(|| format!("{client}: {counter} in place of {expected}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_knows_what_must_not_be_said() {
        let answer = |replica: &str| Answer { replica: replica.to_owned(), at: 5 };
        let place = |last_served, first_missing, ahead: &[i64]| Place {
            last_served,
            first_missing,
            ahead: ahead.iter().copied().collect(),
        };
        let mut record = Record::new("c");
        record.check(&place(None, 1, &[]));
        record.answer(1, answer("a"));
        record.answer(1, answer("a"));
        record.accept(2);
        record.check(&place(Some(1), 3, &[]));
        record.check(&place(Some(2), 4, &[]));
        record.accept(6);
        record.check(&place(Some(2), 4, &[6, 7]));
        record.first_answer(2, 2, Duration::ZERO);
        assert_eq!([&record.differing, &record.back, &record.astray].map(|cases| cases.count), [0; 3]);
        record.answer(1, answer("b"));
        record.check(&place(None, 7, &[]));
        record.check(&place(Some(1), 2, &[6]));
        record.check(&place(Some(1), 4, &[7]));
        record.first_answer(3, 2, Duration::ZERO);
        assert_eq!([&record.differing, &record.back, &record.astray].map(|cases| cases.count), [1, 3, 1]);
    }
}
