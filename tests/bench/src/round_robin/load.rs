//! Clients that keep messages in flight on WebSockets.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures_util::{FutureExt, SinkExt, StreamExt};
use round_robin_core::types::ClientId;
use round_robin_protocol::{ClientFrame, ServerFrame};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// Text of all messages, on every side.
pub(super) const TEXT: &str = "what a client says to the servers";

/// Number of answers after which a client acknowledges them.
const ACKNOWLEDGED: i64 = 500;

/// Time limit for the last answers.
const PATIENCE: Duration = Duration::from_mins(1);

/// Result of a load.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    /// Number of answers within the time of the load.
    pub(super) answers: u64,
    /// From sending a message to its answer.
    pub(super) times: Vec<Duration>,
}

/// Messages that a client sends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    /// Number of clients at each address.
    pub(super) clients: usize,
    /// Number of messages that each client has in flight.
    pub(super) window: usize,
    pub(super) duration: Duration,
}

impl Load {
    /// Loads the servers at all `addresses`, and waits until every message is answered.
    pub(super) async fn run(self, addresses: &[SocketAddr]) -> anyhow::Result<Loaded> {
        let mut clients = JoinSet::new();
        for (replica, address) in addresses.iter().enumerate() {
            for number in 0..self.clients {
                let mut client = Client::open(&format!("load-{replica}-{number}"), *address).await?;
                clients.spawn(async move { client.load(self.window, self.duration).await });
            }
        }
        let mut all = Loaded::default();
        let ending = async {
            while let Some(client) = clients.join_next().await {
                let loaded = client??;
                all.answers += loaded.answers;
                all.times.extend(loaded.times);
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(self.duration + PATIENCE, ending).await.context("the last answers")??;
        Ok(all)
    }
}

/// A client on a WebSocket.
pub(super) struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Client {
    pub(super) async fn open(name: &str, address: SocketAddr) -> anyhow::Result<Self> {
        let (socket, _) = connect_async(format!("ws://{address}/ws")).await?;
        let mut client = Self { socket };
        let client_id = ClientId::try_from(name.to_owned())?;
        client.write(&ClientFrame::Hello { client_id, epoch: None, last_served: None }).await?;
        client.socket.flush().await?;
        match client.read().await? {
            ServerFrame::Resumed(_) => Ok(client),
            other => bail!("{other:?} in place of a greeting"),
        }
    }

    /// Sends messages from counter 1 on, and returns when all are stored.
    pub(super) async fn store(&mut self, count: i64, window: i64) -> anyhow::Result<()> {
        let (mut next, mut stored) = (1, 0);
        while stored < count {
            while next <= count && next - stored <= window {
                self.write(&ClientFrame::Message { counter: next, message: TEXT.to_owned() }).await?;
                next += 1;
            }
            self.socket.flush().await?;
            match self.read().await? {
                ServerFrame::Accepted { .. } => stored += 1,
                ServerFrame::Served { .. } => {}
                other => bail!("{other:?} in place of an acceptance"),
            }
        }
        Ok(())
    }

    /// Reads until the answer to message `last` has come. Waits at most `patience` for each frame.
    pub(super) async fn answers(&mut self, last: i64, patience: Duration) -> anyhow::Result<()> {
        loop {
            let frame = tokio::time::timeout(patience, self.read()).await.context("an answer")??;
            if matches!(frame, ServerFrame::Served { counter, .. } if counter >= last) {
                return Ok(());
            }
        }
    }

    async fn load(&mut self, window: usize, duration: Duration) -> anyhow::Result<Loaded> {
        let end = Instant::now() + duration;
        let mut loaded = Loaded::default();
        let mut sent: VecDeque<Instant> = VecDeque::new();
        let mut next = 1;
        loop {
            let now = Instant::now();
            if now < end {
                while sent.len() < window {
                    self.write(&ClientFrame::Message { counter: next, message: TEXT.to_owned() }).await?;
                    sent.push_back(now);
                    next += 1;
                }
            } else if sent.is_empty() {
                return Ok(loaded);
            }
            self.socket.flush().await?;
            // Waits for a frame, and takes all others that are there.
            let mut frame = Some(self.read().await);
            while let Some(read) = frame {
                match read? {
                    ServerFrame::Accepted { .. } => {}
                    ServerFrame::Served { counter, .. } => {
                        let sent = sent.pop_front().context("an answer without a message")?;
                        if Instant::now() < end {
                            loaded.answers += 1;
                            loaded.times.push(sent.elapsed());
                        }
                        if counter % ACKNOWLEDGED == 0 {
                            self.write(&ClientFrame::Ack { counter }).await?;
                        }
                    }
                    other => bail!("{other:?} in place of an answer"),
                }
                frame = self.read().now_or_never();
            }
        }
    }

    async fn write(&mut self, frame: &ClientFrame) -> anyhow::Result<()> {
        Ok(self.socket.feed(Message::text(serde_json::to_string(frame)?)).await?)
    }

    async fn read(&mut self) -> anyhow::Result<ServerFrame> {
        loop {
            match self.socket.next().await.context("the connection ended")?? {
                Message::Text(text) => return Ok(serde_json::from_str(&text)?),
                Message::Ping(_) | Message::Pong(_) => {}
                other => bail!("{other:?} in place of a frame"),
            }
        }
    }
}
