//! Logs and metrics of one session.

use std::time::Duration;

use crate::machine::Counts;
use crate::{Answer, Lost, Metrics, Position};

/// Logs and counts what a session does.
pub(crate) struct Reporter {
    client_id: String,
    metrics: Metrics,
    counts: Counts,
    in_flight: i64,
    state: State,
}

/// What the log said last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Starting,
    Connected,
    Disconnected,
}

impl Reporter {
    pub(crate) fn new(client_id: &str, metrics: Metrics) -> Self {
        let (client_id, state) = (client_id.to_owned(), State::Starting);
        Self { client_id, metrics, counts: Counts::default(), in_flight: 0, state }
    }

    /// Counts what happened since the last call.
    pub(crate) fn count(&mut self, counts: Counts, in_flight: usize) {
        let before = std::mem::replace(&mut self.counts, counts);
        self.metrics.connections.inc_by(counts.connections - before.connections);
        self.metrics.sent.inc_by(counts.sent - before.sent);
        self.metrics.duplicates.inc_by(counts.duplicates - before.duplicates);
        self.metrics.gaps.inc_by(counts.gaps - before.gaps);
        self.set_in_flight(i64::try_from(in_flight).unwrap_or(i64::MAX));
    }

    pub(crate) fn accepted(&self) {
        self.metrics.accepted.inc();
    }

    pub(crate) fn answered(&self, answer: &Answer) {
        self.metrics.served.inc();
        if let Some(elapsed) = answer.elapsed {
            self.metrics.served_seconds.observe(elapsed.as_secs_f64());
        }
    }

    pub(crate) fn lost(&self, lost: &Lost) {
        self.metrics.lost.inc();
        let Lost { reason, from, expected, is_renumbered } = lost;
        let client_id = &self.client_id;
        tracing::warn!(
            client_id,
            reason,
            from,
            expected,
            is_renumbered,
            "the server cannot continue where the client was"
        );
    }

    pub(crate) fn resumed(&mut self, position: &Position) {
        self.set_state(State::Connected);
        let Position { epoch, from, last_served, first_missing, .. } = position;
        let client_id = &self.client_id;
        tracing::info!(client_id, epoch = epoch.0, from, last_served, first_missing, "connected");
    }

    /// Logs the end of a connection, but not each failed attempt to connect again.
    pub(crate) fn disconnected(&mut self, reason: &str, delay: Duration) {
        let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        let client_id = &self.client_id;
        if self.state == State::Disconnected {
            tracing::debug!(client_id, reason, delay_ms, "cannot connect; trying again");
        } else {
            tracing::warn!(client_id, reason, delay_ms, "not connected; trying again");
        }
        self.set_state(State::Disconnected);
    }

    /// Updates the gauge of connected sessions, which all sessions of the process share.
    fn set_state(&mut self, state: State) {
        let before = std::mem::replace(&mut self.state, state);
        let is_connected = |state| i64::from(state == State::Connected);
        self.metrics.connected.inc_by(is_connected(state) - is_connected(before));
    }

    /// Updates the gauge of messages in flight, which all sessions of the process share.
    fn set_in_flight(&mut self, in_flight: i64) {
        self.metrics.in_flight.inc_by(in_flight - self.in_flight);
        self.in_flight = in_flight;
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.set_state(State::Disconnected);
        self.set_in_flight(0);
    }
}
