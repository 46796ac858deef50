//! The storage operations, on plain data.
//!
//! Each operation is one transaction, and each change of a job is a
//! [`step`](crate::job::step).

use std::collections::BTreeMap;

use crate::job::{Effects, Event, Job, step};
use crate::types::{Outcome, State};

/// The contents of the database.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tables<Id: Ord> {
    /// Jobs by id.
    pub jobs: BTreeMap<Id, Row>,
    /// Ids of jobs by idempotency key.
    pub keys: BTreeMap<String, Id>,
    /// Time of the database's clock, in milliseconds since the Unix epoch.
    pub now: i64,
}

/// A job and its history.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Row {
    /// State of the job.
    pub job: Job,
    /// [Hash](crate::request::Request::hash) of the request.
    pub request_hash: [u8; 32],
    /// Number of times the job's effect was applied.
    pub effects: u32,
    /// Outcomes of the attempts that have ended.
    pub attempts: Vec<Outcome>,
    /// Number of times the job has ended.
    pub endings: u32,
}

/// A job to accept.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NewJob<Id> {
    /// Id of the job; must be new.
    pub id: Id,
    /// The client's idempotency key.
    pub key: Option<String>,
    /// [Hash](crate::request::Request::hash) of the request.
    pub request_hash: [u8; 32],
    /// Highest number of attempts, at least 1.
    pub max_attempts: u32,
    /// Time before which the job does not start. 0 means at once: the caller publishes the
    /// job's message.
    pub run_at: i64,
}

/// The result of accepting a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Accepted<Id> {
    /// A new job was created.
    New(Id),
    /// The same request was accepted before: this is its job and the job's state.
    Existing(Id, State),
    /// The idempotency key belongs to a different request.
    Conflict,
}

impl<Id> Accepted<Id> {
    /// Whether a job was created.
    pub const fn is_new(&self) -> bool {
        matches!(self, Self::New(_))
    }
}

/// Indices of the jobs of a request whose idempotency keys belong to different requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflicts(pub Vec<usize>);

impl Conflicts {
    /// The indices of the conflicts in `accepted`.
    #[must_use]
    pub fn among<Id>(accepted: &[Accepted<Id>]) -> Self {
        let conflicting = accepted.iter().enumerate().filter(|(_, accepted)| matches!(accepted, Accepted::Conflict));
        Self(conflicting.map(|(place, _)| place).collect())
    }
}

impl<Id: Ord> Default for Tables<Id> {
    fn default() -> Self {
        Self { jobs: BTreeMap::new(), keys: BTreeMap::new(), now: 0 }
    }
}

impl<Id: Ord + Copy> Tables<Id> {
    /// Accepts a job, unless its idempotency key is already in use.
    pub fn accept(&mut self, new: NewJob<Id>) -> Accepted<Id> {
        let known = new.key.as_ref().and_then(|key| self.keys.get(key)).copied();
        if let Some(known) = known {
            return match self.jobs.get(&known) {
                Some(row) if row.request_hash == new.request_hash => Accepted::Existing(known, row.job.state),
                _ => Accepted::Conflict,
            };
        }
        if let Some(key) = new.key {
            self.keys.insert(key, new.id);
        }
        let job = Job::new(new.max_attempts, new.run_at, self.now);
        let row = Row { job, request_hash: new.request_hash, effects: 0, attempts: Vec::new(), endings: 0 };
        self.jobs.insert(new.id, row);
        Accepted::New(new.id)
    }

    /// Accepts all of the jobs or none.
    ///
    /// # Errors
    ///
    /// Accepts none when the keys of some belong to different requests.
    pub fn accept_all(&mut self, new: Vec<NewJob<Id>>) -> Result<Vec<Accepted<Id>>, Conflicts> {
        let mut tables = self.clone();
        let accepted: Vec<_> = new.into_iter().map(|job| tables.accept(job)).collect();
        let conflicts = Conflicts::among(&accepted);
        if conflicts.0.is_empty() {
            *self = tables;
            return Ok(accepted);
        }
        Err(conflicts)
    }

    /// Applies `event` to a job and returns the effects of the change; `None` if the
    /// event changes nothing.
    pub fn apply(&mut self, id: Id, event: Event) -> Option<Effects> {
        let row = self.jobs.get_mut(&id)?;
        let (job, effects) = step(&row.job, event, self.now)?;
        row.job = job;
        row.effects += u32::from(effects.apply);
        row.attempts.extend(effects.attempt);
        row.endings += u32::from(effects.ended);
        Some(effects)
    }

    /// Ids of the jobs that are due for the sweeper.
    #[must_use]
    pub fn due(&self) -> Vec<Id> {
        let is_due = |row: &Row| row.job.due_at.is_some_and(|due| due <= self.now);
        self.jobs.iter().filter(|(_, row)| is_due(row)).map(|(id, _)| *id).collect()
    }
}
