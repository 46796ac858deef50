//! Waits for a database that is unreachable.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};

use crate::{Database, Migrations, Result};

impl Database {
    /// [Migrates](Self::migrate), and retries for as long as the database is
    /// unavailable. A file does not become available by itself, as a server does: on
    /// SQLite, this only waits for other processes.
    ///
    /// # Errors
    /// Only errors that a retry does not help against.
    pub async fn prepare(&self, migrations: &Migrations) -> Result<()> {
        if let Self::Sqlite(pool) = self {
            return self.migrate(migrations).await.map_err(|error| error.of_file(pool.path()));
        }
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
