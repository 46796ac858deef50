//! The official client of JavaScript, and those of Python, as clients in the field use them.

use std::path::PathBuf;

use testkit::{Launch, Process, eventually_ok};

use crate::server::{SOON, Server, text};

/// The last number of a test. Each client sends every other one, 20 ms apart.
const LAST: u64 = 60;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Library {
    JavaScript,
    Synchronous,
    Asynchronous,
}

/// The packages that `ci/install-socket-io` installs.
fn tools() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let target = program.ancestors().nth(3).unwrap();
    let tools = target.join("tools/socket-io");
    assert!(tools.is_dir(), "{} is missing: run ci/install-socket-io", tools.display());
    tools
}

fn start(library: Library, server: &Server, transports: &str) -> Process {
    let clients = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let launch = match library {
        Library::JavaScript => Launch::new("node").arg(clients.join("javascript.js")),
        Library::Synchronous => Launch::new(tools().join("python/bin/python")).arg(clients.join("synchronous.py")),
        Library::Asynchronous => Launch::new(tools().join("python/bin/python")).arg(clients.join("asynchronous.py")),
    };
    let launch = launch.name(format!("{library:?}")).env("NODE_PATH", tools().join("node_modules"));
    launch.args([&format!("http://{}", server.address), transports, &LAST.to_string()]).spawn()
}

/// Lets two clients count on a server of their own.
async fn count(libraries: [Library; 2], transports: &str, last_transport: &str) {
    let server = Server::start().await;
    let clients = libraries.map(|library| start(library, &server, transports));
    eventually_ok(SOON, format!("{libraries:?} by {transports}"), async || {
        for client in &clients {
            assert_eq!(client.exit_status(), None, "{libraries:?} by {transports}{}", client.tail());
        }
        let answers = clients.iter().flat_map(Process::lines).filter(|line| line.text.starts_with("answer")).count();
        if answers as u64 == LAST { Ok(()) } else { Err(format!("{answers} answers{}", clients[0].tail())) }
    })
    .await;
    assert_eq!(server.file(), text(LAST));
    server.stop().await;
    for (client, library) in clients.iter().zip(libraries) {
        assert_eq!(client.wait(SOON).await.code(), Some(0), "{library:?}{}", client.tail());
        let lines: Vec<_> = client.all_lines().await.into_iter().map(|line| line.text).collect();
        let first = lines[0].strip_prefix("role client").and_then(|rest| rest.split_once(' ')).unwrap().1;
        let first: u64 = first.parse().unwrap();
        assert_eq!(lines[1], "start 0", "without arguments");
        let expected: Vec<_> = (first..=LAST).step_by(2).map(|number| format!("answer {number} ")).collect();
        let answers: Vec<_> = lines.iter().filter(|line| line.starts_with("answer")).collect();
        assert_eq!(answers.len(), expected.len(), "{library:?}{}", client.tail());
        for (answer, expected) in answers.iter().zip(&expected) {
            assert!(answer.starts_with(expected) && answer.contains("true"), "{library:?}: {answer}");
        }
        let last = answers.last().unwrap();
        assert!(last.ends_with(&format!("by {last_transport}")), "{library:?}: {last}");
        assert!(lines.last().unwrap().starts_with("disconnected"), "{library:?}{}", client.tail());
    }
}

/// Lets clients of all libraries count by these transports.
async fn count_by(transports: &str, last_transport: &str) {
    tokio::join!(
        count([Library::JavaScript, Library::Synchronous], transports, last_transport),
        count([Library::Asynchronous, Library::JavaScript], transports, last_transport),
    );
}

#[tokio::test]
async fn official_clients_count_by_polling() {
    count_by("polling", "polling").await;
}

#[tokio::test]
async fn official_clients_count_by_websocket() {
    count_by("websocket", "websocket").await;
}

#[tokio::test]
async fn official_clients_begin_by_polling_and_count_by_websocket() {
    count_by("polling,websocket", "websocket").await;
}
