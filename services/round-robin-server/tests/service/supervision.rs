//! Each background task panics: the service notices, names the task and ends.

use std::time::Duration;

use kit_process::prometheus_client::registry::Registry;
use kit_process::{HumanDuration, Readiness};
use kit_web::requests;
use round_robin_server::{Config, Deps, Metrics};
use testkit::assert_supervised;
use tokio::net::TcpListener;

use crate::server::{Backend, SHORT, config};

#[tokio::test]
async fn a_task_that_panics_ends_the_service() {
    let backend = Backend::sqlite("supervision").await;
    let tasks = ["acknowledgements", "answers", "intake", "retention", "snapshots", "statistics", "turns"];
    assert_supervised(&tasks, async |shutdown| {
        let store = round_robin_store::open(backend.database(), SHORT);
        let mut registry = Registry::default();
        let requests = requests::Metrics::register(&mut registry);
        let deps = Deps {
            store: store.clone(),
            turns: store,
            check: Readiness::default().check("database"),
            metrics: Metrics::register(&mut registry, requests),
        };
        let retention = Some(HumanDuration(Duration::from_hours(1)));
        let config = Config { retention, ..config("supervised", SHORT) };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        round_robin_server::build(config, deps).run(listener, shutdown).await
    })
    .await;
}
