//! Several replicas at once, each with connections of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use round_robin_core::plan::plan;
use round_robin_core::tables::{Accepted, Request};
use round_robin_core::turns::Quantum;
use round_robin_core::types::Range;
use round_robin_store::RoundRobinStore;

use crate::backend::{Backend, client, registered, request};
use crate::on_every_backend;

on_every_backend!(
    messages_of_one_client_may_come_over_several_connections,
    replicas_serve_in_turn_while_messages_come,
    acknowledgements_and_retention_meet_messages,
);

/// Short, so that a test has many turns.
const QUANTUM_MS: i64 = 50;

const DEADLINE: Duration = Duration::from_mins(1);

type Store = Arc<dyn RoundRobinStore>;

fn stores(backend: &Backend, count: usize) -> Vec<Store> {
    let quantum = Quantum::from_millis(QUANTUM_MS).unwrap();
    (0..count).map(|_| backend.another(quantum)).collect()
}

/// Sends the messages 1 to `last` of clients in batches of random sizes, each message once or twice
/// and some of them too early. Those that come again may be served and deleted by then.
async fn send(store: &Store, names: &[&str], last: i64, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut next, mut stored) = (1, 0);
    while next <= last {
        let end = (next + random.i64(0..40)).min(last);
        let mut batch: Vec<Request> =
            names.iter().flat_map(|name| (next..=end).map(|counter| request(name, counter))).collect();
        if random.bool() {
            random.shuffle(&mut batch);
        }
        for (request, accepted) in batch.iter().zip(store.accept(&batch).await.unwrap()) {
            let is_gone = request.counter <= stored && matches!(accepted, Accepted::Gone { .. });
            assert!(is_gone || matches!(accepted, Accepted::Stored(_)), "{accepted:?}");
        }
        stored = end;
        // Sometimes the next batch contains some of these again.
        next = end + 1 - if random.u8(0..4) == 0 { random.i64(0..=end - next) } else { 0 };
    }
}

async fn messages_of_one_client_may_come_over_several_connections(backend: Backend) {
    const NAMES: [&str; 3] = ["x", "y", "z"];
    let last = 400;
    let tasks = stores(&backend, 4).into_iter().zip(0..).map(|(store, seed)| {
        let mut names = NAMES.to_vec();
        names.rotate_left(seed % 3);
        tokio::spawn(async move { send(&store, &names, last, seed as u64).await })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let contents = backend.contents().await;
    assert_eq!(contents.messages.len(), NAMES.len() * 400);
    for name in NAMES {
        let row = &contents.clients[&client(name)];
        assert_eq!((row.kept, row.next, row.missing, row.last_received), (1, 1, last + 1, last));
    }
}

/// A replica that beats until `left` is 0, and serves until it has served `most` messages or more.
async fn serve(store: Store, name: &str, most: i64, left: Arc<AtomicI64>) {
    let replica = registered(store.as_ref(), name).await.unwrap();
    let deadline = Instant::now() + DEADLINE;
    let (mut waiting, mut count) = (Vec::new(), 0);
    while left.load(Ordering::Relaxed) > 0 {
        assert!(Instant::now() < deadline, "all messages are served in time");
        let beat = store.beat(replica).await.unwrap();
        assert!(beat.is_registered);
        // Replicas try to serve in turns of others, too.
        let ranges = if count < most { plan(&waiting, 100, 0) } else { Vec::new() };
        let Some((served, next)) = store.serve(replica, beat.turn, &ranges, (None, 9)).await.unwrap() else { continue };
        assert_eq!(beat.serves, Some(replica));
        let served: i64 = served.ranges.iter().map(Range::count).sum();
        count += served;
        left.fetch_sub(served, Ordering::Relaxed);
        waiting = next;
    }
}

async fn replicas_serve_in_turn_while_messages_come(backend: Backend) {
    const NAMES: [&str; 4] = ["a", "b", "c", "d"];
    let last = 600;
    let left = Arc::new(AtomicI64::new(last * 4));
    let mut tasks = Vec::new();
    for (store, name) in stores(&backend, 3).into_iter().zip(["r1", "r2", "r3"]) {
        let left = Arc::clone(&left);
        // No replica serves all four times `last` messages, however slow the others are.
        tasks.push(tokio::spawn(async move { serve(store, name, 2 * last, left).await }));
    }
    for (store, seed) in stores(&backend, 2).into_iter().zip(0..) {
        tasks.push(tokio::spawn(async move { send(&store, &NAMES, last, seed).await }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let contents = backend.contents().await;
    assert_eq!(contents.messages.len(), 4 * 600);
    assert!(contents.messages.values().all(|row| row.served.is_some()));
    assert!(contents.clients.values().all(|row| (row.next, row.missing) == (last + 1, last + 1)));
    // Nothing was served twice, each range in the turn of its replica, and in order.
    let count = |sql: &str| {
        let sql = sql.to_owned();
        let backend = &backend;
        async move { backend.number(&sql).await }
    };
    let served = "SELECT CAST(SUM(last_counter - first_counter + 1) AS DECIMAL) = 2400 FROM served_ranges";
    assert_eq!(count(served).await, 1);
    let out_of_turn = format!(
        "SELECT COUNT(*) FROM served_ranges LEFT JOIN turns ON turns.turn = served_ranges.turn \
         AND turns.name = served_ranges.replica \
         WHERE turns.turn IS NULL OR served_at < turns.turn * {QUANTUM_MS} OR served_at >= (turns.turn + 1) * {QUANTUM_MS}"
    );
    assert_eq!(count(&out_of_turn).await, 0);
    let of_turns = "SELECT COUNT(*) FROM turns WHERE served <> COALESCE((SELECT SUM(last_counter - first_counter + 1) \
                    FROM served_ranges WHERE served_ranges.turn = turns.turn), 0)";
    assert_eq!(count(of_turns).await, 0);
    let out_of_order = "SELECT COUNT(*) FROM served_ranges AS a JOIN served_ranges AS b ON a.client_id = b.client_id \
                        AND a.first_counter < b.first_counter AND a.served_at > b.served_at";
    assert_eq!(count(out_of_order).await, 0);
    let replicas = "SELECT COUNT(DISTINCT replica) FROM served_ranges";
    assert!(count(replicas).await > 1, "no replica served all");
}

async fn acknowledgements_and_retention_meet_messages(backend: Backend) {
    const NAMES: [&str; 3] = ["a", "b", "c"];
    let last = 300;
    let left = Arc::new(AtomicI64::new(last * 3));
    let [serving, sending, acknowledging, deleting] = &stores(&backend, 4)[..] else { panic!("four stores") };
    let serving = tokio::spawn(serve(Arc::clone(serving), "a replica", i64::MAX, Arc::clone(&left)));
    let sending = {
        let store = Arc::clone(sending);
        tokio::spawn(async move { send(&store, &NAMES, last, 7).await })
    };
    let clients = NAMES.map(client);
    while !serving.is_finished() {
        let rows = acknowledging.progress(&clients).await.unwrap();
        let latest: Vec<_> = rows.iter().rev().map(|row| (row.id.clone(), row.epoch, row.next - 1)).collect();
        assert!(acknowledging.acknowledge(&latest).await.unwrap().iter().all(|is_latest| *is_latest));
        deleting.delete_old_messages(10, 20).await.unwrap();
    }
    serving.await.unwrap();
    sending.await.unwrap();
    let contents = backend.contents().await;
    for name in NAMES {
        let row = &contents.clients[&client(name)];
        assert_eq!((row.next, row.missing), (last + 1, last + 1));
        let kept: Vec<i64> =
            contents.messages.keys().filter(|(of, _)| *of == row.id).map(|(_, counter)| *counter).collect();
        assert_eq!(kept, (row.kept..=last).collect::<Vec<_>>());
    }
}
