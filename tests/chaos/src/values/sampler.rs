//! Samples the tables ten times a second.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::cluster::Cluster;
use crate::faults::Board;

/// Time after a fault during which rows may still be behind.
pub(crate) const SETTLED: Duration = Duration::from_secs(5);

const INTERVAL: Duration = Duration::from_millis(100);

/// Results of the samples: sums, and the worst cases.
#[derive(Debug, Default, Clone)]
pub(crate) struct Samples {
    /// Samples taken.
    pub(crate) taken: u64,
    /// Samples that failed because the database was unavailable.
    pub(crate) failed: u64,
    /// Samples taken with no fault in the five seconds before.
    pub(crate) calm: u64,
    /// Broken rows, summed over all samples.
    pub(crate) broken: u64,
    /// Overfull workers, summed over all samples.
    pub(crate) overfull: u64,
    /// Rows more than two seconds behind, summed over the calm samples.
    pub(crate) behind_when_calm: u64,
    /// Most seconds that a row was behind in any sample.
    pub(crate) lateness: i64,
    /// The first sample with a broken row or an overfull worker.
    pub(crate) first_case: Option<String>,
}

/// Samples until `stop` is set, on direct connections, without a proxy.
pub(crate) async fn run(cluster: Arc<Cluster>, board: Board, mut stop: watch::Receiver<bool>) -> Samples {
    let mut samples = Samples::default();
    let mut connection = None;
    let mut interval = tokio::time::interval(INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return samples,
            _ = interval.tick() => {}
        }
        let Ok(state) = cluster.state(&mut connection).await else {
            samples.failed += 1;
            continue;
        };
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        samples.taken += 1;
        samples.broken += count(state.broken);
        samples.overfull += count(state.overfull);
        if state.lateness > samples.lateness {
            samples.lateness = state.lateness;
            board.note(&format!("the latest row so far: {state:?}"));
        }
        if board.is_calm(SETTLED) {
            samples.calm += 1;
            samples.behind_when_calm += count(state.behind);
        }
        if state.broken + state.overfull > 0 && samples.first_case.is_none() {
            board.note(&format!("sample: {state:?}"));
            samples.first_case = Some(format!("{state:?}"));
        }
    }
}
