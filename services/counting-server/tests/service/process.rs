//! The program as a process.

use std::net::SocketAddr;
use std::path::Path;

use counting_log::FILE;
use serde_json::Value;
use testkit::{Folder, Launch, Process, eventually_ok, free_port};

use crate::client::Client;
use crate::server::{SOON, text};

fn launch(folder: &Path) -> (Launch, SocketAddr) {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let launch = Launch::new(env!("CARGO_BIN_EXE_counting-server"))
        .env("DATA_DIR", folder)
        .env("LISTEN", address.to_string())
        .env("ADMIN_LISTEN", format!("127.0.0.1:{}", free_port()))
        .env("LOG_FORMAT", "json");
    (launch, address)
}

/// Starts the program, and waits until its file is open.
async fn start(folder: &Path) -> (Process, SocketAddr) {
    let (launch, address) = launch(folder);
    let process = launch.spawn();
    eventually_ok(SOON, "the server", async || {
        assert_eq!(process.exit_status(), None, "{}", process.tail());
        let response = testkit::http_get(format!("http://{address}/health")).await;
        response.and_then(reqwest::Response::error_for_status).map(drop)
    })
    .await;
    (process, address)
}

/// Asserts that line n is n. The last line may be torn by a kill. Returns the number of whole lines.
fn lines(folder: &Path) -> u64 {
    let contents = std::fs::read_to_string(folder.join(FILE)).unwrap();
    let whole = contents.matches('\n').count() as u64;
    assert!(text(whole + 1).starts_with(&contents), "the file does not count");
    whole
}

#[tokio::test]
async fn line_n_is_n_after_kills_in_the_middle_of_counting() {
    let folder = Folder::new("process");
    let mut acknowledged = 0;
    for kill in 1..=5 {
        let (process, address) = start(folder.path()).await;
        let mut clients = Client::pair_after(address).await;
        let mut next = clients.each_ref().map(|(_, last)| *last);
        assert!(next[0].max(next[1]) >= acknowledged, "{acknowledged} was acknowledged");
        // Both send many numbers ahead. The kill comes at an acknowledgement in their middle.
        for (index, (client, _)) in clients.iter_mut().enumerate() {
            for _ in 0..200 {
                next[index] = if next[index] == 0 { index as u64 + 1 } else { next[index] + 2 };
                client.number(next[index]);
            }
        }
        for _ in 0..20 * kill {
            for (client, _) in &mut clients {
                let (_, answer) = client.ack().await;
                acknowledged = acknowledged.max(answer["number"].as_u64().unwrap());
            }
        }
        process.kill();
        process.wait(SOON).await;
        for (client, _) in &mut clients {
            while let counting_socket_io::Incoming::Ack(ack) = client.next().await {
                acknowledged = acknowledged.max(ack.data[0]["number"].as_u64().unwrap());
            }
        }
        let lines = lines(folder.path());
        assert!(lines >= acknowledged, "{acknowledged} was acknowledged, and there are {lines} lines");
    }
    println!("{} lines after 5 kills, {acknowledged} acknowledged", lines(folder.path()));
}

#[tokio::test]
async fn sigterm_closes_the_connections_and_ends_the_process() {
    let folder = Folder::new("process");
    for first in [1, 3] {
        let (process, address) = start(folder.path()).await;
        let mut clients = Client::pair(address).await;
        crate::client::count(&mut clients, first, first + 1).await;
        process.terminate();
        for mut client in clients {
            client.end().await;
        }
        let status = process.wait(SOON).await;
        assert_eq!(status.code(), Some(0), "{}", process.tail());
        assert_eq!(std::fs::read_to_string(folder.path().join(FILE)).unwrap(), text(first + 1));
    }
}

/// Waits for the end of a process that cannot start, and returns its one line.
async fn refusal(process: &Process) -> String {
    let status = process.wait(SOON).await;
    let lines = process.all_lines().await;
    assert_eq!((status.code(), lines.len()), (Some(2), 1), "{}", process.tail());
    lines[0].text.clone()
}

#[tokio::test]
async fn a_second_process_on_the_folder_is_refused_and_names_the_first() {
    let folder = Folder::new("process");
    let (holder, address) = start(folder.path()).await;
    let second = launch(folder.path()).0.spawn();
    let line = refusal(&second).await;
    assert!(line.starts_with("DATA_DIR"), "{line}");
    for part in [&format!("process {}", holder.id()), &folder.path().display().to_string()] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    // The first one has noticed nothing, and a killed one leaves the folder free.
    let mut clients = Client::pair(address).await;
    crate::client::count(&mut clients, 1, 2).await;
    holder.kill();
    holder.wait(SOON).await;
    start(folder.path()).await;
}

#[tokio::test]
async fn bad_configuration_is_one_line_and_exit_2() {
    let folder = Folder::new("process");
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let below_a_file = file.join("folder").display().to_string();
    let (taken_address, taken) = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        (listener.local_addr().unwrap().to_string(), listener)
    };
    for (variable, value, part) in [
        ("DATA_DIR", below_a_file.as_str(), "Not a directory"),
        ("DATA_DIR", "/proc/nowhere", "/proc/nowhere"),
        ("LISTEN", &taken_address, "in use"),
        ("LISTEN", "5000", "5000"),
        ("ADMIN_LISTEN", &taken_address, "in use"),
        ("CORS_ORIGINS", "example.com", "expected an origin"),
        ("CORS_ORIGINS", "https://a.example,https://b.example/", "expected an origin"),
        ("MAX_CONNECTIONS", "0", "at least 1"),
    ] {
        let process = launch(&folder.path().join("data")).0.env(variable, value).spawn();
        let line = refusal(&process).await;
        assert!(line.contains(variable) && line.contains(part), "{variable}={value}: {line}");
    }
    drop(taken);
}

impl Client {
    /// Connects both clients, and returns the last number of each that is stored.
    async fn pair_after(address: SocketAddr) -> [(Self, u64); 2] {
        let mut clients = Vec::new();
        for _ in 0..2 {
            let (client, assigned) = Self::join(address, Value::Null).await;
            clients.push((client, assigned["last_number"].as_u64().unwrap()));
        }
        for (client, _) in &mut clients {
            client.event("start_game").await;
        }
        clients.try_into().ok().unwrap()
    }
}
