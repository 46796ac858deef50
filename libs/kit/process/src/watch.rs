//! Follows whether a store answers.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::readiness::Check;

/// How often [`watch_store`] asks.
const INTERVAL: Duration = Duration::from_secs(1);

/// What one user of a store has learned about it: keeps a readiness check up to
/// date, and logs when the store stops answering and when it answers again, not at
/// every attempt.
#[derive(Debug)]
pub struct StoreWatch {
    check: Check,
    user: String,
    failing: AtomicBool,
}

impl StoreWatch {
    /// Sets `check`. `user` names in logs who uses the store.
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
                tracing::warn!(user = self.user, %error, "the store does not answer; trying again");
            }
            Ok(_) if failed => tracing::info!(user = self.user, "the store answers again"),
            _ => {}
        }
    }
}

/// Asks a store once a second, until this future is dropped, so that probes of
/// readiness cause no load. For services that do not use their store all the time
/// anyway; others [record](StoreWatch::record) what their requests learn.
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
