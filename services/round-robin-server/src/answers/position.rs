//! What is known about a client: which of its messages are served, and which replica served them.

use std::collections::VecDeque;
use std::sync::Arc;

use round_robin_core::types::{ClientId, ClientRow, Epoch};
use round_robin_store::Answer;

/// Number of [`Served`] that are kept for local requests and sockets. They read others from the
/// database.
const RECENT: usize = 32;

/// Consecutive messages of a client that one replica served at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Served {
    /// The first counter.
    pub(crate) first: i64,
    /// The last counter.
    pub(crate) last: i64,
    /// The name of the replica.
    pub(crate) replica: Arc<str>,
    /// When, in milliseconds since the Unix epoch.
    pub(crate) at: i64,
}

/// The counter after the last message of a client that was served, and 0 if none was. It never
/// becomes less, unlike `next`, which is 1 at first, and 0 once a first message 0 is stored.
pub(crate) fn served_before(row: &ClientRow) -> i64 {
    row.last_served().map_or(0, |last| last + 1)
}

/// Combines answers, in the order of their clients and counters, that were given together.
pub(crate) fn combined(answers: Vec<Answer>) -> Vec<(ClientId, Served)> {
    let mut all: Vec<(ClientId, Served)> = Vec::new();
    for Answer { client, counter, served } in answers {
        if let Some((last_client, last)) = all.last_mut()
            && *last_client == client
            && last.last + 1 == counter
            && (&*last.replica, last.at) == (&*served.replica, served.at)
        {
            last.last = counter;
            continue;
        }
        all.push((client, Served { first: counter, last: counter, replica: served.replica.into(), at: served.at }));
    }
    all
}

/// The position of a client.
#[derive(Debug, Clone, Default)]
pub(crate) struct Position {
    /// The epoch of its latest connection.
    pub(crate) epoch: Epoch,
    /// The counter after the last message that was served, 0 if there is none; `None` until it is
    /// known.
    pub(crate) next: Option<i64>,
    /// Whether the database has lost its latest transactions, so that what was said about this
    /// client is no longer true.
    pub(crate) is_lost: bool,
    /// The latest answers, in the order of their counters.
    recent: VecDeque<Served>,
}

impl Position {
    /// Whether the message with this counter was served.
    pub(crate) fn is_served(&self, counter: i64) -> bool {
        self.next.is_some_and(|next| next > counter)
    }

    /// The messages that were served together with this one, if they are known.
    pub(crate) fn served_with(&self, counter: i64) -> Option<&Served> {
        self.recent.iter().rev().find(|served| (served.first..=served.last).contains(&counter))
    }

    /// Records that a connection has this epoch. Returns whether that changes anything.
    pub(crate) fn set_epoch(&mut self, epoch: Epoch) -> bool {
        let is_newer = epoch > self.epoch;
        self.epoch = self.epoch.max(epoch);
        is_newer
    }

    /// Records the counter after the last message that was served. Returns whether that changes anything.
    pub(crate) fn set_next(&mut self, next: i64) -> bool {
        let is_later = self.next.is_none_or(|known| known < next);
        if is_later {
            self.next = Some(next);
        }
        is_later
    }

    /// Records that messages were served. Returns whether that changes anything.
    pub(crate) fn add(&mut self, served: Served) -> bool {
        if self.is_served(served.last) {
            return false;
        }
        self.next = Some(served.last + 1);
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(served);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_were_given_together_are_combined() {
        let client = |name: &str| ClientId::try_from(name.to_owned()).unwrap();
        let answer = |name: &str, counter, replica: &str, at| Answer {
            client: client(name),
            counter,
            served: round_robin_core::types::Served { replica: replica.to_owned(), at },
        };
        let answers = vec![
            answer("a", 1, "x", 5),
            answer("a", 2, "x", 5),
            answer("a", 3, "x", 6),
            answer("a", 4, "y", 6),
            answer("a", 6, "y", 6),
            answer("b", 7, "y", 6),
        ];
        let found: Vec<(ClientId, i64, i64, i64)> = combined(answers)
            .into_iter()
            .map(|(client, served)| (client, served.first, served.last, served.at))
            .collect();
        let expected = [("a", 1, 2, 5), ("a", 3, 3, 6), ("a", 4, 4, 6), ("a", 6, 6, 6), ("b", 7, 7, 6)];
        assert_eq!(found, expected.map(|(name, first, last, at)| (client(name), first, last, at)));
    }

    fn served(first: i64, last: i64) -> Served {
        Served { first, last, replica: "a".into(), at: first }
    }

    #[test]
    fn a_position_only_grows() {
        let mut position = Position::default();
        assert!(!position.is_served(0), "nothing is known");
        assert!(position.set_next(5));
        assert!(position.is_served(4) && !position.is_served(5));
        assert_eq!(position.served_with(4), None, "the replica is not known");
        assert!(position.add(served(5, 7)) && position.add(served(8, 8)));
        assert_eq!(position.served_with(7), Some(&served(5, 7)));
        assert!(!position.add(served(5, 8)) && !position.set_next(8), "late news");
        assert_eq!(position.next, Some(9));
        assert!(position.set_epoch(Epoch(2)) && !position.set_epoch(Epoch(1)));
        assert_eq!(position.epoch, Epoch(2));
    }

    #[test]
    fn only_the_latest_answers_are_kept() {
        let mut position = Position::default();
        for counter in 1..=100 {
            assert!(position.add(served(counter, counter)));
        }
        assert_eq!(position.recent.len(), RECENT);
        assert!(position.served_with(68).is_none() && position.served_with(69).is_some());
    }
}
