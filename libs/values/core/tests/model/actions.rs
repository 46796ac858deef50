//! The possible actions and their results.

use values_core::manager::{Effect, Event};
use values_core::tables::is_stale;
use values_core::types::Incarnation;
use values_core::worker::{Command, Next, Outcome, Worker};

use crate::database::{Answer, execute};
use crate::state::{Sent, State};
use crate::{Mutation, Protocol, judge, platform};

/// One step of a participant, a user, an operator or the platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// The database's clock advances.
    Second,
    /// The database's clock steps back.
    StepBack,
    /// The worker in this pod sends its next command.
    Worker(usize, Fate),
    /// This manager sends its next command, and observes the given worker as silent.
    Manager(usize, Fate, Option<Incarnation>),
    /// A command whose sender gave up, or the copy of a command, arrives.
    Arrive(usize),
    /// The container of this pod crashes and restarts.
    CrashWorker(usize),
    /// This manager crashes and restarts. Its next command may be in transit.
    CrashManager(usize, Option<Sent>),
    /// An operator terminates the worker in this pod.
    Terminate(usize),
    /// A user adds a row.
    AddRow,
    /// A user removes a row.
    RemoveRow(i64),
    /// The registrations after this number are lost.
    LoseRegistrations(i64),
    /// The row of the lease is lost.
    LoseLease,
    /// An operator sets the number of pods.
    HandScale(u32),
    /// The platform executes this manager's order on a different pod.
    WrongKill(usize, usize),
}

/// The result of sending a command.
///
/// For a lost command, the sender gives up and the command never arrives. For a lost
/// answer, the sender gives up and the command arrives at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Answered,
    /// The sender receives no answer, and the command arrives at any time, or never.
    GivenUp,
    /// The sender receives the first answer; a copy arrives at any time, or never.
    Twice,
}

/// Collects all actions that are possible in `state`.
pub(crate) fn possible(model: &Protocol, state: &State, actions: &mut Vec<Action>) {
    let budget = &state.budget;
    let mut may = |left: u8, action: Action| {
        if left > 0 {
            actions.push(action);
        }
    };
    may(budget.seconds, Action::Second);
    may(budget.steps_back.min(u8::from(state.second() > 0)), Action::StepBack);
    may(budget.added_rows, Action::AddRow);
    for id in state.tables.values.keys() {
        may(budget.removed_rows, Action::RemoveRow(*id));
    }
    may(budget.lost_leases.min(u8::from(state.tables.lease.is_some())), Action::LoseLease);
    for last in 0..state.tables.workers.keys().last().map_or(0, |newest| newest.0) {
        may(budget.lost_registrations, Action::LoseRegistrations(last));
    }
    for pod in state.existing_pods() {
        may(budget.worker_crashes, Action::CrashWorker(pod));
        may(budget.terminations, Action::Terminate(pod));
    }
    for replicas in (1..=model.config.max_pods).filter(|replicas| *replicas != state.replicas) {
        may(budget.hand_scales, Action::HandScale(replicas));
    }
    actions.extend((0..state.strays.len()).map(Action::Arrive));
    for pod in state.existing_pods() {
        of_worker(model, state, pod, actions);
    }
    for manager in 0..state.managers.len() {
        of_manager(model, state, manager, actions);
    }
}

fn of_worker(model: &Protocol, state: &State, pod: usize, actions: &mut Vec<Action>) {
    let Some(command) = state.pods[pod].as_ref().and_then(pending) else { return };
    if command == Command::Register && state.lives >= model.config.lives {
        return;
    }
    actions.push(Action::Worker(pod, Fate::Answered));
    if state.budget.given_up > 0 && !matches!(command, Command::Heartbeat(_)) {
        actions.push(Action::Worker(pod, Fate::GivenUp));
    }
    if state.budget.twice > 0 && !matches!(command, Command::Heartbeat(_) | Command::Register) {
        actions.push(Action::Worker(pod, Fate::Twice));
    }
}

/// The next command of a worker, regardless of when it is due.
fn pending(worker: &Worker) -> Option<Command> {
    match worker.next() {
        Next::Run(command, _) => Some(command),
        Next::Exit => None,
    }
}

fn of_manager(model: &Protocol, state: &State, manager: usize, actions: &mut Vec<Action>) {
    let effect = next_effect(state, manager);
    let sent = Sent::Manager(effect.clone());
    if state.budget.manager_crashes > 0 {
        actions.push(Action::CrashManager(manager, None));
        if is_write(&effect) {
            actions.push(Action::CrashManager(manager, Some(sent)));
        }
    }
    if effect == Effect::Campaign && !may_campaign(model, state) {
        return;
    }
    actions.push(Action::Manager(manager, Fate::Answered, None));
    match effect {
        Effect::Observe(_) if state.budget.expiries > 0 => {
            let living = state.tables.workers.keys();
            actions.extend(living.map(|worker| Action::Manager(manager, Fate::Answered, Some(*worker))));
        }
        Effect::Scale { .. } if state.budget.wrong_kills > 0 => {
            actions.extend(state.existing_pods().map(|pod| Action::WrongKill(manager, pod)));
        }
        // A transaction of moves is never sent twice: nothing resends it.
        Effect::Expire(..) | Effect::SetDraining(..) if state.budget.twice > 0 => {
            actions.push(Action::Manager(manager, Fate::Twice, None));
        }
        _ => {}
    }
    if state.budget.given_up > 0 && is_write(&next_effect(state, manager)) {
        actions.push(Action::Manager(manager, Fate::GivenUp, None));
    }
}

const fn is_write(effect: &Effect) -> bool {
    matches!(effect, Effect::Campaign | Effect::Expire(..) | Effect::Assign(..) | Effect::SetDraining(..))
}

/// A manager may take the lease at any time, until the number of terms is used up.
fn may_campaign(model: &Protocol, state: &State) -> bool {
    let on_their_way = state.strays.iter().filter(|stray| **stray == Sent::Manager(Effect::Campaign)).count();
    state.reigns + i64::try_from(on_their_way).unwrap_or(0) < model.config.terms
}

/// The next effect of a manager: of its current pass, or the first of a new one.
fn next_effect(state: &State, manager: usize) -> Effect {
    let replica = &state.managers[manager];
    let fresh = || replica.manager.clone().step(Event::Pass).into_iter().next();
    replica.queue.first().cloned().or_else(fresh).expect("a pass starts with a command")
}

/// Applies `action` to `state`.
pub(crate) fn apply(model: &Protocol, state: &mut State, action: Action) {
    match action {
        Action::Second => {
            state.budget.seconds -= 1;
            state.tables.now_ms += 1000;
        }
        Action::StepBack => {
            state.budget.steps_back -= 1;
            state.tables.now_ms -= 1000;
        }
        Action::Worker(pod, fate) => send_as_worker(model, state, pod, fate),
        Action::Manager(manager, fate, silent) => send_as_manager(model, state, manager, fate, silent),
        Action::Arrive(stray) => {
            let sent = state.strays.remove(stray);
            arrive(model, state, &sent);
        }
        Action::CrashWorker(pod) => {
            state.budget.worker_crashes -= 1;
            state.pods[pod] = Some(Worker::new());
        }
        Action::CrashManager(manager, on_its_way) => {
            state.budget.manager_crashes -= 1;
            state.strays.extend(on_its_way);
            state.managers[manager] = model.config.replica();
        }
        Action::Terminate(pod) => {
            state.budget.terminations -= 1;
            if let Some(worker) = &mut state.pods[pod] {
                worker.drain();
            }
            platform::replace_if_ended(state, pod);
        }
        Action::AddRow => {
            state.budget.added_rows -= 1;
            state.add_row();
        }
        Action::RemoveRow(id) => {
            state.budget.removed_rows -= 1;
            state.remove_row(id);
        }
        Action::LoseRegistrations(last) => {
            state.budget.lost_registrations -= 1;
            state.tables.lose_registrations(last);
        }
        Action::LoseLease => {
            state.budget.lost_leases -= 1;
            state.tables.lose_lease();
        }
        Action::HandScale(replicas) => {
            state.budget.hand_scales -= 1;
            platform::scale(state, replicas, &[]);
        }
        Action::WrongKill(manager, pod) => {
            state.budget.wrong_kills -= 1;
            platform::wrong_kill(model, state, manager, pod);
        }
    }
}

fn send_as_worker(model: &Protocol, state: &mut State, pod: usize, fate: Fate) {
    let Some(command) = state.pods[pod].as_ref().and_then(pending) else { return };
    let sent = Sent::Worker(pod, command);
    let outcome = send(model, state, sent, fate, None);
    let outcome = outcome.map_or(Outcome::Failed, |answer| match answer {
        Answer::Worker(outcome) => outcome,
        Answer::Manager(_) => unreachable!("a worker's command has a worker's answer"),
    });
    hear(model, state, pod, command, &outcome);
    follow_up(model, state, pod, command);
    platform::note_end(model, state, pod);
    platform::replace_if_ended(state, pod);
}

/// Applies an outcome to a worker, and judges its report.
fn hear(model: &Protocol, state: &mut State, pod: usize, command: Command, outcome: &Outcome) {
    let Some(worker) = &mut state.pods[pod] else { return };
    let report = worker.apply(outcome).report;
    judge::report(model, state, command, outcome, report.as_ref());
}

/// Unless every step is separate: after a light tick that was not as expected, runs the
/// full tick, and after a tick, the bare heartbeat.
fn follow_up(model: &Protocol, state: &mut State, pod: usize, before: Command) {
    if model.config.every_step {
        return;
    }
    let Some(command) = state.pods[pod].as_ref().and_then(pending) else { return };
    let follows = match command {
        Command::Heartbeat(_) => true,
        Command::Tick(_) => matches!(before, Command::LightTick(..)),
        _ => false,
    };
    if follows && let Answer::Worker(outcome) = execute(model, state, &Sent::Worker(pod, command), None) {
        hear(model, state, pod, command, &outcome);
        follow_up(model, state, pod, command);
    }
}

fn send_as_manager(model: &Protocol, state: &mut State, manager: usize, fate: Fate, silent: Option<Incarnation>) {
    let effect = next_effect(state, manager);
    if !state.managers[manager].queue.is_empty() {
        state.managers[manager].queue.remove(0);
    }
    if let Effect::Scale { replicas, victims } = &effect {
        platform::obey(model, state, manager, *replicas, victims);
        return;
    }
    let answer = send(model, state, Sent::Manager(effect), fate, silent);
    let event = answer.map_or(Event::Failed, |answer| match answer {
        Answer::Manager(event) => event,
        Answer::Worker(_) => unreachable!("a manager's command has a manager's answer"),
    });
    inform(model, state, manager, event);
}

/// Passes an answer to a manager. A pass ends at the first failure or refusal, and its
/// remaining effects are dropped.
fn inform(model: &Protocol, state: &mut State, manager: usize, event: Event) {
    let seen = if let Event::Observed(seen, _) = &event { seen.clone() } else { None };
    let replica = &mut state.managers[manager];
    if matches!(event, Event::Failed | Event::Done(false)) {
        replica.queue.clear();
    }
    let forgets = model.mutation == Some(Mutation::ManagerForgetsUnknownCommit) && event == Event::Failed;
    let effects = if forgets { Vec::new() } else { replica.manager.step(event) };
    replica.queue.extend(effects.iter().cloned());
    // The next pass starts with an observation anyway.
    replica.queue.retain(|effect| !matches!(effect, Effect::Observe(_)));
    if let Some(seen) = seen {
        judge::plan(&model.config, state, &seen, &effects);
        let late = seen.workers.iter().any(|worker| is_stale(worker.heartbeat, seen.now_ms, 0));
        debug_assert_eq!(late, effects.iter().any(|effect| matches!(effect, Effect::Expire(..))));
    }
}

/// Sends a command over the network; `None` if there is no answer.
fn send(model: &Protocol, state: &mut State, sent: Sent, fate: Fate, silent: Option<Incarnation>) -> Option<Answer> {
    match fate {
        Fate::Answered => {}
        Fate::GivenUp => {
            state.budget.given_up -= 1;
            state.strays.push(sent);
            return None;
        }
        Fate::Twice => {
            state.budget.twice -= 1;
            state.strays.push(sent.clone());
        }
    }
    spend_expiry(state, &sent);
    Some(execute(model, state, &sent, silent))
}

fn arrive(model: &Protocol, state: &mut State, sent: &Sent) {
    // A registration beyond the size of the search is not executed.
    if matches!(sent, Sent::Worker(_, Command::Register)) && state.lives >= model.config.lives {
        return;
    }
    spend_expiry(state, sent);
    execute(model, state, sent, None);
}

fn spend_expiry(state: &mut State, sent: &Sent) {
    if matches!(sent, Sent::Manager(Effect::Expire(..))) {
        state.budget.expiries = state.budget.expiries.saturating_sub(1);
    }
}
