//! A client that sends by HTTP, repeats each request until it is answered, and records what it sees.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Result;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value as Json, json};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::record::{Answer, Place, Record, text_of};
use super::socket::Order;
use crate::rng::Rng;

/// Time limit of a request. Servers wait up to 10 s for the turn, so a client that gives up earlier
/// repeats requests that are still in progress.
const PATIENCE: Duration = Duration::from_secs(5);

/// Longest delay before a request is repeated.
const BACKOFF: Duration = Duration::from_millis(300);

/// Time between two requests for the answer to a message that was accepted.
const POLL: Duration = Duration::from_millis(50);

/// A client.
pub(crate) struct WebClient {
    http: Client,
    url: String,
    orders: mpsc::UnboundedReceiver<Order>,
    stop: watch::Receiver<bool>,
    /// Mean time between two messages.
    pause: Duration,
    rng: Rng,
    record: Record,
}

/// How a message is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Json,
    Form,
    /// With `Prefer: respond-async`.
    Async,
}

/// What a server says to a message.
enum Reply {
    Served(Answer),
    /// It will be served.
    Accepted,
    /// The request is to be repeated: there is no answer, or one that says so.
    Again,
    Wrong(String),
}

/// A message that is sent until it is answered.
struct Delivery {
    http: Client,
    url: String,
    client: String,
    counter: i64,
    style: Style,
    rng: Rng,
}

/// What came of a message.
#[derive(Default)]
struct Delivered {
    counter: i64,
    answer: Option<Answer>,
    accepted: bool,
    repeated: u64,
    wrong: Option<String>,
}

impl WebClient {
    /// A client that connects to `address`.
    pub(crate) fn new(
        name: &str,
        address: SocketAddr,
        orders: mpsc::UnboundedReceiver<Order>,
        stop: watch::Receiver<bool>,
        pause: Duration,
        rng: Rng,
    ) -> Result<Self> {
        let http = http()?;
        let url = format!("http://{address}");
        Ok(Self { http, url, orders, stop, pause, rng, record: Record::new(name) })
    }

    /// Sends messages until the run stops it. All are answered then.
    pub(crate) async fn run(mut self) -> Result<Record> {
        let mut next = 1;
        while !*self.stop.borrow() {
            if let Ok(_order) = self.orders.try_recv() {
                // Both orders make it a new process that knows only its name.
                self.record.count("clients that lost their state");
                self.http = http()?;
                next = self.resume(None).await.first_missing;
            }
            // Now and then some messages are in flight together, and arrive in any order.
            let count = if self.rng.below(8) == 0 { self.rng.between(2, 6) } else { 1 };
            let end = next + i64::try_from(count)?;
            let is_whole = self.deliver(next..end).await;
            next = end;
            if !is_whole {
                let place = self.resume(Some(next)).await;
                next = place.first_missing.max(next);
            }
            if self.rng.below(16) == 0 {
                self.repeat().await;
            }
            let pause = self.rng.duration(self.pause / 2, self.pause * 3 / 2);
            tokio::time::sleep(pause).await;
        }
        Ok(self.record)
    }

    /// Sends messages at the same time. Returns whether none had to be repeated.
    async fn deliver(&mut self, counters: std::ops::Range<i64>) -> bool {
        let began = Instant::now();
        let expected = counters.start;
        let mut counters: Vec<i64> = counters.collect();
        self.rng.shuffle(&mut counters);
        let mut deliveries = JoinSet::new();
        for counter in counters {
            deliveries.spawn(self.delivery(counter).run());
        }
        let mut all: Vec<Delivered> = Vec::new();
        while let Some(ended) = deliveries.join_next().await {
            match ended {
                Ok(delivered) => all.push(delivered),
                Err(panic) => self.record.wrong.add(|| panic.to_string()),
            }
        }
        all.sort_unstable_by_key(|delivered| delivered.counter);
        let repeated: u64 = all.iter().map(|delivered| delivered.repeated).sum();
        *self.record.events.entry("requests repeated").or_default() += repeated;
        let mut first = Some(expected);
        for Delivered { counter, answer, accepted, wrong, .. } in all {
            if accepted {
                self.record.accept(counter);
            }
            if let Some(answer) = answer {
                if let Some(expected) = first.take().filter(|_| repeated > 0) {
                    self.record.first_answer(counter, expected, began.elapsed());
                }
                self.record.answer(counter, answer);
            }
            if let Some(wrong) = wrong {
                let client = &self.record.client;
                self.record.wrong.add(|| format!("{client}: {counter}: {wrong}"));
            }
        }
        repeated == 0
    }

    fn delivery(&mut self, counter: i64) -> Delivery {
        let style = match self.rng.below(6) {
            0 => Style::Form,
            1 => Style::Async,
            _ => Style::Json,
        };
        let (http, url, client) = (self.http.clone(), self.url.clone(), self.record.client.clone());
        Delivery { http, url, client, counter, style, rng: self.rng.fork() }
    }

    /// Sends an answered message once more.
    async fn repeat(&mut self) {
        let counters: Vec<i64> = self.record.answers.keys().copied().collect();
        let Some(counter) = self.rng.pick(&counters).copied() else { return };
        let delivered = self.delivery(counter).run().await;
        self.record.count("answered messages sent again");
        if let Some(answer) = delivered.answer {
            self.record.answer(counter, answer);
        }
        if let Some(wrong) = delivered.wrong {
            let client = &self.record.client;
            self.record.wrong.add(|| format!("{client}: {counter} again: {wrong}"));
        }
    }

    /// Asks for the position of the client, which will send `next` if it knows.
    async fn resume(&mut self, next: Option<i64>) -> Place {
        self.record.count("positions asked for");
        loop {
            match position(&self.http, &self.url, &self.record.client).await {
                Ok(Some(place)) => {
                    self.record.check(&place);
                    if next.is_some_and(|next| place.first_missing > next) {
                        let client = &self.record.client;
                        self.record.back.add(|| format!("{client} will send {next:?} next: {place:?}"));
                    }
                    return place;
                }
                Ok(None) => {}
                Err(error) => {
                    let client = &self.record.client;
                    self.record.wrong.add(|| format!("{client}: {error:#}"));
                }
            }
            let pause = self.rng.duration(Duration::ZERO, BACKOFF);
            tokio::time::sleep(pause).await;
        }
    }
}

impl Delivery {
    async fn run(mut self) -> Delivered {
        let mut delivered = Delivered { counter: self.counter, ..Delivered::default() };
        loop {
            let reply = if delivered.accepted { self.ask().await } else { self.send().await };
            match reply {
                Reply::Served(answer) => {
                    delivered.answer = Some(answer);
                    return delivered;
                }
                Reply::Accepted => {
                    delivered.accepted = true;
                    tokio::time::sleep(POLL).await;
                }
                Reply::Again => {
                    delivered.repeated += 1;
                    let pause = self.rng.duration(Duration::ZERO, BACKOFF);
                    tokio::time::sleep(pause).await;
                }
                Reply::Wrong(what) => {
                    delivered.wrong = Some(what);
                    return delivered;
                }
            }
        }
    }

    async fn send(&self) -> Reply {
        let post = self.http.post(format!("{}/messages", self.url));
        let message = text_of(&self.client, self.counter);
        let json = json!({ "client_id": self.client, "counter": self.counter, "message": message });
        let request = match self.style {
            Style::Json => post.json(&json),
            Style::Async => post.json(&json).header("Prefer", "respond-async"),
            Style::Form => {
                let body = format!("client_id={}&counter={}&message={}", self.client, self.counter, plus(&message));
                post.header("Content-Type", "application/x-www-form-urlencoded").body(body)
            }
        };
        self.reply(request).await
    }

    async fn ask(&self) -> Reply {
        let url = format!("{}/clients/{}/messages/{}", self.url, self.client, self.counter);
        self.reply(self.http.get(url)).await
    }

    async fn reply(&self, request: RequestBuilder) -> Reply {
        let Ok(response) = request.send().await else { return Reply::Again };
        let status = response.status().as_u16();
        let location = location(&response);
        let Ok(text) = response.text().await else { return Reply::Again };
        let wrong = || Reply::Wrong(format!("{status} {text}"));
        if matches!(status, 429 | 503) {
            return Reply::Again;
        }
        let Ok(body) = serde_json::from_str::<Json>(&text) else { return wrong() };
        let expected = json!([self.client, self.counter, text_of(&self.client, self.counter)]);
        if !matches!(status, 200 | 202) || json!([body["client_id"], body["counter"], body["message"]]) != expected {
            return wrong();
        }
        if status == 202 && location != Some(format!("/clients/{}/messages/{}", self.client, self.counter)) {
            return wrong();
        }
        match (body["replica"].as_str(), body["served_at_ms"].as_i64()) {
            (Some(replica), Some(at)) => Reply::Served(Answer { replica: replica.to_owned(), at }),
            (None, None) => Reply::Accepted,
            _ => wrong(),
        }
    }
}

/// Reads a client's position. `None` if the request is to be repeated.
///
/// # Errors
/// An answer that must not be given.
async fn position(http: &Client, url: &str, client: &str) -> Result<Option<Place>> {
    let Ok(response) = http.get(format!("{url}/clients/{client}")).send().await else { return Ok(None) };
    let status = response.status().as_u16();
    let Ok(text) = response.text().await else { return Ok(None) };
    match status {
        200 => {
            let body: Json = serde_json::from_str(&text)?;
            let first_missing = body["first_missing"].as_i64();
            let first_missing = first_missing.ok_or_else(|| anyhow::anyhow!("no first_missing in {text}"))?;
            Ok(Some(Place { last_served: body["last_served"].as_i64(), first_missing, ahead: BTreeSet::new() }))
        }
        404 => Ok(Some(Place { last_served: None, first_missing: 1, ahead: BTreeSet::new() })),
        429 | 503 => Ok(None),
        _ => anyhow::bail!("{status} {text}"),
    }
}

fn http() -> Result<Client> {
    Ok(testkit::http_client_builder().timeout(PATIENCE).build()?)
}

fn location(response: &Response) -> Option<String> {
    Some(response.headers().get("location")?.to_str().ok()?.to_owned())
}

/// The text in a form. The texts here consist of letters, digits, blanks and hyphens.
fn plus(text: &str) -> String {
    text.replace(' ', "+")
}
