//! Rows that are lost while replicas work with them.

use round_robin_core::types::Registration;

use crate::backend::{Backend, range, registered};
use crate::on_every_backend;

on_every_backend!(
    a_replica_whose_registration_is_lost_registers_again,
    a_number_that_comes_again_has_no_part_in_the_turn_of_the_one_before,
    a_turn_whose_row_is_lost_is_determined_again,
);

async fn a_replica_whose_registration_is_lost_registers_again(backend: Backend) {
    let (replica, turn) = backend.serving().await;
    backend.store("x", 1..=3).await;
    backend.lose("replicas").await;
    let beat = backend.store.beat(replica).await.unwrap();
    assert!(!beat.is_registered);
    assert_eq!(backend.store.serve(replica, turn, &[range("x", 1, 1)], (None, 9)).await.unwrap(), None);
    assert_eq!(backend.store.serve(replica, turn, &[], (None, 9)).await.unwrap(), None);
    let again = registered(backend.store.as_ref(), "a replica").await.unwrap();
    assert_eq!((again.id, again.token == replica.token), (replica.id, false));
    // From the next turn on.
    backend.advance(1000, None).await;
    let beat = backend.store.beat(again).await.unwrap();
    assert_eq!((beat.is_registered, beat.serves), (true, Some(again)));
    assert!(backend.store.serve(again, beat.turn, &[range("x", 1, 3)], (None, 9)).await.unwrap().is_some());
}

async fn a_number_that_comes_again_has_no_part_in_the_turn_of_the_one_before(backend: Backend) {
    let (replica, turn) = backend.serving().await;
    backend.store("x", 1..=3).await;
    backend.lose("replicas").await;
    let other = registered(backend.store.as_ref(), "another").await.unwrap();
    assert_eq!(other.id, replica.id);
    for of in [replica, other, Registration { token: replica.token, ..other }] {
        assert_eq!(backend.store.serve(of, turn, &[range("x", 1, 1)], (None, 9)).await.unwrap(), None);
    }
    backend.store.leave(replica).await.unwrap();
    assert!(!backend.contents().await.replicas[&other.id].is_leaving);
}

async fn a_turn_whose_row_is_lost_is_determined_again(backend: Backend) {
    let (replica, turn) = backend.serving().await;
    backend.store("x", 1..=3).await;
    backend.lose("turns").await;
    assert_eq!(backend.store.serve(replica, turn, &[range("x", 1, 1)], (None, 9)).await.unwrap(), None);
    let beat = backend.store.beat(replica).await.unwrap();
    assert_eq!(beat.serves, Some(replica));
    let served = backend.store.serve(replica, beat.turn, &[range("x", 1, 1)], (None, 9)).await.unwrap().unwrap();
    assert_eq!(served.0.ranges, [range("x", 1, 1)]);
}
