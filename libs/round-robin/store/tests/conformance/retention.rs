//! Deleting what is old.

use crate::backend::{Backend, client, range, registered};
use crate::on_every_backend;

on_every_backend!(
    a_backlog_of_old_messages_is_deleted_in_parts,
    clients_that_keep_all_hold_up_no_others,
    old_turns_are_deleted_in_parts
);

/// Longer than any test.
const AGE_MS: i64 = 3_600_000;

/// Deletes what is older than [`AGE_MS`].
async fn delete_all(backend: &Backend) -> Vec<u64> {
    let mut deleted = Vec::new();
    loop {
        match backend.store.delete_old_messages(AGE_MS, AGE_MS).await.unwrap() {
            0 => return deleted,
            count => deleted.push(count),
        }
    }
}

async fn a_backlog_of_old_messages_is_deleted_in_parts(backend: Backend) {
    for name in ["x", "y"] {
        backend.store(name, 1..=3500).await;
        backend.serve(&[range(name, 1, 3400)]).await;
    }
    assert_eq!(delete_all(&backend).await, [0; 0]);
    backend.advance(2 * AGE_MS, None).await;
    let deleted = delete_all(&backend).await;
    assert!(deleted.len() > 1, "{deleted:?}");
    assert_eq!(deleted.iter().sum::<u64>(), 2 * 3399);
    for name in ["x", "y"] {
        let row = backend.store.client(&client(name)).await.unwrap().unwrap().row;
        assert_eq!((row.kept, row.next, row.missing), (3400, 3401, 3501));
        let answers = backend.store.answers(&[range(name, 1, 9999)]).await.unwrap();
        assert_eq!(answers.iter().map(|answer| answer.counter).collect::<Vec<_>>(), [3400]);
    }
    assert_eq!(backend.number("SELECT COUNT(*) FROM received_messages").await, 2 * 101);
    assert_eq!(backend.number("SELECT COUNT(*) FROM served_ranges WHERE last_counter < 3400").await, 0);
}

async fn clients_that_keep_all_hold_up_no_others(backend: Backend) {
    // The messages 0 and 1 are deleted together, so these clients keep theirs.
    let names: Vec<String> = (0..150).map(|index| format!("a{index}")).collect();
    for name in &names {
        backend.store(name, 0..=1).await;
    }
    backend.store("z", 1..=3).await;
    let mut ranges: Vec<_> = names.iter().map(|name| range(name, 0, 1)).collect();
    ranges.push(range("z", 1, 3));
    assert_eq!(backend.serve(&ranges).await, ranges);
    backend.advance(2 * AGE_MS, None).await;
    assert_eq!(delete_all(&backend).await, [2]);
}

async fn old_turns_are_deleted_in_parts(backend: Backend) {
    let replica = registered(backend.store.as_ref(), "a replica").await.unwrap();
    let latest = backend.store.beat(replica).await.unwrap().turn.0;
    let rows: Vec<String> = (1..=15_000).map(|age| format!("({}, 1, 1, '')", latest - age)).collect();
    for rows in rows.chunks(1000) {
        let sql = format!("INSERT INTO turns (turn, replica, token, name) VALUES {}", rows.join(","));
        backend.sql(&sql).await.unwrap();
    }
    let mut deleted = 0;
    loop {
        match backend.store.delete_old_turns(AGE_MS).await.unwrap() {
            0 => break,
            count => deleted += count,
        }
    }
    // A turn or two may have passed in the meantime.
    assert!((15_000 - 3600..15_000 - 3500).contains(&deleted), "{deleted}");
    backend.advance(AGE_MS, None).await;
    while backend.store.delete_old_turns(0).await.unwrap() > 0 {}
    assert_eq!(backend.number("SELECT COUNT(*) FROM turns").await, 1);
}
