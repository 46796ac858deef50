//! Storing messages: cases that random operations seldom meet.

use round_robin_core::tables::{Accepted, Hello, Request};
use round_robin_core::types::{ClientId, Epoch, MAX_COUNTER, WINDOW};

use crate::backend::{Backend, client, range, request};
use crate::on_every_backend;

on_every_backend!(
    the_first_of_several_texts_wins,
    a_gap_is_filled,
    a_batch_may_go_beyond_the_window,
    a_batch_may_come_from_two_connections,
    a_batch_of_many_clients_is_stored,
    refused_messages_hold_up_no_others,
    counters_may_be_large,
    a_client_whose_row_is_lost_goes_on,
);

fn with_text(name: &str, counter: i64, text: &str) -> Request {
    Request { message: text.to_owned(), ..request(name, counter) }
}

/// The first missing counter and the last one received.
async fn position(backend: &Backend, name: &str) -> (i64, i64) {
    let row = backend.store.client(&client(name)).await.unwrap().unwrap().row;
    (row.missing, row.last_received)
}

fn are_stored(accepted: &[Accepted]) -> Vec<bool> {
    accepted.iter().map(|accepted| matches!(accepted, Accepted::Stored(_))).collect()
}

async fn the_first_of_several_texts_wins(backend: Backend) {
    let batch = [
        with_text("x", 2, "a"),
        with_text("x", 1, "b"),
        with_text("x", 2, "A"),
        with_text("y", 1, "c"),
        with_text("x", 2, "a"),
        with_text("x", 2, "a "),
    ];
    let accepted = backend.store.accept(&batch).await.unwrap();
    assert_eq!(are_stored(&accepted), [true, true, false, true, true, false]);
    assert_eq!((&accepted[2], &accepted[5]), (&Accepted::Conflict, &Accepted::Conflict));
    assert_eq!(accepted[0], accepted[4]);
    assert_eq!(position(&backend, "x").await, (3, 2));
    // All of it again.
    assert_eq!(backend.store.accept(&batch).await.unwrap(), accepted);
    assert_eq!(backend.number("SELECT COUNT(*) FROM received_messages").await, 3);
}

async fn a_gap_is_filled(backend: Backend) {
    backend.store("x", [3, 5, 4, 9, 7]).await;
    backend.store("y", [1]).await;
    assert_eq!(position(&backend, "x").await, (1, 9));
    backend.store("x", [2]).await;
    assert_eq!(position(&backend, "x").await, (1, 9));
    assert!(backend.store.waiting(None, 9).await.unwrap().iter().all(|waiting| waiting.range.client != client("x")));
    backend.store("x", [1]).await;
    assert_eq!(position(&backend, "x").await, (6, 9));
    backend.store("x", [8, 6, 12]).await;
    assert_eq!(position(&backend, "x").await, (10, 12));
    backend.store("x", 10..=13).await;
    assert_eq!(position(&backend, "x").await, (14, 13));
}

async fn a_batch_may_go_beyond_the_window(backend: Backend) {
    // Each message is near the first missing one when its turn comes.
    let last = 2 * WINDOW + 500;
    backend.store("x", 1..=last).await;
    assert_eq!(position(&backend, "x").await, (last + 1, last));
    // This one is not, and the next ones are.
    let far = last + 1 + WINDOW + 1;
    let batch = [request("x", far), request("x", last + 1), request("x", far), request("x", far + 1)];
    let accepted = backend.store.accept(&batch).await.unwrap();
    assert_eq!(accepted[0], Accepted::TooFar { expected: last + 1 });
    assert_eq!(are_stored(&accepted[1..3]), [true, true]);
    assert_eq!(accepted[3], Accepted::TooFar { expected: last + 2 });
}

async fn a_batch_may_come_from_two_connections(backend: Backend) {
    let hello = Hello { client: client("x"), epoch: None, last_served: None };
    assert_eq!(backend.store.connect(&hello).await.unwrap().client.epoch, Epoch(1));
    assert_eq!(backend.store.connect(&hello).await.unwrap().client.epoch, Epoch(2));
    let from = |counter, epoch: Option<i64>| Request { epoch: epoch.map(Epoch), ..request("x", counter) };
    let batch =
        [from(1, Some(1)), from(1, Some(2)), from(2, None), from(3, Some(1)), from(2, Some(1)), from(3, Some(2))];
    let accepted = backend.store.accept(&batch).await.unwrap();
    assert_eq!(are_stored(&accepted), [false, true, true, false, false, true]);
    assert!([0, 3, 4].iter().all(|index| accepted[*index] == Accepted::Fenced));
    assert_eq!(position(&backend, "x").await, (4, 3));
}

async fn a_batch_of_many_clients_is_stored(backend: Backend) {
    let names: Vec<String> = (0..700).map(|index| format!("client {index}")).collect();
    let batch: Vec<Request> =
        (1..=3).flat_map(|counter| names.iter().map(move |name| request(name, counter))).collect();
    let accepted = backend.store.accept(&batch).await.unwrap();
    for (request, accepted) in batch.iter().zip(&accepted) {
        let Accepted::Stored(row) = accepted else { panic!("{accepted:?}") };
        assert_eq!((&row.client, row.counter, &row.message), (&request.client, request.counter, &request.message));
    }
    let mut sorted: Vec<ClientId> = names.iter().map(|name| client(name)).collect();
    sorted.sort();
    let waiting = backend.store.waiting(None, 1000).await.unwrap();
    assert_eq!(waiting.iter().map(|waiting| waiting.range.client.clone()).collect::<Vec<_>>(), sorted);
    assert!(waiting.iter().all(|waiting| (waiting.range.first, waiting.range.last) == (1, 3)));
    let ranges: Vec<_> = waiting.into_iter().map(|waiting| waiting.range).collect();
    assert_eq!(backend.serve(&ranges).await, ranges);
    assert_eq!(backend.store.waiting(None, 1000).await.unwrap(), []);
}

async fn refused_messages_hold_up_no_others(backend: Backend) {
    backend.store("served", 1..=3).await;
    backend.serve(&[range("served", 1, 3)]).await;
    backend.advance(2000, None).await;
    assert_eq!(backend.store.delete_old_messages(0, 0).await.unwrap(), 2);
    backend.store("gap", [1, 3]).await;
    let fenced = Request { epoch: Some(Epoch(7)), ..request("fenced", 1) };
    let batch = [
        request("served", 1),
        request("new", 1),
        request("far", 2 + WINDOW),
        fenced.clone(),
        request("gap", 2),
        with_text("gap", 3, "another"),
        request("served", 4),
        request("far", 1),
    ];
    let accepted = backend.store.accept(&batch).await.unwrap();
    assert_eq!(accepted[0], Accepted::Gone { kept: 3 });
    assert_eq!(accepted[2], Accepted::TooFar { expected: 1 });
    assert_eq!(accepted[3], Accepted::Fenced);
    assert_eq!(accepted[5], Accepted::Conflict);
    assert_eq!(are_stored(&accepted), [false, true, false, false, true, false, true, true]);
    assert_eq!(position(&backend, "gap").await, (4, 3));
    assert_eq!(position(&backend, "far").await, (2, 1));
    // A batch of nothing else.
    assert_eq!(backend.store.accept(&[fenced.clone(), fenced]).await.unwrap(), [Accepted::Fenced, Accepted::Fenced]);
    assert_eq!(backend.store.accept(&[]).await.unwrap(), []);
}

async fn counters_may_be_large(backend: Backend) {
    backend.store("x", [1]).await;
    let next = MAX_COUNTER - 1;
    let sql = format!("UPDATE clients SET first_kept = {next}, next_to_serve = {next}, first_missing = {next}");
    backend.sql(&sql).await.unwrap();
    backend.store("x", [MAX_COUNTER, MAX_COUNTER - 1]).await;
    let all = range("x", MAX_COUNTER - 1, MAX_COUNTER);
    assert_eq!(backend.store.waiting(None, 9).await.unwrap()[0].range, all);
    assert_eq!(backend.serve(std::slice::from_ref(&all)).await, std::slice::from_ref(&all));
    assert_eq!(backend.store.answers(&[all]).await.unwrap().len(), 2);
}

/// A user who deletes the row of a client, and not its messages.
async fn a_client_whose_row_is_lost_goes_on(backend: Backend) {
    backend.store("x", 1..=3).await;
    backend.serve(&[range("x", 1, 2)]).await;
    backend.lose("clients").await;
    let accepted = backend.store.accept(&[with_text("x", 1, "another"), request("x", 2)]).await.unwrap();
    assert_eq!(accepted[0], Accepted::Conflict);
    assert!(matches!(&accepted[1], Accepted::Stored(row) if row.served.is_some()), "{accepted:?}");
    backend.store("x", 1..=5).await;
    let waiting = backend.store.waiting(None, 9).await.unwrap().remove(0).range;
    assert_eq!((waiting.first, waiting.last), (1, 5));
    assert_eq!(backend.serve(std::slice::from_ref(&waiting)).await, [waiting]);
}
