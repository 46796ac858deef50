//! Spreads ids over workers: balanced within one, never above a capacity, with
//! the fewest moves possible.
//!
//! The problem has no weights, so the optimum is exact and needs no solver.
//! Water-filling gives each worker its target load; an id moves only if it has
//! no living owner, its owner is draining, or its owner is above its target.
//! Only numbers of ids are planned, since ids are interchangeable: the store
//! picks the lowest ids of a source when it applies a [`Transfer`].

use crate::types::{Incarnation, WorkerState};

/// A living worker as the planner sees it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WorkerLoad {
    /// Which worker.
    pub incarnation: Incarnation,
    /// Active workers take ids, draining ones only give; a dead one's ids count
    /// as orphans.
    pub state: WorkerState,
    /// How many ids it may own.
    pub capacity: u64,
    /// How many ids it owns.
    pub load: u64,
}

/// Ids that nobody alive ticks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Orphans {
    /// The dead or unknown owner in their rows; `None` for new and released ids.
    pub owner: Option<Incarnation>,
    /// How many.
    pub count: u64,
}

/// Gives `count` ids of one owner to another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Transfer {
    /// The owner in the rows; `None` for ids without one.
    pub from: Option<Incarnation>,
    /// The active worker that gets them.
    pub to: Incarnation,
    /// How many, at least 1.
    pub count: u64,
}

/// What to move now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Sources that are not ticking come first, then the emptiest workers.
    pub transfers: Vec<Transfer>,
    /// The fewest moves that reach the balanced target, by its closed form.
    pub optimum: u64,
    /// Ids that stay without a living owner, because every slot is taken.
    pub unplaced: u64,
}

impl Plan {
    /// How many ids the plan moves.
    #[must_use]
    pub fn moves(&self) -> u64 {
        self.transfers.iter().map(|transfer| transfer.count).sum()
    }
}

/// Plans the moves from the present ownership to a balanced one.
///
/// When the active workers' capacities do not suffice, every slot is filled,
/// ids without a living owner first; ids on draining or overfull workers stay
/// there, since a late move is better than no ticks. The result depends only on
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

/// Orphans and draining workers' ids, in the order in which they are placed.
fn sources(orphans: &[Orphans], draining: &[&WorkerLoad]) -> Vec<(Option<Incarnation>, u64)> {
    let mut orphaned: Vec<_> = orphans.iter().map(|group| (group.owner, group.count)).collect();
    orphaned.sort_unstable();
    let mut leaving: Vec<_> = draining.iter().map(|worker| (Some(worker.incarnation), worker.load)).collect();
    leaving.sort_unstable();
    orphaned.extend(leaving);
    orphaned
}

/// The balanced load of each active worker, by water-filling: everyone gets the
/// same level or one more, capped by capacity. The odd ones out go to workers
/// that hold more than the level already, which saves a move each.
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
