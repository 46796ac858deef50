//! Each background task of each service panics: the service notices, names the task and
//! ends, and worker-system restarts it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clap::Parser;
use jobs_queue::{InProcessOptions, InProcessQueue};
use kit_database::{Database, Options};
use kit_process::prometheus_client::registry::Registry;
use kit_process::{App, Output, Readiness, Shutdown, Tasks};
use kit_web::requests;
use serde_json::{Value, json};
use testkit::{Folder, TaskPanic, assert_supervised, eventually, free_port};
use tokio::net::TcpListener;
use visits_store::{DEFAULT_KEY, SqliteStore};
use worker_manager::scaler::{Scaler, ScalerError};
use worker_system::config::Config;
use worker_system::jobs::Jobs;
use worker_system::part::Port;
use worker_system::settings::Settings;

use crate::running::PATIENCE;

/// Dependencies of the services in these tests.
struct Fixture {
    database: Database,
    settings: Settings,
    _folder: Folder,
}

impl Fixture {
    async fn new(migrations: &'static kit_database::Migrations) -> Self {
        let folder = Folder::new("supervision");
        let url = format!("sqlite://{}", folder.path().join("test.db").display());
        let database = Database::open(&url, Options::DEFAULT).unwrap();
        database.migrate(migrations).await.unwrap();
        Self { database, settings: Config::parse_from(["test"]).settings, _folder: folder }
    }
}

fn requests() -> requests::Metrics {
    requests::Metrics::register(&mut Registry::default())
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

#[tokio::test]
async fn main_app_notices() {
    let fixture = Fixture::new(&jobs_store::MIGRATIONS).await;
    let tasks = ["acceptor", "dead letters", "outbox", "snapshots", "statistics", "sweeper"];
    assert_supervised(&tasks, async |shutdown| {
        let deps = main_app::Deps {
            store: jobs_store::open(&fixture.database),
            queue: Arc::new(InProcessQueue::new(InProcessOptions::default())),
            check: Readiness::default().check("database"),
            metrics: main_app::Metrics::register(&mut Registry::default(), requests()),
        };
        let service = main_app::build(fixture.settings.main_app.clone(), deps);
        service.run(listener().await, shutdown).await
    })
    .await;
}

#[tokio::test]
async fn service_app_notices() {
    let fixture = Fixture::new(&jobs_store::MIGRATIONS).await;
    let tasks = ["callbacks", "finisher", "intake", "lease renewal", "store watch"];
    assert_supervised(&tasks, async |shutdown| {
        let deps = service_app::Deps {
            store: jobs_store::open(&fixture.database),
            queue: Arc::new(InProcessQueue::new(InProcessOptions::default())),
            check: Readiness::default().check("database"),
            metrics: service_app::Metrics::register(&mut Registry::default()),
        };
        service_app::build(fixture.settings.service_app.clone(), deps).run(shutdown).await
    })
    .await;
}

#[tokio::test]
async fn values_api_notices() {
    let fixture = Fixture::new(&values_store::MIGRATIONS).await;
    assert_supervised(&["snapshots", "store watch"], async |shutdown| {
        let deps = values_api::Deps {
            store: values_store::open(&fixture.database),
            check: Readiness::default().check("database"),
            metrics: requests(),
        };
        values_api::build(fixture.settings.values_api.clone(), deps).run(listener().await, shutdown).await
    })
    .await;
}

#[tokio::test]
async fn a_worker_notices() {
    let fixture = Fixture::new(&values_store::MIGRATIONS).await;
    assert_supervised(&["ticks"], async |shutdown| {
        let deps = worker::Deps {
            store: values_store::open(&fixture.database),
            metrics: worker::Metrics::register(&mut Registry::default()),
            check: Readiness::default().check("database"),
        };
        worker::build(fixture.settings.worker.clone(), deps).run(shutdown).await
    })
    .await;
}

/// A platform without pods.
struct Nothing;

#[async_trait::async_trait]
impl Scaler for Nothing {
    async fn replicas(&self) -> Result<u32, ScalerError> {
        Ok(0)
    }

    async fn scale(&self, _: u32, _: &[String]) -> Result<(), ScalerError> {
        Ok(())
    }
}

#[tokio::test]
async fn a_manager_notices() {
    let fixture = Fixture::new(&values_store::MIGRATIONS).await;
    assert_supervised(&["passes", "scaler"], async |shutdown| {
        let deps = worker_manager::Deps {
            store: values_store::open(&fixture.database),
            scaler: Some(Arc::new(Nothing)),
            metrics: worker_manager::Metrics::register(&mut Registry::default()),
            check: Readiness::default().check("database"),
        };
        worker_manager::build(fixture.settings.manager.clone(), deps).run(shutdown).await
    })
    .await;
}

#[tokio::test]
async fn visit_counter_notices() {
    let fixture = Fixture::new(&visits_store::MIGRATIONS).await;
    let Database::Sqlite(pool) = &fixture.database else { panic!("it is on SQLite") };
    assert_supervised(&["additions", "store watch"], async |shutdown| {
        let deps = visit_counter::Deps {
            store: Arc::new(SqliteStore::new(pool.clone(), DEFAULT_KEY)),
            check: Readiness::default().check("database"),
            requests: requests(),
            metrics: visit_counter::Metrics::register(&mut Registry::default()),
        };
        visit_counter::build(fixture.settings.visits.clone(), deps).run(listener().await, shutdown).await
    })
    .await;
}

#[tokio::test]
async fn round_robin_server_notices() {
    let fixture = Fixture::new(&round_robin_store::MIGRATIONS).await;
    let tasks = ["acknowledgements", "answers", "intake", "retention", "snapshots", "statistics", "turns"];
    let mut config = fixture.settings.round_robin_server.clone();
    config.retention = Some("7days".parse().unwrap());
    assert_supervised(&tasks, async |shutdown| {
        let store = round_robin_store::open(&fixture.database, config.quantum);
        let deps = round_robin_server::Deps {
            turns: Arc::clone(&store),
            store,
            check: Readiness::default().check("database"),
            metrics: round_robin_server::Metrics::register(&mut Registry::default(), requests()),
        };
        round_robin_server::build(config.clone(), deps).run(listener().await, shutdown).await
    })
    .await;
}

/// There is no server, so the client tries to connect until it ends.
#[tokio::test]
async fn round_robin_client_notices() {
    let settings = Config::parse_from(["test"]).settings;
    let mut config = settings.round_robin_client;
    config.server_url = format!("http://127.0.0.1:{}", free_port()).parse().unwrap();
    assert_supervised(&["answers", "messages", "readiness", "session"], async |shutdown| {
        let deps = round_robin_client::Deps {
            metrics: round_robin_client::Metrics::register(&mut Registry::default()),
            check: Readiness::default().check("server"),
        };
        round_robin_client::build(config.clone(), deps).run(shutdown).await
    })
    .await;
}

/// The time in a second, as RFC 3339.
#[expect(clippy::disallowed_methods, reason = "the database and this test have the same clock")]
fn in_a_second() -> String {
    humantime::format_rfc3339_millis(SystemTime::now() + Duration::from_secs(1)).to_string()
}

#[tokio::test]
async fn the_one_process_starts_a_part_again() {
    for task in ["sweeper", "acceptor", "intake", "finisher"] {
        let panic = TaskPanic::of(task);
        let folder = Folder::new("supervision");
        let shutdown = Shutdown::new();
        let config = Config::parse_from(["test", "--processing-time=10ms"]);
        let (readiness, tasks) = (Readiness::default(), Tasks::new(&shutdown));
        let mut app = App {
            registry: Registry::default(),
            readiness,
            shutdown: shutdown.clone(),
            tasks: tasks.spawner(),
            output: Output::stdout().unwrap(),
            common: config.common(),
        };
        let jobs = Jobs::build(&config.settings, folder.path(), &mut app, requests());
        jobs.prepare().await.unwrap();
        let port = Port::bind("127.0.0.1:0".parse().unwrap(), "--jobs-listen").await.unwrap();
        let url = format!("http://{}/jobs", port.address());
        let used = async {
            let client = testkit::http_client();
            // The sweeper publishes a job whose start time lies ahead.
            let timed = json!({"kind": "user-request", "run_at": in_a_second()});
            let job = eventually(PATIENCE, format!("a job is accepted without {task}"), async || {
                let response = client.post(&url).json(&timed).send().await.ok()?;
                let location = response.headers().get("location")?.to_str().ok()?.to_owned();
                Some(format!("{}{location}", url.trim_end_matches("/jobs")))
            })
            .await;
            eventually(PATIENCE, format!("the job succeeds without {task}"), async || {
                let row: Value = client.get(&job).send().await.ok()?.json().await.ok()?;
                (row["status"] == "succeeded").then_some(())
            })
            .await;
            assert!(panic.seen().contains(task));
            shutdown.drain();
        };
        let (ran, ()) = tokio::join!(jobs.run(port, shutdown.clone()), used);
        ran.unwrap();
    }
}
