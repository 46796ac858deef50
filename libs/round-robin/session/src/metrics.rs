//! Metrics of sessions.

use kit_process::metrics::{Declare, histogram};
use kit_process::prometheus_client::metrics::counter::Counter;
use kit_process::prometheus_client::metrics::gauge::Gauge;
use kit_process::prometheus_client::metrics::histogram::Histogram;
use kit_process::prometheus_client::registry::Registry;

/// Metrics of all sessions in a process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    pub(crate) connected: Gauge,
    pub(crate) in_flight: Gauge,
    pub(crate) connections: Counter,
    pub(crate) sent: Counter,
    pub(crate) accepted: Counter,
    pub(crate) served: Counter,
    pub(crate) duplicates: Counter,
    pub(crate) gaps: Counter,
    pub(crate) lost: Counter,
    pub(crate) served_seconds: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::register(&mut Registry::default())
    }
}

impl Metrics {
    /// Adds the metrics to `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        Self {
            connected: registry.declare("round_robin_client_connected", "Sessions that are connected to a server"),
            in_flight: registry.declare("round_robin_client_in_flight", "Messages that are sent and not answered"),
            connections: registry
                .declare("round_robin_client_connections", "Connections on which a server told the client's position"),
            sent: registry.declare("round_robin_client_messages_sent", "Messages sent, including repetitions"),
            accepted: registry.declare("round_robin_client_messages_accepted", "Messages that a server has stored"),
            served: registry.declare("round_robin_client_messages_served", "Answers received"),
            duplicates: registry
                .declare("round_robin_client_duplicate_answers", "Answers that were received again, and ignored"),
            gaps: registry.declare(
                "round_robin_client_answer_gaps",
                "Times that a server left out answers, and the client connected again",
            ),
            lost: registry
                .declare("round_robin_client_losses", "Times that a server could not continue where the client was"),
            served_seconds: registry.declare_as(
                "round_robin_client_served_duration_seconds",
                "Time from submitting a message to its answer",
                histogram(0.001, 2.0, 14),
            ),
        }
    }
}
