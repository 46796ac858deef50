//! Properties of a plan.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use values_core::assignment::{Orphans, Plan, WorkerLoad, plan};
use values_core::types::{Incarnation, WorkerState};

use crate::many;
use crate::optimum::{Active, fewest_moves, is_balanced};

#[derive(Debug, Clone)]
struct Fleet {
    workers: Vec<WorkerLoad>,
    orphans: Vec<Orphans>,
}

impl Fleet {
    fn plan(&self) -> Plan {
        plan(&self.workers, &self.orphans)
    }

    fn total(&self) -> u64 {
        let owned: u64 = self.workers.iter().map(|worker| worker.load).sum();
        owned + self.orphaned()
    }

    fn orphaned(&self) -> u64 {
        self.orphans.iter().map(|group| group.count).sum()
    }

    fn active(&self) -> Vec<Active> {
        let active = self.workers.iter().filter(|worker| worker.state == WorkerState::Active);
        active.map(|worker| Active { capacity: worker.capacity, load: worker.load }).collect()
    }

    fn room(&self) -> u64 {
        self.active().iter().map(|worker| worker.capacity).sum()
    }

    /// Moves the ids from each source to each sink, as the store does.
    fn after(&self, plan: &Plan) -> Self {
        let mut loads: BTreeMap<Option<Incarnation>, u64> = BTreeMap::new();
        for worker in &self.workers {
            loads.insert(Some(worker.incarnation), worker.load);
        }
        for group in &self.orphans {
            loads.insert(group.owner, group.count);
        }
        for transfer in &plan.transfers {
            let from = loads.get_mut(&transfer.from).expect("a source that was given");
            *from = from.checked_sub(transfer.count).expect("no more than the source has");
            *loads.get_mut(&Some(transfer.to)).expect("a worker that was given") += transfer.count;
        }
        let mut after = self.clone();
        for worker in &mut after.workers {
            worker.load = loads[&Some(worker.incarnation)];
        }
        for group in &mut after.orphans {
            group.count = loads[&group.owner];
        }
        after
    }
}

/// Up to `workers` workers with capacities and loads up to `most`, some of them draining,
/// with some dead owners and some ids without an owner.
fn fleet(workers: usize, most: u64) -> impl Strategy<Value = Fleet> {
    let worker = (0..=most, 0..=most, prop::bool::weighted(0.75));
    (vec(worker, 0..=workers), vec(0..=most, 0..=3)).prop_map(|(workers, orphans)| {
        let workers = (1_i64..).zip(workers).map(|(incarnation, (capacity, load, active))| WorkerLoad {
            incarnation: Incarnation(incarnation),
            state: if active { WorkerState::Active } else { WorkerState::Draining },
            capacity,
            load,
        });
        let orphans =
            (0_i64..).zip(orphans).map(|(at, count)| Orphans { owner: (at > 0).then_some(Incarnation(-at)), count });
        Fleet { workers: workers.collect(), orphans: orphans.collect() }
    })
}

fn small() -> impl Strategy<Value = Fleet> {
    fleet(5, 4)
}

fn large() -> impl Strategy<Value = Fleet> {
    prop_oneof![fleet(8, 6), fleet(40, 30), fleet(40, 3)]
}

/// Number of moves to the cheapest balanced outcome. Assigns ids one at a time to the
/// worker with the fewest and free capacity, and among equals first to the one with the
/// most at the start.
fn one_by_one(workers: &[Active], total: u64) -> u64 {
    let mut outcome = vec![0_u64; workers.len()];
    for _ in 0..total {
        let open = (0..workers.len()).filter(|&at| outcome[at] < workers[at].capacity);
        let Some(next) = open.min_by_key(|&at| (outcome[at], std::cmp::Reverse(workers[at].load))) else { break };
        outcome[next] += 1;
    }
    workers.iter().zip(outcome).map(|(worker, load)| load.saturating_sub(worker.load)).sum()
}

proptest! {
    #![proptest_config(many())]

    #[test]
    fn moves_are_the_fewest_of_all_outcomes(fleet in small()) {
        let plan = fleet.plan();
        prop_assert_eq!(plan.moves(), plan.optimum);
        prop_assert_eq!(plan.optimum, fewest_moves(&fleet.active(), fleet.total()));
    }

    #[test]
    fn moves_are_the_fewest_at_larger_sizes(fleet in large()) {
        let plan = fleet.plan();
        prop_assert_eq!(plan.moves(), plan.optimum);
        prop_assert_eq!(plan.optimum, one_by_one(&fleet.active(), fleet.total()));
    }

    #[test]
    fn nobody_is_filled_above_capacity(fleet in large()) {
        let suffices = fleet.room() >= fleet.total();
        let after = fleet.after(&fleet.plan());
        for (old, new) in fleet.workers.iter().zip(&after.workers) {
            let limit = if suffices { old.capacity } else { old.capacity.max(old.load) };
            if new.state == WorkerState::Active {
                prop_assert!(new.load <= limit, "{:?} became {:?}", old, new);
            } else {
                prop_assert!(new.load <= old.load);
            }
        }
    }

    #[test]
    fn loads_are_balanced_within_one(fleet in large()) {
        let after = fleet.after(&fleet.plan());
        let loads: Vec<u64> = after.active().iter().map(|worker| worker.load).collect();
        prop_assert!(is_balanced(&after.active(), &loads), "{:?}", after);
    }

    #[test]
    fn draining_workers_end_empty_and_all_ids_are_placed_if_there_is_room(fleet in large()) {
        let plan = fleet.plan();
        let after = fleet.after(&plan);
        if fleet.room() >= fleet.total() {
            let draining = after.workers.iter().filter(|worker| worker.state == WorkerState::Draining);
            prop_assert_eq!(draining.map(|worker| worker.load).sum::<u64>(), 0);
            prop_assert_eq!(plan.unplaced, 0);
        }
        prop_assert_eq!(after.orphaned(), plan.unplaced);
        prop_assert_eq!(after.total(), fleet.total());
    }

    #[test]
    fn ids_that_nobody_ticks_come_first(fleet in large()) {
        let plan = fleet.plan();
        let living = |owner: Option<Incarnation>| owner.is_some_and(|owner| owner.0 > 0);
        if plan.unplaced > 0 {
            prop_assert!(plan.transfers.iter().all(|transfer| !living(transfer.from)), "{:?}", plan);
        }
        let ticking = plan.transfers.iter().map(|transfer| living(transfer.from));
        prop_assert!(ticking.is_sorted(), "{:?}", plan);
    }

    #[test]
    fn the_order_of_the_input_does_not_matter(
        (fleet, workers, orphans) in large().prop_flat_map(|fleet| {
            let workers = Just(fleet.workers.clone()).prop_shuffle();
            let orphans = Just(fleet.orphans.clone()).prop_shuffle();
            (Just(fleet), workers, orphans)
        })
    ) {
        prop_assert_eq!(fleet.plan(), plan(&workers, &orphans));
    }

    #[test]
    fn a_plan_carried_out_leaves_nothing_to_do(fleet in large()) {
        let again = fleet.after(&fleet.plan()).plan();
        prop_assert_eq!(again.moves(), 0);
        prop_assert_eq!(again.optimum, 0);
    }

    #[test]
    fn every_transfer_moves_something_between_two_owners(fleet in large()) {
        for transfer in fleet.plan().transfers {
            prop_assert!(transfer.count > 0);
            prop_assert_ne!(transfer.from, Some(transfer.to));
        }
    }
}
