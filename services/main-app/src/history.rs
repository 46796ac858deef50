//! Rates of the last five minutes, for the page.

use std::collections::VecDeque;

use jobs_store::Overview;
use serde::Serialize;

use crate::live::rate;

/// Milliseconds between two samples.
const STEP_MS: i64 = 5_000;

/// Number of samples that are kept.
const STEPS: i64 = 60;

/// Samples in the order of their time, at most one for each step of the database's clock.
#[derive(Debug, Default)]
pub(crate) struct History(VecDeque<Sample>);

/// The rates at one step.
#[derive(Debug, Clone, Copy)]
struct Sample {
    /// Time, in units of [`STEP_MS`] since the Unix epoch.
    step: i64,
    accepted: f64,
    succeeded: f64,
    failed: f64,
}

/// Jobs per second at each step of the last minutes, the oldest first. `None` for a step
/// without a sample.
#[derive(Debug, Serialize)]
pub(crate) struct Series {
    accepted: Vec<Option<f64>>,
    succeeded: Vec<Option<f64>>,
    failed: Vec<Option<f64>>,
}

impl History {
    /// Records the rates of `overview`. The last record of a step counts.
    pub(crate) fn record(&mut self, overview: &Overview) {
        let step = overview.now.div_euclid(STEP_MS);
        // If the clock was set back, the later samples are invalid.
        while self.0.back().is_some_and(|last| last.step >= step) {
            self.0.pop_back();
        }
        while self.0.front().is_some_and(|first| first.step < step - STEPS) {
            self.0.pop_front();
        }
        self.0.push_back(Sample {
            step,
            accepted: rate(overview.recently_accepted),
            succeeded: rate(overview.recently_succeeded),
            failed: rate(overview.recently_failed),
        });
    }

    /// The steps before the one of `now`, which is in milliseconds since the Unix epoch.
    pub(crate) fn series(&self, now: i64) -> Series {
        let first = now.div_euclid(STEP_MS) - STEPS;
        let series = |of: fn(&Sample) -> f64| {
            let mut samples = self.0.iter().skip_while(|sample| sample.step < first).peekable();
            (first..first + STEPS).map(|step| samples.next_if(|sample| sample.step == step).map(of)).collect()
        };
        Series {
            accepted: series(|sample| sample.accepted),
            succeeded: series(|sample| sample.succeeded),
            failed: series(|sample| sample.failed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(history: &mut History, step: i64, accepted: u64) {
        history.record(&Overview { now: step * STEP_MS + 1, recently_accepted: accepted, ..Overview::default() });
    }

    /// Accepted jobs per second in the steps before `step`, from the first known one.
    fn accepted(history: &History, step: i64) -> Vec<Option<f64>> {
        let series = history.series(step * STEP_MS).accepted;
        assert_eq!(series.len(), usize::try_from(STEPS).unwrap());
        series.into_iter().skip_while(Option::is_none).collect()
    }

    #[test]
    fn each_step_has_its_last_record_and_a_gap_has_none() {
        let mut history = History::default();
        assert!(accepted(&history, 1000).is_empty());
        for (step, count) in [(997, 10), (998, 20), (998, 30), (1000, 40)] {
            record(&mut history, step, count);
        }
        assert_eq!(accepted(&history, 1000), [Some(1.0), Some(3.0), None], "the current step is not over");
        assert_eq!(accepted(&history, 1001), [Some(1.0), Some(3.0), None, Some(4.0)]);
    }

    #[test]
    fn old_samples_are_dropped_and_so_are_those_after_the_clock() {
        let mut history = History::default();
        for step in 0..STEPS * 3 {
            record(&mut history, step, 10);
        }
        assert!(history.0.len() <= usize::try_from(STEPS).unwrap() + 1);
        record(&mut history, STEPS * 3 - 10, 20);
        assert_eq!(accepted(&history, STEPS * 3 - 9).last(), Some(&Some(2.0)));
        assert_eq!(accepted(&history, STEPS * 3).iter().filter(|rate| rate.is_none()).count(), 9);
    }
}
