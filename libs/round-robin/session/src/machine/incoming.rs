//! Frames from the server.

use std::time::Duration;

use round_robin_protocol::{Refusal, ServerFrame};

use super::{Closed, Effect, MAX_RETRY_AFTER, Machine, Phase, Time};
use crate::{Answer, Error};

impl<T> Machine<T> {
    pub(super) fn received(&mut self, now: Time, frame: ServerFrame) {
        match (&self.phase, frame) {
            (Phase::Greeting { .. }, ServerFrame::Resumed(position)) => self.resume(now, position, None),
            (Phase::Greeting { .. }, ServerFrame::Lost { reason, position }) => {
                self.resume(now, position, Some(reason));
            }
            (Phase::Open(_), ServerFrame::Lost { reason, position }) => self.skip(reason, position.from),
            (Phase::Greeting { .. } | Phase::Open(_), ServerFrame::Goaway { retry_after_ms }) => {
                self.goes_away(now, Duration::from_millis(retry_after_ms));
            }
            (Phase::Greeting { .. } | Phase::Open(_), ServerFrame::Unknown)
            | (Phase::Waiting { .. } | Phase::Connecting { .. } | Phase::Ended, _) => {}
            (Phase::Open(_), ServerFrame::Accepted { counter }) => {
                self.accepted(counter);
                self.progressed();
            }
            (Phase::Open(_), ServerFrame::Served { counter, replica, served_at_ms }) => {
                self.served(now, counter, replica, served_at_ms);
            }
            (Phase::Open(_), ServerFrame::Refused { counter, code, detail, .. }) => {
                self.refused(now, counter, code, detail);
            }
            (Phase::Greeting { .. } | Phase::Open(_), _) => self.abandon(now, "the server broke the protocol"),
        }
    }

    /// The server is about to exit. What it received meanwhile may not be stored.
    fn goes_away(&mut self, now: Time, after: Duration) {
        let after = after.min(MAX_RETRY_AFTER);
        if let Phase::Open(connection) = &mut self.phase {
            connection.leave_at = Some(now + after);
        } else {
            self.effects.push_back(Effect::Abandon);
            let reason = "the server is about to exit".to_owned();
            self.closed(now, Closed { code: None, reason, retry_after: Some(after) });
        }
    }

    pub(super) fn accepted(&mut self, counter: i64) {
        if let Some(ticket) = self.window.accept(counter) {
            self.effects.push_back(Effect::Accepted(ticket, counter));
        }
    }

    /// The connection is of use, so the next delays are short again.
    fn progressed(&mut self) {
        self.retry.reset();
        self.pause.reset();
    }

    fn served(&mut self, now: Time, counter: i64, replica: String, served_at_ms: i64) {
        let Some(place) = self.place.as_mut() else { return };
        if counter < place.answer {
            self.counts.duplicates += 1;
            return;
        }
        if counter > place.answer {
            self.counts.gaps += 1;
            return self.abandon(now, "the server left out answers");
        }
        place.answer = counter + 1;
        place.has_answers = true;
        place.use_counter(counter);
        // An answer may arrive before the frame that says that the message is stored.
        self.accepted(counter);
        let entry = self.window.remove(counter);
        let elapsed = entry.as_ref().map(|entry| now.saturating_sub(entry.submitted));
        let message = entry.map(|entry| entry.text);
        self.effects.push_back(Effect::Answer(Answer { counter, message, replica, served_at_ms, elapsed }));
        self.progressed();
        if let Phase::Open(connection) = &mut self.phase {
            connection.answered = now;
        }
        if self.takes_none {
            self.take_all(now);
        }
    }

    fn refused(&mut self, now: Time, counter: i64, code: Refusal, detail: String) {
        match code {
            Refusal::Conflict => self.end(Err(Error::Conflict { counter })),
            Refusal::Invalid => self.end(Err(Error::Refused { counter, detail })),
            // The server has another position than it said.
            Refusal::TooFarAhead | Refusal::Gone => self.abandon(now, &detail),
            Refusal::Unavailable => {
                self.window.send_again(counter);
                self.pause(now);
            }
        }
    }

    /// Sends nothing for a while. Refusals of several messages in flight are one reason to pause.
    fn pause(&mut self, now: Time) {
        if let Phase::Open(connection) = &mut self.phase
            && connection.paused_until.is_none_or(|until| now >= until)
        {
            connection.paused_until = Some(now + self.pause.delay(&mut self.random));
        }
    }
}
