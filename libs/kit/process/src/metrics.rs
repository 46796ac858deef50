//! Metrics that are declared in one line each.

use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Metric, Registry};

/// Creates metrics and registers them.
pub trait Declare {
    /// Creates a metric, such as a counter or a gauge, and registers it.
    fn declare<M: Metric + Clone + Default>(&mut self, name: &str, help: &str) -> M;

    /// Registers `metric`, and returns it.
    fn declare_as<M: Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M;
}

impl Declare for Registry {
    fn declare<M: Metric + Clone + Default>(&mut self, name: &str, help: &str) -> M {
        self.declare_as(name, help, M::default())
    }

    fn declare_as<M: Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M {
        self.register(name, help, metric.clone());
        metric
    }
}

/// A histogram with `count` buckets, of which the first ends at `start` and each other one
/// ends at `factor` times the end of the one before.
#[must_use]
pub fn histogram(start: f64, factor: f64, count: u16) -> Histogram {
    Histogram::new(exponential_buckets(start, factor, count))
}
