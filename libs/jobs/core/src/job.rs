//! The state machine of a job.
//!
//! ```text
//! queued → running → succeeded
//!    ↑        ├────→ retry_wait → queued
//!    │        └────→ failed ───────┐
//!    └── by request ─ cancelled ───┘
//! ```
//!
//! `lease_token` increases with every change of the state. An event that refers to an
//! earlier state carries the token of that state, and is ignored when the token has
//! changed. So late or duplicate messages do no harm, and neither do workers that
//! resume after they lost their lease.

use crate::types::{Outcome, State};

/// The part of a job's row that its next step depends on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Job {
    /// The job's state.
    pub state: State,
    /// Attempts that were started and not released, since the job was accepted or
    /// last retried by request.
    pub attempt: u32,
    /// Highest number of attempts, at least 1.
    pub max_attempts: u32,
    /// Time before which the job does not start.
    pub run_at: i64,
    /// Fencing token: increases with every change of the state.
    pub lease_token: i64,
    /// Time at which the lease expires; `Some` exactly while the job runs.
    pub lease_until: Option<i64>,
    /// Time from which the sweeper handles the job; `None` if it never does.
    pub due_at: Option<i64>,
    /// Whether the broker confirmed the message of the queued job.
    pub published: bool,
    /// Whether a client asked to cancel the job while it runs.
    pub cancel_requested: bool,
}

/// Milliseconds that a publisher has to publish a job's message before the sweeper
/// publishes it again.
pub const PUBLISH_GRACE_MS: i64 = 2000;

impl Job {
    /// A job that is accepted at `now` and does not start before `run_at`; 0 means at once.
    #[must_use]
    pub fn new(max_attempts: u32, run_at: i64, now: i64) -> Self {
        // main-app publishes a job without a start time as soon as it is accepted. The sweeper
        // publishes the others, even if their time has come by now.
        let due_at = if run_at == 0 { now.saturating_add(PUBLISH_GRACE_MS) } else { run_at.max(now) };
        let run_at = run_at.max(now);
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

/// An event that may change a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// The broker confirmed the message that was published under `token`.
    Published {
        /// Lease token of the job when the message was published.
        token: i64,
    },
    /// A worker received the message and claims the job.
    Claim {
        /// Duration of the lease, in milliseconds.
        lease_ms: i64,
    },
    /// The worker renews its lease.
    Renew {
        /// Lease token of the claim.
        token: i64,
        /// Duration of the lease from now on, in milliseconds.
        lease_ms: i64,
    },
    /// The attempt succeeded; its effect is committed with this step.
    Succeed {
        /// Lease token of the claim.
        token: i64,
    },
    /// The attempt failed.
    Fail {
        /// Lease token of the claim.
        token: i64,
        /// Delay before the next attempt, in milliseconds.
        delay_ms: i64,
        /// Whether the job fails without another attempt.
        permanent: bool,
    },
    /// The worker gives the job back; the attempt does not count.
    Release {
        /// Lease token of the claim.
        token: i64,
        /// Delay before the next attempt, in milliseconds.
        delay_ms: i64,
    },
    /// The sweeper handles the job, because [`Job::due_at`] has passed.
    Sweep {
        /// Delay before the next attempt, in milliseconds, if the lease has expired.
        delay_ms: i64,
    },
    /// The job's message became a dead letter, because workers rejected it or did not
    /// acknowledge it.
    DeadLettered {
        /// Delay before the message is published again, in milliseconds.
        delay_ms: i64,
    },
    /// The broker removed the job's message before a worker received it. This does not count as an
    /// attempt.
    MessageEvicted {
        /// Delay before the message is published again, in milliseconds.
        delay_ms: i64,
    },
    /// The broker lost the job's message: no message of its priority waits, and no worker
    /// claimed the job.
    MessageLost,
    /// A client cancels the job.
    Cancel,
    /// A client retries the job, at once and with all its attempts.
    Retry,
}

/// What a step requires beside the change of the job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Effects {
    /// Apply the job's effect on the database, in the same transaction.
    pub apply: bool,
    /// Record an attempt that ended with this outcome, in the same transaction.
    pub attempt: Option<Outcome>,
    /// Publish a message under the token of the new state, after the commit.
    pub publish: bool,
    /// The job has ended: schedule its callback, in the same transaction.
    pub ended: bool,
}

/// Applies `event` to `job` at time `now`. Returns the changed job and the effects of
/// the change, or `None` if the event is out of date or not valid in this state.
#[must_use]
pub fn step(job: &Job, event: Event, now: i64) -> Option<(Job, Effects)> {
    match event {
        Event::Published { token } => published(job, token),
        Event::Claim { lease_ms } => claim(job, lease_ms, now),
        Event::Renew { token, lease_ms } => renew(job, token, lease_ms, now),
        Event::Succeed { token } => held(job, token).map(|job| end(job, State::Succeeded, Some(Outcome::Succeeded))),
        Event::Fail { token, delay_ms, permanent } => {
            let job = held(job, token)?;
            let outcome = if job.cancel_requested { Outcome::Cancelled } else { Outcome::Failed };
            Some(end_attempt(job, outcome, permanent, delay_ms, now))
        }
        Event::Release { token, delay_ms } => held(job, token).map(|job| release(job, delay_ms, now)),
        Event::Sweep { delay_ms } => sweep(job, delay_ms, now),
        Event::DeadLettered { delay_ms } => dead_lettered(job, delay_ms, now),
        Event::MessageEvicted { delay_ms } => message_evicted(job, delay_ms, now),
        Event::MessageLost => message_lost(job, now),
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
        ..enter(job, State::Running)
    };
    Some((claimed, Effects::default()))
}

fn renew(job: &Job, token: i64, lease_ms: i64, now: i64) -> Option<(Job, Effects)> {
    let job = held(job, token)?;
    let until = now.saturating_add(lease_ms);
    Some((Job { lease_until: Some(until), due_at: Some(until), ..job.clone() }, Effects::default()))
}

/// Returns the job if it runs under this token.
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
        State::Running => Some(end_attempt(job, Outcome::Lost, false, delay_ms, now)),
        State::Succeeded | State::Failed | State::Cancelled => None,
    }
}

fn dead_lettered(job: &Job, delay_ms: i64, now: i64) -> Option<(Job, Effects)> {
    // Published or not: the confirm of this message may still be on its way.
    if job.state != State::Queued {
        return None;
    }
    let job = Job { attempt: job.attempt.saturating_add(1), ..job.clone() };
    Some(end_attempt(&job, Outcome::Undeliverable, false, delay_ms, now))
}

fn message_evicted(job: &Job, delay_ms: i64, now: i64) -> Option<(Job, Effects)> {
    // The new token makes the confirm of the removed message outdated. The sweeper publishes the
    // next message.
    let waiting = || Job { due_at: Some(now.saturating_add(delay_ms)), ..enter(job, State::Queued) };
    (job.state == State::Queued).then(|| (waiting(), Effects::default()))
}

fn message_lost(job: &Job, now: i64) -> Option<(Job, Effects)> {
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

/// Ends an attempt without success: the job ends, or waits for the next attempt.
fn end_attempt(job: &Job, outcome: Outcome, permanent: bool, delay_ms: i64, now: i64) -> (Job, Effects) {
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
    let waiting = Job { run_at, due_at: Some(run_at), ..enter(job, State::RetryWait) };
    (waiting, Effects { attempt: Some(outcome), ..Effects::default() })
}

/// Queues the job, under a new message.
fn requeue(job: &Job, attempt: u32, now: i64) -> (Job, Effects) {
    let due_at = Some(now.saturating_add(PUBLISH_GRACE_MS));
    (Job { attempt, due_at, ..enter(job, State::Queued) }, Effects { publish: true, ..Effects::default() })
}

fn end(job: &Job, state: State, attempt: Option<Outcome>) -> (Job, Effects) {
    let apply = state == State::Succeeded;
    (enter(job, state), Effects { apply, attempt, publish: false, ended: true })
}

/// The job in another state, without lease, due time and message.
fn enter(job: &Job, state: State) -> Job {
    let lease_token = job.lease_token.saturating_add(1);
    Job { state, lease_token, lease_until: None, due_at: None, published: false, ..job.clone() }
}
