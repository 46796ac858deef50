//! The connection of a session: carries frames between a socket and the state machine.

use std::pin::Pin;
use std::task::{Context, Poll};

use kit_websocket_client::Address;
use round_robin_protocol::ServerFrame;
use tokio::time::Instant;

use tokio_tungstenite::tungstenite::{Bytes, Message};

use crate::machine::{Closed, Input, Machine, Output, Time};
use crate::transport::{Arrival, Socket, broken, open};

/// The time since a session began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(self) -> Time {
        self.0.elapsed()
    }

    /// Waits until `time`; forever for `None`.
    pub(crate) async fn sleep_until(self, time: Option<Time>) {
        match time {
            Some(time) => tokio::time::sleep_until(self.0 + time).await,
            None => std::future::pending().await,
        }
    }
}

/// The connection to a server.
pub(crate) enum Link {
    Down,
    Opening(Pin<Box<dyn Future<Output = Result<Socket, Closed>> + Send>>),
    Open {
        socket: Box<Socket>,
        /// Whether the connection takes nothing at the moment.
        is_blocked: bool,
    },
}

impl Link {
    pub(crate) fn open(address: &Address) -> Self {
        Self::Opening(Box::pin(open(address.clone())))
    }

    /// Closes the connection in order.
    pub(crate) async fn close(self) {
        if let Self::Open { socket, .. } = self {
            socket.close().await;
        }
    }

    /// Whether the connection takes nothing at the moment.
    pub(crate) const fn is_blocked(&self) -> bool {
        matches!(self, Self::Open { is_blocked: true, .. })
    }

    /// Sends what `machine` has to send, and waits until it received something: at most `limit`
    /// frames. Cancel-safe.
    pub(crate) async fn progress<T>(&mut self, machine: &mut Machine<T>, clock: Clock, limit: usize) {
        std::future::poll_fn(|context| self.poll(context, machine, clock, limit)).await;
    }

    fn poll<T>(&mut self, context: &mut Context<'_>, machine: &mut Machine<T>, clock: Clock, limit: usize) -> Poll<()> {
        let input = match self {
            Self::Down => return Poll::Pending,
            Self::Opening(opening) => match std::task::ready!(opening.as_mut().poll(context)) {
                Ok(socket) => {
                    let socket = Box::new(socket);
                    *self = Self::Open { socket, is_blocked: false };
                    Input::Opened
                }
                Err(closed) => Input::Closed(closed),
            },
            Self::Open { socket, is_blocked } => {
                match std::task::ready!(exchange(socket, is_blocked, context, machine, clock, limit)) {
                    Some(closed) => Input::Closed(closed),
                    None => return Poll::Ready(()),
                }
            }
        };
        if matches!(input, Input::Closed(_)) {
            *self = Self::Down;
        }
        machine.input(clock.now(), input);
        Poll::Ready(())
    }
}

/// Sends and receives on an open socket. Ready when something was received or the machine has
/// effects; with the reason if the socket is closed.
fn exchange<T>(
    socket: &mut Socket,
    is_blocked: &mut bool,
    context: &mut Context<'_>,
    machine: &mut Machine<T>,
    clock: Clock,
    limit: usize,
) -> Poll<Option<Closed>> {
    let now = clock.now();
    let sent = socket.poll_send(context, || machine.next_output(now).map(message));
    *is_blocked = sent.is_pending();
    if machine.has_effects() {
        return Poll::Ready(None);
    }
    for received in 0..limit {
        let input = match socket.poll_receive(context) {
            Poll::Ready(Arrival::Text(text)) => match serde_json::from_str::<ServerFrame>(&text) {
                Ok(frame) => Input::Frame(frame),
                Err(error) => return Poll::Ready(Some(unreadable(&error))),
            },
            Poll::Ready(Arrival::Other) => Input::Heard,
            Poll::Ready(Arrival::Closed(closed)) => return Poll::Ready(Some(closed)),
            Poll::Pending if received > 0 => break,
            // A server may have told why it takes nothing more. Here it has not.
            Poll::Pending => match sent {
                Poll::Ready(Err(error)) => return Poll::Ready(Some(broken(&error))),
                _ => return Poll::Pending,
            },
        };
        machine.input(clock.now(), input);
    }
    if limit == 0 { Poll::Pending } else { Poll::Ready(None) }
}

fn message(output: Output) -> Message {
    match output {
        Output::Ping => Message::Ping(Bytes::new()),
        Output::Frame(frame) => Message::text(frame.to_json()),
    }
}

fn unreadable(error: &serde_json::Error) -> Closed {
    Closed { code: None, reason: format!("the server sent a frame that cannot be read: {error}"), retry_after: None }
}
