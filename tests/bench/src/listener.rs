//! The listener: WebSockets under load at a drain, and the memory of idle ones.

use std::time::{Duration, Instant};

use clap::Args;
use futures_util::{SinkExt, StreamExt, future};
use testkit::{Process, free_port};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use crate::report::{Report, Target};
use crate::stats::float;
use crate::{http, process, programs};

/// How many sockets to open.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Sockets that send all the time, until the process drains.
    #[arg(long, default_value_t = 1000)]
    busy: u32,
    /// Sockets that only stay open.
    #[arg(long, default_value_t = 5000)]
    idle: u32,
    /// How long the busy sockets send before the process drains.
    #[arg(long, default_value = "3s", value_parser = humantime::parse_duration)]
    load: Duration,
}

/// Time limit for a process to become ready, and to end.
const DEADLINE: Duration = Duration::from_secs(20);

const METHOD: &str = "\
The example echo of kit-web, a process with one WebSocket that returns each message. Busy sockets each send the
next message when the last one is back; then the process gets SIGTERM. Resident memory of idle sockets: after all
are open and have echoed one message, less that of the process at rest.";

type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// How a socket ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// By a close frame with this code.
    Closed(u16),
    /// Without a close frame.
    Cut,
}

/// A running echo process.
struct Echo {
    process: Process,
    port: u16,
}

/// Runs the benchmark.
pub(crate) async fn run(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    report.section("listener", format!("{}\n{METHOD}", process::machine()));
    drain(options, report).await?;
    idle(options.idle, report).await
}

async fn drain(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let echo = Echo::start(options.busy).await?;
    let (drained, is_drained) = watch::channel(false);
    let mut clients = Vec::new();
    for _ in 0..options.busy {
        clients.push(tokio::spawn(send_until_closed(echo.open().await?, is_drained.clone())));
    }
    tokio::time::sleep(options.load).await;
    let began = Instant::now();
    echo.process.terminate();
    drained.send_replace(true);
    let status = echo.process.wait(DEADLINE).await;
    let took = began.elapsed();
    let clients = future::join_all(clients).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    let count = |wanted: fn(End) -> bool| float(clients.iter().filter(|(_, end)| wanted(*end)).count() as u64);
    let all = float(u64::from(options.busy));
    let echoes: u64 = clients.iter().map(|(echoes, _)| echoes).sum();
    report.number("busy sockets", "", all, Target::None);
    report.number("messages returned before the drain", "/s", float(echoes) / options.load.as_secs_f64(), Target::None);
    report.number("closed by a frame with 1012", "", count(|end| end == End::Closed(1012)), Target::AtLeast(all));
    report.number("cut without a close frame", "", count(|end| end == End::Cut), Target::AtMost(0.0));
    report.number("from SIGTERM to the exit", "s", took.as_secs_f64(), Target::AtMost(20.0));
    report.number("exit code", "", f64::from(status.code().unwrap_or(-1)), Target::AtMost(0.0));
    Ok(())
}

async fn idle(sockets: u32, report: &mut Report) -> anyhow::Result<()> {
    let echo = Echo::start(sockets).await?;
    let before = process::memory(echo.process.id())?.resident;
    let mut clients = Vec::new();
    for _ in 0..sockets {
        let mut client = echo.open().await?;
        client.send(Message::text("hello")).await?;
        anyhow::ensure!(client.next().await.transpose()? == Some(Message::text("hello")), "no echo");
        clients.push(client);
    }
    let after = process::memory(echo.process.id())?.resident;
    report.number("idle sockets", "", f64::from(sockets), Target::None);
    report.number("resident memory at rest", "MiB", before, Target::None);
    report.number("resident memory with the idle sockets", "MiB", after, Target::None);
    report.number("… for each socket", "bytes", (after - before) * 1024.0 * 1024.0 / f64::from(sockets), Target::None);
    Ok(())
}

impl Echo {
    async fn start(sockets: u32) -> anyhow::Result<Self> {
        let started = programs::launch("examples/echo")?;
        let port = free_port();
        let process = started
            .launch
            .env("LISTEN", format!("127.0.0.1:{port}"))
            .env("MAX_CONNECTIONS", (sockets + 10).to_string())
            .spawn();
        http::ready(started.admin, DEADLINE).await?;
        Ok(Self { process, port })
    }

    async fn open(&self) -> anyhow::Result<Client> {
        // The buffers of the client are not measured, and its defaults are large.
        let config = WebSocketConfig::default().read_buffer_size(1024).write_buffer_size(1024);
        let url = format!("ws://127.0.0.1:{}/", self.port);
        Ok(connect_async_with_config(url, Some(config), true).await?.0)
    }
}

/// Sends and receives until the socket ends. Returns the number of messages received
/// before the drain, and how the socket ended.
async fn send_until_closed(mut client: Client, is_drained: watch::Receiver<bool>) -> (u64, End) {
    let mut echoes = 0;
    loop {
        // After its close frame, the process reads nothing; what it has sent is still read.
        let _ = client.send(Message::text("echo")).await;
        match client.next().await {
            Some(Ok(Message::Text(_))) if !*is_drained.borrow() => echoes += 1,
            Some(Ok(Message::Close(frame))) => {
                // Answers the close frame, and waits for the end of the connection.
                while let Some(Ok(_)) = client.next().await {}
                return (echoes, End::Closed(frame.map_or(1005, |frame| frame.code.into())));
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return (echoes, End::Cut),
        }
    }
}
