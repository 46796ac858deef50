//! Smallest number of moves, found by trying every outcome, independently of the
//! algorithm of the planner.

/// An active worker: its capacity, and its number of ids.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Active {
    pub(crate) capacity: u64,
    pub(crate) load: u64,
}

/// Smallest number of ids that must move, over all balanced outcomes for `total` ids on
/// `workers`.
pub(crate) fn fewest_moves(workers: &[Active], total: u64) -> u64 {
    let room: u64 = workers.iter().map(|worker| worker.capacity).sum();
    let mut outcome = Vec::new();
    let mut fewest = None;
    search(workers, total.min(room), &mut outcome, &mut fewest);
    fewest.expect("some outcome is balanced")
}

/// Whether an outcome is balanced within one: a worker has two or more ids less than
/// another only if it is full.
pub(crate) fn is_balanced(workers: &[Active], outcome: &[u64]) -> bool {
    let most = outcome.iter().max().copied().unwrap_or(0);
    workers.iter().zip(outcome).all(|(worker, load)| *load + 1 >= most || *load >= worker.capacity)
}

fn search(workers: &[Active], left: u64, outcome: &mut Vec<u64>, fewest: &mut Option<u64>) {
    let Some(next) = workers.get(outcome.len()) else {
        if left == 0 && is_balanced(workers, outcome) {
            let arrivals = workers.iter().zip(&*outcome).map(|(worker, load)| load.saturating_sub(worker.load)).sum();
            *fewest = Some(fewest.map_or(arrivals, |best: u64| best.min(arrivals)));
        }
        return;
    };
    for load in 0..=next.capacity.min(left) {
        outcome.push(load);
        search(workers, left - load, outcome, fewest);
        outcome.pop();
    }
}
