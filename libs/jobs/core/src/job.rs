//! The life of a job.
//!
//! ```text
//! queued → running → succeeded
//!    ↑        ├────→ retry_wait → queued
//!    │        └────→ failed ───────┐
//!    └──── by hand ─ cancelled ────┘
//! ```
//!
//! `lease_token` grows with every change of the state. Whoever acts on a job that
//! it saw earlier names the token that it saw, and does nothing if it is another
//! one by now: that is what makes messages harmless that come late or twice, and
//! workers that wake up after they were given up.

use crate::types::{Outcome, State};

/// What of a job's row decides what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Job {
    /// Where it stands.
    pub state: State,
    /// How often it has been begun and not given back, since it was accepted or
    /// retried by hand.
    pub attempt: u32,
    /// How often it is tried at most, at least 1.
    pub max_attempts: u32,
    /// Not begun before this moment.
    pub run_at: i64,
    /// Grows with every change of the state.
    pub lease_token: i64,
    /// While it runs: it is given up if this passes.
    pub lease_until: Option<i64>,
    /// When the sweeper has to look at it, if nothing happens before; never, if `None`.
    pub due_at: Option<i64>,
    /// Whether the broker has confirmed the message that says that it waits.
    pub published: bool,
    /// Whether it is to end as soon as it can.
    pub cancel_requested: bool,
}

/// How long the sweeper leaves a job alone that is being published, in milliseconds.
pub const PUBLISH_GRACE_MS: i64 = 2000;

impl Job {
    /// A job that is accepted `now`, to be run from `run_at` on.
    #[must_use]
    pub fn new(max_attempts: u32, run_at: i64, now: i64) -> Self {
        let run_at = run_at.max(now);
        // Whoever accepts a job publishes it at once, unless its time is yet to come.
        let due_at = if run_at > now { run_at } else { now.saturating_add(PUBLISH_GRACE_MS) };
        Self {
            state: State::Queued,
            attempt: 0,
            max_attempts,
            run_at,
            lease_token: 0,
            lease_until: None,
            due_at: Some(due_at),
            published: false,
            cancel_requested: false,
        }
    }
}

/// What happens to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// The broker has confirmed the message that was published under `token`.
    Published {
        /// The token at that time.
        token: i64,
    },
    /// A message came, and somebody wants to run it for `lease_ms` at first.
    Claim {
        /// Milliseconds.
        lease_ms: i64,
    },
    /// Whoever runs it is still there.
    Extend {
        /// Of the claim.
        token: i64,
        /// Milliseconds from now on.
        lease_ms: i64,
    },
    /// It is done; its effect goes with this step.
    Succeed {
        /// Of the claim.
        token: i64,
    },
    /// The attempt failed.
    Fail {
        /// Of the claim.
        token: i64,
        /// Milliseconds until the next attempt.
        delay_ms: i64,
        /// Whether another attempt is of no use.
        permanent: bool,
    },
    /// Whoever claimed it gives it back; the attempt does not count.
    Release {
        /// Of the claim.
        token: i64,
        /// Milliseconds until the next attempt.
        delay_ms: i64,
    },
    /// Its time has come, as [`Job::due_at`] said.
    Sweep {
        /// Milliseconds until the next attempt, should this one be lost.
        delay_ms: i64,
    },
    /// Its message became a dead letter.
    Dead {
        /// Milliseconds until it is published anew.
        delay_ms: i64,
    },
    /// Its message seems to be gone: nobody holds any.
    Missing,
    /// Somebody does not want it any more.
    Cancel,
    /// Somebody wants it to be tried, now, and with all its attempts.
    Retry,
}

/// What goes with a step, in the same transaction or right after it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Effects {
    /// The job's effect on the database is carried out, in the same transaction.
    pub apply: bool,
    /// An attempt is over, in this way.
    pub attempt: Option<Outcome>,
    /// A message is published under the token of the new state.
    pub publish: bool,
    /// The job has ended, and whoever wanted to be called is called.
    pub ended: bool,
}

/// What becomes of `job` when `event` happens at the moment `now`; nothing, if the
/// event comes too late or makes no sense.
#[must_use]
pub fn step(job: &Job, event: Event, now: i64) -> Option<(Job, Effects)> {
    match event {
        Event::Published { token } => published(job, token),
        Event::Claim { lease_ms } => claim(job, lease_ms, now),
        Event::Extend { token, lease_ms } => extend(job, token, lease_ms, now),
        Event::Succeed { token } => held(job, token).map(|job| end(job, State::Succeeded, Some(Outcome::Succeeded))),
        Event::Fail { token, delay_ms, permanent } => {
            let job = held(job, token)?;
            let outcome = if job.cancel_requested { Outcome::Cancelled } else { Outcome::Failed };
            Some(over(job, outcome, permanent, delay_ms, now))
        }
        Event::Release { token, delay_ms } => held(job, token).map(|job| release(job, delay_ms, now)),
        Event::Sweep { delay_ms } => sweep(job, delay_ms, now),
        Event::Dead { delay_ms } => dead(job, delay_ms, now),
        Event::Missing => missing(job, now),
        Event::Cancel => cancel(job),
        Event::Retry => retry(job, now),
    }
}

fn published(job: &Job, token: i64) -> Option<(Job, Effects)> {
    let waits = job.state == State::Queued && !job.published && job.lease_token == token;
    waits.then(|| (Job { published: true, due_at: None, ..job.clone() }, Effects::default()))
}

fn claim(job: &Job, lease_ms: i64, now: i64) -> Option<(Job, Effects)> {
    if job.state != State::Queued || job.run_at > now {
        return None;
    }
    let until = now.saturating_add(lease_ms);
    let claimed = Job {
        attempt: job.attempt.saturating_add(1),
        lease_until: Some(until),
        due_at: Some(until),
        ..moved(job, State::Running)
    };
    Some((claimed, Effects::default()))
}

fn extend(job: &Job, token: i64, lease_ms: i64, now: i64) -> Option<(Job, Effects)> {
    let job = held(job, token)?;
    let until = now.saturating_add(lease_ms);
    Some((Job { lease_until: Some(until), due_at: Some(until), ..job.clone() }, Effects::default()))
}

/// The job, if it runs under this token.
fn held(job: &Job, token: i64) -> Option<&Job> {
    (job.state == State::Running && job.lease_token == token).then_some(job)
}

fn release(job: &Job, delay_ms: i64, now: i64) -> (Job, Effects) {
    if job.cancel_requested {
        return end(job, State::Cancelled, Some(Outcome::Cancelled));
    }
    let (mut job, effects) = wait(job, Outcome::Released, delay_ms, now);
    job.attempt = job.attempt.saturating_sub(1);
    (job, effects)
}

fn sweep(job: &Job, delay_ms: i64, now: i64) -> Option<(Job, Effects)> {
    if job.due_at.is_none_or(|due| due > now) {
        return None;
    }
    match job.state {
        State::Queued => {
            let job = Job { due_at: Some(now.saturating_add(PUBLISH_GRACE_MS)), ..job.clone() };
            Some((job, Effects { publish: true, ..Effects::default() }))
        }
        State::RetryWait => Some(requeue(job, job.attempt, now)),
        State::Running if job.cancel_requested => Some(end(job, State::Cancelled, Some(Outcome::Lost))),
        State::Running => Some(over(job, Outcome::Lost, false, delay_ms, now)),
        State::Succeeded | State::Failed | State::Cancelled => None,
    }
}

fn dead(job: &Job, delay_ms: i64, now: i64) -> Option<(Job, Effects)> {
    // Published or not: the confirm of this very message may be yet to come.
    if job.state != State::Queued {
        return None;
    }
    let job = Job { attempt: job.attempt.saturating_add(1), ..job.clone() };
    Some(over(&job, Outcome::Undeliverable, false, delay_ms, now))
}

fn missing(job: &Job, now: i64) -> Option<(Job, Effects)> {
    let waits = job.state == State::Queued && job.published;
    waits.then(|| requeue(job, job.attempt, now))
}

fn cancel(job: &Job) -> Option<(Job, Effects)> {
    match job.state {
        State::Queued | State::RetryWait => Some(end(job, State::Cancelled, None)),
        State::Running => Some((Job { cancel_requested: true, ..job.clone() }, Effects::default())),
        State::Succeeded | State::Failed | State::Cancelled => None,
    }
}

fn retry(job: &Job, now: i64) -> Option<(Job, Effects)> {
    match job.state {
        State::Failed | State::Cancelled | State::RetryWait => {
            let job = Job { run_at: now, cancel_requested: false, ..job.clone() };
            Some(requeue(&job, 0, now))
        }
        State::Queued | State::Running | State::Succeeded => None,
    }
}

/// An attempt is over without success: the job ends, or waits for the next one.
fn over(job: &Job, outcome: Outcome, permanent: bool, delay_ms: i64, now: i64) -> (Job, Effects) {
    if outcome == Outcome::Cancelled {
        end(job, State::Cancelled, Some(outcome))
    } else if permanent || job.attempt >= job.max_attempts {
        end(job, State::Failed, Some(outcome))
    } else {
        wait(job, outcome, delay_ms, now)
    }
}

fn wait(job: &Job, outcome: Outcome, delay_ms: i64, now: i64) -> (Job, Effects) {
    let run_at = now.saturating_add(delay_ms);
    let waiting = Job { run_at, due_at: Some(run_at), ..moved(job, State::RetryWait) };
    (waiting, Effects { attempt: Some(outcome), ..Effects::default() })
}

/// The job waits to be run, and a message has to say so.
fn requeue(job: &Job, attempt: u32, now: i64) -> (Job, Effects) {
    let due_at = Some(now.saturating_add(PUBLISH_GRACE_MS));
    (Job { attempt, due_at, ..moved(job, State::Queued) }, Effects { publish: true, ..Effects::default() })
}

fn end(job: &Job, state: State, attempt: Option<Outcome>) -> (Job, Effects) {
    let apply = state == State::Succeeded;
    (moved(job, state), Effects { apply, attempt, publish: false, ended: true })
}

/// The job in another state: what belonged to the former one is gone.
fn moved(job: &Job, state: State) -> Job {
    let lease_token = job.lease_token.saturating_add(1);
    Job { state, lease_token, lease_until: None, due_at: None, published: false, ..job.clone() }
}
