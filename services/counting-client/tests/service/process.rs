//! The program: what it logs, and how it ends.

use serde_json::Value;
use testkit::{Launch, eventually, free_port};

use crate::server::{Kind, PATIENCE, Server, client, clients, end, logged};

const PROGRAM: &str = env!("CARGO_BIN_EXE_counting-client");

#[tokio::test]
async fn each_number_is_logged_once_it_is_acknowledged() {
    let server = Server::start(Kind::JavaScript).await;
    let clients = clients([&server.url(); 2], "10ms", 20);
    end(&clients).await;
    let mut numbers = Vec::new();
    for client in &clients {
        for line in client.output().await {
            let line: Value = serde_json::from_str(&line).unwrap();
            if line["message"] == "acknowledged" {
                let number = line["number"].as_u64().unwrap();
                assert_eq!(line["client_id"], if number % 2 == 1 { "client1" } else { "client2" });
                numbers.push(number);
            }
        }
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=20).collect::<Vec<_>>());
}

#[tokio::test]
async fn under_load_a_summary_is_logged_every_second() {
    let server = Server::start(Kind::JavaScript).await;
    let clients = [client(&server.url()).spawn(), client(&server.url()).spawn()];
    for client in &clients {
        let is_summary =
            |line: &str| line.contains("acknowledged in a second") && !line.contains("\"acknowledged\":0,");
        client.wait_for_line(PATIENCE, "a summary", is_summary).await;
    }
}

#[tokio::test]
async fn a_process_that_is_asked_to_end_takes_leave() {
    for kind in Kind::ALL {
        let server = Server::start(kind).await;
        let clients = [client(&server.url()).spawn(), client(&server.url()).spawn()];
        server.until_stored(100).await;
        for client in &clients {
            client.terminate();
        }
        end(&clients).await;
        for role in ["client1", "client2"] {
            let reason = if kind == Kind::JavaScript { "client namespace disconnect" } else { "client disconnect" };
            let left = format!("{role} disconnected: {reason}");
            server.process().wait_for_line(PATIENCE, &left, |line| line == left).await;
        }
        for client in &clients {
            let lines = client.output().await;
            let last: Value = serde_json::from_str(lines.last().unwrap()).unwrap();
            let acknowledged = last["number"].as_u64().unwrap();
            assert!(server.numbers().contains(&acknowledged), "{last}");
        }
    }
}

#[tokio::test]
async fn a_process_ends_without_a_server_too() {
    let process = client(&format!("http://127.0.0.1:{}", free_port())).spawn();
    logged(&process, 0, &["not connected", "cannot connect"]).await;
    process.terminate();
    end(&[process]).await;
}

#[tokio::test]
async fn a_process_is_ready_while_it_has_a_role() {
    let mut server = Server::start(Kind::JavaScript).await;
    let admin = format!("127.0.0.1:{}", free_port());
    let process = client(&server.url()).env("ADMIN_LISTEN", &admin).spawn();
    let is_ready = async |expected: bool| {
        let url = format!("http://{admin}/readyz");
        let is_ready = async || {
            let status = testkit::http_get(&url).await.ok()?.status();
            (status.is_success() == expected).then_some(())
        };
        eventually(PATIENCE, format!("readiness {expected}"), is_ready).await;
    };
    is_ready(true).await;
    server.kill().await;
    is_ready(false).await;
    server.restart().await;
    is_ready(true).await;
    assert_eq!(process.exit_status(), None);
}

#[tokio::test]
async fn a_wrong_setting_is_one_line_that_names_the_variable() {
    for (variable, value) in [
        ("SERVER_URL", "localhost:5000"),
        ("SERVER_URL", "ftp://localhost"),
        ("INTERVAL", "soon"),
        ("UNTIL", "0"),
        ("ROLE", "client3"),
    ] {
        let process = Launch::new(PROGRAM).env(variable, value).spawn();
        assert_eq!(process.wait(PATIENCE).await.code(), Some(2), "{variable}={value}");
        let lines = process.all_lines().await;
        assert!(lines.len() == 1 && lines[0].text.contains(variable), "{variable}={value}: {}", process.tail());
    }
}
