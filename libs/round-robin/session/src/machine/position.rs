//! The place of a client in its messages and answers, and how it finds it again.

use std::collections::BTreeSet;

use round_robin_core::types::Epoch;
use round_robin_protocol::Position;

use super::{Connection, Effect, Machine, Phase, Time};
use crate::Lost;

/// Where a client is.
#[derive(Debug)]
pub(super) struct Place {
    /// The lowest counter that the next message may have.
    next: i64,
    /// Counters from `next` on that are in use.
    used: BTreeSet<i64>,
    /// The counter of the next answer.
    pub(super) answer: i64,
    /// Whether the last answer came to this session.
    pub(super) has_answers: bool,
    /// The highest counter whose answer the application has taken.
    pub(super) taken: Option<i64>,
}

impl Place {
    /// The counter of the next message.
    pub(super) fn next_counter(&self) -> i64 {
        let mut counter = self.next;
        while self.used.contains(&counter) {
            counter += 1;
        }
        counter
    }

    /// Records that a message has this counter, and thus the next one a higher one.
    pub(super) fn use_counter(&mut self, counter: i64) {
        self.next = self.next.max(counter + 1);
        self.used.retain(|used| *used > counter);
    }

    /// The counter of the last answer; that before the first one if there is none.
    pub(super) const fn last_answer(&self) -> i64 {
        self.answer - 1
    }
}

impl<T> Machine<T> {
    /// Continues at `position`. `lost` is the reason for which the server cannot continue where the
    /// client was.
    pub(super) fn resume(&mut self, now: Time, position: Position, lost: Option<String>) {
        let before = self.place.take();
        let expected = before.as_ref().map(|place| place.answer);
        let skips = expected.is_some_and(|expected| position.from > expected);
        let lost = lost.or_else(|| skips.then(|| "the server left out answers".to_owned()));
        // Without a loss, answers that the client has already may come again.
        let answer = if lost.is_some() { position.from } else { expected.unwrap_or(position.from) };

        self.accept_below(answer);
        let mut place = Place {
            next: before.as_ref().map_or(position.first_missing, |place| place.next),
            used: position.ahead.iter().copied().collect(),
            answer,
            has_answers: lost.is_none() && before.as_ref().is_some_and(|place| place.has_answers),
            taken: before.as_ref().and_then(|place| place.taken).map(|taken| taken.min(answer - 1)),
        };
        // The first message that the client can still send.
        let first = self.window.first().unwrap_or(place.next);
        let is_renumbered = position.first_missing < first;
        if is_renumbered {
            // The server has lost messages that the client no longer has.
            place.next = position.first_missing;
            self.window.renumber(|| {
                let counter = place.next_counter();
                place.use_counter(counter);
                counter
            });
        } else {
            if lost.is_none() && self.was_alone(position.epoch) {
                self.accept_stored(position.first_missing, &place.used);
            }
            self.window.send_all(position.first_missing, &place.used);
            place.next = place.next.max(position.first_missing);
        }
        if let Some(reason) = lost {
            self.effects.push_back(Effect::Lost(Lost { reason, from: position.from, expected, is_renumbered }));
        }
        self.place = Some(place);
        self.connected(now, position);
    }

    /// Whether the epoch tells that no other program has connected with the same name since the last
    /// connection. Otherwise what the server has may be the messages of that program.
    fn was_alone(&self, epoch: Epoch) -> bool {
        self.epoch.is_some_and(|last| epoch.0 <= last.0 + 1 + self.unanswered)
    }

    /// Messages that the server has were accepted, although the client was not told.
    fn accept_stored(&mut self, first_missing: i64, ahead: &BTreeSet<i64>) {
        for counter in self.window.stored(first_missing, ahead) {
            self.accepted(counter);
        }
    }

    /// Answers before `from` were deleted before they were sent on this connection.
    pub(super) fn skip(&mut self, reason: String, from: i64) {
        let Some(place) = self.place.as_mut() else { return };
        let lost = Lost { reason, from, expected: Some(place.answer), is_renumbered: false };
        place.answer = from;
        place.has_answers = false;
        place.use_counter(from - 1);
        self.accept_below(from);
        self.effects.push_back(Effect::Lost(lost));
    }

    /// Removes the messages before `counter`: they were served, and their answers are gone.
    fn accept_below(&mut self, counter: i64) {
        let stored = self.window.remove_below(counter);
        self.effects.extend(stored.into_iter().map(|(counter, ticket)| Effect::Accepted(ticket, counter)));
    }

    fn connected(&mut self, now: Time, position: Position) {
        self.epoch = Some(position.epoch);
        self.unanswered = 0;
        self.counts.connections += 1;
        self.phase = Phase::Open(Connection {
            heard: now,
            is_pinged: false,
            acknowledged: None,
            acknowledge_at: None,
            paused_until: None,
            leave_at: None,
            answered: now,
        });
        self.effects.push_back(Effect::Resumed(position));
        self.plan_acknowledgement(now);
    }
}
