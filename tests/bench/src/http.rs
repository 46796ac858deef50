//! Waits for readiness.

use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior};

/// Interval at which readiness is requested, which limits the precision of start times.
pub(crate) const POLL: Duration = Duration::from_millis(5);

/// Waits until `/readyz` of the admin listener on `port` answers 200.
pub(crate) async fn ready(port: u16, deadline: Duration) -> anyhow::Result<()> {
    let end = Instant::now() + deadline;
    let mut polls = tokio::time::interval(POLL);
    polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        polls.tick().await;
        if let Ok(line) = tokio::time::timeout_at(end, status_line(port)).await.context("not ready in time")?
            && line.starts_with(b"HTTP/1.1 200")
        {
            return Ok(());
        }
    }
}

async fn status_line(port: u16) -> std::io::Result<[u8; 12]> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut line = [0; 12];
    stream.read_exact(&mut line).await?;
    Ok(line)
}
