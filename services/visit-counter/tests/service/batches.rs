//! Visits that share an addition, on a store that answers on command.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use testkit::{Redis, eventually};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use visits_store::{Error, Result, Total, VisitStore};

use crate::PATIENCE;
use crate::server::{Server, redis};

/// A store that reports each addition and waits for a permit before it answers.
struct Slow {
    added: mpsc::UnboundedSender<i64>,
    permits: Semaphore,
    total: AtomicI64,
    contact: AtomicI64,
}

impl Slow {
    fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<i64>) {
        let (added, additions) = mpsc::unbounded_channel();
        (
            Arc::new(Self { added, permits: Semaphore::new(0), total: AtomicI64::new(0), contact: AtomicI64::new(0) }),
            additions,
        )
    }
}

#[async_trait]
impl VisitStore for Slow {
    async fn add(&self, amount: i64, within: Duration) -> Result<Total> {
        self.added.send(amount).unwrap();
        let permit = tokio::time::timeout(within, self.permits.acquire()).await.map_err(|_| Error::Timeout(within))?;
        permit.unwrap().forget();
        let total = self.total.fetch_add(amount, Ordering::Relaxed) + amount;
        Ok(Total { total, contact: self.contact.load(Ordering::Relaxed).unsigned_abs() })
    }

    async fn read(&self, _: Duration) -> Result<i64> {
        Ok(self.total.load(Ordering::Relaxed))
    }

    async fn ping(&self, _: Duration) -> Result<()> {
        Ok(())
    }
}

/// Starts concurrent visits. Each returns its number, or -1 on failure.
fn visits(server: &Arc<Server>, count: usize) -> JoinSet<i64> {
    let visit = |server: Arc<Server>| async move { server.visit().await.unwrap_or(-1) };
    (0..count).map(|_| visit(Arc::clone(server))).collect()
}

async fn arrived(server: &Server, count: i64) {
    let waiting = async || (server.metric("visits_waiting") == count).then_some(());
    eventually(PATIENCE, format!("{count} visits wait"), waiting).await;
}

#[tokio::test]
async fn visits_that_come_during_a_round_trip_share_the_next_one() {
    let (store, mut additions) = Slow::new();
    let server = Arc::new(Server::start(Arc::clone(&store) as _).await);
    let lone = visits(&server, 1);
    assert_eq!(additions.recv().await, Some(1), "a lone visit waits for no other");
    let others = visits(&server, 20);
    arrived(&server, 20).await;
    store.permits.add_permits(1);
    assert_eq!(lone.join_all().await, [1]);
    assert_eq!(additions.recv().await, Some(20));
    store.permits.add_permits(1);
    let numbers: BTreeSet<i64> = others.join_all().await.into_iter().collect();
    assert_eq!(numbers, (2..=21).collect());
    assert_eq!(server.metric("visits_round_trips_total"), 2);
    assert_eq!(server.metric("visits_batch_size_sum"), 21);
}

#[tokio::test]
async fn visits_of_clients_that_go_away_are_counted_and_delay_no_other() {
    let (store, mut additions) = Slow::new();
    let server = Arc::new(Server::start(Arc::clone(&store) as _).await);
    let first = visits(&server, 1);
    assert_eq!(additions.recv().await, Some(1));
    let mut gone = visits(&server, 5);
    arrived(&server, 5).await;
    gone.shutdown().await;
    store.permits.add_permits(2);
    assert_eq!(first.join_all().await, [1]);
    assert_eq!(additions.recv().await, Some(5));
    store.permits.add_permits(1);
    assert_eq!(visits(&server, 1).join_all().await, [7]);
}

#[tokio::test]
async fn a_store_that_lost_numbers_is_set_forward() {
    let (store, _additions) = Slow::new();
    let server = Arc::new(Server::start(Arc::clone(&store) as _).await);
    store.permits.add_permits(10);
    store.total.store(100, Ordering::Relaxed);
    assert_eq!(server.visit().await.unwrap(), 101);
    store.total.store(90, Ordering::Relaxed);
    store.contact.store(1, Ordering::Relaxed);
    assert_eq!(server.visit().await.unwrap(), 102);
    assert_eq!(server.metric("visits_set_forward_total"), 1);
    store.total.store(0, Ordering::Relaxed);
    assert_eq!(server.visit().await.unwrap(), 1, "an operator has reset it on the same connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_visits_to_two_servers_get_a_number_each_in_few_round_trips() {
    let shared = Redis::shared().await;
    let key = shared.prefix("many");
    let servers = [
        Arc::new(Server::start(redis(shared.url(), &key)).await),
        Arc::new(Server::start(redis(shared.url(), &key)).await),
    ];
    let mut all = Vec::new();
    for _ in 0..10 {
        let (one, other) = (visits(&servers[0], 50), visits(&servers[1], 50));
        all.extend(one.join_all().await);
        all.extend(other.join_all().await);
    }
    let numbers: BTreeSet<i64> = all.iter().copied().collect();
    assert_eq!(numbers, (1..=1000).collect(), "no number twice, none skipped");
    let round_trips: i64 = servers.iter().map(|server| server.metric("visits_round_trips_total")).sum();
    println!("1000 visits in {round_trips} round trips");
    assert!(round_trips < 1000, "{round_trips}");
}
