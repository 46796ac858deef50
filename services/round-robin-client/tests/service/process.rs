//! The program: what it sends, what it logs, and how it ends.

use round_robin_core::types::ClientId;
use round_robin_store::Page;
use serde_json::{Value, json};
use testkit::{Launch, Process, eventually, free_port};

use crate::server::{PATIENCE, Server, sqlite};

const PROGRAM: &str = env!("CARGO_BIN_EXE_round-robin-client");

/// Starts the program with a name and a short interval.
fn launch(server: &Server, client_id: &str) -> Launch {
    Launch::new(PROGRAM)
        .env("SERVER_URL", server.url())
        .env("CLIENT_ID", client_id)
        .env("INTERVAL", "20ms")
        .env("LOG_FORMAT", "json")
        .env("ADMIN_LISTEN", format!("127.0.0.1:{}", free_port()))
}

/// The first line of the log with this message.
async fn logged(process: &Process, message: &str) -> Value {
    let end = format!("\"message\":\"{message}\"");
    let line = process.wait_for_line(PATIENCE, message, |line| line.contains(&end)).await;
    serde_json::from_str(&line.text).unwrap()
}

/// The counters of the messages that were served to a process, as its log says.
async fn served(process: &Process) -> Vec<i64> {
    let lines = process.output().await;
    let lines = lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["message"] == "served").map(|line| line["counter"].as_i64().unwrap()).collect()
}

/// The next counter to serve, and the lowest counter that the server does not have.
async fn position(server: &Server, client_id: &str) -> (i64, i64) {
    let client = ClientId::try_from(client_id.to_owned()).unwrap();
    let row = server.store.client(&client).await.unwrap().unwrap().row;
    (row.next, row.missing)
}

/// Waits until so many messages are served.
async fn until_served(server: &Server, client_id: &str, count: i64) {
    eventually(PATIENCE, "served messages", async || {
        let client = ClientId::try_from(client_id.to_owned()).unwrap();
        let status = server.store.client(&client).await.unwrap()?;
        (status.row.next > count).then_some(())
    })
    .await;
}

#[tokio::test]
async fn each_message_is_logged_with_the_replica_that_served_it() {
    let backend = sqlite().await;
    let server = Server::start(&backend, "replica", None).await;
    let process = launch(&server, "ada").env("MESSAGE", "{client_id} sends {counter}").spawn();
    let line = logged(&process, "served").await;
    let fields = ["client_id", "counter", "text", "replica"].map(|field| line[field].clone());
    assert_eq!(fields, [json!("ada"), json!(1), json!("ada sends 1"), json!("replica")]);
    assert!(line["served_at_ms"].is_i64() && line["elapsed_ms"].is_u64(), "{line}");
}

#[tokio::test]
async fn under_load_a_summary_is_logged_every_second() {
    let backend = sqlite().await;
    let server = Server::start(&backend, "replica", None).await;
    let process = launch(&server, "ada").env("INTERVAL", "0").spawn();
    let is_summary = |line: &str| line.contains("served in a second") && !line.contains("\"served\":0,");
    let line = process.wait_for_line(PATIENCE, "a summary", is_summary).await;
    let line: Value = serde_json::from_str(&line.text).unwrap();
    assert_eq!(line["replicas"], format!("replica={}", line["served"]));
    process.terminate();
    assert!(process.wait(PATIENCE).await.success(), "{}", process.tail());
    let (next, missing) = position(&server, "ada").await;
    assert_eq!(next, missing, "everything is served");
}

#[tokio::test]
async fn a_process_that_is_killed_continues_where_it_was_served_last() {
    let backend = sqlite().await;
    let server = Server::start(&backend, "replica", None).await;
    for round in 1..=3 {
        let process = launch(&server, "ada").spawn();
        until_served(&server, "ada", round * 10).await;
        process.kill();
        process.wait(PATIENCE).await;
    }
    let before = position(&server, "ada").await;
    let process = launch(&server, "ada").spawn();
    let line = logged(&process, "connected").await;
    assert!(line["first_missing"].as_i64().unwrap() >= before.1, "{line}");
    until_served(&server, "ada", 40).await;
    process.terminate();
    assert!(process.wait(PATIENCE).await.success(), "{}", process.tail());
    let page = Page { client: ClientId::try_from("ada".to_owned()).unwrap(), after: None, limit: 1000 };
    let messages = server.store.messages(&page).await.unwrap();
    for (message, counter) in messages.iter().zip(1..) {
        assert_eq!((message.counter, message.message.as_str()), (counter, format!("message {counter}").as_str()));
        assert!(message.served.is_some(), "{counter}");
    }
}

#[tokio::test]
async fn what_is_in_flight_is_answered_before_the_process_ends() {
    let backend = sqlite().await;
    let server = Server::start(&backend, "replica", None).await;
    let process = launch(&server, "ada").spawn();
    until_served(&server, "ada", 3).await;
    process.terminate();
    assert!(process.wait(PATIENCE).await.success(), "{}", process.tail());
    let (next, missing) = position(&server, "ada").await;
    assert_eq!(next, missing, "everything is served");
    assert_eq!(served(&process).await, (1..next).collect::<Vec<_>>(), "every answer is logged once and in order");
}

#[tokio::test]
async fn a_process_that_was_taken_over_ends_and_says_so() {
    let backend = sqlite().await;
    let server = Server::start(&backend, "replica", None).await;
    let first = launch(&server, "ada").spawn();
    until_served(&server, "ada", 3).await;
    let second = launch(&server, "ada").spawn();
    let status = first.wait(PATIENCE).await;
    assert_eq!(status.code(), Some(1), "{}", first.tail());
    let line = logged(&first, "the client ends").await;
    let error = "another program has connected with the same client_id, and has taken over";
    assert_eq!((&line["error"], &line["client_id"]), (&json!(error), &json!("ada")));
    let (_, missing) = position(&server, "ada").await;
    until_served(&server, "ada", missing + 3).await;
    assert_eq!(second.exit_status(), None, "the newer one goes on");
}

#[tokio::test]
async fn a_process_is_ready_while_it_is_connected() {
    let backend = sqlite().await;
    let server = Server::start(&backend, "replica", None).await;
    let address = server.address();
    let admin = format!("127.0.0.1:{}", free_port());
    let process = launch(&server, "ada").env("ADMIN_LISTEN", &admin).spawn();
    let is_ready = async |expected: bool| {
        let url = format!("http://{admin}/readyz");
        let is_ready = async || {
            let status = testkit::http_get(&url).await.ok()?.status();
            (status.is_success() == expected).then_some(())
        };
        eventually(PATIENCE, format!("readiness {expected}"), is_ready).await;
    };
    is_ready(true).await;
    server.stop().await;
    is_ready(false).await;
    let _server = Server::start(&backend, "replica", Some(address)).await;
    is_ready(true).await;
    assert_eq!(process.exit_status(), None);
}

#[tokio::test]
async fn a_wrong_setting_is_one_line_that_names_the_variable() {
    for (variable, value) in [
        ("SERVER_URL", "localhost:8002"),
        ("SERVER_URL", "ftp://localhost"),
        ("CLIENT_ID", "a\tb"),
        ("CLIENT_ID", &"x".repeat(65)),
        ("INTERVAL", "soon"),
        ("MESSAGE", &"x".repeat(65_536)),
    ] {
        let process = Launch::new(PROGRAM).env(variable, value).spawn();
        assert_eq!(process.wait(PATIENCE).await.code(), Some(2), "{variable}={value}");
        let lines = process.all_lines().await;
        assert!(lines.len() == 1 && lines[0].text.contains(variable), "{variable}={value}: {}", process.tail());
    }
}
