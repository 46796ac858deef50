//! Changes of single jobs, by compare-and-set.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jobs_core::{Effects, Event, Job, Priority, step};
use uuid::Uuid;

use crate::Result;

/// The part of a job's row that decides about its next step and its message.
#[derive(Debug, Clone, PartialEq)]
pub struct JobSnapshot {
    /// Id of the job.
    pub id: Uuid,
    /// Kind of the job.
    pub kind: String,
    /// Priority.
    pub priority: Priority,
    /// Trace that the job belongs to, as a W3C `traceparent` header.
    pub traceparent: Option<String>,
    /// State of the job.
    pub job: Job,
}

/// Jobs at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshots {
    /// Time of the database's clock, in milliseconds since the Unix epoch.
    pub now: i64,
    /// The jobs.
    pub jobs: Vec<JobSnapshot>,
}

/// A step of a job to write.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Id of the job.
    pub id: Uuid,
    /// State before the step.
    pub from: Job,
    /// State after the step.
    pub to: Job,
    /// Effects of the step.
    pub effects: Effects,
    /// Error of the attempt that the step ends, if it failed.
    pub error: Option<String>,
}

/// Changes single jobs.
#[async_trait]
pub trait TransitionStore: Send + Sync {
    /// Reads jobs. Ids without a job are left out.
    async fn snapshot(&self, ids: &[Uuid]) -> Result<Snapshots>;

    /// Writes each change whose job is still in the state before it. Returns, in the
    /// order of `changes`, whether each was written.
    async fn update(&self, changes: &[Change]) -> Result<Vec<bool>>;
}

/// An event for a job.
#[derive(Debug, Clone, PartialEq)]
pub struct JobEvent {
    /// Id of the job.
    pub id: Uuid,
    /// The event.
    pub event: Event,
    /// Error of the attempt that the event ends, if it failed.
    pub error: Option<String>,
}

impl JobEvent {
    /// An event without an error.
    #[must_use]
    pub const fn new(id: Uuid, event: Event) -> Self {
        Self { id, event, error: None }
    }
}

/// The result of applying an event.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// The job after the event.
    pub snapshot: JobSnapshot,
    /// Effects of the change; `None` if the event was out of date or not valid in the
    /// job's state.
    pub effects: Option<Effects>,
}

/// How often a job that others change at the same time is read again.
const ATTEMPTS: u32 = 5;

/// Applies each event to its job and returns the results by job. An event is left out of
/// the results if its job does not exist, or if others changed the job at each try.
pub async fn apply(store: &dyn TransitionStore, events: &[JobEvent]) -> Result<BTreeMap<Uuid, Applied>> {
    let mut applied = BTreeMap::new();
    let mut left: Vec<&JobEvent> = events.iter().collect();
    for _ in 0..ATTEMPTS {
        let ids: Vec<Uuid> = left.iter().map(|event| event.id).collect();
        let Snapshots { now, jobs } = store.snapshot(&ids).await?;
        let mut jobs: BTreeMap<Uuid, JobSnapshot> = jobs.into_iter().map(|snapshot| (snapshot.id, snapshot)).collect();
        let mut changes = Vec::new();
        for JobEvent { id, event, error } in left {
            let Some(snapshot) = jobs.remove(id) else { continue };
            match step(&snapshot.job, *event, now) {
                None => drop(applied.insert(*id, Applied { snapshot, effects: None })),
                Some((to, effects)) => {
                    let change = Change { id: *id, from: snapshot.job.clone(), to, effects, error: error.clone() };
                    changes.push((snapshot, change));
                }
            }
        }
        let outdated = update(store, changes, &mut applied).await?;
        if outdated.is_empty() {
            return Ok(applied);
        }
        left = events.iter().filter(|event| outdated.contains(&event.id)).collect();
    }
    Ok(applied)
}

/// Writes the changes and adds those that were written to `applied`. Returns the jobs
/// that others have changed since they were read.
async fn update(
    store: &dyn TransitionStore,
    changes: Vec<(JobSnapshot, Change)>,
    applied: &mut BTreeMap<Uuid, Applied>,
) -> Result<Vec<Uuid>> {
    let (to_write, unchanged): (Vec<_>, Vec<_>) =
        changes.into_iter().partition(|(_, change)| needs_write(&change.from, &change.to));
    let written = if to_write.is_empty() {
        Vec::new()
    } else {
        store.update(&to_write.iter().map(|(_, change)| change.clone()).collect::<Vec<_>>()).await?
    };
    let to_write = to_write.into_iter().zip(written);
    let mut outdated = Vec::new();
    for ((snapshot, change), written) in unchanged.into_iter().map(|unchanged| (unchanged, true)).chain(to_write) {
        if written {
            let (id, effects) = (change.id, Some(change.effects));
            applied.insert(id, Applied { snapshot: JobSnapshot { job: change.to, ..snapshot }, effects });
        } else {
            outdated.push(change.id);
        }
    }
    Ok(outdated)
}

/// Whether a step changes more than `due_at` alone: [`SweepStore::take_due`] has written
/// that when it found the job.
///
/// [`SweepStore::take_due`]: crate::SweepStore::take_due
fn needs_write(from: &Job, to: &Job) -> bool {
    *from != Job { due_at: from.due_at, ..to.clone() }
}
