//! Clients whose connections are cut all the time.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use kit_process::prometheus_client::encoding::text::encode;
use kit_process::prometheus_client::registry::Registry;
use round_robin_core::types::{ClientId, Epoch};
use round_robin_session::{Answers, Client, Config, Metrics, Settings, connect};
use round_robin_store::{Page, RoundRobinStore};
use testkit::{Proxy, SqlBackend, eventually};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::server::{OPTIONS, PATIENCE, Server, migrated};

/// Number of clients, half of them at each replica.
const CLIENTS: usize = 10;

/// Milliseconds between two messages of a client.
const PAUSE_MS: u64 = 10;

/// What a client has received when it ends.
struct Received {
    client_id: ClientId,
    /// The highest counter.
    last: i64,
    /// The times from a cut to the next answer.
    waits: Vec<Duration>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_exact_however_often_connections_are_cut() {
    cut(300).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: cargo test -p round-robin-client --test service -- --ignored --nocapture"]
async fn answers_are_exact_after_ten_thousand_disconnects() {
    cut(10_000).await;
}

/// Cuts connections of clients of two replicas `count` times, and checks every answer.
async fn cut(count: u64) {
    let backend = migrated(SqlBackend::mysql("disconnects", OPTIONS).await).await;
    let replicas = [Server::start(&backend, "a", None).await, Server::start(&backend, "b", None).await];
    let proxies = [Proxy::start(replicas[0].address()).await, Proxy::start(replicas[1].address()).await];
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let (cuts, _) = watch::channel(Instant::now());
    let clients = (0..CLIENTS).map(|number| {
        let server = format!("http://{}", proxies[number % 2].address()).parse().unwrap();
        let client_id = ClientId::try_from(format!("client-{number}")).unwrap();
        let config = Config { server, client_id: client_id.clone(), settings: Settings::default() };
        let (client, answers, session) = connect(config, metrics.clone());
        (
            client.clone(),
            tokio::spawn(session.run()),
            tokio::spawn(send(client)),
            tokio::spawn(receive(client_id, answers, cuts.subscribe())),
        )
    });
    let clients: Vec<_> = clients.collect();

    let began = Instant::now();
    let mut disconnects = 0;
    while disconnects < count {
        let before = join_all(clients.iter().map(|(client, ..)| epoch(client))).await;
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..30))).await;
        cuts.send_replace(Instant::now());
        proxies.iter().for_each(Proxy::reset);
        for ((client, ..), before) in clients.iter().zip(before) {
            let is_back = async || (epoch(client).await > before).then_some(());
            eventually(PATIENCE, "the next connection", is_back).await;
            disconnects += 1;
        }
    }
    let elapsed = began.elapsed();

    let mut received = Vec::new();
    for (client, session, sending, receiving) in clients {
        client.finish();
        sending.await.unwrap();
        tokio::time::timeout(PATIENCE, session).await.unwrap().unwrap().unwrap();
        received.push(receiving.await.unwrap());
    }
    let messages: i64 = received.iter().map(|received| received.last).sum();
    for received in &received {
        assert_exact(&replicas[0].store, received).await;
    }
    let mut waits: Vec<Duration> = received.into_iter().flat_map(|received| received.waits).collect();
    waits.sort_unstable();
    let p99 = waits[waits.len() * 99 / 100];
    println!(
        "{disconnects} disconnects in {elapsed:.1?}, {messages} messages, {} sent again, gaps 0, duplicates 0; from a cut to \
         the next answer: median {:.0?}, p99 {p99:.0?}, maximum {:.0?}",
        value(&registry, "round_robin_client_messages_sent_total") - messages.unsigned_abs(),
        waits[waits.len() / 2],
        waits[waits.len() - 1],
    );
    assert_eq!(value(&registry, "round_robin_client_answer_gaps_total"), 0);
    assert_eq!(value(&registry, "round_robin_client_losses_total"), 0);
}

/// Sends messages until the client finishes.
async fn send(client: Client) {
    while client.submit(|counter| format!("message {counter}")).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..2 * PAUSE_MS))).await;
    }
}

/// Receives answers until the session ends.
async fn receive(client_id: ClientId, mut answers: Answers, mut cuts: watch::Receiver<Instant>) -> Received {
    let mut received = Received { client_id, last: 0, waits: Vec::new() };
    while let Some(answer) = answers.served().await {
        let answer = answer.unwrap();
        assert_eq!(answer.counter, received.last + 1, "no gap and no duplicate");
        assert_eq!(answer.message, Some(format!("message {}", answer.counter)));
        received.last = answer.counter;
        if cuts.has_changed().unwrap_or(false) {
            received.waits.push(cuts.borrow_and_update().elapsed());
        }
    }
    received
}

/// Checks that the database has exactly the messages that were answered, each once and served.
async fn assert_exact(store: &Arc<dyn RoundRobinStore>, received: &Received) {
    let mut after = None;
    loop {
        let page = Page { client: received.client_id.clone(), after, limit: 1000 };
        let messages = store.messages(&page).await.unwrap();
        if messages.is_empty() {
            break;
        }
        for message in messages {
            let counter = after.unwrap_or(0) + 1;
            assert_eq!((message.counter, message.message), (counter, format!("message {counter}")));
            assert!(message.served.is_some(), "{counter} is served");
            after = Some(counter);
        }
    }
    assert_eq!(after.unwrap_or(0), received.last);
}

/// The epoch of a client's connection, once it is connected.
async fn epoch(client: &Client) -> Epoch {
    client.resume().await.unwrap().epoch
}

/// The value of a metric.
fn value(registry: &Registry, name: &str) -> u64 {
    let mut text = String::new();
    encode(&mut text, registry).unwrap();
    let value = testkit::metric(&text, name).and_then(|value| value.parse().ok());
    value.unwrap_or_else(|| panic!("no metric {name}"))
}
