//! The program as a process.

use serde_json::{Value, json};
use testkit::{Folder, Launch, Process, eventually, free_port};

use crate::server::SOON;
use crate::socket::client::{Client, counters};

fn launch(folder: &Folder, name: &str) -> (Launch, u16) {
    let port = free_port();
    let launch = Launch::new(env!("CARGO_BIN_EXE_round-robin-server"))
        .env("DATABASE_URL", format!("sqlite://{}", folder.path().join("database").display()))
        .env("LISTEN", format!("127.0.0.1:{port}"))
        .env("ADMIN_LISTEN", format!("127.0.0.1:{}", free_port()))
        .env("REPLICA_NAME", name)
        .env("QUANTUM", "100ms")
        .env("LOG_FORMAT", "json");
    (launch, port)
}

/// Sends a message until it is served.
async fn send(process: &Process, port: u16, counter: i64) -> Value {
    let message = json!({ "client_id": "a", "counter": counter, "message": "hello" });
    eventually(SOON, "an answer", async || {
        assert_eq!(process.exit_status(), None, "{}", process.tail());
        let request = testkit::http_client().post(format!("http://127.0.0.1:{port}/messages")).json(&message);
        request.send().await.ok()?.error_for_status().ok()?.json().await.ok()
    })
    .await
}

#[tokio::test]
async fn a_replica_that_ends_in_order_or_is_killed_is_replaced_by_the_next() {
    let folder = Folder::new("process");
    for (counter, name) in (1..).zip(["first", "second", "third"]) {
        let (launch, port) = launch(&folder, name);
        let process = launch.spawn();
        assert_eq!(send(&process, port, counter).await["replica"], name);
        let address = format!("127.0.0.1:{port}").parse().unwrap();
        let hello = json!({ "client_id": "a", "last_served": -1 });
        let (mut client, answer) = Client::hello(address, hello).await;
        assert_eq!((&answer["type"], &answer["from"]), (&"resumed".into(), &1.into()), "{answer}");
        let frames = client.until("served", counter).await;
        assert_eq!(counters(&frames, "served"), (1..=counter).collect::<Vec<_>>());
        if counter % 2 == 1 {
            process.terminate();
            assert_eq!(client.next().await.unwrap()["type"], "goaway");
            assert_eq!(client.end().await.0, 1012);
            drop(client);
            assert_eq!(process.wait(SOON).await.code(), Some(0), "{}", process.tail());
        } else {
            process.kill();
            process.wait(SOON).await;
        }
    }
}

#[tokio::test]
async fn bad_configuration_is_one_line_and_exit_2() {
    let folder = Folder::new("process");
    for (variable, value) in [
        ("DATABASE_URL", "postgres://localhost/hush"),
        ("LISTEN", "8002"),
        ("QUANTUM", "0s"),
        ("QUANTUM", "1h"),
        ("QUANTUM", "fast"),
        ("REPLICA_NAME", "a\nb"),
        ("RETENTION", "7"),
        ("MAX_WAITING_REQUESTS", "0"),
    ] {
        let process = launch(&folder, "bad").0.env(variable, value).spawn();
        let status = process.wait(SOON).await;
        let lines = process.all_lines().await;
        assert_eq!((status.code(), lines.len()), (Some(2), 1), "{variable}={value}: {}", process.tail());
        assert!(lines[0].text.starts_with(variable) && !lines[0].text.contains("hush"), "{}", lines[0].text);
    }
}
