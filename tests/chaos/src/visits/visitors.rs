//! Visitors, one on each connection, that record their answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use reqwest::{Client, Response};
use serde_json::Value as Json;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Time limit of a request; the service has to answer sooner.
const PATIENCE: Duration = Duration::from_secs(10);

/// Pause of a visitor after a request without an answer.
const PAUSE: Duration = Duration::from_millis(10);

/// Answers that visitors received.
#[derive(Debug, Default)]
pub(super) struct Books {
    /// For each number, how often visitors received it.
    pub(super) numbers: BTreeMap<i64, u32>,
    /// Visits that the service rejected, to be repeated later.
    pub(super) turned_away: u64,
    /// Visits without an answer: the connection broke.
    pub(super) unanswered: u64,
    /// Answers that the service must never give.
    pub(super) wrong: Vec<String>,
    /// Longest time until an answer, or until the connection broke.
    pub(super) longest: Duration,
    /// Shortest time from a mark until the next counted visit.
    pub(super) first_after: Option<Duration>,
}

impl Books {
    /// Number of visits that received a number.
    pub(super) fn counted(&self) -> u64 {
        self.numbers.values().map(|times| u64::from(*times)).sum()
    }

    /// Numbers that more than one visitor received.
    pub(super) fn twice(&self) -> Vec<i64> {
        self.numbers.iter().filter(|(_, times)| **times > 1).map(|(number, _)| *number).collect()
    }

    /// Ranges of numbers up to `total` that no visitor received: first and last number.
    pub(super) fn gaps(&self, total: i64) -> Vec<(i64, i64)> {
        let seen = self.numbers.keys().copied().chain([total + 1]);
        let before = std::iter::once(0).chain(self.numbers.keys().copied());
        before
            .zip(seen)
            .filter(|(before, next)| next - before > 1)
            .map(|(before, next)| (before + 1, next - 1))
            .collect()
    }

    fn add(&mut self, other: Self) {
        for (number, times) in other.numbers {
            *self.numbers.entry(number).or_default() += times;
        }
        self.turned_away += other.turned_away;
        self.unanswered += other.unanswered;
        self.wrong.extend(other.wrong);
        self.longest = self.longest.max(other.longest);
        self.first_after = [self.first_after, other.first_after].into_iter().flatten().min();
    }
}

/// Result of a visit.
enum Outcome {
    Number(i64),
    TurnedAway,
    Unanswered,
    Wrong(String),
}

/// Concurrent visitors.
pub(super) struct Visitors {
    counted: Arc<AtomicU64>,
    stop: watch::Sender<bool>,
    mark: watch::Sender<Option<Instant>>,
    tasks: JoinSet<Books>,
}

impl Visitors {
    /// Starts `count` visitors, spread over the services of `urls`. Every other visitor
    /// requests the page, the rest use the API.
    pub(super) fn start(count: usize, urls: &[&str]) -> Result<Self> {
        let (counted, stop, mark) = (Arc::default(), watch::Sender::new(false), watch::Sender::new(None));
        let mut tasks = JoinSet::new();
        for number in 0..count {
            let url = urls.get(number % urls.len()).context("a service")?;
            let visitor = Visitor {
                client: testkit::http_client_builder().timeout(PATIENCE).pool_max_idle_per_host(1).build()?,
                url: (*url).to_owned(),
                by_page: (number / urls.len()).is_multiple_of(2),
                counted: Arc::clone(&counted),
                stop: stop.subscribe(),
                mark: mark.subscribe(),
                books: Books::default(),
            };
            tasks.spawn(visitor.run());
        }
        Ok(Self { counted, stop, mark, tasks })
    }

    /// Waits until `visits` visits have been counted.
    pub(super) async fn counted(&self, visits: u64) {
        let mut looks = tokio::time::interval(Duration::from_millis(5));
        while self.counted.load(Ordering::Relaxed) < visits {
            looks.tick().await;
        }
    }

    /// Sets the mark from which the time until the next counted visit is measured.
    pub(super) fn mark(&self) {
        self.mark.send_replace(Some(Instant::now()));
    }

    /// Lets all visitors finish their requests, and adds up their answers.
    pub(super) async fn stop(mut self) -> Result<Books> {
        self.stop.send_replace(true);
        let mut books = Books::default();
        while let Some(visitor) = self.tasks.join_next().await {
            books.add(visitor?);
        }
        Ok(books)
    }
}

struct Visitor {
    client: Client,
    url: String,
    by_page: bool,
    counted: Arc<AtomicU64>,
    stop: watch::Receiver<bool>,
    mark: watch::Receiver<Option<Instant>>,
    books: Books,
}

impl Visitor {
    async fn run(mut self) -> Books {
        while !*self.stop.borrow() {
            let began = Instant::now();
            let outcome = self.visit().await;
            self.books.longest = self.books.longest.max(began.elapsed());
            match outcome {
                Outcome::Number(number) => self.note(number),
                Outcome::TurnedAway => self.books.turned_away += 1,
                Outcome::Wrong(what) => self.books.wrong.push(what),
                Outcome::Unanswered => {
                    self.books.unanswered += 1;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        self.books
    }

    fn note(&mut self, number: i64) {
        *self.books.numbers.entry(number).or_default() += 1;
        self.counted.fetch_add(1, Ordering::Relaxed);
        if let Some(mark) = *self.mark.borrow()
            && self.books.first_after.is_none()
        {
            self.books.first_after = Some(mark.elapsed());
        }
    }

    async fn visit(&self) -> Outcome {
        let request = if self.by_page {
            self.client.get(format!("{}/", self.url))
        } else {
            self.client.post(format!("{}/api/visits", self.url))
        };
        let Ok(response) = request.send().await else { return Outcome::Unanswered };
        match response.status().as_u16() {
            200 => {}
            503 if response.headers().contains_key("retry-after") => {
                // The body is read to its end, so that the connection is reused.
                return if response.bytes().await.is_ok() { Outcome::TurnedAway } else { Outcome::Unanswered };
            }
            status => return Outcome::Wrong(format!("status {status}")),
        }
        let Ok(text) = text(response).await else { return Outcome::Unanswered };
        number(&text, self.by_page).map_or_else(|| Outcome::Wrong(text), Outcome::Number)
    }
}

async fn text(response: Response) -> reqwest::Result<String> {
    response.text().await
}

fn number(text: &str, by_page: bool) -> Option<i64> {
    if by_page {
        return text.split_once(" environment! Counter: ")?.1.split_once('<')?.0.parse().ok();
    }
    serde_json::from_str::<Json>(text).ok()?["number"].as_i64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn books_tell_what_was_seen_twice_and_what_by_nobody() {
        let mut books = Books { numbers: BTreeMap::from([(1, 1), (4, 1), (5, 1)]), ..Books::default() };
        books.add(Books { numbers: BTreeMap::from([(5, 1), (6, 1)]), ..Books::default() });
        assert_eq!((books.counted(), books.twice()), (5, vec![5]));
        assert_eq!(books.gaps(6), [(2, 3)]);
        assert_eq!(books.gaps(9), [(2, 3), (7, 9)]);
        assert_eq!(Books::default().gaps(2), [(1, 2)]);
        assert_eq!(Books::default().gaps(0), []);
    }

    #[test]
    fn numbers_are_read_from_page_and_api() {
        assert_eq!(number("<h1>Hi from a environment! Counter: 12</h1>", true), Some(12));
        assert_eq!(number(r#"{"number":12}"#, false), Some(12));
        assert_eq!(number("nonsense", true).or(number("nonsense", false)), None);
    }
}
