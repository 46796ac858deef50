//! Who gets which role, and when counting starts and stops.

use std::time::Instant;

use counting_socket_io::ConnectError;
use serde_json::{Value, json};
use testkit::eventually_ok;

use crate::client::{Client, ROLES, count};
use crate::raw::Raw;
use crate::server::{SOON, Server};

#[tokio::test]
async fn roles_are_given_in_order_and_counting_starts_with_the_second() {
    let server = Server::start().await;
    let (mut first, assigned) = Client::join(server.address, Value::Null).await;
    assert_eq!(assigned, json!({ "client_id": "client1", "last_number": 0 }));
    let health = server.until_health(|health| health["client1"] == true).await;
    assert_eq!((&health["client2"], &health["counting"]), (&false.into(), &false.into()));

    let (mut second, assigned) = Client::join(server.address, Value::Null).await;
    assert_eq!(assigned, json!({ "client_id": "client2", "last_number": 0 }));
    first.event("start_game").await;
    second.event("start_game").await;
    let health = server.until_health(|health| health["counting"] == true).await;
    assert_eq!((&health["client1"], &health["client2"]), (&true.into(), &true.into()));
    for role in ROLES {
        assert_eq!(server.metric(&format!("counting_role_held{{role=\"{role}\"}}")), 1);
    }
    assert_eq!(server.metric("counting_running"), 1);
}

#[tokio::test]
async fn the_missing_role_goes_to_the_client_that_comes() {
    let server = Server::after(7).await;
    let mut clients = Client::pair(server.address).await;
    for (index, role, last) in [(0, "client1", 7), (1, "client2", 6), (0, "client1", 7)] {
        let [first, second] = clients;
        let (leaves, mut stays) = if index == 0 { (first, second) } else { (second, first) };
        leaves.drop_connection();
        stays.event("stop_game").await;
        let health = server.until_health(|health| health[role] == false).await;
        assert_eq!(health["counting"], false);

        let (mut comes, assigned) = Client::join(server.address, Value::Null).await;
        assert_eq!(assigned, json!({ "client_id": role, "last_number": last }));
        stays.event("start_game").await;
        comes.event("start_game").await;
        clients = if index == 0 { [comes, stays] } else { [stays, comes] };
    }
    count(&mut clients, 8, 11).await;
}

#[tokio::test]
async fn a_client_that_leaves_in_order_gives_its_role_back() {
    let server = Server::start().await;
    let (mut socket, _) = Raw::join(server.address).await;
    socket.send("41").await;
    server.until_health(|health| health["client1"] == false).await;
    // It may come back by the same transport.
    socket.send("40").await;
    assert!(socket.until("42[\"client_assigned\"").await.contains("client1"));
    // The end of Engine.IO.
    socket.send("1").await;
    server.until_health(|health| health["client1"] == false).await;
}

#[tokio::test]
async fn a_client_gets_the_role_that_it_asks_for_if_it_is_free() {
    let server = Server::start().await;
    for (asked, given) in [("client2", "client2"), ("client2", "client1")] {
        let (client, assigned) = Client::join(server.address, json!({ "role": asked })).await;
        assert_eq!(assigned["client_id"], given);
        // It stays until the end of the test.
        std::mem::forget(client);
    }
}

#[tokio::test]
async fn an_unknown_role_is_refused_with_a_reason() {
    let server = Server::start().await;
    for role in ["client3", "", "Client1", "observer"] {
        let error = Client::connect(server.address, json!({ "role": role })).await.err();
        assert_eq!(error, Some(ConnectError::Refused("role: expected client1 or client2".to_owned())), "{role}");
    }
    for auth in [json!({}), json!({ "role": null, "token": "x" })] {
        let (client, assigned) = Client::join(server.address, auth).await;
        assert_eq!(assigned["client_id"], "client1");
        client.drop_connection();
        server.until_health(|health| health["client1"] == false).await;
    }
}

#[tokio::test]
async fn events_are_the_frames_that_clients_in_the_field_know() {
    let server = Server::after(3).await;
    let (mut first, assigned) = Raw::join(server.address).await;
    assert_eq!(assigned, r#"42["client_assigned",{"client_id":"client1","last_number":3}]"#);
    let (second, assigned) = Raw::join(server.address).await;
    assert_eq!(assigned, r#"42["client_assigned",{"client_id":"client2","last_number":2}]"#);
    assert_eq!(first.until("42").await, r#"42["start_game"]"#, "without arguments");
    drop(second);
    assert_eq!(first.until("42").await, r#"42["stop_game"]"#, "without arguments");
    // Numbers with and without the wish for an acknowledgement.
    first.send(r#"42["number",{"client_id":"client1","number":3}]"#).await;
    first.send(r#"420["number",{"client_id":"client1","number":1}]"#).await;
    assert_eq!(first.until("4").await, r#"430[{"ok":true,"number":1}]"#);
}

#[tokio::test]
async fn a_third_client_is_refused_once_both_holders_have_answered() {
    let server = Server::start().await;
    let mut clients = Client::pair(server.address).await;
    let began = Instant::now();
    let refusals = [Value::Null, json!({ "role": "client2" })].map(|auth| Client::connect(server.address, auth));
    for refusal in futures_util::future::join_all(refusals).await {
        let reason = "both roles are taken, and both holders answer".to_owned();
        assert_eq!(refusal.err(), Some(ConnectError::Refused(reason)));
    }
    println!("refused after {:.1?}", began.elapsed());
    // The holders have noticed nothing.
    count(&mut clients, 1, 4).await;
    assert_eq!(server.metric("counting_refusals_total{reason=\"taken\"}"), 2);
    let snapshot = server.until_snapshot(|snapshot| snapshot["waiting"] == 0).await;
    assert!(snapshot["happenings"].as_array().unwrap().iter().any(|it| it["kind"] == "refused"), "{snapshot}");
}

#[tokio::test]
async fn a_client_that_waits_gets_the_role_of_one_that_leaves() {
    let server = Server::start().await;
    let [first, mut second] = Client::pair(server.address).await;
    let comes = tokio::spawn(Client::join(server.address, Value::Null));
    let waits = async || {
        let snapshot = server.until_snapshot(|_| true).await;
        if snapshot["waiting"] == 1 { Ok(()) } else { Err(snapshot.to_string()) }
    };
    eventually_ok(SOON, "a client that waits", waits).await;
    first.drop_connection();
    let (mut third, assigned) = comes.await.unwrap();
    assert_eq!(assigned["client_id"], "client1");
    second.event("stop_game").await;
    for client in [&mut second, &mut third] {
        client.event("start_game").await;
    }
}
