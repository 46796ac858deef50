//! The values system: a manager, its workers, and values-api.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kit_database::{Database, Options};
use kit_process::readiness::Check;
use kit_process::{App, Shutdown};
use kit_web::requests;
use values_store::ValuesStore;

use crate::part::{Part, Port};
use crate::settings::Settings;
use crate::worker_tasks::WorkerTasks;

const OPTIONS: Options = Options { connections: 8, acquire_timeout: Duration::from_secs(5), ..Options::DEFAULT };

/// The values system on a database in a folder.
pub struct Values {
    settings: Settings,
    database: Database,
    store: Arc<dyn ValuesStore>,
    worker: worker::Deps,
    manager: (Part, worker_manager::Metrics, Check),
    api: (Part, requests::Metrics, Check),
}

impl Values {
    /// Builds the system, before the admin listener starts. Nothing happens until it runs.
    #[must_use]
    pub fn build(settings: &Settings, folder: &Path, app: &mut App, requests: requests::Metrics) -> Self {
        let database = Database::open_file(&folder.join("values.db"), OPTIONS);
        let store = values_store::open(&database);
        let check = |name| app.readiness.check(name);
        Self {
            settings: settings.clone(),
            worker: worker::Deps {
                store: Arc::clone(&store),
                metrics: worker::Metrics::register(&mut app.registry),
                check: check("worker: database"),
            },
            manager: (
                Part::new("worker-manager", &app.readiness),
                worker_manager::Metrics::register(&mut app.registry),
                check("worker-manager: database"),
            ),
            api: (Part::new("values-api", &app.readiness), requests, check("values-api: database")),
            database,
            store,
        }
    }

    /// Creates the file, and brings its schema up to date.
    pub async fn prepare(&self) -> kit_database::Result<()> {
        self.database.prepare(&values_store::MIGRATIONS).await
    }

    /// Runs until `shutdown` drains and every part has ended.
    ///
    /// # Errors
    /// A part has failed during the drain.
    pub async fn run(self, port: Port, shutdown: Shutdown) -> anyhow::Result<()> {
        let workers = Arc::new(WorkerTasks::new(self.settings.worker, self.worker, shutdown.clone()));
        let (manager, manager_metrics, manager_check) = self.manager;
        let manager = manager.run(shutdown.clone(), async |shutdown| {
            let deps = worker_manager::Deps {
                store: Arc::clone(&self.store),
                scaler: Some(Arc::clone(&workers) as _),
                metrics: manager_metrics.clone(),
                check: manager_check.clone(),
            };
            Ok(worker_manager::build(self.settings.manager.clone(), deps).run(shutdown).await?)
        });
        let (api, metrics, check) = self.api;
        let api = api.serve(&port, shutdown, async |listener, shutdown| {
            let store = Arc::clone(&self.store);
            let deps = values_api::Deps { store, check: check.clone(), metrics: metrics.clone() };
            Ok(values_api::build(self.settings.values_api.clone(), deps).run(listener, shutdown).await?)
        });
        let (manager, api) = tokio::join!(manager, api);
        let workers = workers.ended().await;
        self.database.close().await;
        manager.and(api).and(workers)
    }
}
