//! Duration of planning, at a size far beyond any deployment.

use std::time::{Duration, Instant};

use values_core::assignment::{Orphans, WorkerLoad, plan};
use values_core::types::{Incarnation, WorkerState};

const WORKERS: i64 = 5_000;
const IDS: u64 = 100_000;

/// Workers with room for 20 to 24 ids each; `load` maps a worker's number to its number
/// of ids.
fn fleet(load: impl Fn(u64) -> u64) -> Vec<WorkerLoad> {
    let worker = |number: i64| WorkerLoad {
        incarnation: Incarnation(number),
        state: WorkerState::Active,
        capacity: 20 + number.unsigned_abs() % 5,
        load: load(number.unsigned_abs()),
    };
    (1..=WORKERS).map(worker).collect()
}

fn fastest(workers: &[WorkerLoad], orphans: &[Orphans]) -> (u64, Duration) {
    let once = || {
        let started = Instant::now();
        let plan = plan(workers, orphans);
        assert_eq!(plan.moves(), plan.optimum);
        (plan.moves(), started.elapsed())
    };
    (0..20).map(|_| once()).min_by_key(|(_, time)| *time).expect("twenty times")
}

/// Only prints the duration, since the speed of a machine says nothing about correctness.
#[test]
fn a_hundred_thousand_ids_on_five_thousand_workers() {
    let new = fastest(&fleet(|_| 0), &[Orphans { owner: None, count: IDS }]);
    let skewed = fastest(&fleet(|number| 2 * (number % 21)), &[]);
    let dead: Vec<_> = (1..=500).map(|dead| Orphans { owner: Some(Incarnation(-dead)), count: 20 }).collect();
    let failover = fastest(&fleet(|_| 18), &dead);
    for (what, (moves, time)) in [("all new", new), ("skewed", skewed), ("500 of 5,500 dead", failover)] {
        println!("100,000 ids on 5,000 workers, {what}: {moves} moves planned in {time:.2?}");
    }
}
