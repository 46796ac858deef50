//! Clients that hold a role and are not there any more. Nothing closes their connections.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::Value;
use testkit::eventually_ok;

use crate::client::{Client, count};
use crate::raw::Raw;
use crate::server::{SOON, Server};

/// A busy machine may take so much longer than the server.
const BUSY: Duration = Duration::from_secs(3);

#[tokio::test]
async fn a_third_client_gets_the_role_of_a_silent_holder() {
    let server = Server::after(5).await;
    // It answers no ping, because nobody polls it.
    let (silent, _) = Raw::join(server.address).await;
    let (mut second, _) = Client::join(server.address, Value::Null).await;
    second.event("start_game").await;
    let began = Instant::now();
    let (mut third, assigned) = Client::join(server.address, Value::Null).await;
    let elapsed = began.elapsed();
    println!("the role of a silent holder was given on after {elapsed:.1?}");
    assert_eq!(assigned["client_id"], "client1");
    assert!(elapsed < Duration::from_secs(2) + BUSY, "{elapsed:?}");
    second.event("stop_game").await;
    for client in [&mut second, &mut third] {
        client.event("start_game").await;
    }
    count(&mut [third, second], 6, 9).await;
    assert_eq!(server.metric("counting_disconnects_total{reason=\"silent\"}"), 1);
    drop(silent);
}

/// A holder by polling that does not poll any more.
async fn join_by_polling(server: &Server) {
    let path = "/socket.io/?EIO=4&transport=polling";
    let open = server.get(path).await.text().await.unwrap();
    let open: Value = serde_json::from_str(open.strip_prefix('0').unwrap()).unwrap();
    let path = format!("{path}&sid={}", open["sid"].as_str().unwrap());
    let answer = server.request(Method::POST, &path).body("40").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    eventually_ok(SOON, "a role", async || {
        let packets = server.get(&path).await.text().await.unwrap();
        if packets.contains("client_assigned") { Ok(()) } else { Err(packets) }
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_is_half_open_is_noticed_without_anybody_coming() {
    // The waits are shared.
    let (by_socket, by_polling) = tokio::join!(Server::start(), Server::start());
    let (silent, _) = Raw::join(by_socket.address).await;
    join_by_polling(&by_polling).await;
    let began = Instant::now();
    let noticed = [&by_socket, &by_polling].map(async |server| {
        assert_eq!(server.json("/health").await["client1"], true);
        server.until_health(|health| health["client1"] == false).await;
        let elapsed = began.elapsed();
        assert!(elapsed < Duration::from_secs(10), "{elapsed:?}");
        elapsed
    });
    println!("half-open connections were noticed after {:.1?}", join_all(noticed).await);
    drop(silent);
    for server in [by_socket, by_polling] {
        server.stop().await;
    }
}

#[tokio::test]
async fn a_client_that_reads_nothing_cannot_hold_a_role() {
    let server = Server::after(2).await;
    let mut deaf = Raw::narrow(server.address).await;
    deaf.send("40").await;
    server.until_health(|health| health["client1"] == true).await;
    // It asks for acknowledgements until the buffers between it and the server are full. Then the
    // server gives up, which the client notices at the latest when it cannot send any more.
    let number = r#"427["number",{"client_id":"client1","number":1}]"#;
    let asks = async { while deaf.send_while_taken(number, SOON).await {} };
    let is_free = server.until_health(|health| health["client1"] == false);
    tokio::select! {
        () = asks => { server.until_health(|health| health["client1"] == false).await; }
        _ = is_free => {}
    }
    // The server is as quick as before.
    let mut clients = Client::pair(server.address).await;
    count(&mut clients, 3, 6).await;
    drop(deaf);
    server.stop().await;
}
