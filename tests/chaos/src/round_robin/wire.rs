//! A WebSocket to a server, frame by frame.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use round_robin_core::types::{ClientId, Epoch};
use round_robin_protocol::{ClientFrame, Position, ServerFrame};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// Time limit to connect, and for the answer to `hello`.
const GREETING: Duration = Duration::from_secs(5);

/// A connection.
pub(crate) struct Link(WebSocketStream<TcpStream>);

/// What comes from the server.
#[derive(Debug)]
pub(crate) enum Incoming {
    Frame(ServerFrame),
    /// A close frame with this code.
    Closed(u16),
    /// The connection ended without a close frame.
    Cut,
}

/// What a client says when it connects.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hello<'a> {
    pub(crate) client: &'a str,
    pub(crate) epoch: Option<Epoch>,
    pub(crate) last_served: Option<i64>,
}

/// A greeted connection.
pub(crate) struct Greeted {
    pub(crate) link: Link,
    pub(crate) position: Position,
    /// Why the server cannot continue where the client asked for.
    pub(crate) lost: Option<String>,
}

impl Link {
    /// Connects and says hello.
    pub(crate) async fn open(address: SocketAddr, hello: Hello<'_>) -> Result<Greeted> {
        tokio::time::timeout(GREETING, Self::greet(address, hello)).await.context("no greeting in time")?
    }

    async fn greet(address: SocketAddr, hello: Hello<'_>) -> Result<Greeted> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (stream, _) = tokio_tungstenite::client_async(format!("ws://{address}/ws"), stream).await?;
        let mut link = Self(stream);
        let client_id = ClientId::try_from(hello.client.to_owned())?;
        link.send(&ClientFrame::Hello { client_id, epoch: hello.epoch, last_served: hello.last_served }).await?;
        match link.next().await? {
            Incoming::Frame(ServerFrame::Resumed(position)) => Ok(Greeted { link, position, lost: None }),
            Incoming::Frame(ServerFrame::Lost { reason, position }) => {
                Ok(Greeted { link, position, lost: Some(reason) })
            }
            other => bail!("{other:?} in place of a greeting"),
        }
    }

    /// Sends a frame.
    pub(crate) async fn send(&mut self, frame: &ClientFrame) -> Result<()> {
        Ok(self.0.send(text(frame)?).await?)
    }

    /// Writes a frame, which the next [`Self::flush`] sends.
    pub(crate) async fn feed(&mut self, frame: &ClientFrame) -> Result<()> {
        Ok(self.0.feed(text(frame)?).await?)
    }

    /// Sends what was written.
    pub(crate) async fn flush(&mut self) -> Result<()> {
        Ok(self.0.flush().await?)
    }

    /// Waits for the next frame.
    ///
    /// # Errors
    /// The server sent something else than a frame of the protocol.
    pub(crate) async fn next(&mut self) -> Result<Incoming> {
        loop {
            return Ok(match self.0.next().await {
                Some(Ok(Message::Text(text))) => {
                    let frame = serde_json::from_str(&text);
                    Incoming::Frame(frame.with_context(|| format!("not a frame: {text}"))?)
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                Some(Ok(Message::Close(frame))) => {
                    // Answers the close frame; the server ends the connection.
                    let _ = self.0.flush().await;
                    Incoming::Closed(frame.map_or(1005, |frame| frame.code.into()))
                }
                Some(Ok(other)) => bail!("not a frame: {other:?}"),
                Some(Err(_)) | None => Incoming::Cut,
            });
        }
    }

    /// Resets the connection; in the middle of a frame if `within` is set.
    pub(crate) async fn cut(mut self, within: bool) -> std::io::Result<()> {
        let stream = self.0.get_mut();
        if within {
            // The header of a masked text frame of 100 bytes, its mask, and a part of it.
            let part = [&[0x81, 0xE4, 0, 0, 0, 0], br#"{"type":"message","#.as_slice()].concat();
            stream.write_all(&part).await?;
        }
        stream.set_zero_linger()
    }

    /// Closes the connection in order.
    pub(crate) async fn close(mut self) {
        // A connection that is broken is closed, too.
        let _ = tokio::time::timeout(GREETING, self.0.close(None)).await;
    }
}

fn text(frame: &ClientFrame) -> Result<Message> {
    Ok(Message::text(serde_json::to_string(frame)?))
}
