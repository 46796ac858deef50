//! The database: executes each command as one atomic step, by the production operations.
//!
//! Participants read clocks only to decide when to act. In this model they may act at any
//! time, which includes each time that a clock would allow. The times that they read are
//! therefore replaced by constants; only ticks read the real second.

use values_core::manager::{Effect, Event, Replicas};
use values_core::tables::{Counted, LightTick, Tables, Tick};
use values_core::types::{Incarnation, Lease, Registration, Term, Token, WorkerRow, WorkerState};
use values_core::worker::{Command, Outcome};

use crate::state::{Sent, State, pod_name};
use crate::{Mutation, Protocol, judge};

/// Time that a tick returns: a heartbeat is due next.
const AT_A_TICK_MS: i64 = 0;

/// Time that a heartbeat returns: a tick is due next.
const BETWEEN_TICKS_MS: i64 = 999;

/// Time of a heartbeat that is too old, for managers that read the time as 0 and tolerate
/// no delay.
const SILENT_MS: i64 = -1;

/// The answer to the participant that sent the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Worker(Outcome),
    Manager(Event),
}

/// Executes `sent`, and records each rule that it breaks. `silent` is a worker whose
/// heartbeats an observation shows as too old.
pub(crate) fn execute(model: &Protocol, state: &mut State, sent: &Sent, silent: Option<Incarnation>) -> Answer {
    let before = state.tables.clone();
    let answer = match sent {
        Sent::Worker(pod, command) => {
            state.lives += i64::from(*command == Command::Register);
            let token = Token(state.lives);
            Answer::Worker(run_worker(model, &mut state.tables, *pod, *command, token))
        }
        Sent::Manager(effect) => {
            state.reigns += i64::from(*effect == Effect::Campaign);
            let (token, replicas) = (Token(state.reigns), Replicas::Known(state.replicas));
            Answer::Manager(run_manager(model.mutation, &mut state.tables, effect, token, silent, replicas))
        }
    };
    judge::command(model, state, &before, sent, &answer);
    forget_clocks(&mut state.tables);
    answer
}

/// `token` is that of a new registration.
fn run_worker(model: &Protocol, tables: &mut Tables, pod: usize, command: Command, token: Token) -> Outcome {
    let taken_for = |worker| mutated_registration(model.mutation, tables, worker);
    match command {
        Command::Register => Outcome::Registered(tables.register(&pod_name(pod), model.config.capacity, token)),
        Command::Tick(worker) => {
            let worker = taken_for(worker);
            let mut tick = mutated_tick(model.mutation, tables, worker);
            tick.beat.now_ms = AT_A_TICK_MS;
            tick.counted = known_second(tick.counted, tables);
            Outcome::Ticked(tick)
        }
        Command::LightTick(worker, generation) => {
            let worker = taken_for(worker);
            let LightTick { counted, beat_ms } = mutated_light_tick(model.mutation, tables, worker, generation);
            let counted = known_second(counted, tables);
            Outcome::LightlyTicked(LightTick { counted, beat_ms: beat_ms.map(|_| AT_A_TICK_MS) })
        }
        Command::Heartbeat(worker) | Command::Leave(worker) => {
            let worker = taken_for(worker);
            let leaving = matches!(command, Command::Leave(_));
            let mut beat = if leaving { tables.leave(worker) } else { tables.heartbeat(worker) };
            beat.now_ms = BETWEEN_TICKS_MS;
            Outcome::Beat(beat)
        }
        Command::Retire(worker) => {
            let worker = taken_for(worker);
            tables.retire(worker);
            Outcome::Retired
        }
    }
}

/// Adds the real second, which the constants do not contain if no row was counted.
fn known_second(counted: Counted, tables: &Tables) -> Counted {
    Counted { second: Some(tables.now_ms / 1000), ..counted }
}

/// The registration of the command, unless a mutation ignores its token.
fn mutated_registration(mutation: Option<Mutation>, tables: &Tables, worker: Registration) -> Registration {
    let recorded = tables.workers.get(&worker.incarnation).map(WorkerRow::registration);
    if mutation == Some(Mutation::WorkerIgnoresToken) { recorded.unwrap_or(worker) } else { worker }
}

/// The production tick, unless a mutation removes one of its two conditions.
fn mutated_tick(mutation: Option<Mutation>, tables: &mut Tables, worker: Registration) -> Tick {
    mutate_rows(mutation, tables, worker);
    tables.tick(worker)
}

/// The production light tick. With a mutation, it expects the current generation.
fn mutated_light_tick(
    mutation: Option<Mutation>,
    tables: &mut Tables,
    worker: Registration,
    generation: i64,
) -> LightTick {
    mutate_rows(mutation, tables, worker);
    let found = tables.workers.get(&worker.incarnation).map_or(generation, |row| row.generation);
    let ignored = mutation == Some(Mutation::LightTickIgnoresGeneration);
    tables.light_tick(worker, if ignored { found } else { generation })
}

fn mutate_rows(mutation: Option<Mutation>, tables: &mut Tables, worker: Registration) {
    let second = tables.now_ms / 1000;
    match mutation {
        Some(Mutation::TickIgnoresLastTick) => {
            for row in tables.values.values_mut().filter(|row| row.owner == Some(worker.incarnation)) {
                row.value += 1;
                row.last_tick = second;
            }
        }
        Some(Mutation::TickIgnoresOwner) => {
            for row in tables.values.values_mut() {
                row.tick(second);
            }
        }
        _ => {}
    }
}

/// `token` is that of a new term.
fn run_manager(
    mutation: Option<Mutation>,
    tables: &mut Tables,
    effect: &Effect,
    token: Token,
    silent: Option<Incarnation>,
    replicas: Replicas,
) -> Event {
    let second_ms = std::mem::take(&mut tables.now_ms);
    let present = tables.lease.as_ref().map(Lease::current);
    let taken_for = |term: Term| mutated_term(mutation, present, term);
    let event = match effect {
        Effect::Campaign => Event::Campaigned(tables.campaign("", 0, token)),
        Effect::Observe(term) => {
            silence(tables, silent.as_slice());
            Event::Observed(tables.observe(taken_for(*term), 0), replicas)
        }
        Effect::Expire(term, workers) => {
            silence(tables, workers);
            Event::Expired(tables.expire(taken_for(*term), 0, workers, 0))
        }
        Effect::Assign(term, batch) => {
            let ignored = mutation == Some(Mutation::AssignIgnoresTerm);
            let term = present.filter(|_| ignored).unwrap_or_else(|| taken_for(*term));
            Event::Done(tables.assign(term, 0, &batch.transfers).is_some())
        }
        Effect::SetDraining(term, workers, draining) => {
            Event::Done(tables.set_draining(taken_for(*term), 0, workers, *draining).is_some())
        }
        Effect::Scale { .. } => unreachable!("the platform runs it, not the database"),
    };
    tables.now_ms = second_ms;
    event
}

/// The term of the command, unless a mutation ignores its token.
fn mutated_term(mutation: Option<Mutation>, present: Option<Term>, term: Term) -> Term {
    let ignored = mutation == Some(Mutation::ManagerIgnoresToken);
    present.filter(|present| ignored && present.number == term.number).unwrap_or(term)
}

fn silence(tables: &mut Tables, workers: &[Incarnation]) {
    for worker in workers {
        if let Some(row) = tables.workers.get_mut(worker) {
            row.heartbeat = SILENT_MS;
        }
    }
}

/// Removes values that only clocks and audits read, so that states that differ in nothing
/// else are equal: heartbeats, the end of the lease (it can always be taken), epochs
/// (already judged), and dead workers (equivalent to lost ones).
pub(crate) fn forget_clocks(tables: &mut Tables) {
    tables.workers.retain(|_, worker| worker.state != WorkerState::Dead);
    for worker in tables.workers.values_mut() {
        worker.heartbeat = 0;
    }
    for row in tables.values.values_mut() {
        row.epoch = 0;
    }
    if let Some(lease) = &mut tables.lease {
        lease.until = 0;
    }
}
