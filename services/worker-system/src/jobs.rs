//! The jobs system: main-app and service-app, with a queue in this process.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jobs_core::{Event, Priority};
use jobs_queue::{InProcessOptions, InProcessQueue, JobQueue};
use jobs_store::{JobEvent, SweepStore, apply};
use kit_database::{Database, Options};
use kit_process::readiness::Check;
use kit_process::{App, Shutdown};
use kit_web::requests;

use crate::part::{Part, Port};
use crate::settings::Settings;

const OPTIONS: Options = Options { connections: 8, acquire_timeout: Duration::from_secs(5), ..Options::DEFAULT };

/// The jobs system on a database in a folder.
pub struct Jobs {
    settings: Settings,
    database: Database,
    main_app: (Part, main_app::Metrics, Check),
    service_app: (Part, service_app::Metrics, Check),
}

impl Jobs {
    /// Builds the system, before the admin listener starts. Nothing happens until it runs.
    #[must_use]
    pub fn build(settings: &Settings, folder: &Path, app: &mut App, requests: requests::Metrics) -> Self {
        Self {
            settings: settings.clone(),
            database: Database::open_file(&folder.join("jobs.db"), OPTIONS),
            main_app: (
                Part::new("main-app", &app.readiness),
                main_app::Metrics::register(&mut app.registry, requests),
                app.readiness.check("main-app: database"),
            ),
            service_app: (
                Part::new("service-app", &app.readiness),
                service_app::Metrics::register(&mut app.registry),
                app.readiness.check("service-app: database"),
            ),
        }
    }

    /// Creates the file, and brings its schema up to date.
    pub async fn prepare(&self) -> kit_database::Result<()> {
        self.database.prepare(&jobs_store::MIGRATIONS).await
    }

    /// Runs until `shutdown` drains and every part has ended. The queue ends with the
    /// process. The next process publishes the remaining messages.
    ///
    /// # Errors
    /// A part has failed during the drain.
    pub async fn run(self, port: Port, shutdown: Shutdown) -> anyhow::Result<()> {
        let store = jobs_store::open(&self.database);
        if let Err(error) = publish_anew(store.as_ref()).await {
            // For example, because the disk is full.
            tracing::warn!(%error, "cannot publish the jobs of the previous process; the sweeper will publish them");
        }
        let queue: Arc<dyn JobQueue> = Arc::new(InProcessQueue::new(InProcessOptions::default()));
        let (main_app, metrics, check) = self.main_app;
        let main_app = main_app.serve(&port, shutdown.clone(), async |listener, shutdown| {
            let deps = main_app::Deps {
                store: Arc::clone(&store),
                queue: Arc::clone(&queue),
                check: check.clone(),
                metrics: metrics.clone(),
            };
            let service = main_app::build(self.settings.main_app.clone(), deps);
            Ok(service.run(listener, shutdown).await?)
        });
        let (service_app, metrics, check) = self.service_app;
        let service_app = service_app.run(shutdown, async |shutdown| {
            let deps = service_app::Deps {
                store: Arc::clone(&store),
                queue: Arc::clone(&queue),
                check: check.clone(),
                metrics: metrics.clone(),
            };
            Ok(service_app::build(self.settings.service_app.clone(), deps).run(shutdown).await?)
        });
        let (main_app, service_app) = tokio::join!(main_app, service_app);
        queue.close().await;
        self.database.close().await;
        main_app.and(service_app)
    }
}

/// Publishes the messages of the previous process, which were lost with it, at once
/// instead of waiting for the sweeper.
async fn publish_anew(store: &dyn SweepStore) -> jobs_store::Result<()> {
    loop {
        let ids = store.unclaimed(&Priority::ALL, 0, 500).await?;
        if ids.is_empty() {
            return Ok(());
        }
        let events: Vec<_> = ids.into_iter().map(|id| JobEvent::new(id, Event::MessageLost)).collect();
        apply(store, &events).await?;
    }
}
