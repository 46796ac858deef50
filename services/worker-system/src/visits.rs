//! visit-counter, on SQLite instead of Redis.

use std::path::Path;
use std::sync::Arc;

use anyhow::bail;
use kit_database::{Database, Options};
use kit_process::{App, Shutdown};
use kit_web::requests;
use tokio::net::TcpListener;
use visit_counter::{Deps, Metrics, Service};
use visits_store::{DEFAULT_KEY, SqliteStore};

use crate::config::Config;

/// visit-counter on a database in a folder.
pub struct Visits {
    database: Database,
    service: Service,
}

impl Visits {
    /// Puts it together, before the admin listener starts.
    pub fn build(config: &Config, folder: &Path, app: &mut App, requests: requests::Metrics) -> anyhow::Result<Self> {
        let url = format!("sqlite://{}", folder.join("visits.db").display());
        let database = Database::open(&url, Options::DEFAULT)?;
        let Database::Sqlite(pool) = &database else { bail!("{url} is not one of SQLite") };
        let deps = Deps {
            store: Arc::new(SqliteStore::new(pool.clone(), DEFAULT_KEY)),
            check: app.readiness.check("visits"),
            requests,
            metrics: Metrics::register(&mut app.registry),
        };
        Ok(Self { service: visit_counter::build(config.visits.clone(), deps), database })
    }

    /// Runs until `shutdown` drains.
    pub async fn run(self, listener: TcpListener, shutdown: Shutdown) -> anyhow::Result<()> {
        self.database.prepare(&visits_store::MIGRATIONS).await?;
        self.service.run(listener, shutdown).await;
        self.database.close().await;
        Ok(())
    }
}
