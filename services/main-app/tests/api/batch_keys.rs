//! Idempotency keys of batches.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use testkit::{Launch, Process, SqlBackend, eventually, free_port, on_every_backend};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::{Backend, OPTIONS, SOON, Server, assert_problem};

on_every_backend!(
    a_key_is_one_batch,
    concurrent_requests_with_a_key_are_one_batch,
    a_batch_whose_client_is_gone_is_found_by_its_key,
    a_batch_is_found_by_its_key_after_a_crash,
);

/// A batch of jobs with these numbers.
fn batch(numbers: impl IntoIterator<Item = u32>) -> Value {
    let job = |n: u32| json!({"kind": "user-request", "payload": {"data": n}});
    json!({"jobs": numbers.into_iter().map(job).collect::<Vec<_>>()})
}

/// The ids of the jobs of an accepted batch.
async fn ids(response: Response) -> Vec<String> {
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    let answer: Value = response.json().await.unwrap();
    answer["jobs"].as_array().unwrap().iter().map(|job| job["job_id"].as_str().unwrap().to_owned()).collect()
}

async fn a_key_is_one_batch(backend: SqlBackend) {
    let server = Server::on(backend, false, 10_000).await;
    let long = "k".repeat(255);
    // A batch may contain the same job several times.
    for (key, jobs) in [("k", batch([1, 2, 2, 2])), (&long, batch(0..1000)), ("one", batch([1]))] {
        let before = server.jobs().await;
        let first = ids(server.post("/jobs/batch", &jobs, Some(key)).await).await;
        let distinct: BTreeSet<_> = first.iter().collect();
        assert_eq!(distinct.len(), jobs["jobs"].as_array().unwrap().len());
        for _ in 0..2 {
            assert_eq!(ids(server.post("/jobs/batch", &jobs, Some(key)).await).await, first);
        }
        assert_eq!(server.jobs().await - before, i64::try_from(first.len()).unwrap());
    }
    let before = server.jobs().await;
    for other in [batch([1, 2, 2]), batch([1, 2, 2, 2, 2]), batch([2, 1, 2, 2]), batch([1, 2, 2, 3]), batch([5])] {
        assert_problem("another batch", server.post("/jobs/batch", &other, Some("k")).await, 409).await;
    }
    assert_problem("another batch", server.post("/jobs/batch", &batch([2]), Some("one")).await, 409).await;
    assert_eq!(server.jobs().await, before);
    // The keys of batches are not those of single jobs.
    assert_eq!(server.post("/jobs", &batch([1])["jobs"][0], Some("k")).await.status(), StatusCode::ACCEPTED);
    assert_eq!(server.jobs().await, before + 1);
    let with_keys = json!({"jobs": [{"kind": "user-request", "idempotency_key": "a"}, {"kind": "user-request"}]});
    for (key, jobs) in [("", batch([1])), (&"k".repeat(256), batch([1])), ("k", with_keys)] {
        assert_problem(key, server.post("/jobs/batch", &jobs, Some(key)).await, 422).await;
    }
    assert_eq!(server.jobs().await, before + 1);
}

async fn concurrent_requests_with_a_key_are_one_batch(backend: SqlBackend) {
    let server = Server::on(backend, false, 10_000).await;
    for round in 1..=5 {
        let (key, jobs) = (format!("round {round}"), batch(0..40));
        let responses = join_all((0..8).map(|_| server.post("/jobs/batch", &jobs, Some(&key)))).await;
        let answers: BTreeSet<_> = join_all(responses.into_iter().map(ids)).await.into_iter().collect();
        assert_eq!(answers.len(), 1, "every client gets the same ids");
        assert_eq!(server.jobs().await, round * 40);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_accept_a_batch_once() {
    let backend = Arc::new(Backend::mysql("two_processes").await);
    let servers = [
        Server::with(&backend.reopen(OPTIONS), Arc::clone(&backend), false, 100_000).await,
        Server::with(&backend.reopen(OPTIONS), Arc::clone(&backend), false, 100_000).await,
    ];
    // The batches share transactions, and not the same ones in both processes.
    let submit = async |number: usize| {
        let key = format!("key {}", number / 4);
        // A process may wait too long for the locks of the other one. It answers 503, and the client
        // repeats the request.
        let answer = eventually(SOON, "an answer other than 503", async || {
            let response = servers[number % 2].post("/jobs/batch", &batch(0..300), Some(&key)).await;
            (response.status() != StatusCode::SERVICE_UNAVAILABLE).then_some(response)
        });
        ids(answer.await).await
    };
    let answers = join_all((0..40).map(submit)).await;
    for clients in answers.chunks(4) {
        assert!(clients.iter().all(|ids| *ids == clients[0]), "every client with this key gets the same ids");
    }
    assert_eq!(servers[0].jobs().await, 10 * 300);
}

async fn a_batch_whose_client_is_gone_is_found_by_its_key(backend: SqlBackend) {
    let server = Server::on(backend, false, 10_000).await;
    let body = batch(0..40).to_string();
    let mut client = TcpStream::connect(server.address).await.unwrap();
    let request = format!(
        "POST /jobs/batch HTTP/1.1\r\nHost: main-app\r\nContent-Type: application/json\r\nIdempotency-Key: k\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    client.write_all(request.as_bytes()).await.unwrap();
    drop(client);
    let first = ids(server.post_text("/jobs/batch", &body, Some("k")).await).await;
    assert_eq!((first.len(), server.jobs().await), (40, 40));
}

/// A process of main-app without a broker.
struct Program {
    url: String,
    process: Process,
}

impl Program {
    async fn start(database: &str) -> Self {
        let (public, admin) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
        let launch = Launch::new(env!("CARGO_BIN_EXE_main-app"))
            .env("DATABASE_URL", database)
            .env("AMQP_URL", "amqp://127.0.0.1:1/")
            .env("LISTEN", &public)
            .env("ADMIN_LISTEN", &admin);
        let process = launch.spawn();
        eventually(SOON, "main-app is ready", async || {
            let response = testkit::http_get(format!("http://{admin}/readyz")).await.ok()?;
            response.status().is_success().then_some(())
        })
        .await;
        Self { url: format!("http://{public}/jobs/batch"), process }
    }

    /// Submits the batch of a client, under its key.
    async fn submit(&self, client: &Client, number: usize) -> Option<(usize, Vec<String>)> {
        let request = client.post(&self.url).header("Idempotency-Key", format!("client {number}")).json(&batch(0..100));
        let response = request.send().await.ok()?;
        // The body may break off, as the process is killed.
        let status = response.status();
        let answer: Value = response.json().await.ok()?;
        assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
        let ids = answer["jobs"].as_array()?.iter().map(|job| job["job_id"].as_str().unwrap_or_default().to_owned());
        Some((number, ids.collect()))
    }
}

async fn a_batch_is_found_by_its_key_after_a_crash(backend: SqlBackend) {
    const CLIENTS: usize = 12;
    let client = testkit::http_client();
    let before = Program::start(&backend.url()).await;
    let mut requests: FuturesUnordered<_> = (0..CLIENTS).map(|number| before.submit(&client, number)).collect();
    // The other requests are under way when the process is killed.
    let mut answered = vec![requests.next().await.unwrap().unwrap()];
    before.process.kill();
    let rest: Vec<_> = requests.collect().await;
    answered.extend(rest.into_iter().flatten());
    before.process.wait(Duration::from_secs(10)).await;
    let after = Program::start(&backend.url()).await;
    for _ in 0..2 {
        let repeated: Vec<_> = join_all((0..CLIENTS).map(|number| after.submit(&client, number))).await;
        let repeated: Vec<_> = repeated.into_iter().map(Option::unwrap).collect();
        for (number, ids) in &answered {
            assert_eq!(ids, &repeated[*number].1, "client {number} had got an answer");
        }
        answered = repeated;
    }
    assert_eq!(backend.number("SELECT COUNT(*) FROM jobs").await, 100 * 12);
}
