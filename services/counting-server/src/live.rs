//! The snapshot of the count that the page and the event stream show.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use counting_core::Role;
use counting_words::words;
pub(crate) use kit_web::live::Reader;
use kit_web::live::{self, Frame, Settings, Source};
use serde::Serialize;

use crate::status::{Client, Happening, Status, Statuses, now_ms};

/// Number of numbers in a snapshot.
const LATEST: u64 = 10;

/// Number of seconds for which a snapshot shows how many numbers were stored.
const SECONDS: usize = 60;

/// Four snapshots a second. They are read from memory, once for all watchers.
pub(crate) const SETTINGS: Settings = Settings {
    interval: Duration::from_millis(250),
    max_watchers: 3000,
    unavailable: "The server does not answer; trying again.",
};

pub(crate) type Live = live::Live<Snapshot>;

/// The count at one moment.
#[derive(Debug, Serialize)]
pub(crate) struct Snapshot {
    /// Milliseconds since the Unix epoch, by the server's clock.
    pub(crate) now_ms: u64,
    /// The last number that is stored; null while the file is not open.
    pub(crate) last_number: Option<u64>,
    /// The last numbers that are stored, newest first.
    pub(crate) latest: Vec<Number>,
    /// Whether both clients are there and count.
    pub(crate) counting: bool,
    /// The clients, in the order of their roles.
    pub(crate) clients: [RoleState; 2],
    /// Number of clients that wait for a role.
    pub(crate) waiting: usize,
    /// The reason why numbers cannot be stored.
    pub(crate) error: Option<String>,
    /// Numbers stored in each of the last seconds, oldest first.
    pub(crate) rates: Vec<u64>,
    /// What happened last, newest first.
    pub(crate) happenings: Vec<Happening>,
}

/// A number.
#[derive(Debug, Serialize)]
pub(crate) struct Number {
    pub(crate) number: u64,
    pub(crate) words: String,
}

/// A role, and the client that has it.
#[derive(Debug, Serialize)]
pub(crate) struct RoleState {
    /// `client1` or `client2`.
    pub(crate) client_id: &'static str,
    /// The client; null while nobody has the role.
    pub(crate) holder: Option<Client>,
    /// The last number of the role that is stored; 0 if none.
    pub(crate) last_number: u64,
}

impl Snapshot {
    fn new(status: &Status, rates: Vec<u64>) -> Self {
        let last = status.last_number.unwrap_or(0);
        let latest = (last.saturating_sub(LATEST) + 1..=last).rev();
        Self {
            now_ms: now_ms(),
            last_number: status.last_number,
            latest: latest.map(|number| Number { number, words: words(number) }).collect(),
            counting: status.is_counting,
            clients: Role::ALL.map(|role| RoleState {
                client_id: role.name(),
                holder: status.clients[role as usize].clone(),
                last_number: role.last_up_to(last),
            }),
            waiting: status.waiting,
            error: status.error.clone(),
            rates,
            happenings: status.happenings.iter().cloned().collect(),
        }
    }
}

/// Counts the numbers of each second.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rates(Arc<Mutex<VecDeque<u64>>>);

impl Rates {
    /// Counts until this future is dropped.
    pub(crate) async fn run(self, statuses: Statuses) {
        let last_number = || statuses.read(|status| status.last_number);
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        let mut before = last_number();
        loop {
            seconds.tick().await;
            let last = last_number();
            if let (Some(before), Some(last)) = (before, last) {
                let mut rates = self.lock();
                if rates.len() >= SECONDS {
                    rates.pop_front();
                }
                rates.push_back(last - before);
            }
            before = last;
        }
    }

    fn get(&self) -> Vec<u64> {
        self.lock().iter().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The source of snapshots.
pub(crate) struct Count {
    pub(crate) statuses: Statuses,
    pub(crate) rates: Rates,
}

impl Source for Count {
    type Snapshot = Snapshot;
    type Error = Infallible;

    async fn read(&mut self) -> Result<Frame<Snapshot>, Infallible> {
        let rates = self.rates.get();
        Ok(Frame::new(self.statuses.read(|status| Snapshot::new(status, rates))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_has_the_latest_numbers_in_words() {
        let status = Status { last_number: Some(12), ..Status::default() };
        let snapshot = Snapshot::new(&status, Vec::new());
        let latest: Vec<_> = snapshot.latest.iter().map(|it| (it.number, it.words.as_str())).collect();
        assert_eq!(latest[..2], [(12, "twelve"), (11, "eleven")]);
        assert_eq!(latest.last(), Some(&(3, "three")));
        assert_eq!(snapshot.clients.map(|client| client.last_number), [11, 12]);
    }

    #[test]
    fn an_empty_file_has_no_numbers() {
        for last_number in [None, Some(0)] {
            let snapshot = Snapshot::new(&Status { last_number, ..Status::default() }, Vec::new());
            assert!(snapshot.latest.is_empty());
        }
    }
}
