//! A manager's passes.

use proptest::collection::vec;
use proptest::prelude::*;
use values_core::assignment::plan;
use values_core::manager::{CONTACT_GAP_MS, Effect, Event, Manager, Policy, Replicas};
use values_core::scaling::{self, Mode};
use values_core::tables::{Campaign, Observation};
use values_core::types::{Incarnation, Term, Token, WorkerRow, WorkerState};

use crate::many;

const DEAD_AFTER_MS: i64 = 2000;

fn policy(batch: u64, mode: Mode) -> Policy {
    let scaling = scaling::Policy { mode, capacity: 20, spare: 1, min: 1, max: 10, quiet_window_ms: 60_000 };
    Policy { dead_after_ms: DEAD_AFTER_MS, batch, scaling }
}

/// A manager that won `term` at `now_ms`.
fn leader(batch: u64, mode: Mode, now_ms: i64) -> Manager {
    let mut manager = Manager::new(policy(batch, mode));
    assert_eq!(manager.step(Event::Pass), [Effect::Campaign]);
    let effects = manager.step(won(now_ms, 1));
    assert_eq!(effects, [Effect::Observe(term_of(1))]);
    manager
}

const fn term_of(number: i64) -> Term {
    Term { number, token: Token(7) }
}

fn won(now_ms: i64, term: i64) -> Event {
    Event::Campaigned(Campaign { now_ms, won: Some(term_of(term)) })
}

fn worker(incarnation: i64, state: WorkerState, capacity: u32, heartbeat: i64) -> WorkerRow {
    let name = format!("w{incarnation}");
    WorkerRow {
        incarnation: Incarnation(incarnation),
        name,
        state,
        capacity,
        heartbeat,
        generation: 0,
        token: Token(9),
    }
}

/// An observation of one worker without ids, whose last heartbeat is from `heartbeat`.
fn alone(now_ms: i64, heartbeat: i64) -> Event {
    let workers = vec![worker(1, WorkerState::Active, 20, heartbeat)];
    Event::Observed(Some(Observation { now_ms, workers, loads: Vec::new() }), Replicas::Unknown)
}

fn expires(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Expire(..)))
}

fn observation() -> impl Strategy<Value = Observation> {
    let row = (prop::bool::weighted(0.8), 0_u32..30, 0_u64..30);
    (vec(row, 0..8), 0_u64..60, 0_u64..20).prop_map(|(rows, new, orphaned)| {
        let mut loads = vec![(None, new), (Some(Incarnation(-1)), orphaned)];
        let mut workers = Vec::new();
        for (incarnation, (active, capacity, load)) in (1..).zip(rows) {
            let state = if active { WorkerState::Active } else { WorkerState::Draining };
            workers.push(worker(incarnation, state, capacity, 0));
            loads.push((Some(Incarnation(incarnation)), load));
        }
        loads.retain(|(_, load)| *load > 0);
        Observation { now_ms: 0, workers, loads }
    })
}

proptest! {
    #![proptest_config(many())]

    #[test]
    fn batches_are_the_plan_in_pieces(seen in observation(), batch in 0_u64..25) {
        let (workers, orphans) = seen.fleet();
        let whole = plan(&workers, &orphans);
        let mut manager = leader(batch, Mode::Manual, 0);
        let effects = manager.step(Event::Observed(Some(seen), Replicas::Unknown));
        let mut moved = Vec::new();
        let mut optimum = 0;
        let mut sizes = Vec::new();
        for effect in effects {
            let Effect::Assign(term, part) = effect else { continue };
            prop_assert_eq!(term, term_of(1));
            let size: u64 = part.transfers.iter().map(|transfer| transfer.count).sum();
            prop_assert_eq!(size, part.optimum);
            prop_assert!(part.transfers.iter().all(|transfer| transfer.count > 0));
            sizes.push(size);
            optimum += part.optimum;
            for transfer in part.transfers {
                moved.extend((0..transfer.count).map(|_| (transfer.from, transfer.to)));
            }
        }
        let limit = batch.max(1);
        prop_assert!(sizes.iter().all(|size| (1..=limit).contains(size)), "{:?}", sizes);
        prop_assert!(sizes.iter().rev().skip(1).all(|size| *size == limit), "{:?}", sizes);
        prop_assert_eq!(optimum, whole.optimum);
        let planned: Vec<_> = whole
            .transfers
            .iter()
            .flat_map(|transfer| (0..transfer.count).map(|_| (transfer.from, transfer.to)))
            .collect();
        prop_assert_eq!(moved, planned);
    }

    #[test]
    fn nobody_is_expired_before_two_seconds_of_unbroken_contact(
        start in 10_000_i64..20_000, gaps in vec(prop_oneof![4 => 50_i64..400, 1 => -3_000_i64..6_000], 1..60)
    ) {
        let mut manager = leader(10, Mode::Manual, start);
        let mut now = start;
        let mut since = start;
        for gap in gaps {
            now += gap;
            if !(0..=CONTACT_GAP_MS).contains(&gap) {
                since = now;
            }
            let effects = manager.step(alone(now, now - DEAD_AFTER_MS - 1));
            prop_assert_eq!(expires(&effects), now - since >= DEAD_AFTER_MS, "at {} since {}", now, since);
        }
    }

    #[test]
    fn a_worker_that_writes_is_never_expired(
        start in 10_000_i64..20_000, gaps in vec(50_i64..=CONTACT_GAP_MS, 1..60), age in 0_i64..=DEAD_AFTER_MS
    ) {
        let mut manager = leader(10, Mode::Manual, start);
        let mut now = start;
        for gap in gaps {
            now += gap;
            prop_assert!(!expires(&manager.step(alone(now, now - age))));
        }
    }
}

/// A leader whose database has answered for long enough that it may declare silent
/// workers dead.
fn trusting() -> (Manager, i64) {
    let mut manager = leader(10, Mode::Manual, 0);
    for now in (100..=2_000).step_by(100) {
        manager.step(alone(now, now));
    }
    (manager, 2_000)
}

#[test]
fn a_silent_worker_is_expired_and_looked_at_again() {
    let (mut manager, now) = trusting();
    let effects = manager.step(alone(now, now - DEAD_AFTER_MS - 1));
    assert_eq!(effects, [Effect::Expire(term_of(1), vec![Incarnation(1)])]);
    assert_eq!(manager.step(Event::Expired(Some(1))), [Effect::Observe(term_of(1))]);
}

#[test]
fn a_failure_alone_does_not_put_a_failover_off() {
    let (mut manager, now) = trusting();
    assert_eq!(manager.step(Event::Failed), []);
    manager.step(won(now + 100, 2));
    assert!(expires(&manager.step(alone(now + 100, 0))), "the database was there all the time");
}

#[test]
fn an_outage_puts_it_off_until_the_database_has_been_back_for_long_enough() {
    let (mut manager, now) = trusting();
    assert_eq!(manager.step(Event::Failed), []);
    let back = now + CONTACT_GAP_MS + 1;
    manager.step(won(back, 2));
    assert!(!expires(&manager.step(alone(back + 500, 0))));
    assert!(!expires(&manager.step(alone(back + 1_500, 0))));
    assert!(expires(&manager.step(alone(back + 2_000, 0))));
}

#[test]
fn a_failure_ends_the_term_since_its_moves_may_still_arrive() {
    let mut manager = leader(10, Mode::Manual, 0);
    manager.step(Event::Failed);
    assert_eq!(manager.term(), None);
    assert_eq!(manager.step(Event::Pass), [Effect::Campaign]);
}

#[test]
fn whoever_is_told_of_a_stale_term_steps_down() {
    for event in [Event::Observed(None, Replicas::Known(3)), Event::Expired(None), Event::Done(false)] {
        let mut manager = leader(10, Mode::Auto, 0);
        assert_eq!(manager.step(event), []);
        assert_eq!(manager.term(), None);
        assert_eq!(manager.step(Event::Pass), [Effect::Campaign]);
    }
}

/// An observation of `ids` ids, all on the first of three full-sized workers.
fn three_workers(now_ms: i64, ids: u64, replicas: u32) -> Event {
    let workers = (1..=3).map(|incarnation| worker(incarnation, WorkerState::Active, 20, now_ms)).collect();
    let loads = vec![(Some(Incarnation(1)), ids)];
    Event::Observed(Some(Observation { now_ms, workers, loads }), Replicas::Known(replicas))
}

fn scale_of(effects: &[Effect]) -> Option<u32> {
    effects.iter().find_map(|effect| match effect {
        Effect::Scale { replicas, .. } => Some(*replicas),
        _ => None,
    })
}

#[test]
fn a_hand_made_scale_is_remembered_through_a_failure() {
    let mut manager = leader(10, Mode::Auto, 0);
    assert_eq!(scale_of(&manager.step(three_workers(0, 40, 3))), None);
    assert_eq!(scale_of(&manager.step(three_workers(100, 40, 2))), None, "held");
    manager.step(Event::Failed);
    manager.step(won(1_200, 2));
    assert_eq!(scale_of(&manager.step(three_workers(1_200, 40, 2))), None, "still held");
    assert_eq!(scale_of(&manager.step(three_workers(60_100, 40, 2))), Some(3));
}

#[test]
fn another_leader_in_between_clears_the_memory() {
    let mut manager = leader(10, Mode::Auto, 0);
    manager.step(three_workers(0, 40, 3));
    manager.step(three_workers(100, 40, 2));
    manager.step(Event::Done(false));
    manager.step(won(1_200, 3));
    assert_eq!(scale_of(&manager.step(three_workers(1_200, 40, 2))), Some(3));
}

#[test]
fn an_order_dropped_by_a_failure_is_given_again_and_not_taken_for_an_operators() {
    let mut manager = leader(10, Mode::Auto, 0);
    assert_eq!(scale_of(&manager.step(three_workers(0, 60, 3))), Some(4));
    manager.step(Event::Failed);
    manager.step(won(1_200, 2));
    assert_eq!(scale_of(&manager.step(three_workers(1_200, 60, 3))), Some(4));
}

#[test]
fn an_order_that_failed_is_given_again() {
    let mut manager = leader(10, Mode::Auto, 0);
    assert_eq!(scale_of(&manager.step(three_workers(0, 60, 3))), Some(4));
    let Event::Observed(seen, _) = three_workers(100, 60, 3) else { unreachable!() };
    assert_eq!(scale_of(&manager.step(Event::Observed(seen, Replicas::OrderFailed(3)))), Some(4));
}

#[test]
fn in_manual_mode_it_only_puts_drained_workers_back_to_work() {
    let mut manager = leader(10, Mode::Manual, 0);
    assert_eq!(scale_of(&manager.step(three_workers(0, 60, 1))), None);
    let workers = vec![worker(1, WorkerState::Draining, 20, 0), worker(2, WorkerState::Draining, 0, 0)];
    let seen = Observation { now_ms: 0, workers, loads: Vec::new() };
    let effects = manager.step(Event::Observed(Some(seen), Replicas::Unknown));
    assert_eq!(effects, [Effect::SetDraining(term_of(1), vec![Incarnation(1)], false)]);
}
