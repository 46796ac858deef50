//! Clients that repeat each request until it is answered.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use uuid::Uuid;

use super::cluster::Cluster;
use crate::rng::Rng;

/// Time limit of a request, and delay before it is repeated.
const PATIENCE: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(100);

/// Highest number of attempts: more than the faults can cost a job.
const ATTEMPTS: u32 = 100;

/// The answers that clients received.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// Keys that were submitted.
    pub(crate) asked: u64,
    /// Job of each key.
    pub(crate) accepted: BTreeMap<String, Uuid>,
    /// Requests that had no answer, or 429 or 503.
    pub(crate) repeated: u64,
    /// Keys whose answers named two jobs.
    pub(crate) differing: Vec<String>,
}

impl Answers {
    pub(crate) fn merge(&mut self, other: Self) {
        self.asked += other.asked;
        self.accepted.extend(other.accepted);
        self.repeated += other.repeated;
        self.differing.extend(other.differing);
    }
}

/// Submits `count` jobs, about one every `pause`.
pub(crate) async fn run(
    cluster: Rc<Cluster>,
    client: usize,
    count: usize,
    pause: Duration,
    mut rng: Rng,
) -> Result<Answers> {
    let http = testkit::http_client_builder().timeout(PATIENCE).build()?;
    let mut answers = Answers::default();
    let mut next = tokio::time::Instant::now();
    for number in 0..count {
        next += pause;
        tokio::time::sleep_until(next).await;
        let key = format!("client {client} job {number}");
        let priority = *rng.pick(&["high", "default", "default", "low"]).context("there are some")?;
        let payload = json!({ "user_id": key, "data": number });
        let body =
            json!({ "kind": "user-request", "payload": payload, "priority": priority, "max_attempts": ATTEMPTS });
        answers.asked += 1;
        let job = submit(&http, &cluster, &key, &body, &mut answers.repeated).await?;
        // Some clients repeat a request that was answered.
        if rng.below(20) == 0 && submit(&http, &cluster, &key, &body, &mut answers.repeated).await? != job {
            answers.differing.push(key.clone());
        }
        answers.accepted.insert(key, job);
    }
    Ok(answers)
}

async fn submit(
    http: &reqwest::Client,
    cluster: &Cluster,
    key: &str,
    body: &Value,
    repeated: &mut u64,
) -> Result<Uuid> {
    loop {
        for address in &cluster.addresses {
            let request = http.post(format!("http://{address}/jobs")).header("Idempotency-Key", key).json(body);
            match request.send().await {
                Ok(response) if response.status() == 202 => {
                    if let Ok(answer) = response.json::<Value>().await {
                        return Ok(answer["job_id"].as_str().context("the id of a job")?.parse()?);
                    }
                }
                Ok(response) if matches!(response.status().as_u16(), 429 | 503) => {}
                Ok(response) => anyhow::bail!("{key}: {} {}", response.status(), response.text().await?),
                Err(_) => {}
            }
            *repeated += 1;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Submits jobs that cannot succeed: they call a port without a listener.
pub(crate) async fn poison(cluster: &Cluster, count: usize, attempts: u32) -> Result<Vec<Uuid>> {
    let http = testkit::http_client_builder().timeout(PATIENCE).build()?;
    let mut jobs = Vec::new();
    for number in 0..count {
        let payload = json!({ "url": "http://127.0.0.1:1/" });
        let body = json!({ "kind": "http", "payload": payload, "priority": "high", "max_attempts": attempts });
        jobs.push(submit(&http, cluster, &format!("poison {number}"), &body, &mut 0).await?);
    }
    Ok(jobs)
}
