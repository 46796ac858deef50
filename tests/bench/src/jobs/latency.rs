//! Time from accepting a single job to its start.

use std::time::{Duration, Instant};

use anyhow::Context;
use axum::Router;
use axum::http::HeaderMap;
use axum::routing::get;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::DEADLINE;
use super::product::MainApp;
use super::servers::Servers;
use crate::report::{Report, Target};
use crate::stats::Samples;

const METHOD: &str = "\
One job at a time and a pause after each, on an idle system: one main-app, one service-app. The job is of the kind http
and calls this program, so its start is seen by the clock that saw it accepted; the connection that it opens for its
call is a part of the figure. Accepted: when the 202 has been read. Requested: before POST /jobs is sent.";

/// Number of jobs that are measured, and of jobs before them.
const JOBS: usize = 500;
const WARM_UP: usize = 50;

/// Pause between two jobs.
const PAUSE: Duration = Duration::from_millis(30);

/// The server that the jobs call, and the calls that it received.
struct CalledServer {
    url: String,
    calls: mpsc::UnboundedReceiver<(String, Instant)>,
}

/// Runs this part.
pub(super) async fn run(servers: &Servers, report: &mut Report) -> anyhow::Result<()> {
    report.section("latency", METHOD);
    let main_app = MainApp::start(servers, "latency").await?;
    let settings = [("ALLOWED_HOSTS", "127.0.0.1"), ("ALLOW_PRIVATE_ADDRESSES", "true")];
    let _service_app = main_app.service_app(servers, &settings).await?;
    let mut called = CalledServer::start().await?;
    let client = testkit::http_client_builder().timeout(DEADLINE).build()?;
    let (mut since_accepted, mut since_requested) = (Vec::new(), Vec::new());
    for job in 0..WARM_UP + JOBS {
        let (accepted, requested) = called.one(&client, &main_app.url).await?;
        if job >= WARM_UP {
            since_accepted.push(accepted.as_secs_f64() * 1000.0);
            since_requested.push(requested.as_secs_f64() * 1000.0);
        }
        tokio::time::sleep(PAUSE).await;
    }
    let since_accepted = Samples::new(since_accepted).context("jobs")?;
    let since_requested = Samples::new(since_requested).context("jobs")?;
    report.median("from accepted to started: p50", "ms", &since_accepted, Target::AtMost(5.0));
    report.number("from accepted to started: p99", "ms", since_accepted.quantile(0.99), Target::AtMost(25.0));
    report.median("from requested to started: p50", "ms", &since_requested, Target::None);
    report.number("from requested to started: p99", "ms", since_requested.quantile(0.99), Target::None);
    super::report_load(report);
    Ok(())
}

impl CalledServer {
    async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/", listener.local_addr()?);
        let (sender, calls) = mpsc::unbounded_channel();
        let handler = async move |headers: HeaderMap| {
            let job = headers.get("idempotency-key").and_then(|key| key.to_str().ok()).unwrap_or_default();
            // Fails after this part has ended.
            let _ = sender.send((job.to_owned(), Instant::now()));
        };
        tokio::spawn(axum::serve(listener, Router::new().route("/", get(handler))).into_future());
        Ok(Self { url, calls })
    }

    /// Submits a job and waits for its call. Returns the time since the answer and the time
    /// since the request.
    async fn one(&mut self, client: &reqwest::Client, url: &str) -> anyhow::Result<(Duration, Duration)> {
        let body = json!({ "kind": "http", "payload": { "url": self.url } });
        let requested = Instant::now();
        let answer: Value = client.post(url).json(&body).send().await?.error_for_status()?.json().await?;
        let accepted = Instant::now();
        let job = answer["job_id"].as_str().context("the id of a job")?;
        let call = tokio::time::timeout(DEADLINE, self.calls.recv()).await.context("the job did not start")?;
        let (caller, started) = call.context("the called server has ended")?;
        anyhow::ensure!(caller == job, "{caller} started in place of {job}");
        // It may start before its client has read the answer.
        Ok((started.saturating_duration_since(accepted), started.duration_since(requested)))
    }
}
