//! Servers that take short packets only.

use kit_database::Error;
use round_robin_core::tables::{Accepted, Request};
use round_robin_core::types::{MAX_MESSAGE_BYTES, Range};
use testkit::MariaDb;

use crate::backend::{Backend, client, range, request};

/// The longest name: 64 characters of four bytes each.
fn long_name(index: usize) -> String {
    format!("{index:04}{}", "😀".repeat(60))
}

#[tokio::test]
async fn batches_are_cut_to_what_the_server_takes() {
    let backend = Backend::on(MariaDb::small_packets().await, "batches").await;
    // Each message fits into a packet, and no eight of them do.
    let message = "x".repeat(MAX_MESSAGE_BYTES);
    let sent = (1..=20).flat_map(|counter| ["x", "y"].map(|name| request(name, counter)));
    let sent: Vec<Request> = sent.map(|request| Request { message: message.clone(), ..request }).collect();
    for _ in 0..2 {
        let accepted = backend.store.accept(&sent).await.unwrap();
        for (sent, accepted) in sent.iter().zip(accepted) {
            let Accepted::Stored(row) = accepted else { panic!("{accepted:?}") };
            assert_eq!((&row.client, row.counter, row.message.len()), (&sent.client, sent.counter, message.len()));
        }
    }
    assert_eq!(backend.number("SELECT COUNT(*) FROM received_messages").await, 40);
    assert_eq!(backend.store.waiting(None, 9).await.unwrap().len(), 2);
}

#[tokio::test]
async fn batches_of_many_clients_are_cut_to_what_the_server_takes() {
    let backend = Backend::on(MariaDb::small_packets().await, "clients").await;
    let sent: Vec<Request> = (0..2000).map(|index| request(&long_name(index), 1)).collect();
    let accepted = backend.store.accept(&sent).await.unwrap();
    assert!(accepted.iter().all(|accepted| matches!(accepted, Accepted::Stored(_))));
    // Messages of all clients with a gap: the first missing counter of each one is searched.
    let gaps: Vec<Request> = (0..2000).map(|index| request(&long_name(index), 3)).collect();
    backend.store.accept(&gaps).await.unwrap();
    let fill: Vec<Request> = (0..2000).map(|index| request(&long_name(index), 2)).collect();
    backend.store.accept(&fill).await.unwrap();

    let clients: Vec<_> = (0..2000).map(|index| client(&long_name(index))).collect();
    let rows = backend.store.progress(&clients).await.unwrap();
    assert!(rows.len() == 2000 && rows.iter().all(|row| row.missing == 4));
    let hundred: Vec<Range> = (0..256).map(|index| range(&long_name(index), 1, 3)).collect();
    assert_eq!(backend.serve(&hundred).await, hundred);
    let all: Vec<Range> = (0..2000).map(|index| range(&long_name(index), 1, 3)).collect();
    assert_eq!(backend.store.answers(&all).await.unwrap().len(), 3 * 256);
    let acknowledged: Vec<_> = rows.iter().map(|row| (row.id.clone(), row.epoch, 3)).collect();
    let are_latest = backend.store.acknowledge(&acknowledged).await.unwrap();
    assert!(are_latest.len() == 2000 && are_latest.iter().all(|is_latest| *is_latest));
    assert_eq!(backend.number("SELECT COUNT(*) FROM clients WHERE acknowledged = 3").await, 256);
}

#[tokio::test]
async fn what_never_fits_is_refused_and_changes_nothing() {
    let backend = Backend::on(MariaDb::small_packets().await, "never").await;
    let large = Request { message: "x".repeat(600_000), ..request("x", 1) };
    let error = backend.store.accept(std::slice::from_ref(&large)).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }) && !error.is_transient(), "{error:?}");
    let error = backend.store.accept(&[large, request("y", 1)]).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error:?}");
    assert_eq!(backend.number("SELECT COUNT(*) FROM clients").await, 0);
    backend.store("y", [1]).await;
}
