//! A client that sends by the library of clients, which reconnects by itself, and records what it
//! sees.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Result;
use round_robin_session::{Answers, Client, Config, Error, Metrics, Position, Settings, connect};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::record::{Answer, Place, Record, text_of};
use super::socket::Order;
use crate::rng::Rng;

/// Largest number of messages without an answer.
const WINDOW: usize = 64;

/// Time limit for a session to end after a newer one took over.
const TAKEN: Duration = Duration::from_secs(30);

/// A client.
pub(crate) struct LibraryClient {
    address: SocketAddr,
    orders: mpsc::UnboundedReceiver<Order>,
    stop: watch::Receiver<bool>,
    /// Mean time between two messages.
    pause: Duration,
    rng: Rng,
    record: Record,
    /// How sessions ended that newer ones took over.
    old: JoinSet<Option<Result<(), Error>>>,
}

/// The state of a session.
struct Talk {
    /// The counter of the next answer, once it is known.
    expected: Option<i64>,
    /// When the connection was lost, while it is.
    down: Option<Instant>,
    /// When the connection was lost before, and the counter of the first answer after that.
    resumed: Option<(Instant, i64)>,
    in_flight: usize,
    /// The highest counter that is stored above a missing one. It is served once messages with the
    /// counters in between are stored.
    ahead: i64,
    /// When the next message is due.
    due: Instant,
    is_finishing: bool,
}

/// How the client goes on.
enum End {
    Done,
    Forget,
    TakeOver,
}

impl LibraryClient {
    /// A client that connects to `address`.
    pub(crate) fn new(
        name: &str,
        address: SocketAddr,
        orders: mpsc::UnboundedReceiver<Order>,
        stop: watch::Receiver<bool>,
        pause: Duration,
        rng: Rng,
    ) -> Self {
        Self { address, orders, stop, pause, rng, record: Record::new(name), old: JoinSet::new() }
    }

    /// Sends messages until the run stops it and all are answered.
    pub(crate) async fn run(mut self) -> Result<Record> {
        loop {
            let (client, mut answers, session) = connect(self.config()?, Metrics::default());
            let session = tokio::spawn(session.run());
            match self.converse(&client, &mut answers).await {
                End::Done => match session.await? {
                    Ok(()) => break,
                    // An old session that lost its connection meanwhile connected again.
                    Err(Error::TakenOver) if !self.old.is_empty() => {
                        self.record.count("sessions that an old one took over");
                    }
                    Err(error) => {
                        self.wrong(&error.to_string());
                        break;
                    }
                },
                End::Forget => session.abort(),
                End::TakeOver => {
                    self.old.spawn(outlive(client, answers, session));
                }
            }
        }
        while let Some(old) = self.old.join_next().await {
            match old? {
                Some(Err(Error::TakenOver)) => self.record.count("old sessions that were taken over"),
                other => self.wrong(&format!("an old session ended with {other:?}")),
            }
        }
        Ok(self.record)
    }

    fn config(&self) -> Result<Config> {
        let settings =
            Settings { silence: Duration::from_secs(4), patience: Duration::from_secs(8), ..Settings::default() };
        let server = format!("http://{}", self.address).parse()?;
        Ok(Config { server, client_id: self.record.client.clone().try_into()?, settings })
    }

    async fn converse(&mut self, client: &Client, answers: &mut Answers) -> End {
        let now = Instant::now();
        let mut talk = Talk {
            expected: None,
            down: Some(now),
            resumed: None,
            in_flight: 0,
            ahead: 0,
            due: now,
            is_finishing: false,
        };
        let mut stored = JoinSet::new();
        loop {
            let has_gap = talk.expected.is_none_or(|next| next <= talk.ahead);
            if *self.stop.borrow() && !talk.is_finishing && !has_gap {
                talk.is_finishing = true;
                client.finish();
            }
            let may_send = !talk.is_finishing && talk.in_flight < WINDOW;
            tokio::select! {
                answer = answers.served() => match answer {
                    Some(Ok(answer)) => self.served(&mut talk, answer),
                    Some(Err(lost)) => self.wrong(&lost.to_string()),
                    None => return End::Done,
                },
                position = client.resume(), if talk.down.is_some() && !talk.is_finishing => {
                    // After an error, the answers end.
                    if let (Ok(position), Some(down)) = (position, talk.down.take()) {
                        self.resumed(&mut talk, &position, down);
                    }
                }
                () = client.disconnected(), if talk.down.is_none() && !talk.is_finishing => {
                    talk.down = Some(Instant::now());
                }
                () = tokio::time::sleep_until(talk.due.into()), if may_send => {
                    let name = self.record.client.clone();
                    if let Ok(pending) = client.submit(move |counter| text_of(&name, counter)).await {
                        talk.in_flight += 1;
                        stored.spawn(pending.stored());
                    }
                    talk.due = Instant::now() + self.rng.duration(self.pause / 2, self.pause * 3 / 2);
                }
                Some(stored) = stored.join_next() => if let Ok(Ok(counter)) = stored {
                    self.record.accept(counter);
                },
                Some(order) = self.orders.recv(), if !talk.is_finishing => match order {
                    Order::Forget => {
                        self.record.count("clients that lost their state");
                        return End::Forget;
                    }
                    Order::TakeOver => return End::TakeOver,
                },
                _ = self.stop.changed() => {}
            }
        }
    }

    fn resumed(&mut self, talk: &mut Talk, position: &Position, down: Instant) {
        self.record.count("connects");
        self.record.check(&Place::from(position));
        if talk.expected.is_none() {
            let next = position.last_served.map_or(1, |last| last + 1);
            talk.expected = Some(next);
            talk.ahead = position.ahead.last().copied().unwrap_or_default();
            if position.from != next {
                let client = &self.record.client;
                self.record.astray.add(|| format!("{client}: {position:?} in place of {next}"));
            }
        }
        // The first answer may have overtaken the position.
        talk.resumed = talk.expected.is_none_or(|next| next <= position.from).then_some((down, position.from));
    }

    fn served(&mut self, talk: &mut Talk, answer: round_robin_session::Answer) {
        let round_robin_session::Answer { counter, message, replica, served_at_ms, .. } = answer;
        let client = &self.record.client;
        if let Some(expected) = talk.expected.filter(|expected| *expected != counter) {
            self.record.disorder.add(|| format!("{client}: {counter} in place of {expected}"));
        }
        if let Some(message) = message {
            talk.in_flight = talk.in_flight.saturating_sub(1);
            if message != text_of(client, counter) {
                self.record.wrong.add(|| format!("{client}: {counter} has the text {message}"));
            }
        }
        talk.expected = Some(counter + 1);
        // Answers from before the disconnect may still have been on their way to here.
        if let Some((down, from)) = talk.resumed.take_if(|(_, from)| *from <= counter) {
            self.record.first_answer(counter, from, down.elapsed());
        }
        self.record.answer(counter, Answer { replica, at: served_at_ms });
    }

    fn wrong(&mut self, what: &str) {
        let client = &self.record.client;
        self.record.wrong.add(|| format!("{client}: {what}"));
    }
}

/// Waits until a session ends that a newer one took over. Keeps its ends, so that it does not end for
/// another reason.
async fn outlive(
    client: Client,
    answers: Answers,
    session: JoinHandle<Result<(), Error>>,
) -> Option<Result<(), Error>> {
    let ended = tokio::time::timeout(TAKEN, session).await;
    drop((client, answers));
    ended.ok()?.ok()
}
