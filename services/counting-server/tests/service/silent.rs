//! Clients that hold a role and are not there any more. Nothing closes their connections.

use std::time::{Duration, Instant};

use counting_log::FILE;
use counting_server::Config;
use futures_util::future::join_all;
use kit_process::HumanDuration;
use kit_web::http::Limits;
use reqwest::Method;
use serde_json::Value;
use testkit::eventually_ok;

use crate::client::{Client, count};
use crate::disk::Faults;
use crate::raw::Raw;
use crate::server::{SOON, Server, config, text};

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

/// Asks for the acknowledgement of a stored number.
const STORED: &str = r#"427["number",{"client_id":"client1","number":1}]"#;

#[tokio::test]
async fn a_client_that_reads_nothing_cannot_hold_a_role_or_a_connection() {
    let server = Server::after(2).await;
    let (mut holder, mut without_role) = (Raw::narrow(server.address).await, Raw::narrow(server.address).await);
    holder.send("40").await;
    server.until_health(|health| health["client1"] == true).await;
    // Both make the server send until the buffers between them are full.
    let in_vain = r#"40/other,{"role":"client1"}"#;
    tokio::join!(
        holder.flood(STORED),
        without_role.flood(in_vain),
        server.until_health(|health| health["client1"] == false),
    );
    // The server is as quick as before.
    let mut clients = Client::pair(server.address).await;
    count(&mut clients, 3, 6).await;
}

#[tokio::test]
async fn a_server_ends_in_time_whatever_its_clients_do() {
    let folder = testkit::Folder::new("counting");
    std::fs::write(folder.path().join(FILE), text(1)).unwrap();
    // Less than the time after which the listener cuts connections.
    let limits = Limits { drain_timeout: HumanDuration(SOON), ..Limits::default() };
    let server = Server::with(folder.into(), Config { limits, ..config() }, Faults::default()).await;
    server.until_open().await;
    let (silent, _) = Raw::join(server.address).await;
    let mut deaf = Raw::narrow(server.address).await;
    deaf.send("40").await;
    server.until_health(|health| health["client2"] == true).await;
    let (mut waiting, _) = Raw::open(server.address).await;
    waiting.send("40").await;
    // These answer pings.
    for frame in ["41", "40", "6"] {
        let (mut socket, _) = Raw::open(server.address).await;
        socket.send(frame).await;
        tokio::spawn(async move { socket.end().await });
    }
    let polling = server.get("/socket.io/?EIO=4&transport=polling").await.status();
    assert_eq!(polling, 200);
    let watcher = server.get("/events").await;
    for _ in 0..1000 {
        deaf.send(STORED).await;
    }
    let began = Instant::now();
    server.stop().await;
    let elapsed = began.elapsed();
    println!("ended after {elapsed:.1?}");
    assert!(elapsed < Duration::from_secs(1) + BUSY, "{elapsed:?}");
    drop((silent, deaf, waiting, watcher));
}
