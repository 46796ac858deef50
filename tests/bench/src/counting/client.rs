//! Two clients that count.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use counting_core::Role;
use counting_protocol::{Assigned, CLIENT_ASSIGNED, NUMBER, Number, START_GAME, STOP_GAME};
use counting_socket_io::packet::{Ack, Event};
use counting_socket_io::{Address, Connection, Incoming};
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval_at};

use super::DEADLINE;
use crate::stats::{Samples, float};

/// How fast a client counts.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pace {
    /// As fast as the server acknowledges, with so many numbers on their way.
    Window(usize),
    /// One number each time.
    Every(Duration),
}

/// What was counted.
#[derive(Debug)]
pub(super) struct Counted {
    /// Durable numbers a second.
    pub(super) rate: f64,
    /// Until a number was known to be durable, in milliseconds.
    pub(super) times: Samples,
}

/// Counts with two clients for `duration`.
pub(super) async fn count(server: &Address, pace: Pace, duration: Duration) -> anyhow::Result<Counted> {
    let (first, second) = (Client::open(server).await?, Client::open(server).await?);
    let [first, second] = [first, second].map(|client| tokio::spawn(client.count(pace, duration)));
    let (mut times, more) = (first.await??, second.await??);
    times.extend(more);
    Counted::new(&times, duration)
}

impl Counted {
    /// What was counted within `duration`, from the time that each number took.
    pub(super) fn new(times: &[Duration], duration: Duration) -> anyhow::Result<Self> {
        let rate = float(times.len() as u64) / duration.as_secs_f64();
        let times = times.iter().map(|time| time.as_secs_f64() * 1000.0);
        Ok(Self { rate, times: Samples::new(times).context("no numbers")? })
    }
}

/// A client with a role.
struct Client {
    connection: Connection,
    role: Role,
    /// The number that it sends next.
    next: u64,
    is_started: bool,
    /// The numbers that are on their way, and when each was sent.
    sent: VecDeque<(u64, Instant)>,
}

impl Client {
    /// Connects, and waits for a role.
    async fn open(server: &Address) -> anyhow::Result<Self> {
        let mut connection = Connection::open(server, &Value::Null).await?;
        let event = match tokio::time::timeout(DEADLINE, connection.next()).await? {
            Incoming::Event(event) if event.name == CLIENT_ASSIGNED => event,
            other => bail!("{other:?} in place of a role"),
        };
        let data = event.data.first().context("a role without data")?;
        let Assigned { client_id: role, last_number: last } = serde_json::from_value(data.clone())?;
        let next = if last == 0 { role.first() } else { last + 2 };
        Ok(Self { connection, role, next, is_started: false, sent: VecDeque::new() })
    }

    /// Counts for `duration` from the start of the game on. Returns the times of the
    /// acknowledgements.
    async fn count(mut self, pace: Pace, duration: Duration) -> anyhow::Result<Vec<Duration>> {
        while !self.is_started {
            let incoming = tokio::time::timeout(DEADLINE, self.connection.next()).await.context("no start")?;
            self.take(incoming, &mut Vec::new())?;
        }
        let began = tokio::time::Instant::now();
        let mut times = Vec::new();
        // At the end, numbers that are on their way are left behind.
        tokio::time::timeout_at(began + duration, async {
            match pace {
                Pace::Window(window) => self.race(window, &mut times).await,
                Pace::Every(pause) => self.pace(pause, &mut times).await,
            }
        })
        .await
        .unwrap_or(Ok(()))?;
        self.connection.disconnect().await;
        Ok(times)
    }

    async fn race(&mut self, window: usize, times: &mut Vec<Duration>) -> anyhow::Result<()> {
        loop {
            while self.sent.len() < window {
                self.send()?;
            }
            let incoming = self.connection.next().await;
            self.take(incoming, times)?;
        }
    }

    async fn pace(&mut self, pause: Duration, times: &mut Vec<Duration>) -> anyhow::Result<()> {
        // The second client is half a pause behind the first: a number waits for those before it.
        let phase = if self.role == Role::Client1 { Duration::ZERO } else { pause / 2 };
        let mut ticks = interval_at(tokio::time::Instant::now() + phase, pause);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.send()?,
                incoming = self.connection.next() => self.take(incoming, times)?,
            }
        }
    }

    fn send(&mut self) -> anyhow::Result<()> {
        let data = json!(Number { client_id: self.role, number: self.next });
        self.connection.emit_with_ack(NUMBER, data, self.next)?;
        self.sent.push_back((self.next, Instant::now()));
        self.next += 2;
        Ok(())
    }

    fn take(&mut self, incoming: Incoming, times: &mut Vec<Duration>) -> anyhow::Result<()> {
        match incoming {
            Incoming::Event(Event { name, .. }) if name == START_GAME => self.is_started = true,
            // The other client ends first.
            Incoming::Event(Event { name, .. }) if name == STOP_GAME => {}
            Incoming::Ack(Ack { id, data }) => {
                let (number, sent) = self.sent.pop_front().context("an acknowledgement of nothing")?;
                anyhow::ensure!(number == id && data.first() == Some(&json!({ "ok": true, "number": id })), "{data:?}");
                times.push(sent.elapsed());
            }
            other => bail!("{other:?} in place of an acknowledgement"),
        }
        Ok(())
    }
}
