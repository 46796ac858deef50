//! A background task that panics.

use std::sync::Arc;
use std::time::Duration;

use jobs_core::Priority;
use jobs_queue::{InProcessOptions, InProcessQueue, JobQueue, Message};
use jobs_runner::testing::{Harness, config, new_job};
use jobs_runner::{Config, Deps, Metrics, Registry, Runner};
use kit_process::prometheus_client::encoding::text::encode;
use kit_process::prometheus_client::registry::Registry as Prometheus;
use kit_process::{HumanDuration, Readiness, Shutdown};
use serde_json::json;
use testkit::TaskPanic;

use crate::Scripted;

#[tokio::test]
async fn after_a_panic_of_the_finisher_no_job_counts_as_running() {
    let harness = Harness::start(Registry::new()).await;
    let job = new_job("scripted", &json!("hang"), 1);
    harness.store().accept(std::slice::from_ref(&job)).await.unwrap();
    // A separate queue, so that the runner of the harness does not receive the job.
    let queue = Arc::new(InProcessQueue::new(InProcessOptions::default()));
    let message = Message { job: job.id, priority: Priority::Default, traceparent: None };
    queue.publish(vec![message]).await.remove(0).unwrap();
    let (mut prometheus, handler) = (Prometheus::default(), Scripted::default());
    let deps = Deps {
        store: harness.store().clone(),
        queue,
        registry: Registry::new().with(handler.clone()),
        metrics: Metrics::register(&mut prometheus),
        check: Readiness::default().check("jobs"),
    };
    let running = || {
        let mut text = String::new();
        encode(&mut text, &prometheus).unwrap();
        text.lines().find_map(|line| line.strip_prefix("jobs_running ").map(str::to_owned))
    };
    let (_panic, shutdown) = (TaskPanic::of("finisher"), Shutdown::new());
    let patient = Config { drain_timeout: HumanDuration(Duration::from_secs(20)), ..config() };
    let runner = tokio::spawn(Runner::new(patient, deps).run(shutdown.clone()));
    shutdown.failed().await;
    harness.until(job.id, |row| row.progress > 0.4).await;
    assert_eq!(running().as_deref(), Some("1"));
    shutdown.drain();
    handler.go.notify_one();
    let failed = runner.await.unwrap().unwrap_err();
    assert_eq!((failed.task, running().as_deref()), ("finisher", Some("0")));
}
