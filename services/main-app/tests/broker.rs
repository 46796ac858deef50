//! main-app with a real RabbitMQ, on SQLite.

use std::sync::Arc;
use std::time::Duration;

use jobs_core::State;
use jobs_queue::{JobQueue, RabbitMqOptions, RabbitMqQueue};
use jobs_runner::{Context, Done, Failure, Handler, Registry, Runner, testing};
use kit_database::{Database, Options};
use kit_process::prometheus_client::registry::Registry as Prometheus;
use kit_process::{HumanDuration, Readiness, Shutdown};
use kit_web::requests;
use main_app::{Config, Deps, Metrics};
use serde_json::Value;
use testkit::{RabbitMq, eventually_ok};
use tokio::net::TcpListener;

/// Time limit of each wait, on a busy machine.
const SOON: Duration = Duration::from_mins(1);

struct Succeeds;

impl Handler for Succeeds {
    const KIND: &'static str = "user-request";
    type Payload = Value;

    async fn run(&self, payload: Value, _: &Context) -> Result<Done, Failure> {
        Done::new().result(payload)
    }
}

/// Messages expire several times before a worker starts. The job must not lose its only attempt.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_whose_messages_expire_keeps_its_attempts() {
    let broker = RabbitMq::start().await;
    broker.ctl(&["set_policy", "ttl", "^jobs", r#"{"message-ttl":500}"#, "--apply-to", "queues"]).await;
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("jobs.db").display());
    let database = Database::open(&url, Options::DEFAULT).unwrap();
    database.migrate(&jobs_store::MIGRATIONS).await.unwrap();
    let store = jobs_store::open(&database);
    let queue: Arc<dyn JobQueue> = Arc::new(RabbitMqQueue::open(broker.url(), RabbitMqOptions::default()).unwrap());
    eventually_ok(SOON, "the queues to be made", async || queue.ping().await).await;

    let (shutdown, mut prometheus) = (Shutdown::new(), Prometheus::default());
    let requests = requests::Metrics::register(&mut prometheus);
    let config = Config {
        limits: kit_web::http::Limits::default(),
        kinds: vec!["user-request".to_owned()],
        backlog_limit: 1000,
        allowed_hosts: "example.com".parse().unwrap(),
        retention: HumanDuration(Duration::from_hours(1)),
    };
    let deps = Deps {
        store: Arc::clone(&store),
        queue: Arc::clone(&queue),
        check: Readiness::default().check("database"),
        metrics: Metrics::register(&mut prometheus, requests),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let jobs = format!("http://{}/jobs", listener.local_addr().unwrap());
    let service = tokio::spawn(main_app::build(config, deps).run(listener, shutdown.clone()));

    let request = testkit::http_client().post(jobs).header("Content-Type", "application/json");
    let body = r#"{"kind":"user-request","payload":{},"max_attempts":1}"#;
    let answer: Value = request.body(body).send().await.unwrap().json().await.unwrap();
    let id = answer["job_id"].as_str().unwrap().parse().unwrap();
    let read = async || store.get(id).await.unwrap().unwrap().job;
    // Each message that expires increases the token.
    eventually_ok(SOON, "the messages to expire", async || match read().await.lease_token {
        3.. => Ok(()),
        token => Err(format!("the token is {token}")),
    })
    .await;
    let job = read().await;
    assert_eq!((job.state, job.attempt), (State::Queued, 0));

    broker.ctl(&["clear_policy", "ttl"]).await;
    let deps = jobs_runner::Deps {
        store: store.clone(),
        queue: Arc::clone(&queue),
        registry: Registry::new().with(Succeeds),
        metrics: jobs_runner::Metrics::register(&mut prometheus),
        check: Readiness::default().check("jobs"),
    };
    let runner = tokio::spawn(Runner::new(testing::config(), deps).run(shutdown.clone()));
    eventually_ok(SOON, "the job to succeed", async || match read().await {
        job if job.state == State::Succeeded => Ok(()),
        job => Err(format!("{job:?}")),
    })
    .await;
    shutdown.drain();
    service.await.unwrap().unwrap();
    runner.await.unwrap().unwrap();
    queue.close().await;
}
