//! Logs and metrics of one client.

use std::time::Duration;

use counting_core::Role;

use crate::Metrics;

/// Logs and counts what a client does.
pub(crate) struct Reporter {
    metrics: Metrics,
    /// Whether the log has a summary every second, and not each number.
    is_summary: bool,
    role: Option<Role>,
    in_flight: i64,
    /// The numbers that were acknowledged since the last summary, and the last one of all.
    acknowledged: u64,
    last: Option<u64>,
    attempts: u64,
    /// Whether a server has given the client a role before.
    has_been_connected: bool,
    /// Why the client is not connected, as the log said last.
    said: Option<String>,
}

impl Reporter {
    pub(crate) const fn new(metrics: Metrics, is_summary: bool) -> Self {
        let (role, last, said) = (None, None, None);
        Self {
            metrics,
            is_summary,
            role,
            in_flight: 0,
            acknowledged: 0,
            last,
            attempts: 0,
            has_been_connected: false,
            said,
        }
    }

    pub(crate) fn connecting(&mut self) {
        if self.attempts > 0 {
            self.metrics.reconnects.inc();
        }
        self.attempts += 1;
    }

    pub(crate) fn assigned(&mut self, role: Role, next: Option<u64>) {
        (self.said, self.has_been_connected) = (None, true);
        // Both are of the same role, or of neighbours.
        if let (Some(next), Some(last)) = (next, self.last)
            && next < last
        {
            tracing::warn!(client_id = role.name(), next, acknowledged = last, "the server has lost numbers");
        }
        self.set_role(Some(role));
        tracing::info!(client_id = role.name(), next, "connected");
    }

    pub(crate) fn sent(&self) {
        self.metrics.sent.inc();
    }

    pub(crate) fn acknowledged(&mut self, role: Role, number: u64, elapsed: Duration) {
        self.metrics.acknowledged.inc();
        self.metrics.acknowledged_seconds.observe(elapsed.as_secs_f64());
        self.last = Some(number);
        if self.is_summary {
            self.acknowledged += 1;
        } else {
            let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
            tracing::info!(client_id = role.name(), number, elapsed_ms, "acknowledged");
        }
    }

    pub(crate) fn refused(&self, role: Role, number: u64, error: &str) {
        self.metrics.refused.inc();
        tracing::warn!(client_id = role.name(), number, error, "the server refuses a number");
    }

    /// Logs why the client is not connected, but the same reason only once. A server that is not
    /// ready at the start of the client is nothing unusual.
    pub(crate) fn failed(&mut self, reason: &str, delay: Duration) {
        let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        let client_id = self.role.map(Role::name);
        if self.said.as_deref() == Some(reason) {
            tracing::debug!(client_id, reason, delay_ms, "not connected; trying again");
            return self.set_role(None);
        }
        if self.has_been_connected {
            tracing::warn!(client_id, reason, delay_ms, "not connected; trying again");
        } else {
            tracing::info!(reason, delay_ms, "not connected yet; trying again");
        }
        self.said = Some(reason.to_owned());
        self.set_role(None);
    }

    pub(crate) fn summarize(&mut self) {
        let acknowledged = std::mem::take(&mut self.acknowledged);
        let client_id = self.role.map(Role::name);
        tracing::info!(client_id, acknowledged, number = self.last, "acknowledged in a second");
    }

    pub(crate) fn ended(&mut self) {
        if self.acknowledged > 0 {
            self.summarize();
        }
        tracing::info!(client_id = self.role.map(Role::name), number = self.last, "the client ends");
    }

    /// Updates the gauge of numbers in flight, which all clients of the process share.
    pub(crate) fn set_in_flight(&mut self, in_flight: usize) {
        let in_flight = i64::try_from(in_flight).unwrap_or(i64::MAX);
        self.metrics.in_flight.inc_by(in_flight - self.in_flight);
        self.in_flight = in_flight;
    }

    /// Updates the gauge of connected clients, which all clients of the process share.
    fn set_role(&mut self, role: Option<Role>) {
        let before = std::mem::replace(&mut self.role, role);
        let is_connected = |role: Option<Role>| i64::from(role.is_some());
        self.metrics.connected.inc_by(is_connected(role) - is_connected(before));
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.set_role(None);
        self.set_in_flight(0);
    }
}
