//! Distributes ids over workers: balanced within one, never above a capacity, with the
//! fewest moves possible.
//!
//! The problem has no weights, so the optimum is exact and needs no solver.
//! Water-filling gives each worker its target load; an id moves only if it has
//! no living owner, its owner is draining, or its owner is above its target.
//! Ids are interchangeable, so only their numbers are planned. The store picks the lowest
//! ids of a source when it applies a [`Transfer`].

use crate::types::{Incarnation, WorkerState};

/// A living worker, as input of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WorkerLoad {
    /// The incarnation of the worker.
    pub incarnation: Incarnation,
    /// Active workers receive ids, draining ones only give them away. Ids of dead workers
    /// count as orphans.
    pub state: WorkerState,
    /// Maximum number of ids.
    pub capacity: u64,
    /// Number of ids that it owns.
    pub load: u64,
}

/// Ids without a living owner.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Orphans {
    /// The dead or unknown owner in their rows; `None` for new and released ids.
    pub owner: Option<Incarnation>,
    /// Number of ids.
    pub count: u64,
}

/// Moves `count` ids from one owner to another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Transfer {
    /// The owner in the rows; `None` for ids without one.
    pub from: Option<Incarnation>,
    /// The active worker that receives them.
    pub to: Incarnation,
    /// Number of ids, at least 1.
    pub count: u64,
}

/// The moves to make now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// The moves. Ids that are not ticking come first, then the workers with the fewest ids.
    pub transfers: Vec<Transfer>,
    /// The fewest moves that reach the balanced target, by a closed form.
    pub optimum: u64,
    /// Number of ids that stay without a living owner, because all workers are full.
    pub unplaced: u64,
}

impl Plan {
    /// Number of ids that the plan moves.
    #[must_use]
    pub fn moves(&self) -> u64 {
        self.transfers.iter().map(|transfer| transfer.count).sum()
    }
}

/// Plans the moves from the current ownership to a balanced one.
///
/// If the capacities of the active workers do not suffice, all are filled, with ids
/// without a living owner first. The other ids stay on draining or overfull workers,
/// which go on ticking them. The result depends only on
/// the set of inputs, not on their order. Takes `O(w log w)` for `w` workers,
/// whatever the number of ids.
#[must_use]
pub fn plan(workers: &[WorkerLoad], orphans: &[Orphans]) -> Plan {
    let mut active: Vec<&WorkerLoad> = living(workers, WorkerState::Active);
    let draining = living(workers, WorkerState::Draining);
    active.sort_by_key(|worker| worker.incarnation);

    let orphaned: u64 = orphans.iter().map(|group| group.count).sum();
    let leaving: u64 = draining.iter().map(|worker| worker.load).sum();
    let settled: u64 = active.iter().map(|worker| worker.load).sum();

    let targets = targets(&active, orphaned + leaving + settled);
    let surplus = |(worker, target): (&&WorkerLoad, &u64)| worker.load.saturating_sub(*target);
    let room = |(worker, target): (&&WorkerLoad, &u64)| target.saturating_sub(worker.load);
    let excess: u64 = active.iter().zip(&targets).map(surplus).sum();
    let free: u64 = active.iter().zip(&targets).map(room).sum();

    let mut sources = sources(orphans, &draining);
    sources.extend(active.iter().zip(&targets).map(|pair| (Some(pair.0.incarnation), surplus(pair))));
    let mut sinks: Vec<_> =
        active.iter().zip(&targets).map(|pair| (pair.0.load, pair.0.incarnation, room(pair))).collect();
    sinks.sort_unstable();

    Plan {
        transfers: pair_up(sources, sinks.into_iter().map(|(_, to, room)| (to, room))),
        optimum: (orphaned + leaving + excess).min(free),
        unplaced: orphaned.saturating_sub(free),
    }
}

fn living(workers: &[WorkerLoad], state: WorkerState) -> Vec<&WorkerLoad> {
    workers.iter().filter(|worker| worker.state == state).collect()
}

/// Orphans and the ids of draining workers, in the order in which they are placed.
fn sources(orphans: &[Orphans], draining: &[&WorkerLoad]) -> Vec<(Option<Incarnation>, u64)> {
    let mut orphaned: Vec<_> = orphans.iter().map(|group| (group.owner, group.count)).collect();
    orphaned.sort_unstable();
    let mut leaving: Vec<_> = draining.iter().map(|worker| (Some(worker.incarnation), worker.load)).collect();
    leaving.sort_unstable();
    orphaned.extend(leaving);
    orphaned
}

/// The balanced load of each active worker, by water-filling: each gets the same level
/// or one more, capped by its capacity. Those that hold more than the level already get
/// the one more, which saves a move each.
fn targets(active: &[&WorkerLoad], total: u64) -> Vec<u64> {
    let mut by_capacity: Vec<usize> = (0..active.len()).collect();
    by_capacity.sort_by_key(|&i| active[i].capacity);

    let mut targets: Vec<u64> = active.iter().map(|worker| worker.capacity).collect();
    let mut left = total;
    for (full, &i) in by_capacity.iter().enumerate() {
        let waiting = (active.len() - full) as u64;
        if active[i].capacity.saturating_mul(waiting) <= left {
            left -= active[i].capacity;
            continue;
        }
        let (level, odd) = (left / waiting, left % waiting);
        let mut rest: Vec<usize> = by_capacity[full..].to_vec();
        rest.sort_by_key(|&i| (active[i].load <= level, active[i].incarnation));
        for (rank, i) in (0u64..).zip(rest) {
            targets[i] = level + u64::from(rank < odd);
        }
        break;
    }
    targets
}

/// Walks sources and sinks side by side; each step empties one or fills the other.
fn pair_up(sources: Vec<(Option<Incarnation>, u64)>, sinks: impl Iterator<Item = (Incarnation, u64)>) -> Vec<Transfer> {
    let mut transfers = Vec::new();
    let mut sources = sources.into_iter().filter(|(_, count)| *count > 0);
    let Some(mut source) = sources.next() else { return transfers };
    for (to, mut room) in sinks {
        while room > 0 {
            let count = room.min(source.1);
            transfers.push(Transfer { from: source.0, to, count });
            room -= count;
            source.1 -= count;
            if source.1 == 0 {
                let Some(next) = sources.next() else { return transfers };
                source = next;
            }
        }
    }
    transfers
}
