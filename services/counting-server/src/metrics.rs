//! Metrics.

use counting_core::Role;
use kit_process::metrics::{Declare, histogram};
use kit_process::prometheus_client::metrics::counter::Counter;
use kit_process::prometheus_client::metrics::family::Family;
use kit_process::prometheus_client::metrics::gauge::Gauge;
use kit_process::prometheus_client::metrics::histogram::Histogram;
use kit_process::prometheus_client::registry::Registry;
use kit_web::requests;

/// A label and its value.
pub(crate) type Label = [(&'static str, &'static str); 1];

/// The reasons of refusals: of numbers, and of a client that finds both roles taken.
const REFUSALS: [&str; 7] = ["no_role", "malformed", "wrong_number", "too_far", "too_many", "cannot_store", "taken"];

/// The reasons of disconnects.
const DISCONNECTS: [&str; 3] = ["silent", "missing", "taken"];

/// Metrics of the server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    pub(crate) requests: requests::Metrics,
    pub(crate) last_number: Gauge,
    pub(crate) numbers_stored: Counter,
    pub(crate) syncs: Counter,
    pub(crate) store_seconds: Histogram,
    pub(crate) acknowledgements: Counter,
    pub(crate) acknowledgement_seconds: Histogram,
    pub(crate) refusals: Family<Label, Counter>,
    pub(crate) disconnects: Family<Label, Counter>,
    pub(crate) role_held: Family<Label, Gauge>,
    pub(crate) running: Gauge,
    pub(crate) can_store: Gauge,
}

impl Metrics {
    /// Registers the metrics in `registry`. All listeners of a process share `requests`.
    pub fn register(registry: &mut Registry, requests: requests::Metrics) -> Self {
        let metrics = Self {
            requests,
            last_number: registry.declare("counting_last_number", "The last number that is stored"),
            numbers_stored: registry.declare("counting_numbers_stored", "Numbers that this process stored"),
            syncs: registry.declare("counting_syncs", "Appends of lines that ended with a sync of the file"),
            store_seconds: registry.declare_as(
                "counting_store_duration_seconds",
                "Time of an append of lines with its sync",
                histogram(0.000_25, 2.0, 14),
            ),
            acknowledgements: registry.declare("counting_acknowledgements", "Numbers that were acknowledged"),
            acknowledgement_seconds: registry.declare_as(
                "counting_acknowledgement_duration_seconds",
                "Time from the arrival of a number to its acknowledgement",
                histogram(0.000_25, 2.0, 14),
            ),
            refusals: registry.declare("counting_refusals", "Numbers and connections that were refused, by reason"),
            disconnects: registry.declare("counting_disconnects", "Clients that the server disconnected, by reason"),
            role_held: registry.declare("counting_role_held", "Whether a client has the role"),
            running: registry.declare("counting_running", "Whether both clients are there and count"),
            can_store: registry.declare("counting_can_store", "Whether the last attempt to store lines succeeded"),
        };
        // Each series is there from the start: an alert on a rate misses the first event of a new one.
        for role in Role::ALL {
            drop(metrics.role_held.get_or_create(&[("role", role.name())]));
        }
        for reason in REFUSALS {
            drop(metrics.refusals.get_or_create(&[("reason", reason)]));
        }
        for reason in DISCONNECTS {
            drop(metrics.disconnects.get_or_create(&[("reason", reason)]));
        }
        metrics
    }

    /// Sets the last number that is stored.
    pub(crate) fn set_last_number(&self, last: u64) {
        self.last_number.set(i64::try_from(last).unwrap_or(i64::MAX));
    }
}
