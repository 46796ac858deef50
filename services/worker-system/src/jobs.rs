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

use crate::part::{Part, Port, prepare};
use crate::settings::Settings;

/// SQLite admits one writer at a time; the other connections read.
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
    pub fn build(
        settings: &Settings,
        folder: &Path,
        app: &mut App,
        requests: requests::Metrics,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            settings: settings.clone(),
            database: Database::open(&format!("sqlite://{}", folder.join("jobs.db").display()), OPTIONS)?,
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
        })
    }

    /// Runs until `shutdown` drains and every part has ended. The queue ends with the
    /// process. The next process publishes the remaining messages.
    pub async fn run(self, port: Port, shutdown: Shutdown) -> anyhow::Result<()> {
        if !prepare(&self.database, &jobs_store::MIGRATIONS, &shutdown).await? {
            return Ok(());
        }
        let store = jobs_store::open(&self.database);
        publish_anew(store.as_ref()).await?;
        let queue: Arc<dyn JobQueue> = Arc::new(InProcessQueue::new(InProcessOptions::default()));
        let (main_app, metrics, check) = self.main_app;
        let main_app = main_app.run(shutdown.clone(), async |shutdown| {
            let deps = main_app::Deps {
                store: Arc::clone(&store),
                queue: Arc::clone(&queue),
                check: check.clone(),
                metrics: metrics.clone(),
            };
            let service = main_app::build(self.settings.main_app.clone(), deps);
            Ok(service.run(port.listener()?, shutdown).await?)
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
        tokio::join!(main_app, service_app);
        queue.close().await;
        self.database.close().await;
        Ok(())
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
