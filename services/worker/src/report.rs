//! Logs and metrics of one worker.

use std::fmt::Write;
use std::time::Duration;

use values_core::types::Incarnation;
use values_core::worker::{Change, Outcome, Report};

use crate::metrics::Metrics;

/// Logs and counts the commands of one worker.
pub(crate) struct Reporter {
    name: String,
    metrics: Metrics,
    last_second: Option<i64>,
    owned: i64,
}

impl Reporter {
    pub(crate) fn new(name: &str, metrics: Metrics) -> Self {
        Self { name: name.to_owned(), metrics, last_second: None, owned: 0 }
    }

    /// Counts a command that the store did not answer.
    pub(crate) fn failed(&self) {
        self.metrics.store_errors.inc();
    }

    /// Logs and counts a command that took `elapsed`, and its effect on the worker.
    pub(crate) fn done(
        &mut self,
        incarnation: Option<Incarnation>,
        outcome: &Outcome,
        change: &Change,
        elapsed: Duration,
    ) {
        let incarnation = incarnation.map_or(0, |incarnation| incarnation.0);
        if change.fenced {
            self.metrics.fenced.inc();
            tracing::warn!(worker = self.name, "declared dead, or its registration was lost; registering again");
        }
        if !change.gained.is_empty() || !change.lost.is_empty() {
            let (gained, lost) = (&change.gained, &change.lost);
            tracing::info!(worker = self.name, incarnation, ?gained, ?lost, "assignment changed");
        }
        match outcome {
            Outcome::Registered(_) => tracing::info!(worker = self.name, incarnation, "registered"),
            Outcome::Retired => tracing::info!(worker = self.name, "ended"),
            Outcome::Ticked(tick) => self.counted(tick.counted.rows, elapsed),
            Outcome::LightlyTicked(tick) => self.counted(tick.counted.rows, elapsed),
            Outcome::Beat(_) | Outcome::Failed => {}
        }
        if let Some(report) = &change.report {
            self.ticked(incarnation, report);
        }
    }

    fn counted(&self, rows: u64, elapsed: Duration) {
        self.metrics.row_ticks.inc_by(rows);
        self.metrics.tick_seconds.observe(elapsed.as_secs_f64());
    }

    fn ticked(&mut self, incarnation: i64, Report { second, values }: &Report) {
        let late = self.last_second.is_some_and(|last| *second > last + 1);
        self.last_second = Some(*second);
        self.metrics.late_ticks.inc_by(u64::from(late));
        self.own(i64::try_from(values.len()).unwrap_or(i64::MAX));
        let mut line = String::with_capacity(values.len() * 12);
        for (id, value) in values {
            let _ = write!(line, "{id}={value} ");
        }
        let (ids, values) = (values.len(), line.trim_end());
        tracing::info!(worker = self.name, incarnation, second, ids, values, "tick");
    }

    /// Updates the gauge of owned ids, which all workers of the process share.
    fn own(&mut self, owned: i64) {
        self.metrics.owned.inc_by(owned - self.owned);
        self.owned = owned;
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.own(0);
    }
}
