//! Limits on how many jobs of a kind run at once and start per second.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::Limits;

/// Admits jobs of one kind.
pub(crate) struct Gate {
    places: Option<Arc<Semaphore>>,
    interval: Option<Duration>,
    next: Mutex<Option<Instant>>,
}

impl Gate {
    pub(crate) fn new(limits: Limits) -> Self {
        let interval = limits.per_second.filter(|rate| rate.is_finite() && *rate > 0.0);
        Self {
            places: limits.concurrency.map(|places| Arc::new(Semaphore::new(places.max(1)))),
            interval: interval.map(|rate| Duration::try_from_secs_f64(1.0 / rate).unwrap_or(Duration::MAX)),
            next: Mutex::default(),
        }
    }

    /// Waits for admission. If `patience` ends before, returns the delay after which the job
    /// should be tried again.
    pub(crate) async fn enter(&self, patience: Duration) -> Result<Option<OwnedSemaphorePermit>, Duration> {
        let deadline = Instant::now() + patience;
        let permit = match &self.places {
            None => None,
            Some(places) => {
                let permit = tokio::time::timeout_at(deadline, Arc::clone(places).acquire_owned()).await;
                Some(permit.map_err(|_| patience)?.map_err(|_| patience)?)
            }
        };
        match self.turn(deadline) {
            Ok(turn) => {
                tokio::time::sleep_until(turn).await;
                Ok(permit)
            }
            Err(turn) => Err(turn.saturating_duration_since(Instant::now())),
        }
    }

    /// Reserves the next time at which a job may start, unless it is after `deadline`.
    /// Returns that time in both cases.
    fn turn(&self, deadline: Instant) -> Result<Instant, Instant> {
        let now = Instant::now();
        let Some(interval) = self.interval else { return Ok(now) };
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = next.unwrap_or(now).max(now);
        if turn > deadline {
            return Err(turn);
        }
        *next = Some(turn + interval);
        Ok(turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn so_many_begin_in_a_second_and_no_more() {
        let gate = Gate::new(Limits { per_second: Some(4.0), ..Limits::default() });
        let began = Instant::now();
        for _ in 0..9 {
            gate.enter(Duration::from_secs(1)).await.unwrap();
        }
        assert_eq!(began.elapsed().as_millis() / 10 * 10, 2000);
        let mut refused = 0;
        for _ in 0..4 {
            refused += u32::from(gate.turn(Instant::now()).is_err());
        }
        assert_eq!(refused, 4, "nobody takes a turn that is not waited for");
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_run_at_once_and_no_more() {
        let gate = Gate::new(Limits { concurrency: Some(2), ..Limits::default() });
        let (one, _other) = (gate.enter(Duration::ZERO).await.unwrap(), gate.enter(Duration::ZERO).await.unwrap());
        assert!(gate.enter(Duration::from_secs(1)).await.is_err());
        drop(one);
        assert!(gate.enter(Duration::from_secs(1)).await.is_ok());
    }
}
