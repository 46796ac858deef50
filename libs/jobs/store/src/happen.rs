//! Changes that are read, stepped and written back.

use std::collections::BTreeMap;

use jobs_core::{Effects, Event, Job, step};
use uuid::Uuid;

use crate::{Change, JobsStore, Result, Seen};

/// What came of an event.
#[derive(Debug, Clone, PartialEq)]
pub struct Happened {
    /// The job after it, without what else is stored of it.
    pub seen: Seen,
    /// What goes with it; nothing, if the event came too late or makes no sense.
    pub effects: Option<Effects>,
}

/// How often a job that others keep changing is read anew.
const ATTEMPTS: u32 = 5;

/// Lets an event happen to each of some jobs, with why, and says what came of it;
/// nothing of a job that does not exist.
pub async fn happen(
    store: &dyn JobsStore,
    events: &[(Uuid, Event, Option<String>)],
) -> Result<BTreeMap<Uuid, Happened>> {
    let mut happened = BTreeMap::new();
    let mut left: Vec<&(Uuid, Event, Option<String>)> = events.iter().collect();
    for _ in 0..ATTEMPTS {
        let ids: Vec<Uuid> = left.iter().map(|(id, ..)| *id).collect();
        let (now, seen) = store.look(&ids).await?;
        let mut seen: BTreeMap<Uuid, Seen> = seen.into_iter().map(|seen| (seen.id, seen)).collect();
        let mut changes = Vec::new();
        for (id, event, error) in left {
            let Some(seen) = seen.remove(id) else { continue };
            match step(&seen.job, *event, now) {
                None => drop(happened.insert(*id, Happened { seen, effects: None })),
                Some((to, effects)) => {
                    let change = Change { id: *id, from: seen.job.clone(), to, effects, error: error.clone() };
                    changes.push((seen, change));
                }
            }
        }
        let refused = write(store, changes, &mut happened).await?;
        if refused.is_empty() {
            return Ok(happened);
        }
        left = events.iter().filter(|(id, ..)| refused.contains(id)).collect();
    }
    Ok(happened)
}

/// Writes what has to be written; says which jobs others have changed meanwhile.
async fn write(
    store: &dyn JobsStore,
    changes: Vec<(Seen, Change)>,
    happened: &mut BTreeMap<Uuid, Happened>,
) -> Result<Vec<Uuid>> {
    let (real, mere): (Vec<_>, Vec<_>) = changes.into_iter().partition(|(_, change)| is_real(&change.from, &change.to));
    let written = if real.is_empty() {
        Vec::new()
    } else {
        store.write(&real.iter().map(|(_, change)| change.clone()).collect::<Vec<_>>()).await?
    };
    let real = real.into_iter().zip(written);
    let mut refused = Vec::new();
    for ((seen, change), written) in mere.into_iter().map(|mere| (mere, true)).chain(real) {
        if written {
            let (id, effects) = (change.id, Some(change.effects));
            happened.insert(id, Happened { seen: Seen { job: change.to, ..seen }, effects });
        } else {
            refused.push(change.id);
        }
    }
    Ok(refused)
}

/// Whether anything changes but the moment at which the sweeper looks again, which
/// it has written down already as it found the job.
fn is_real(from: &Job, to: &Job) -> bool {
    *from != Job { due_at: from.due_at, ..to.clone() }
}
