//! A connection to a server.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::packet::{Ack, Event, Handshake, Malformed, Packet};
use crate::transport::{Arrival, Socket, open};
use crate::{Address, ConnectError, EmitError, Reason};

/// How long a server may take for its first packet, which tells how often it pings.
const GREETING: Duration = Duration::from_secs(20);

/// The longest time between two pings that a server is believed.
const MAX_PATIENCE: Duration = Duration::from_hours(24);

/// Packets that wait for the connection.
const MAX_OUTGOING: usize = 4096;

/// Bytes of a packet.
const MAX_PACKET: usize = 64 * 1024;

/// Events that a server may send before it accepts the client.
const MAX_EARLY: usize = 64;

/// Packets that are received before what waits is sent.
const BATCH: usize = 64;

/// What a server sent.
#[derive(Debug, Clone, PartialEq)]
pub enum Incoming {
    /// An event.
    Event(Event),
    /// The acknowledgement of an event of this client.
    Ack(Ack),
    /// The end of the connection. Nothing follows.
    Disconnected(Reason),
}

/// A connection that a server has accepted. It does its work while [`next`](Self::next) runs.
pub struct Connection {
    socket: Socket,
    /// The longest time that may pass until the server sends something.
    patience: Duration,
    /// When the server sent something last.
    heard: Instant,
    /// The largest packet that the server accepts, in bytes.
    max_packet: usize,
    outgoing: VecDeque<String>,
    /// Number of packets received since what waits was sent.
    received: usize,
    /// Events that came before the server accepted the client.
    early: VecDeque<Event>,
    ended: Option<Reason>,
}

impl Connection {
    /// Connects to a server, and tells it `auth`, an object or null. Takes as long as the server
    /// needs; drop the future to give up.
    ///
    /// # Errors
    /// The server cannot be reached, refuses the client, or does not follow the protocol.
    pub async fn open(address: &Address, auth: &Value) -> Result<Self, ConnectError> {
        let mut connection = Self {
            socket: open(address).await?,
            patience: GREETING,
            heard: Instant::now(),
            max_packet: MAX_PACKET,
            outgoing: VecDeque::new(),
            received: 0,
            early: VecDeque::new(),
            ended: None,
        };
        let Packet::Open(handshake) = connection.receive().await? else { return Err(unexpected().into()) };
        connection.opened(&handshake);
        connection.outgoing.push_back(Packet::Connect(auth.clone()).encode());
        loop {
            match connection.receive().await? {
                Packet::Connect(_) => return Ok(connection),
                Packet::ConnectError(reason) => return Err(ConnectError::Refused(reason)),
                Packet::Event(_) if connection.early.len() == MAX_EARLY => return Err(Reason::TooManyEvents.into()),
                // Some servers say something before they accept the client.
                Packet::Event(event) => connection.early.push_back(event),
                packet => connection.control(&packet)?,
            }
        }
    }

    fn opened(&mut self, handshake: &Handshake) {
        let between_pings = handshake.ping_interval.saturating_add(handshake.ping_timeout);
        self.patience = Duration::from_millis(between_pings).min(MAX_PATIENCE);
        let max_payload = handshake.max_payload.and_then(|bytes| usize::try_from(bytes).ok());
        self.max_packet = max_payload.unwrap_or(MAX_PACKET).min(MAX_PACKET);
    }

    /// Takes an event for sending, which [`next`](Self::next) does.
    ///
    /// # Errors
    /// The event is too long, or too much waits already.
    pub fn emit(&mut self, event: &str, data: Value) -> Result<(), EmitError> {
        self.push(&Packet::Event(Event { name: event.to_owned(), data: vec![data], id: None }))
    }

    /// Takes an event for sending, and asks the server for an acknowledgement with `id`.
    ///
    /// # Errors
    /// The event is too long, or too much waits already.
    pub fn emit_with_ack(&mut self, event: &str, data: Value, id: u64) -> Result<(), EmitError> {
        self.push(&Packet::Event(Event { name: event.to_owned(), data: vec![data], id: Some(id) }))
    }

    /// Acknowledges an event of the server that has this `id`.
    ///
    /// # Errors
    /// The data is too long, or too much waits already.
    pub fn acknowledge(&mut self, id: u64, data: Vec<Value>) -> Result<(), EmitError> {
        self.push(&Packet::Ack(Ack { id, data }))
    }

    fn push(&mut self, packet: &Packet) -> Result<(), EmitError> {
        let text = packet.encode();
        if text.len() > self.max_packet {
            return Err(EmitError::TooLong);
        }
        if self.outgoing.len() >= MAX_OUTGOING {
            return Err(EmitError::Full);
        }
        self.outgoing.push_back(text);
        Ok(())
    }

    /// Sends what waits, and waits for what comes next. Cancel-safe. After the end, it returns the
    /// end again.
    pub async fn next(&mut self) -> Incoming {
        if let Some(reason) = &self.ended {
            return Incoming::Disconnected(reason.clone());
        }
        if let Some(event) = self.early.pop_front() {
            return Incoming::Event(event);
        }
        loop {
            let reason = match self.receive().await {
                Ok(Packet::Event(event)) => return Incoming::Event(event),
                Ok(Packet::Ack(ack)) => return Incoming::Ack(ack),
                Ok(packet) => match self.control(&packet) {
                    Ok(()) => continue,
                    Err(reason) => reason,
                },
                Err(reason) => reason,
            };
            self.ended = Some(reason.clone());
            return Incoming::Disconnected(reason);
        }
    }

    /// Sends what waits, disconnects from the server, and closes the connection. Takes a second at
    /// most.
    pub async fn disconnect(self) {
        let mut last: Vec<String> = self.outgoing.into();
        last.push(Packet::Disconnect.encode());
        self.socket.close(last).await;
    }

    /// Handles a packet that is part of every connection.
    fn control(&mut self, packet: &Packet) -> Result<(), Reason> {
        match packet {
            // A server that takes nothing needs no more answers.
            Packet::Ping if self.outgoing.len() < MAX_OUTGOING => self.outgoing.push_back(Packet::Pong.encode()),
            Packet::Ping | Packet::Pong | Packet::Noop => {}
            Packet::Disconnect => return Err(Reason::Disconnected),
            Packet::Close => return Err(Reason::Closed(String::new())),
            _ => return Err(unexpected()),
        }
        Ok(())
    }

    /// Sends what waits, and waits for the next packet. Cancel-safe.
    async fn receive(&mut self) -> Result<Packet, Reason> {
        let deadline = self.heard + self.patience;
        tokio::select! {
            // Packets that came while nobody waited for them are no silence.
            biased;
            packet = poll_fn(|context| self.poll(context)) => packet,
            () = tokio::time::sleep_until(deadline) => Err(Reason::Silent),
        }
    }

    /// Receives before it sends, so that the answers to many packets are sent together.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Packet, Reason>> {
        loop {
            if self.received >= BATCH && self.poll_send(context)?.is_ready() {
                self.received = 0;
            }
            let Poll::Ready(arrival) = self.socket.poll_receive(context) else {
                ready!(self.poll_send(context))?;
                self.received = 0;
                return Poll::Pending;
            };
            let arrival = arrival?;
            self.heard = Instant::now();
            self.received += 1;
            if let Arrival::Text(text) = arrival {
                return Poll::Ready(Packet::decode(&text).map_err(Reason::from));
            }
        }
    }

    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Reason>> {
        let outgoing = &mut self.outgoing;
        self.socket.poll_send(context, || outgoing.pop_front())
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("patience", &self.patience)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

/// A packet that no server sends at this time.
const fn unexpected() -> Reason {
    Reason::Malformed(Malformed::Type)
}
