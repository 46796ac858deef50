//! Metrics of a server.

use kit_process::metrics::{Declare, histogram};
use kit_process::prometheus_client::metrics::counter::Counter;
use kit_process::prometheus_client::metrics::family::Family;
use kit_process::prometheus_client::metrics::gauge::Gauge;
use kit_process::prometheus_client::metrics::histogram::Histogram;
use kit_process::prometheus_client::registry::Registry;
use kit_web::requests;

/// Metrics of all servers in a process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    pub(crate) requests: requests::Metrics,
    pub(crate) accept_batches: kit_batch::Metrics,
    pub(crate) acknowledge_batches: kit_batch::Metrics,
    pub(crate) accepted: Counter,
    pub(crate) refused: Family<[(&'static str, &'static str); 1], Counter>,
    pub(crate) turns: Counter,
    pub(crate) served: Counter,
    pub(crate) serve_batch_size: Histogram,
    pub(crate) serve_seconds: Histogram,
    pub(crate) late_batches: Counter,
    pub(crate) answer_seconds: Histogram,
    pub(crate) sockets: Gauge,
    pub(crate) followed: Gauge,
    pub(crate) takeovers: Counter,
    pub(crate) lost: Counter,
    pub(crate) waiting: Gauge,
    pub(crate) clients: Gauge,
    pub(crate) live_replicas: Gauge,
    pub(crate) store_errors: Counter,
}

impl Metrics {
    /// Registers the metrics in `registry`. All listeners of a process share `requests`.
    pub fn register(registry: &mut Registry, requests: requests::Metrics) -> Self {
        Self {
            requests,
            accept_batches: kit_batch::Metrics::register(
                registry,
                ["round_robin_accept_waiting", "Messages that wait for the next commit"],
                ["round_robin_accept_batch_size", "Messages in one commit"],
            ),
            acknowledge_batches: kit_batch::Metrics::register(
                registry,
                ["round_robin_acknowledge_waiting", "Acknowledgements that wait for the next commit"],
                ["round_robin_acknowledge_batch_size", "Acknowledgements in one commit"],
            ),
            accepted: registry.declare("round_robin_accepted", "Messages that were stored, repeated ones included"),
            refused: registry.declare("round_robin_refused", "Messages that were not stored, by reason"),
            turns: registry.declare("round_robin_turns", "Turns in which this replica served"),
            served: registry.declare("round_robin_served", "Messages that this replica served"),
            serve_batch_size: registry.declare_as(
                "round_robin_serve_batch_size",
                "Messages that one transaction served",
                histogram(1.0, 2.0, 12),
            ),
            serve_seconds: registry.declare_as(
                "round_robin_serve_duration_seconds",
                "Time of a transaction that serves",
                histogram(0.001, 2.0, 12),
            ),
            late_batches: registry.declare(
                "round_robin_late_batches",
                "Transactions that served nothing because the turn was over when they ran",
            ),
            answer_seconds: registry.declare_as(
                "round_robin_answer_duration_seconds",
                "Time from a request by HTTP to its answer, if it was served meanwhile",
                histogram(0.005, 2.0, 12),
            ),
            sockets: registry.declare("round_robin_sockets", "Open WebSockets of clients that said hello"),
            followed: registry.declare("round_robin_followed_clients", "Clients to which this replica sends answers"),
            takeovers: registry
                .declare("round_robin_takeovers", "WebSockets that were closed because the client connected again"),
            lost: registry.declare("round_robin_lost", "Connects that could not continue where the client asked for"),
            waiting: registry.declare("round_robin_waiting_messages", "Messages of all clients that can be served"),
            clients: registry.declare("round_robin_clients", "Clients in the database"),
            live_replicas: registry.declare("round_robin_live_replicas", "Replicas that take turns"),
            store_errors: registry.declare("round_robin_store_errors", "Operations that the database did not answer"),
        }
    }
}
