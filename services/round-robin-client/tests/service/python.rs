//! A client in Python, made from `docs/round-robin.md` alone.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use round_robin_core::types::ClientId;
use round_robin_store::Page;
use testkit::{Launch, Process, Proxy};

use crate::server::{PATIENCE, Server, sqlite};

const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/client.py");

/// A Python that has the package websockets: that of Debian, or the one in the PATH.
///
/// # Panics
/// If there is none.
fn python() -> &'static str {
    let has_websockets = |python: &&str| {
        let check = Command::new(python).args(["-c", "import websockets"]).output();
        check.is_ok_and(|output| output.status.success())
    };
    let found = ["/usr/bin/python3", "python3"].into_iter().find(has_websockets);
    found.expect("Python with websockets is missing: install the package python3-websockets")
}

fn launch(address: impl std::fmt::Display, count: u32) -> Process {
    let python = python();
    let program = if Path::new(python).is_absolute() { Launch::new(python) } else { Launch::new("python3") };
    program.arg(CLIENT).arg(format!("ws://{address}/ws")).arg("ada").arg(count.to_string()).spawn()
}

/// The counters of the answers that a client printed.
async fn answers(process: &Process) -> Vec<i64> {
    let lines = process.output().await;
    lines.iter().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect()
}

#[tokio::test]
async fn a_client_in_python_is_exact_through_cuts_and_restarts() {
    let backend = sqlite().await;
    let server = Server::start(&backend, "replica", None).await;
    let proxy = Proxy::start(server.address()).await;

    // Cut again and again while it sends.
    let process = launch(proxy.address(), 3000);
    let mut lines = 0;
    for _ in 0..10 {
        process.wait_for_line_from(lines, PATIENCE, "the next answer", |_| true).await;
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..20))).await;
        lines = process.line_count();
        proxy.reset();
    }
    assert!(process.wait(PATIENCE).await.success(), "{}", process.tail());
    assert_eq!(answers(&process).await, (1..=3000).collect::<Vec<_>>());

    // Killed while it sends. The next run has no state.
    let process = launch(proxy.address(), 100_000);
    process.wait_for_line(PATIENCE, "an answer", |_| true).await;
    process.kill();
    process.wait(PATIENCE).await;
    let process = launch(proxy.address(), 500);
    assert!(process.wait(PATIENCE).await.success(), "{}", process.tail());
    let last = *answers(&process).await.last().unwrap();

    let mut messages = Vec::new();
    let client = ClientId::try_from("ada".to_owned()).unwrap();
    while let page @ [.., _] = &server.store.messages(&next_page(&client, messages.len())).await.unwrap()[..] {
        messages.extend(page.to_vec());
    }
    for (message, counter) in messages.iter().zip(1..) {
        assert_eq!((message.counter, message.message.as_str()), (counter, format!("message {counter}").as_str()));
        assert!(message.served.is_some(), "{counter} is served");
    }
    assert_eq!(messages.last().unwrap().counter, last);
}

fn next_page(client: &ClientId, read: usize) -> Page {
    Page { client: client.clone(), after: i64::try_from(read).ok(), limit: 1000 }
}

#[tokio::test]
async fn a_client_in_python_ends_when_another_one_takes_over() {
    let backend = sqlite().await;
    let server = Server::start(&backend, "replica", None).await;
    let first = launch(server.address(), 1_000_000);
    first.wait_for_line(PATIENCE, "an answer", |_| true).await;
    let second = launch(server.address(), 10);
    assert_eq!(first.wait(PATIENCE).await.code(), Some(1));
    assert!(first.tail().contains("4001"), "{}", first.tail());
    assert!(second.wait(PATIENCE).await.success(), "{}", second.tail());
}
