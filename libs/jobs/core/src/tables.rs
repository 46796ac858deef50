//! What each storage operation does, as plain data.
//!
//! Every operation is one transaction, and every change of a job is a
//! [`step`](crate::job::step).

use std::collections::BTreeMap;

use crate::job::{Effects, Event, Job, step};
use crate::types::{Outcome, State};

/// Everything in the database.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tables<Id: Ord> {
    /// The jobs.
    pub jobs: BTreeMap<Id, Row>,
    /// Which job an idempotency key stands for.
    pub keys: BTreeMap<String, Id>,
    /// The database's clock.
    pub now: i64,
}

/// A job with what has become of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Row {
    /// The job.
    pub job: Job,
    /// What was asked for.
    pub request_hash: [u8; 32],
    /// How often its effect has been carried out.
    pub effects: u32,
    /// The attempts that are over.
    pub attempts: Vec<Outcome>,
    /// How often it ended.
    pub endings: u32,
}

/// A job to be accepted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NewJob<Id> {
    /// A new id.
    pub id: Id,
    /// The client's idempotency key.
    pub key: Option<String>,
    /// What was asked for.
    pub request_hash: [u8; 32],
    /// At least 1.
    pub max_attempts: u32,
    /// Not before this moment.
    pub run_at: i64,
}

/// What came of accepting a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Accepted<Id> {
    /// It is a new one.
    New(Id),
    /// The same request was accepted before, as this job.
    Known(Id, State),
    /// The key stands for another request.
    Conflict,
}

impl<Id> Accepted<Id> {
    /// Whether there is one job more.
    pub const fn is_new(&self) -> bool {
        matches!(self, Self::New(_))
    }
}

/// The places of those, among jobs that are accepted together, whose keys stand for
/// other requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflicts(pub Vec<usize>);

impl Conflicts {
    /// Those among `accepted`.
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
    /// Accepts a job, unless its key is known.
    pub fn accept(&mut self, new: NewJob<Id>) -> Accepted<Id> {
        let known = new.key.as_ref().and_then(|key| self.keys.get(key)).copied();
        if let Some(known) = known {
            return match self.jobs.get(&known) {
                Some(row) if row.request_hash == new.request_hash => Accepted::Known(known, row.job.state),
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

    /// Accepts jobs; none of them, if the keys of some stand for other requests: then
    /// says which, by their places.
    ///
    /// # Errors
    ///
    /// [`Conflicts`].
    pub fn accept_together(&mut self, new: Vec<NewJob<Id>>) -> Result<Vec<Accepted<Id>>, Conflicts> {
        let mut tables = self.clone();
        let accepted: Vec<_> = new.into_iter().map(|job| tables.accept(job)).collect();
        let conflicts = Conflicts::among(&accepted);
        if conflicts.0.is_empty() {
            *self = tables;
            return Ok(accepted);
        }
        Err(conflicts)
    }

    /// Lets `event` happen to a job. Says what goes with it; nothing, if nothing
    /// has happened.
    pub fn happen(&mut self, id: Id, event: Event) -> Option<Effects> {
        let row = self.jobs.get_mut(&id)?;
        let (job, effects) = step(&row.job, event, self.now)?;
        row.job = job;
        row.effects += u32::from(effects.apply);
        row.attempts.extend(effects.attempt);
        row.endings += u32::from(effects.ended);
        Some(effects)
    }

    /// The jobs that the sweeper has to look at.
    #[must_use]
    pub fn due(&self) -> Vec<Id> {
        let is_due = |row: &Row| row.job.due_at.is_some_and(|due| due <= self.now);
        self.jobs.iter().filter(|(_, row)| is_due(row)).map(|(id, _)| *id).collect()
    }
}
