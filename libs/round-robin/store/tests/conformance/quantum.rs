//! All replicas of a database take turns of the same length.

use std::sync::Arc;

use round_robin_core::turns::{DEAD_AFTER_MS, Quantum};
use round_robin_store::{Registered, RoundRobinStore};

use crate::backend::{Backend, range, registered};
use crate::on_every_backend;

on_every_backend!(
    another_length_begins_only_when_no_turn_can_go_on,
    a_replica_that_slept_through_the_change_registers_again,
    one_of_two_lengths_that_begin_at_once_is_taken,
);

const LONGER: i64 = 2000;

fn longer() -> Quantum {
    Quantum::from_millis(LONGER).unwrap()
}

async fn another_length_begins_only_when_no_turn_can_go_on(backend: Backend) {
    let other = backend.on_this_clock(longer());
    let first = registered(other.as_ref(), "first").await.unwrap();
    let refused = Registered::OtherQuantum(longer());
    assert_eq!(backend.store.register("second").await.unwrap(), refused, "a replica is live");
    // It may have begun a turn just before it counts as dead.
    backend.age_heartbeats(DEAD_AFTER_MS + LONGER - 500).await;
    assert_eq!(backend.store.register("second").await.unwrap(), refused, "its last turn may go on");
    assert_eq!(backend.number("SELECT COUNT(*) FROM replicas").await, 1, "nothing was changed");
    assert!(other.beat(first).await.unwrap().is_registered);
    other.leave(first).await.unwrap();
    assert_eq!(backend.store.register("second").await.unwrap(), refused, "it serves to the end of its turn");

    backend.age_heartbeats(DEAD_AFTER_MS + LONGER + 1).await;
    let second = registered(backend.store.as_ref(), "second").await.unwrap();
    assert_eq!(other.register("first").await.unwrap(), Registered::OtherQuantum(Quantum::SECOND));
    assert_eq!(backend.store.beat(second).await.unwrap().serves, Some(second));
    assert_eq!(backend.number("SELECT COUNT(*) FROM turns").await, 1, "turns of the other length are gone");
}

async fn a_replica_that_slept_through_the_change_registers_again(backend: Backend) {
    let other = backend.on_this_clock(longer());
    backend.store("x", 1..=2).await;
    let sleeper = registered(other.as_ref(), "sleeper").await.unwrap();
    let turn = other.beat(sleeper).await.unwrap().turn;
    backend.age_heartbeats(DEAD_AFTER_MS + LONGER + 1).await;
    let awake = registered(backend.store.as_ref(), "awake").await.unwrap();

    assert_eq!(other.serve(sleeper, turn, &[range("x", 1, 1)], (None, 1)).await.unwrap(), None);
    assert!(!other.beat(sleeper).await.unwrap().is_registered);
    assert_eq!(other.register("sleeper").await.unwrap(), Registered::OtherQuantum(Quantum::SECOND));
    let turn = backend.store.beat(awake).await.unwrap().turn;
    let served = backend.store.serve(awake, turn, &[range("x", 1, 2)], (None, 1)).await.unwrap().unwrap();
    assert_eq!(served.0.ranges, [range("x", 1, 2)]);
}

/// Registers once on each store at the same time, and returns the lengths of those that succeeded.
async fn register_at_once(stores: &[(Quantum, Arc<dyn RoundRobinStore>)]) -> Vec<Quantum> {
    let tasks = stores.iter().cloned().map(|(quantum, store)| {
        tokio::spawn(
            async move { matches!(store.register("replica").await.unwrap(), Registered::As(_)).then_some(quantum) },
        )
    });
    let mut registered = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        registered.extend(task.await.unwrap());
    }
    registered
}

async fn one_of_two_lengths_that_begin_at_once_is_taken(backend: Backend) {
    let quanta = [Quantum::SECOND, longer(), Quantum::SECOND, longer()];
    let stores = quanta.map(|quantum| (quantum, backend.another(quantum)));
    for round in 0..20 {
        let registered = register_at_once(&stores).await;
        assert_eq!(registered.len(), 2, "round {round}: both of one length");
        assert_eq!(registered[0], registered[1], "round {round}");
        backend.age_heartbeats(1_000_000).await;
    }
}
