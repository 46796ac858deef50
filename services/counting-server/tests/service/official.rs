//! The official client of JavaScript, and those of Python, as clients in the field use them.

use std::path::PathBuf;

use testkit::{Launch, Process, Proxy, eventually_ok};

use crate::server::{SOON, Server, text};

/// The last number of a test. Each client sends every other one, 20 ms apart.
const LAST: u64 = 60;

/// A script in `tests/clients`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Program {
    JavaScript,
    /// It comes back after a break.
    Returning,
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

fn start(script: Program, url: &str, transports: &str, last: u64) -> Process {
    let python = || Launch::new(tools().join("python/bin/python"));
    let (launch, file) = match script {
        Program::JavaScript => (Launch::new("node"), "javascript.js"),
        Program::Returning => (Launch::new("node"), "returning.js"),
        Program::Synchronous => (python(), "synchronous.py"),
        Program::Asynchronous => (python(), "asynchronous.py"),
    };
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(file);
    let launch = launch.name(file).env("NODE_PATH", tools().join("node_modules")).arg(script);
    launch.args([url, transports, &last.to_string()]).spawn()
}

/// The number of an answer, and what follows it.
fn answer(line: &str) -> (u64, &str) {
    let (number, rest) = line.split_once(' ').unwrap();
    (number.parse().unwrap(), rest)
}

/// Lets two clients count on a server of their own.
async fn count(scripts: [Program; 2], transports: &str, last_transport: &str) {
    let server = Server::start().await;
    let clients = scripts.map(|script| start(script, &server.url(), transports, LAST));
    eventually_ok(SOON, format!("{scripts:?} by {transports}"), async || {
        for client in &clients {
            assert_eq!(client.exit_status(), None, "{scripts:?} by {transports}{}", client.tail());
        }
        let answers = clients.iter().flat_map(Process::lines).filter(|line| line.text.starts_with("answer")).count();
        if answers as u64 == LAST { Ok(()) } else { Err(format!("{answers} answers{}", clients[0].tail())) }
    })
    .await;
    assert_eq!(server.file(), text(LAST));
    server.stop().await;
    for (client, script) in clients.iter().zip(scripts) {
        assert_eq!(client.wait(SOON).await.code(), Some(0), "{script:?}{}", client.tail());
        let lines: Vec<_> = client.all_lines().await.into_iter().map(|line| line.text).collect();
        let with = |beginning: &str| lines.iter().filter_map(|line| line.strip_prefix(beginning)).collect::<Vec<_>>();
        let [role] = with("role client")[..] else { panic!("{script:?}{}", client.tail()) };
        let first: u64 = role.split_once(' ').unwrap().1.parse().unwrap();
        assert_eq!(with("start "), ["0"], "one start, without arguments");
        // Python's handlers run in threads of their own, in any order.
        let mut answers: Vec<(u64, &str)> = with("answer ").into_iter().map(answer).collect();
        answers.sort_unstable();
        assert!(answers.iter().map(|(number, _)| *number).eq((first..=LAST).step_by(2)), "{script:?}: {answers:?}");
        for (number, text) in &answers {
            let text = text.replace(' ', "");
            assert!(text.starts_with(&format!("{{\"ok\":true,\"number\":{number}}}")), "{script:?}: {text}");
        }
        let last = answers.last().unwrap();
        assert!(last.1.ends_with(&format!("by {last_transport}")), "{script:?}: {last:?}");
        assert_eq!(with("disconnected ").len(), 1, "{script:?}{}", client.tail());
    }
}

/// Lets clients of all libraries count by these transports.
async fn count_by(transports: &str, last_transport: &str) {
    tokio::join!(
        count([Program::JavaScript, Program::Synchronous], transports, last_transport),
        count([Program::Asynchronous, Program::JavaScript], transports, last_transport),
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

#[tokio::test]
async fn clients_that_never_look_back_count_on_over_broken_connections() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.address).await;
    let url = proxy.url(&server.url());
    // They never end by themselves: if their last number was lost, nothing would show it.
    let start = |transports| start(Program::Returning, &url, transports, u64::MAX);
    let transports = ["websocket", "polling,websocket"];
    let (mut clients, mut restarts) = (transports.map(start), 0);
    for last in [30, 60, 90] {
        eventually_ok(SOON, format!("{last} lines"), async || {
            // Their platform starts them again when they end, because a number of theirs was lost.
            for (client, transports) in clients.iter_mut().zip(transports) {
                if client.exit_status().is_some() {
                    (*client, restarts) = (start(transports), restarts + 1);
                }
            }
            let health = server.json("/health").await;
            if health["last_number"].as_u64() >= Some(last) { Ok(()) } else { Err(health) }
        })
        .await;
        proxy.reset();
    }
    drop(clients);
    server.until_health(|health| health["client1"] == false && health["client2"] == false).await;
    let lines = server.json("/health").await["last_number"].as_u64().unwrap();
    println!("{lines} lines over 2 breaks, {restarts} restarts");
    assert_eq!(server.file(), text(lines));
}
