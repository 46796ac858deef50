//! Waiting for a database that is away.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};

use crate::{Database, Migrations, Result};

impl Database {
    /// Brings the schema up to date, and waits for as long as the database is
    /// away. Fails only if waiting does not help.
    pub async fn prepare(&self, migrations: &'static Migrations) -> Result<()> {
        let backoff = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(100))
            .with_max_delay(Duration::from_secs(2))
            .with_jitter()
            .without_max_times();
        (|| self.migrate(migrations))
            .retry(backoff)
            .when(crate::Error::is_transient)
            .notify(|error, delay| {
                tracing::warn!(%error, retry_seconds = delay.as_secs_f64(), "waiting for the database");
            })
            .await
    }
}
