//! Which numbers are stored, acknowledged and refused.

use std::sync::Arc;

use counting_socket_io::{Incoming, Reason};
use counting_words::lines::length;
use serde_json::{Value, json};
use testkit::eventually_ok;

use crate::client::{Client, ROLES, count, number_of, stored};
use crate::disk::Faults;
use crate::server::{SOON, Server, config, text};

/// The reason of a refusal.
fn error(answer: &Value) -> &str {
    assert_eq!((answer["ok"].as_bool(), answer.get("number")), (Some(false), None), "{answer}");
    answer["error"].as_str().unwrap()
}

#[tokio::test]
async fn numbers_are_acknowledged_after_they_are_durable() {
    let faults = Faults::default();
    let folder = Arc::new(testkit::Folder::new("counting"));
    let server = Server::with(folder, config(), faults.clone()).await;
    server.until_open().await;
    let [mut first, mut second] = Client::pair(server.address).await;
    for number in 1..=50 {
        let client = if number % 2 == 1 { &mut first } else { &mut second };
        client.store(number).await;
        assert!(faults.durable() >= length(number), "{number} is acknowledged before it is durable");
    }

    // While the sync of a line takes its time, later lines come, and share the next sync.
    let syncs = faults.syncs();
    faults.hold(true);
    let (odd, even) = ((51..=1000).step_by(2), (52..=1000).step_by(2));
    let ids: Vec<_> = odd.clone().map(|number| first.number(number)).collect();
    eventually_ok(SOON, "a sync", async || if faults.syncs() > syncs { Ok(()) } else { Err("not yet") }).await;
    assert_eq!(error(&second.ask("unknown", Value::Null).await), "unknown event: expected number");
    let others: Vec<_> = even.clone().map(|number| second.number(number)).collect();
    for client in [&mut first, &mut second] {
        // It comes after the numbers, and its answer before theirs.
        assert_eq!(error(&client.ask("unknown", Value::Null).await), "unknown event: expected number");
    }
    assert!(faults.durable() < length(52), "the disk holds the sync");
    faults.hold(false);
    for (client, numbers, ids) in [(&mut first, odd, ids), (&mut second, even, others)] {
        for (number, id) in numbers.zip(ids) {
            assert_eq!(client.ack().await, (id, stored(number)));
            assert!(faults.durable() >= length(number), "{number} is acknowledged before it is durable");
        }
    }
    let shared = faults.syncs() - syncs;
    println!("950 numbers in {shared} syncs");
    assert!(shared <= 10, "{shared} syncs");
    assert_eq!(server.file(), text(1000));
    assert_eq!(server.metric("counting_numbers_stored_total"), 1000);
    assert_eq!(server.metric("counting_last_number"), 1000);
}

#[tokio::test]
async fn a_number_that_comes_early_waits_and_a_stored_one_is_acknowledged_again() {
    let server = Server::start().await;
    let [mut first, mut second] = Client::pair(server.address).await;
    let early = [2, 4, 6].map(|number| second.number(number));
    // The client has sent other events since then, and receives nothing about the early numbers.
    second.ask("unknown", Value::Null).await;
    assert_eq!(server.file(), "");
    first.store(1).await;
    assert_eq!(second.ack().await, (early[0], stored(2)));
    // The same number twice is acknowledged twice.
    let twice = [4, 4].map(|number| second.number(number));
    for number in [3, 1, 3, 5] {
        first.store(number).await;
    }
    let mut acks = Vec::new();
    for _ in 0..4 {
        acks.push(second.ack().await);
    }
    acks.sort_by_key(|(id, _)| *id);
    let expected = [(early[1], stored(4)), (early[2], stored(6)), (twice[0], stored(4)), (twice[1], stored(4))];
    assert_eq!(acks, expected);
    second.store(2).await;
    assert_eq!(server.file(), text(6));
}

#[tokio::test]
async fn a_wrong_number_is_refused_with_a_reason_and_changes_nothing() {
    let server = Server::start().await;
    let mut clients = Client::pair(server.address).await;
    count(&mut clients, 1, 10).await;
    let malformed = "expected a client_id and a number";
    let wrong = "the number is not one of this client";
    let far = "the number is too far ahead; the last one that can wait is 1034";
    let number = |role: &str, number: Value| json!({ "client_id": role, "number": number });
    for (data, reason) in [
        (number("client1", 12.into()), wrong),
        (number("client1", 0.into()), wrong),
        (number("client2", 0.into()), wrong),
        (number("client2", 12.into()), wrong),
        (number("client2", 11.into()), wrong),
        (number("client1", 1035.into()), far),
        (number("client1", 9_007_199_254_740_993_u64.into()), far),
        (number("client1", u64::MAX.into()), far),
        (number("client1", (-1).into()), malformed),
        (number("client1", 11.5.into()), malformed),
        (number("client1", "11".into()), malformed),
        (number("client1", "eleven".into()), malformed),
        (number("client1", Value::Null), malformed),
        (number("client1", json!([11])), malformed),
        (number("client3", 11.into()), malformed),
        (json!({ "client_id": 1, "number": 11 }), malformed),
        (json!({ "number": 11 }), malformed),
        (json!({ "client_id": "client1" }), malformed),
        (json!({}), malformed),
        (json!(11), malformed),
        (json!("client1"), malformed),
        (Value::Null, malformed),
    ] {
        assert_eq!(error(&clients[0].ask("number", data.clone()).await), reason, "{data}");
    }
    for event in ["numbers", "Number", "client_assigned", "start_game", "message", ""] {
        let answer = clients[1].ask(event, number_of(11)).await;
        assert_eq!(error(&answer), "unknown event: expected number", "{event}");
    }
    assert_eq!(server.file(), text(10));
    assert_eq!(server.metric("counting_refusals_total{reason=\"malformed\"}"), 14);
    assert_eq!(server.metric("counting_refusals_total{reason=\"wrong_number\"}"), 5);
    assert_eq!(server.metric("counting_refusals_total{reason=\"too_far\"}"), 3);
    count(&mut clients, 11, 20).await;
    // The last one of the window waits.
    clients[1].number(20 + 1024);
    assert!(error(&clients[1].ask("number", number_of(20 + 1026)).await).contains("1044"));
}

#[tokio::test]
async fn further_fields_and_arguments_of_a_number_are_ignored() {
    let server = Server::start().await;
    let (mut client, _) = Client::join(server.address, Value::Null).await;
    let data = json!({ "number": 1, "client_id": "client1", "sent_at": 123, "words": "one" });
    assert_eq!(client.ask("number", data).await, stored(1));
}

#[tokio::test]
async fn a_client_that_is_alone_may_send_what_does_not_need_the_other() {
    let server = Server::after(6).await;
    let (mut client, assigned) = Client::join(server.address, Value::Null).await;
    assert_eq!(assigned["last_number"], 5);
    // As clients in the field do: the last one once more, and on.
    client.store(5).await;
    client.store(7).await;
    let waits = client.number(9);
    client.store(7).await;
    let (mut other, assigned) = Client::join(server.address, Value::Null).await;
    assert_eq!(assigned["last_number"], 6);
    client.event("start_game").await;
    other.event("start_game").await;
    other.store(8).await;
    assert_eq!(client.ack().await, (waits, stored(9)));
}

#[tokio::test]
async fn clients_that_never_look_back_count_on_over_a_reconnect() {
    let server = Server::start().await;
    let mut clients = Client::pair(server.address).await;
    count(&mut clients, 1, 10).await;
    // The connection breaks while 11 is on its way, so its answer is lost.
    clients[0].number(11);
    server.until_health(|health| health["last_number"] == 11).await;
    let [first, mut second] = clients;
    first.drop_connection();
    second.event("stop_game").await;
    let (mut first, assigned) = Client::join(server.address, Value::Null).await;
    assert_eq!(assigned, json!({ "client_id": "client1", "last_number": 11 }));
    for client in [&mut first, &mut second] {
        client.event("start_game").await;
    }
    let mut clients = [first, second];
    count(&mut clients, 12, 16).await;

    // Both connections break, and the second client is back first: it gets the other role, and
    // counts on as client2.
    drop(clients);
    server.until_health(|health| health["client1"] == false && health["client2"] == false).await;
    let (mut second, assigned) = Client::join(server.address, Value::Null).await;
    assert_eq!(assigned, json!({ "client_id": "client1", "last_number": 15 }));
    let (mut first, assigned) = Client::join(server.address, Value::Null).await;
    assert_eq!(assigned, json!({ "client_id": "client2", "last_number": 16 }));
    for client in [&mut second, &mut first] {
        client.event("start_game").await;
    }
    let waits = second.number(18);
    assert_eq!(second.event("client_assigned").await, [json!({ "client_id": "client2", "last_number": 16 })]);
    assert_eq!(first.event("client_assigned").await, [json!({ "client_id": "client1", "last_number": 15 })]);
    first.store(17).await;
    assert_eq!(second.ack().await, (waits, stored(18)));
    let mut clients = [first, second];
    count(&mut clients, 19, 30).await;
    assert_eq!(server.file(), text(30));
}

#[tokio::test]
async fn a_client_that_counts_as_another_that_is_there_is_disconnected() {
    let server = Server::start().await;
    let [mut first, mut second] = Client::pair(server.address).await;
    second.number(2);
    // The server has the number of the second client first.
    second.ask("unknown", Value::Null).await;
    first.number(2);
    let reason = json!({ "reason": "another client is client2" });
    assert_eq!(first.event("disconnect_reason").await, [reason]);
    first.end().await;
    second.event("stop_game").await;
    let (mut first, assigned) = Client::join(server.address, Value::Null).await;
    assert_eq!(assigned["client_id"], "client1");
    first.event("start_game").await;
    first.store(1).await;
    assert_eq!(server.metric("counting_disconnects_total{reason=\"taken\"}"), 1);
}

#[tokio::test]
async fn a_number_that_stays_missing_brings_its_client_back_to_the_right_place() {
    // The waits are shared: on the first server a number is lost, on the second a wrong one comes,
    // and on the third both clients are stuck.
    let [lost, wrong, both] = [Server::start().await, Server::start().await, Server::start().await];
    tokio::join!(
        async {
            let mut clients = Client::pair(lost.address).await;
            count(&mut clients, 1, 4).await;
            // 5 is lost; the client counts on, and so does the other one.
            let later = [7, 9, 11].map(|number| clients[0].number(number));
            clients[1].number(6);
            let [mut first, mut second] = clients;
            assert_missing(&mut first, 5).await;
            second.event("stop_game").await;
            let (mut first, assigned) = Client::join(lost.address, Value::Null).await;
            assert_eq!(assigned, json!({ "client_id": "client1", "last_number": 3 }));
            // It begins with the last stored one. What came before counts.
            first.event("start_game").await;
            first.store(3).await;
            first.store(5).await;
            second.event("start_game").await;
            second.ack().await;
            assert_eq!(later.len(), 3);
            second.store(8).await;
            second.store(10).await;
            lost.until_health(|health| health["last_number"] == 11).await;
            assert_eq!(lost.file(), text(11));
            assert_eq!(lost.metric("counting_disconnects_total{reason=\"missing\"}"), 1);
        },
        async {
            let [mut first, _second] = Client::pair(wrong.address).await;
            error(&first.ask("number", json!("one")).await);
            assert_missing(&mut first, 1).await;
        },
        async {
            let [mut first, mut second] = Client::pair(both.address).await;
            first.number(3);
            second.number(4);
            tokio::join!(assert_missing(&mut first, 1), assert_missing(&mut second, 2));
            let health = both.until_health(|health| health["client2"] == false).await;
            assert_eq!((&health["client1"], &health["last_number"]), (&false.into(), &0.into()));
        },
    );
}

/// The server names the missing number to the client, and disconnects it. The other one may leave
/// before that.
async fn assert_missing(client: &mut Client, number: u64) {
    let event = loop {
        match client.next().await {
            Incoming::Event(event) if event.name == "stop_game" => {}
            Incoming::Event(event) => break event,
            other => panic!("{other:?} instead of an event"),
        }
    };
    let reason = format!("the number {number} is missing, and others came instead");
    assert_eq!((event.name.as_str(), event.data), ("disconnect_reason", vec![json!({ "reason": reason })]));
    assert_eq!(client.end().await, Reason::Disconnected);
}

#[tokio::test]
async fn a_client_is_not_disconnected_while_only_the_other_one_is_behind() {
    let server = Server::start().await;
    let [mut first, second] = Client::pair(server.address).await;
    second.drop_connection();
    first.event("stop_game").await;
    // Up to the end of the window, without the other client.
    let ids: Vec<_> = (1..=1024).step_by(2).map(|number| (number, first.number(number))).collect();
    assert_eq!(first.ack().await, (ids[0].1, stored(1)));
    assert_eq!(
        error(&first.ask("number", number_of(1027)).await).split(';').next(),
        Some("the number is too far ahead")
    );
    let (mut second, assigned) = Client::join(server.address, Value::Null).await;
    assert_eq!(assigned, json!({ "client_id": ROLES[1], "last_number": 0 }));
    first.event("start_game").await;
    second.event("start_game").await;
    let even: Vec<_> = (2..=1024).step_by(2).map(|number| (number, second.number(number))).collect();
    for (number, id) in even {
        assert_eq!(second.ack().await, (id, stored(number)));
    }
    for (number, id) in ids.into_iter().skip(1) {
        assert_eq!(first.ack().await, (id, stored(number)));
    }
    assert_eq!(server.file(), text(1024));
}
