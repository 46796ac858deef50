//! Metrics.

use kit_process::metrics::{Declare, histogram};
use kit_process::prometheus_client::metrics::counter::Counter;
use kit_process::prometheus_client::metrics::gauge::Gauge;
use kit_process::prometheus_client::metrics::histogram::Histogram;
use kit_process::prometheus_client::registry::Registry;

/// Metrics of all clients in a process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    pub(crate) connected: Gauge,
    pub(crate) in_flight: Gauge,
    pub(crate) sent: Counter,
    pub(crate) acknowledged: Counter,
    pub(crate) refused: Counter,
    pub(crate) reconnects: Counter,
    pub(crate) acknowledged_seconds: Histogram,
}

impl Metrics {
    /// Adds the metrics to `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        Self {
            connected: registry.declare("counting_client_connected", "Clients that a server has given a role"),
            in_flight: registry.declare("counting_client_in_flight", "Numbers that are sent and not acknowledged"),
            sent: registry.declare("counting_client_numbers_sent", "Numbers sent, including repetitions"),
            acknowledged: registry.declare("counting_client_numbers_acknowledged", "Numbers acknowledged by a server"),
            refused: registry.declare("counting_client_numbers_refused", "Numbers refused by a server"),
            reconnects: registry
                .declare("counting_client_reconnects", "Times that a client tried to connect again after it failed"),
            acknowledged_seconds: registry.declare_as(
                "counting_client_acknowledgement_duration_seconds",
                "Time from sending a number to its acknowledgement",
                histogram(0.0005, 2.0, 15),
            ),
        }
    }
}
