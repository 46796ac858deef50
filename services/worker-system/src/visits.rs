//! visit-counter, on SQLite in place of Redis.

use std::path::Path;
use std::sync::Arc;

use anyhow::bail;
use kit_database::{Database, Options};
use kit_process::readiness::Check;
use kit_process::{App, Shutdown};
use kit_web::requests;
use visit_counter::{Deps, Metrics};
use visits_store::{DEFAULT_KEY, SqliteStore, VisitStore};

use crate::part::{Part, Port};
use crate::settings::Settings;

/// visit-counter on a database in a folder.
pub struct Visits {
    config: visit_counter::Config,
    database: Database,
    store: Arc<dyn VisitStore>,
    part: Part,
    check: Check,
    requests: requests::Metrics,
    metrics: Metrics,
}

impl Visits {
    /// Builds the system, before the admin listener starts. Nothing happens until it runs.
    pub fn build(
        settings: &Settings,
        folder: &Path,
        app: &mut App,
        requests: requests::Metrics,
    ) -> anyhow::Result<Self> {
        let database = Database::open_file(&folder.join("visits.db"), Options::DEFAULT);
        let Database::Sqlite(pool) = &database else { bail!("a file is a database of SQLite") };
        Ok(Self {
            config: settings.visits.clone(),
            store: Arc::new(SqliteStore::new(pool.clone(), DEFAULT_KEY)),
            part: Part::new("visit-counter", &app.readiness),
            check: app.readiness.check("visit-counter: database"),
            requests,
            metrics: Metrics::register(&mut app.registry),
            database,
        })
    }

    /// Creates the file, and brings its schema up to date.
    pub async fn prepare(&self) -> kit_database::Result<()> {
        self.database.prepare(&visits_store::MIGRATIONS).await
    }

    /// Runs until `shutdown` drains.
    ///
    /// # Errors
    /// The part has failed during the drain.
    pub async fn run(self, port: Port, shutdown: Shutdown) -> anyhow::Result<()> {
        let start = async |listener, shutdown| {
            let deps = Deps {
                store: Arc::clone(&self.store),
                check: self.check.clone(),
                requests: self.requests.clone(),
                metrics: self.metrics.clone(),
            };
            Ok(visit_counter::build(self.config.clone(), deps).run(listener, shutdown).await?)
        };
        let result = self.part.serve(&port, shutdown, start).await;
        self.database.close().await;
        result
    }
}
