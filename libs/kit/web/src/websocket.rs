//! WebSockets that are closed in order.
//!
//! A handler receives a [`Socket`]. A carrier task moves messages between it and the
//! connection, so that pings, limits and the drain do not depend on the handler. When the
//! listener drains, the client receives the service's farewell and a close frame with
//! [`RESTART`]. Clients then connect again, each after a random delay (jitter): thousands
//! of clients that lose their sockets at once would otherwise all connect at once.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::FromRequestParts;
use axum::extract::ws::{CloseCode, CloseFrame, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use futures_util::{FutureExt, SinkExt};
use kit_process::tasks::panic_message;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_tungstenite::tungstenite;

pub use axum::extract::ws::Message;

use crate::Problem;
use crate::extract::MAX_BODY;
use crate::http::connection::Lifecycle;

/// The handler ended.
pub const NORMAL: CloseCode = 1000;
/// The client broke the protocol.
pub const PROTOCOL_ERROR: CloseCode = 1002;
/// A text message was not UTF-8.
pub const NOT_UTF8: CloseCode = 1007;
/// A message was larger than [`Settings::max_message`].
pub const TOO_LARGE: CloseCode = 1009;
/// The handler panicked.
pub const INTERNAL_ERROR: CloseCode = 1011;
/// The service restarts: connect again, after a random delay.
pub const RESTART: CloseCode = 1012;

/// Time limit for a client to answer a close frame outside of a drain.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of a socket's read and write buffers, which tungstenite allocates for every
/// socket; its default is 128 KiB each.
const BUFFER: usize = 4 * 1024;

/// Number of messages from the handler that may wait to be sent.
const OUTGOING: usize = 64;

/// The settings of a service's sockets.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The largest message and the largest frame, in bytes.
    pub max_message: usize,
    /// Time between two pings. A client that sends nothing in between, not even a pong,
    /// or does not accept a message for that long, is considered gone.
    pub ping_interval: Duration,
    /// A last message before the close frame when the service drains.
    pub farewell: Option<Farewell>,
}

/// Makes the last message of each socket, when the service drains. Cheap to clone.
#[derive(Clone)]
pub struct Farewell(Arc<dyn Fn() -> Message + Send + Sync>);

impl Farewell {
    /// A farewell that may be different for each socket, such as with a random delay.
    pub fn new(message: impl Fn() -> Message + Send + Sync + 'static) -> Self {
        Self(Arc::new(message))
    }
}

/// The same farewell for each socket.
impl From<Message> for Farewell {
    fn from(message: Message) -> Self {
        Self::new(move || message.clone())
    }
}

impl fmt::Debug for Farewell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Farewell").finish_non_exhaustive()
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self { max_message: MAX_BODY, ping_interval: Duration::from_secs(20), farewell: None }
    }
}

/// A request to open a WebSocket, as an extractor.
#[derive(Debug)]
pub struct Upgrade {
    upgrade: WebSocketUpgrade,
    lifecycle: Lifecycle,
}

impl<S: Send + Sync> FromRequestParts<S> for Upgrade {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let lifecycle = parts.extensions.get::<Lifecycle>().cloned();
        let upgrade = <WebSocketUpgrade as FromRequestParts<S>>::from_request_parts(parts, state)
            .await
            .map_err(|error| Problem::new(error.status(), error.body_text()))?;
        lifecycle
            .map(|lifecycle| Self { upgrade, lifecycle })
            .ok_or_else(|| Problem::new(StatusCode::UPGRADE_REQUIRED, "This connection cannot be upgraded."))
    }
}

impl Upgrade {
    /// Opens the socket and runs `handler` on it. The socket is closed when `handler` ends.
    ///
    /// A handler ends by itself once [`Socket::recv`] returns `None`. One that is still
    /// running when the listener cuts its connections is dropped.
    pub fn run<F>(self, settings: Settings, handler: impl FnOnce(Socket) -> F + Send + 'static) -> Response
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let Self { upgrade, lifecycle } = self;
        upgrade
            .read_buffer_size(BUFFER)
            .write_buffer_size(BUFFER)
            .max_message_size(settings.max_message)
            .max_frame_size(settings.max_message)
            .on_upgrade(async move |websocket| run(websocket, settings, &lifecycle, handler).await)
    }
}

/// The handler's end of a WebSocket.
#[derive(Debug)]
pub struct Socket {
    incoming: mpsc::Receiver<Message>,
    outgoing: mpsc::Sender<Message>,
}

/// The socket is closed, or about to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the WebSocket is closed")]
pub struct Closed;

impl Socket {
    /// The client's next text or binary message; `None` once the socket is closed or
    /// the service drains.
    pub async fn recv(&mut self) -> Option<Message> {
        self.incoming.recv().await
    }

    /// Sends a message to the client.
    ///
    /// # Errors
    /// The socket is closed or the service drains.
    pub async fn send(&self, message: Message) -> Result<(), Closed> {
        self.outgoing.send(message).await.map_err(|_| Closed)
    }

    /// Closes the socket with a code of the service, such as 4001, and a reason of at
    /// most 123 bytes.
    pub async fn close(self, code: CloseCode, reason: impl Into<Utf8Bytes>) {
        // A socket that is closed already needs no second close frame.
        let _ = self.send(close(code, reason)).await;
    }
}

fn close(code: CloseCode, reason: impl Into<Utf8Bytes>) -> Message {
    Message::Close(Some(CloseFrame { code, reason: reason.into() }))
}

async fn run<F: Future<Output = ()>>(
    websocket: WebSocket,
    settings: Settings,
    lifecycle: &Lifecycle,
    handler: impl FnOnce(Socket) -> F,
) {
    // The listener waits for the handler, too, which may still store what it received.
    let _open = lifecycle.open.token();
    let (to_handler, incoming) = mpsc::channel(1);
    let (outgoing, from_handler) = mpsc::channel(OUTGOING);
    let end = outgoing.clone();
    let handler = async {
        let running = async { handler(Socket { incoming, outgoing }).await };
        let last = match AssertUnwindSafe(running).catch_unwind().await {
            Ok(()) => close(NORMAL, ""),
            Err(panic) => {
                tracing::error!(
                    panic = panic_message(&*panic).unwrap_or_default(),
                    "the handler of a WebSocket panicked"
                );
                close(INTERNAL_ERROR, "the service failed")
            }
        };
        let _ = end.send(last).await;
        drop(end);
    };
    let carrier = Carrier { websocket, settings, incoming: to_handler, outgoing: from_handler };
    tokio::select! {
        () = lifecycle.cut.cancelled() => {}
        ((), ()) = futures_util::future::join(handler, carrier.run(lifecycle)) => {}
    }
}

/// Moves messages between a WebSocket and its handler.
struct Carrier {
    websocket: WebSocket,
    settings: Settings,
    incoming: mpsc::Sender<Message>,
    outgoing: mpsc::Receiver<Message>,
}

/// The reason why a carrier stopped.
enum End {
    /// The listener drains.
    Drain,
    /// The client closed the socket; its close frame has to be answered.
    Client,
    /// The service closes the socket with this frame.
    Service(Message),
    /// The client is gone.
    Gone,
}

/// The next step of a carrier.
enum Step {
    Send(Message),
    Receive(Result<Message, axum::Error>),
    Ping,
}

impl Carrier {
    async fn run(mut self, lifecycle: &Lifecycle) {
        let end = tokio::select! {
            biased;
            () = lifecycle.drain.cancelled() => End::Drain,
            end = self.carry() => end,
        };
        match end {
            End::Drain => self.say_goodbye().await,
            End::Client => self.finish(None).await,
            End::Service(frame) => self.finish(Some(frame)).await,
            End::Gone => {}
        }
    }

    async fn carry(&mut self) -> End {
        let period = self.settings.ping_interval;
        let mut pings = interval_at(Instant::now() + period, period);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_alive = true;
        loop {
            let step = tokio::select! {
                message = self.outgoing.recv() => Step::Send(message.unwrap_or_else(|| close(NORMAL, ""))),
                message = receive(&mut self.websocket, &self.incoming) => match message {
                    Some(message) => Step::Receive(message),
                    None => return End::Gone,
                },
                _ = pings.tick() => Step::Ping,
            };
            let message = match step {
                Step::Send(frame @ Message::Close(_)) => return End::Service(frame),
                Step::Send(message) => message,
                Step::Receive(Ok(Message::Close(_))) => return End::Client,
                Step::Receive(Ok(message)) => {
                    is_alive = true;
                    if matches!(message, Message::Text(_) | Message::Binary(_)) {
                        // There is room. A handler that has dropped its socket receives
                        // no messages.
                        let _ = self.incoming.try_send(message);
                    }
                    continue;
                }
                Step::Receive(Err(error)) => return broken(error),
                // While the handler is busy, nothing is read, so silence does not mean
                // that the client is gone.
                Step::Ping if is_alive || is_handler_busy(&self.incoming) => {
                    is_alive = is_handler_busy(&self.incoming);
                    Message::Ping(Bytes::new())
                }
                Step::Ping => return End::Gone,
            };
            match timeout(period, self.send(message)).await {
                Ok(Ok(None)) => {}
                Ok(Ok(Some(close))) => return End::Service(close),
                _ => return End::Gone,
            }
        }
    }

    /// Sends `message`, and messages that the handler has sent since, with one flush for all. Returns
    /// the handler's close frame, if it is the next one.
    async fn send(&mut self, message: Message) -> Result<Option<Message>, axum::Error> {
        self.websocket.feed(message).await?;
        for _ in 0..OUTGOING {
            match self.outgoing.try_recv() {
                Ok(close @ Message::Close(_)) => {
                    self.websocket.flush().await?;
                    return Ok(Some(close));
                }
                Ok(message) => self.websocket.feed(message).await?,
                Err(_) => break,
            }
        }
        self.websocket.flush().await?;
        Ok(None)
    }

    /// Sends the messages that the handler has sent so far, the farewell and a close
    /// frame. The listener cuts connections whose clients do not answer.
    async fn say_goodbye(self) {
        let Self { mut websocket, settings, incoming, mut outgoing } = self;
        // The handler receives nothing more, and its next message is refused.
        drop(incoming);
        outgoing.close();
        let farewell = settings.farewell.map(|Farewell(message)| message());
        let sent = std::iter::from_fn(|| outgoing.try_recv().ok()).chain(farewell);
        let restart = close(RESTART, "the service restarts; connect again after a random delay");
        for message in sent.chain([restart]) {
            let is_last = matches!(message, Message::Close(_));
            if websocket.send(message).await.is_err() {
                return;
            }
            if is_last {
                break;
            }
        }
        until_closed(&mut websocket).await;
    }

    /// Sends `frame`, unless the client has already sent a close frame, and waits for the
    /// client to close.
    async fn finish(self, frame: Option<Message>) {
        let Self { mut websocket, incoming, outgoing, .. } = self;
        drop((incoming, outgoing));
        let closing = async {
            if let Some(frame) = frame
                && websocket.send(frame).await.is_err()
            {
                return;
            }
            until_closed(&mut websocket).await;
        };
        // If the client does not answer, its connection is dropped.
        let _ = timeout(CLOSE_TIMEOUT, closing).await;
    }
}

fn is_handler_busy(handler: &mpsc::Sender<Message>) -> bool {
    handler.capacity() == 0
}

/// Receives the client's next message, once the handler has room for it.
async fn receive(websocket: &mut WebSocket, handler: &mpsc::Sender<Message>) -> Option<Result<Message, axum::Error>> {
    // A handler that has dropped its socket has room for everything.
    drop(handler.reserve().await);
    websocket.recv().await
}

/// Reads until the connection has ended, which also answers the client's close frame.
async fn until_closed(websocket: &mut WebSocket) {
    while let Some(Ok(_)) = websocket.recv().await {}
}

/// The end that follows from `error`.
fn broken(error: axum::Error) -> End {
    use tungstenite::Error;
    let Ok(error) = error.into_inner().downcast::<Error>() else { return End::Gone };
    match *error {
        Error::Capacity(error) => End::Service(close(TOO_LARGE, error.to_string())),
        Error::Utf8(error) => End::Service(close(NOT_UTF8, error)),
        Error::Protocol(error) => End::Service(close(PROTOCOL_ERROR, error.to_string())),
        _ => End::Gone,
    }
}
