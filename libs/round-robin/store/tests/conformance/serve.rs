//! Serving: cases that random operations seldom meet.

use round_robin_core::tables::Waiting;
use round_robin_core::types::Turn;

use crate::backend::{Backend, client, range, registered};
use crate::on_every_backend;

on_every_backend!(
    a_range_may_cross_blocks,
    ranges_that_do_not_fit_are_left_out,
    what_waits_is_listed_after_serving,
    only_the_replica_of_the_turn_serves,
    replicas_take_turns,
);

async fn a_range_may_cross_blocks(backend: Backend) {
    backend.store("x", 0..=350).await;
    for (first, last) in [(0, 94), (95, 95), (96, 304), (305, 350)] {
        assert_eq!(backend.serve(&[range("x", first, last)]).await, [range("x", first, last)]);
    }
    let answers = backend.store.answers(&[range("x", 90, 310), range("y", 1, 9), range("x", 0, 0)]).await.unwrap();
    let counters: Vec<i64> = answers.iter().map(|answer| answer.counter).collect();
    assert_eq!(counters, (90..=310).chain([0]).collect::<Vec<_>>());
    let contents = backend.contents().await;
    assert_eq!(contents.messages.len(), 351);
    assert!(contents.messages.values().all(|row| row.served.is_some()), "{contents:?}");
}

async fn ranges_that_do_not_fit_are_left_out(backend: Backend) {
    for name in ["x", "y", "z"] {
        backend.store(name, 1..=3).await;
    }
    let ranges = [
        range("x", 2, 2),
        range("y", 1, 1),
        range("x", 1, 2),
        range("x", 1, 2),
        range("unknown", 1, 1),
        range("y", 2, 3),
        range("x", 3, 3),
        range("z", 1, 4),
    ];
    let served = backend.serve(&ranges).await;
    assert_eq!(served, [range("y", 1, 1), range("x", 1, 2), range("y", 2, 3), range("x", 3, 3)]);
    assert_eq!(backend.serve(&ranges).await, []);
    assert_eq!(backend.store.waiting(None, 9).await.unwrap(), [Waiting { range: range("z", 1, 3) }]);
    // MySQL has one row for each client, and SQLite one for each range.
    let rows = if backend.is_sqlite() { 4 } else { 2 };
    assert_eq!(backend.number("SELECT COUNT(*) FROM served_ranges").await, rows);
}

async fn what_waits_is_listed_after_serving(backend: Backend) {
    for name in ["a", "b", "c"] {
        backend.store(name, 1..=3).await;
    }
    let (replica, turn) = backend.serving().await;
    let ranges = [range("a", 1, 3), range("b", 1, 1)];
    let (served, waiting) = backend.store.serve(replica, turn, &ranges, (None, 9)).await.unwrap().unwrap();
    assert_eq!(served.ranges, ranges);
    assert_eq!(waiting, [range("b", 2, 3), range("c", 1, 3)].map(|range| Waiting { range }));
    assert_eq!(backend.store.turns(None, 1).await.unwrap()[0].served, 4);
    // Without ranges it lists, too.
    let after = client("b");
    let (served, waiting) = backend.store.serve(replica, turn, &[], (Some(&after), 9)).await.unwrap().unwrap();
    assert_eq!((served.ranges.len(), waiting), (0, vec![Waiting { range: range("c", 1, 3) }]));
}

async fn only_the_replica_of_the_turn_serves(backend: Backend) {
    backend.store("x", 1..=3).await;
    let (replica, turn) = backend.serving().await;
    let other = registered(backend.store.as_ref(), "another").await.unwrap();
    let before = backend.contents().await;
    let ranges = [range("x", 1, 1)];
    for (replica, turn) in [(other, turn), (replica, Turn(turn.0 - 1)), (replica, Turn(turn.0 + 1))] {
        for ranges in [&ranges[..], &[]] {
            assert_eq!(backend.store.serve(replica, turn, ranges, (None, 9)).await.unwrap(), None);
        }
    }
    assert_eq!(backend.contents().await, before);
    backend.advance(1000, None).await;
    assert_eq!(backend.store.serve(replica, turn, &ranges, (None, 9)).await.unwrap(), None, "the turn is over");
}

async fn replicas_take_turns(backend: Backend) {
    let mut replicas = Vec::new();
    for name in ["a", "b", "c"] {
        replicas.push(registered(backend.store.as_ref(), name).await.unwrap());
    }
    let mut serving = Vec::new();
    for _ in 0..7 {
        for replica in &replicas {
            backend.store.beat(*replica).await.unwrap();
        }
        let beat = backend.store.beat(replicas[0]).await.unwrap();
        serving.push((beat.turn, beat.serves.unwrap()));
        backend.advance(1000, None).await;
        // As if all had sent another heartbeat within the turn.
        backend.age_heartbeats(-500).await;
    }
    for (turn, serves) in serving {
        assert_eq!(serves, replicas[usize::try_from(turn.0.rem_euclid(3)).unwrap()], "{turn:?}");
    }
}
