//! The possible actions and their results.

use jobs_core::tables::{Accepted, NewJob};
use jobs_core::{Event, State as JobState};

use crate::state::{Id, State, Worker};
use crate::{Mutation, Protocol};

/// One step of a client, main-app, the broker or a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    /// A client submits the job of its key and receives the answer.
    Request(usize),
    /// The same, but main-app dies between the commit and the answer.
    RequestAnswerLost(usize),
    Publish(Id, i64),
    PublishLost(Id, i64),
    ConfirmLost(Id, i64),
    Mark(Id, i64),
    /// The job becomes due, and the sweeper handles it.
    Sweep(Id),
    /// The lease of a job expires while a worker still runs it, and the sweeper handles it.
    Expire(Id),
    MessageLost(Id),
    Missing(Id),
    Double(Id),
    DeadLetter(Id),
    Evict(Id),
    Deliver(usize, Id),
    Claim(usize),
    ClaimAnswerLost(usize),
    Succeed(usize),
    SucceedAnswerLost(usize),
    Fail(usize),
    Release(usize),
    Ack(usize),
    AckLost(usize),
    Crash(usize),
    Cancel(Id),
    Retry(Id),
}

const LEASE_MS: i64 = 100;
const DELAY_MS: i64 = 10;

pub(crate) fn possible(model: &Protocol, state: &State, actions: &mut Vec<Action>) {
    let budget = state.budget;
    for key in 0..model.config.keys {
        if !state.answered.contains(&key) {
            actions.push(Action::Request(key));
            push_if(actions, budget.lost_accepts > 0, Action::RequestAnswerLost(key));
        }
    }
    for &(id, token) in &state.outgoing {
        actions.push(Action::Publish(id, token));
        push_if(actions, budget.lost_publishes > 0, Action::PublishLost(id, token));
        push_if(actions, budget.lost_confirms > 0, Action::ConfirmLost(id, token));
    }
    actions.extend(state.confirmed.iter().map(|&(id, token)| Action::Mark(id, token)));
    for &id in state.broker.keys() {
        push_if(actions, budget.lost_messages > 0, Action::MessageLost(id));
        push_if(actions, budget.doubled > 0, Action::Double(id));
        push_if(actions, budget.dead_letters > 0, Action::DeadLetter(id));
        push_if(actions, budget.dead_letters > 0, Action::Evict(id));
        let idle = state.workers.iter().enumerate().filter(|(_, worker)| **worker == Worker::Idle);
        // Idle workers are equivalent.
        actions.extend(idle.take(1).map(|(worker, _)| Action::Deliver(worker, id)));
    }
    for &id in state.tables.jobs.keys() {
        of_job(model, state, id, actions);
    }
    for (index, worker) in state.workers.iter().enumerate() {
        of_worker(state, index, *worker, actions);
    }
}

fn of_job(model: &Protocol, state: &State, id: Id, actions: &mut Vec<Action>) {
    let (job, budget) = (&state.tables.jobs[&id].job, state.budget);
    let skipped = |mutation| model.mutation == Some(mutation);
    match job.state {
        JobState::Queued if !job.published => {
            // The sweeper publishes again only after the publisher has had time to do so.
            let pending =
                state.outgoing.contains(&(id, job.lease_token)) || state.confirmed.contains(&(id, job.lease_token));
            push_if(actions, !pending && !skipped(Mutation::SweepForgetsUnpublished), Action::Sweep(id));
        }
        JobState::Queued => push_if(actions, !state.has_message(id), Action::Missing(id)),
        JobState::RetryWait => push_if(actions, !skipped(Mutation::SweepForgetsRetries), Action::Sweep(id)),
        JobState::Running if !skipped(Mutation::SweepForgetsLeases) => {
            let is_held = state.workers.contains(&Worker::Running(id, job.lease_token));
            push_if(actions, !is_held, Action::Sweep(id));
            push_if(actions, is_held && budget.expiries > 0, Action::Expire(id));
        }
        _ => {}
    }
    push_if(actions, budget.cancels > 0, Action::Cancel(id));
    push_if(actions, budget.retries > 0, Action::Retry(id));
}

fn of_worker(state: &State, index: usize, worker: Worker, actions: &mut Vec<Action>) {
    let budget = state.budget;
    match worker {
        Worker::Idle => return,
        Worker::Delivered(_) => {
            actions.push(Action::Claim(index));
            push_if(actions, budget.lost_answers > 0, Action::ClaimAnswerLost(index));
        }
        Worker::Running(..) => {
            actions.push(Action::Succeed(index));
            push_if(actions, budget.lost_answers > 0, Action::SucceedAnswerLost(index));
            push_if(actions, budget.failures > 0, Action::Fail(index));
            push_if(actions, budget.releases > 0, Action::Release(index));
        }
        Worker::Done(_) => {
            actions.push(Action::Ack(index));
            push_if(actions, budget.lost_acks > 0, Action::AckLost(index));
        }
    }
    push_if(actions, budget.crashes > 0, Action::Crash(index));
}

fn push_if(actions: &mut Vec<Action>, possible: bool, action: Action) {
    if possible {
        actions.push(action);
    }
}

pub(crate) fn apply(model: &Protocol, state: &mut State, action: Action) {
    match action {
        Action::Request(key) => {
            if let Accepted::New(id) = accept(model, state, key) {
                state.outgoing.insert((id, 0));
            }
            state.answered.insert(key);
        }
        Action::RequestAnswerLost(key) => {
            state.budget.lost_accepts -= 1;
            accept(model, state, key);
        }
        Action::Publish(id, token) => {
            state.outgoing.remove(&(id, token));
            state.put(id);
            state.confirmed.insert((id, token));
        }
        Action::PublishLost(id, token) => {
            state.budget.lost_publishes -= 1;
            state.outgoing.remove(&(id, token));
        }
        Action::ConfirmLost(id, token) => {
            state.budget.lost_confirms -= 1;
            state.outgoing.remove(&(id, token));
            state.put(id);
        }
        Action::Mark(id, token) => mark(model, state, id, token),
        Action::Sweep(id) => sweep(state, id),
        Action::Expire(id) => {
            state.budget.expiries -= 1;
            sweep(state, id);
        }
        Action::MessageLost(id) => {
            state.budget.lost_messages -= 1;
            state.take(id);
        }
        Action::Missing(id) => apply_event(state, id, Event::MessageLost),
        Action::Double(id) => {
            state.budget.doubled -= 1;
            state.put(id);
        }
        Action::DeadLetter(id) => {
            state.budget.dead_letters -= 1;
            state.take(id);
            apply_event(state, id, Event::DeadLettered { delay_ms: DELAY_MS });
        }
        Action::Evict(id) => {
            state.budget.dead_letters -= 1;
            state.take(id);
            apply_event(state, id, Event::MessageEvicted { delay_ms: DELAY_MS });
        }
        Action::Deliver(worker, id) => {
            state.take(id);
            state.workers[worker] = Worker::Delivered(id);
        }
        Action::Cancel(id) => {
            state.budget.cancels -= 1;
            apply_event(state, id, Event::Cancel);
        }
        Action::Retry(id) => {
            state.budget.retries -= 1;
            apply_event(state, id, Event::Retry);
        }
        Action::Claim(worker)
        | Action::ClaimAnswerLost(worker)
        | Action::Succeed(worker)
        | Action::SucceedAnswerLost(worker)
        | Action::Fail(worker)
        | Action::Release(worker)
        | Action::Ack(worker)
        | Action::AckLost(worker)
        | Action::Crash(worker) => work(model, state, worker, action),
    }
}

fn work(model: &Protocol, state: &mut State, worker: usize, action: Action) {
    let Some(id) = state.workers[worker].job() else { return };
    match action {
        Action::Claim(_) => state.workers[worker] = claim(model, state, id),
        Action::ClaimAnswerLost(_) => {
            state.budget.lost_answers -= 1;
            claim(model, state, id);
            state.workers[worker] = Worker::Idle;
            state.put(id);
        }
        Action::Succeed(_) => {
            finish(model, state, worker, |token| Event::Succeed { token });
            state.workers[worker] = Worker::Done(id);
        }
        Action::SucceedAnswerLost(_) => {
            // The worker repeats the request, since it does not know the result.
            state.budget.lost_answers -= 1;
            finish(model, state, worker, |token| Event::Succeed { token });
        }
        Action::Fail(_) => {
            state.budget.failures -= 1;
            finish(model, state, worker, |token| Event::Fail { token, delay_ms: DELAY_MS, permanent: false });
            state.workers[worker] = Worker::Done(id);
        }
        Action::Release(_) => {
            state.budget.releases -= 1;
            finish(model, state, worker, |token| Event::Release { token, delay_ms: DELAY_MS });
            state.workers[worker] = Worker::Done(id);
        }
        Action::Ack(_) => state.workers[worker] = Worker::Idle,
        Action::AckLost(_) => {
            state.budget.lost_acks -= 1;
            state.workers[worker] = Worker::Idle;
            state.put(id);
        }
        // After a crash in any state, the broker delivers unacknowledged messages again.
        _ => {
            state.budget.crashes -= 1;
            state.workers[worker] = Worker::Idle;
            state.put(id);
        }
    }
}

fn accept(model: &Protocol, state: &mut State, key: usize) -> Accepted<Id> {
    let id = state.next;
    let mut text = format!("key {key}");
    if model.mutation == Some(Mutation::AcceptIgnoresKey) {
        text = format!("{text} {id}");
    }
    let new = NewJob { id, key: Some(text), request_hash: [0; 32], max_attempts: model.config.max_attempts, run_at: 0 };
    let accepted = state.tables.accept(new);
    if accepted.is_new() {
        state.next += 1;
    }
    accepted
}

fn mark(model: &Protocol, state: &mut State, id: Id, token: i64) {
    state.confirmed.remove(&(id, token));
    let mut token = token;
    if model.mutation == Some(Mutation::ConfirmIgnoresToken) {
        token = state.tables.jobs[&id].job.lease_token;
    }
    apply_event(state, id, Event::Published { token });
}

fn sweep(state: &mut State, id: Id) {
    come_due(state, id);
    apply_event(state, id, Event::Sweep { delay_ms: DELAY_MS });
}

/// The model has no time: a waiting job may become due in any step.
fn come_due(state: &mut State, id: Id) {
    let now = state.tables.now;
    if let Some(row) = state.tables.jobs.get_mut(&id) {
        row.job.due_at = row.job.due_at.map(|_| now);
        row.job.run_at = now;
        row.job.lease_until = row.job.lease_until.map(|_| now);
    }
}

fn claim(model: &Protocol, state: &mut State, id: Id) -> Worker {
    if model.mutation == Some(Mutation::ClaimIgnoresState)
        && let Some(row) = state.tables.jobs.get_mut(&id)
        && row.job.state == JobState::Running
    {
        row.job.state = JobState::Queued;
    }
    match state.tables.apply(id, Event::Claim { lease_ms: LEASE_MS }) {
        Some(_) => Worker::Running(id, state.tables.jobs[&id].job.lease_token),
        None => Worker::Done(id),
    }
}

fn finish(model: &Protocol, state: &mut State, worker: usize, event: impl Fn(i64) -> Event) {
    let Worker::Running(id, mut token) = state.workers[worker] else { return };
    let row = &state.tables.jobs[&id];
    let ignores = match event(0) {
        Event::Succeed { .. } => model.mutation == Some(Mutation::FinishIgnoresToken),
        _ => model.mutation == Some(Mutation::FailIgnoresToken),
    };
    if ignores {
        token = row.job.lease_token;
    }
    let is_other = row.job.lease_token != token;
    let event = event(token);
    if ignores && row.job.state != JobState::Running {
        // The mutation overwrites the job in any state.
        if let Some(row) = state.tables.jobs.get_mut(&id) {
            row.job.state = JobState::Running;
        }
    }
    state.stale_seen |= is_other;
    apply_event(state, id, event);
}

fn apply_event(state: &mut State, id: Id, event: Event) {
    let effects = state.tables.apply(id, event).unwrap_or_default();
    if effects.publish {
        let token = state.tables.jobs[&id].job.lease_token;
        state.outgoing.insert((id, token));
    }
}
