//! Watches whether a store answers.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::readiness::Check;

/// The interval at which [`watch_store`] pings.
const INTERVAL: Duration = Duration::from_secs(1);

/// The state of a store as one user of it observes it. Keeps a readiness check up to
/// date, and logs only when the store stops answering and when it answers again.
#[derive(Debug)]
pub struct StoreWatch {
    check: Check,
    user: String,
    failing: AtomicBool,
}

impl StoreWatch {
    /// Creates a watch that sets `check`. `user` names the user of the store in logs.
    #[must_use]
    pub fn new(check: Check, user: impl Into<String>) -> Self {
        Self { check, user: user.into(), failing: AtomicBool::new(false) }
    }

    /// Records how the last request to the store ended.
    pub fn record<T, E: Display>(&self, result: Result<T, E>) {
        self.check.set(result.is_ok());
        let failed = self.failing.swap(result.is_err(), Ordering::Relaxed);
        match result {
            Err(error) if !failed => {
                tracing::warn!(user = self.user, %error, "requests to the store fail; trying again");
            }
            Ok(_) if failed => tracing::info!(user = self.user, "requests to the store succeed again"),
            _ => {}
        }
    }
}

/// Pings a store once a second, until this future is dropped, so that readiness probes
/// cause no load. This is for services that do not use their store continuously. Other
/// services [record](StoreWatch::record) the results of their requests.
pub async fn watch_store<F, E>(watch: StoreWatch, ping: impl Fn() -> F)
where
    F: Future<Output = Result<(), E>>,
    E: Display,
{
    loop {
        watch.record(ping().await);
        tokio::time::sleep(INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::Readiness;

    #[tokio::test(start_paused = true)]
    async fn readiness_follows_the_store() {
        let readiness = Readiness::default();
        let store = Arc::new(AtomicBool::new(false));
        let watch = StoreWatch::new(readiness.check("store"), "a test");
        let asked = Arc::clone(&store);
        tokio::spawn(watch_store(watch, move || {
            let answers = asked.load(Ordering::Relaxed);
            async move { if answers { Ok(()) } else { Err("away") } }
        }));
        for answers in [false, true, false, true] {
            store.store(answers, Ordering::Relaxed);
            tokio::time::sleep(INTERVAL * 2).await;
            assert_eq!(readiness.waiting_for().is_empty(), answers);
        }
    }
}
