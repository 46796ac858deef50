//! Reads for the API and the page.

use round_robin_core::types::{ClientId, Turn};

use crate::backend::{Backend, client, range, registered};
use crate::on_every_backend;

on_every_backend!(the_latest_clients_come_first, a_store_without_tables_is_not_ready, the_last_turns_come_first);

async fn the_latest_clients_come_first(backend: Backend) {
    for name in ["a", "c", "b"] {
        backend.store(name, 1..=2).await;
        backend.advance(2000, None).await;
    }
    let names = async || -> Vec<ClientId> {
        let overview = backend.store.overview(9, 2).await.unwrap();
        assert_eq!(overview.client_count, 3);
        overview.clients.into_iter().map(|client| client.row.id).collect()
    };
    assert_eq!(names().await, [client("b"), client("c")]);
    // A client that is served is seen, too.
    backend.serve(&[range("a", 1, 2)]).await;
    assert_eq!(names().await, [client("a"), client("b")]);
    let overview = backend.store.overview(9, 1).await.unwrap();
    let last_served = overview.clients[0].last_served.as_ref().unwrap();
    assert_eq!((last_served.counter, overview.waiting), (2, 4));
}

async fn a_store_without_tables_is_not_ready(backend: Backend) {
    backend.store.ping().await.unwrap();
    // SQLite renames tables in the view, too.
    let of_view = if backend.is_sqlite() { &[][..] } else { &["received_messages", "served_ranges"] };
    for table in ["replicas", "turns", "clients"].iter().chain(of_view) {
        backend.sql(&format!("ALTER TABLE {table} RENAME TO kept")).await.unwrap();
        backend.store.ping().await.unwrap_err();
        backend.sql(&format!("ALTER TABLE kept RENAME TO {table}")).await.unwrap();
        backend.store.ping().await.unwrap();
    }
}

async fn the_last_turns_come_first(backend: Backend) {
    let replica = registered(backend.store.as_ref(), "a replica").await.unwrap();
    let mut turns = Vec::new();
    for _ in 0..4 {
        turns.push(backend.store.beat(replica).await.unwrap().turn);
        backend.advance(1000, None).await;
    }
    let read = async |before: Option<Turn>, limit| -> Vec<i64> {
        backend.store.turns(before, limit).await.unwrap().into_iter().map(|row| row.turn.0).collect()
    };
    let latest = read(None, 1).await[0];
    assert_eq!(read(None, 3).await, [latest, latest - 1, latest - 2]);
    assert_eq!(read(Some(Turn(latest)), 9).await, [latest - 1, latest - 2, latest - 3]);
    assert_eq!(read(Some(Turn(latest - 3)), 9).await, [0; 0]);
}
