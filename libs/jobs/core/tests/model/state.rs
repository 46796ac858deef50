//! States of the protocol, and the size of a search.

use std::collections::{BTreeMap, BTreeSet};

use jobs_core::tables::Tables;

/// The size of a search and the faults in it. Each number of the budget is how
/// often the fault may occur on one path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Config {
    pub(crate) name: &'static str,
    /// Requests with a key each.
    pub(crate) keys: usize,
    pub(crate) workers: usize,
    pub(crate) max_attempts: u32,
    pub(crate) budget: Budget,
}

/// The faults that are left on this path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Budget {
    /// Answers to clients that are lost, together with the message to be published.
    pub(crate) lost_accepts: u8,
    /// Messages that are lost on their way to the broker.
    pub(crate) lost_publishes: u8,
    /// Messages that arrive and whose confirm is lost.
    pub(crate) lost_confirms: u8,
    /// Messages that the broker loses.
    pub(crate) lost_messages: u8,
    /// Messages that the broker delivers twice.
    pub(crate) doubled: u8,
    /// Acknowledgements of messages that are lost.
    pub(crate) lost_acks: u8,
    /// Answers of the database to workers that are lost.
    pub(crate) lost_answers: u8,
    pub(crate) crashes: u8,
    /// Leases that expire while their holder is suspended.
    pub(crate) expiries: u8,
    pub(crate) failures: u8,
    pub(crate) releases: u8,
    pub(crate) dead_letters: u8,
    pub(crate) cancels: u8,
    /// Jobs that a client retries.
    pub(crate) retries: u8,
}

/// Identifies a job.
pub(crate) type Id = u8;

/// State of the whole system at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) tables: Tables<Id>,
    /// The next new id.
    pub(crate) next: Id,
    /// Requests whose client has received the answer.
    pub(crate) answered: BTreeSet<usize>,
    /// Messages about to be published, under the tokens at that time.
    pub(crate) outgoing: BTreeSet<(Id, i64)>,
    /// Messages that were confirmed and are not yet recorded as published.
    pub(crate) confirmed: BTreeSet<(Id, i64)>,
    /// Number of messages of each job that wait in the broker.
    pub(crate) broker: BTreeMap<Id, u8>,
    pub(crate) workers: Vec<Worker>,
    pub(crate) budget: Budget,
    /// Whether a worker acted on a job after it lost the lease.
    pub(crate) stale_seen: bool,
}

/// State of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Worker {
    Idle,
    /// A message was delivered.
    Delivered(Id),
    /// It runs the job under this token.
    Running(Id, i64),
    /// It has finished the job and not acknowledged the message.
    Done(Id),
}

impl State {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            tables: Tables { now: 1000, ..Tables::default() },
            next: 0,
            answered: BTreeSet::new(),
            outgoing: BTreeSet::new(),
            confirmed: BTreeSet::new(),
            broker: BTreeMap::new(),
            workers: vec![Worker::Idle; config.workers],
            budget: config.budget,
            stale_seen: false,
        }
    }

    /// Whether no message is in transit and no worker is busy.
    pub(crate) fn is_quiet(&self) -> bool {
        self.outgoing.is_empty()
            && self.confirmed.is_empty()
            && self.broker.is_empty()
            && self.workers.iter().all(|worker| *worker == Worker::Idle)
    }

    /// Whether a message of the job exists anywhere.
    pub(crate) fn has_message(&self, id: Id) -> bool {
        self.broker.contains_key(&id)
            || self.outgoing.iter().any(|(of, _)| *of == id)
            || self.workers.iter().any(|worker| worker.job() == Some(id))
    }

    /// Whether the broker has a message of the job, or has delivered it.
    pub(crate) fn has_stored_message(&self, id: Id) -> bool {
        self.broker.contains_key(&id) || self.workers.iter().any(|worker| worker.job() == Some(id))
    }

    pub(crate) fn put(&mut self, id: Id) {
        *self.broker.entry(id).or_default() += 1;
    }

    pub(crate) fn take(&mut self, id: Id) {
        if let Some(count) = self.broker.get_mut(&id) {
            *count -= 1;
            if *count == 0 {
                self.broker.remove(&id);
            }
        }
    }
}

impl Worker {
    pub(crate) const fn job(self) -> Option<Id> {
        match self {
            Self::Idle => None,
            Self::Delivered(id) | Self::Running(id, _) | Self::Done(id) => Some(id),
        }
    }
}
