//! A low limit of file descriptors.

use std::time::Duration;

use testkit::{Folder, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::running::{PATIENCE, System};

/// The soft limit, which is not enough for the stores.
const SOFT: u32 = 40;
/// The hard limit: fewer than the clients below would need, and hardly more than the stores do.
const HARD: u32 = 104;
const CLIENTS: usize = 100;
const REQUESTS: usize = 5;

/// Sends requests over one connection. Returns the status of each.
async fn visits(address: &str) -> std::io::Result<Vec<u16>> {
    let mut stream = TcpStream::connect(address).await?;
    let mut statuses = Vec::new();
    for request in 1..=REQUESTS {
        let connection = if request == REQUESTS { "close" } else { "keep-alive" };
        let head =
            format!("POST /api/visits HTTP/1.1\r\nHost: x\r\nConnection: {connection}\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        let mut response = Vec::new();
        while !response.ends_with(b"}") {
            if stream.read_buf(&mut response).await? == 0 {
                break;
            }
        }
        let status = response.get(9..12).and_then(|status| std::str::from_utf8(status).ok());
        statuses.push(status.and_then(|status| status.parse().ok()).unwrap_or_default());
    }
    Ok(statuses)
}

#[tokio::test]
async fn clients_wait_rather_than_take_the_descriptors_of_the_stores() {
    let data = Folder::new("worker-system");
    let system = System::start_with(data.path(), |launch| launch.descriptors(SOFT, HARD)).await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", system.process.id())).unwrap();
    let limit = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let raised = [HARD, HARD].map(|limit| limit.to_string());
    assert_eq!(limit.split_whitespace().take(2).collect::<Vec<_>>(), raised, "the soft limit is the hard one");

    system.add(20).await;
    let address = system.visits.trim_start_matches("http://").to_owned();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let address = address.clone();
            tokio::spawn(async move { visits(&address).await })
        })
        .collect();
    for client in clients {
        let statuses = tokio::time::timeout(PATIENCE, client).await.unwrap().unwrap().unwrap();
        assert_eq!(statuses, [200; REQUESTS]);
    }

    // Connections that do nothing take all places, but not those of the probes and the workers.
    let mut idle = Vec::new();
    for _ in 0..CLIENTS {
        let connect = TcpStream::connect(&address);
        idle.extend(tokio::time::timeout(Duration::from_secs(1), connect).await.ok());
    }
    let ready = async || testkit::http_get(format!("{}/readyz", system.admin)).await.ok()?.error_for_status().ok();
    eventually(PATIENCE, "the process is ready", ready).await;
    drop(idle);
    system.settled(20, 3).await;

    system.process.terminate();
    assert!(system.process.wait(PATIENCE).await.success());
    let lines = system.process.all_lines().await;
    let warnings: Vec<&str> =
        lines.iter().map(|line| line.text.as_str()).filter(|line| line.contains("\"WARN\"")).collect();
    assert!(warnings.iter().all(|line| line.contains("connections wait")), "{warnings:#?}");
    assert!((1..=10).contains(&warnings.len()), "each state is logged once, not each event: {warnings:#?}");
}
