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

use crate::part::{Part, Port, prepare};
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
        let url = format!("sqlite://{}", folder.join("visits.db").display());
        let database = Database::open(&url, Options::DEFAULT)?;
        let Database::Sqlite(pool) = &database else { bail!("{url} is not one of SQLite") };
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

    /// Runs until `shutdown` drains.
    pub async fn run(self, port: Port, shutdown: Shutdown) -> anyhow::Result<()> {
        if !prepare(&self.database, &visits_store::MIGRATIONS, &shutdown).await? {
            return Ok(());
        }
        let start = async |shutdown| {
            let deps = Deps {
                store: Arc::clone(&self.store),
                check: self.check.clone(),
                requests: self.requests.clone(),
                metrics: self.metrics.clone(),
            };
            Ok(visit_counter::build(self.config.clone(), deps).run(port.listener()?, shutdown).await?)
        };
        self.part.run(shutdown, start).await;
        self.database.close().await;
        Ok(())
    }
}
