//! Checks whether an assignment moved as few ids as possible.

use std::collections::{BTreeMap, VecDeque};

use values_core::assignment::{self, Orphans, WorkerLoad};
use values_core::types::{Incarnation, WorkerState};

/// Highest age, in milliseconds, of the state on which an assignment was decided: a term
/// ends a second after its last renewal, and each read of the tables renews it.
const WINDOW_MS: i64 = 1000;

/// Number of moved ids, by previous and new owner.
pub(crate) type Moves = BTreeMap<(Option<i64>, i64), u64>;

/// State and capacity of the workers that are not dead.
pub(crate) type Living = BTreeMap<i64, (WorkerState, u64)>;

/// Number of ids of each owner.
pub(crate) type Loads = BTreeMap<Option<i64>, u64>;

/// Recent states of the tables.
///
/// A manager decides on a state that it has read a moment before, in two statements: first
/// the workers, then the loads. Ids are added and removed between the read and the move, so
/// an assignment is not judged against the state just before it. The production planner,
/// whose plans are deterministic, identifies the state on which the assignment was decided.
/// [`fewest_moves`], which shares no code with the planner, computes the optimum for it.
/// The logs of the managers are not used, since a manager that is killed between its commit
/// and its log line leaves none.
#[derive(Debug, Default)]
pub(crate) struct Views {
    now_ms: i64,
    living: VecDeque<View<Living>>,
    loads: VecDeque<View<Loads>>,
}

#[derive(Debug)]
struct View<T> {
    seen: T,
    /// The transaction before which it was first seen.
    since: u64,
    /// The transaction before which it was replaced.
    until: u64,
    /// When it was replaced.
    until_ms: i64,
}

/// Judgement of one assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Judged {
    /// Smallest number of moves, without ids that had been removed meanwhile or were
    /// locked.
    pub(crate) optimum: u64,
    /// Planned moves whose ids had been removed meanwhile or were locked. An assignment
    /// skips these.
    pub(crate) gone: u64,
    /// Whether the moves are a plan for a state that the manager can have read.
    pub(crate) explained: bool,
}

impl Views {
    /// Advances the clock of the database.
    pub(crate) fn clock(&mut self, now_ms: i64) {
        self.now_ms = self.now_ms.max(now_ms);
    }

    /// Records the state of the tables from transaction number `since` on.
    pub(crate) fn push(&mut self, since: u64, living: &Living, loads: &Loads) {
        push(&mut self.living, self.now_ms, since, living);
        push(&mut self.loads, self.now_ms, since, loads);
    }

    /// Judges the moves of one transaction, after the state before it has been recorded.
    pub(crate) fn judge(&self, moves: &Moves) -> Judged {
        let total: u64 = moves.values().sum();
        let mut shortened = None;
        let recent = self.now_ms - WINDOW_MS;
        for loads in self.loads.iter().rev().filter(|loads| loads.until_ms >= recent) {
            // The manager reads the workers first: not after these loads were replaced.
            let read_first = |living: &&View<Living>| living.until_ms >= recent && living.since < loads.until;
            for living in self.living.iter().rev().filter(read_first) {
                let plan = plan(&living.seen, &loads.seen);
                if plan == *moves {
                    return Judged { optimum: fewest_moves(&living.seen, &loads.seen), gone: 0, explained: true };
                }
                if shortened.is_none() && is_part(moves, &plan) {
                    let gone = plan.values().sum::<u64>() - total;
                    let optimum = fewest_moves(&living.seen, &loads.seen).saturating_sub(gone);
                    shortened = Some(Judged { optimum, gone, explained: true });
                }
            }
        }
        shortened.unwrap_or_else(|| {
            let optimum = match (self.living.back(), self.loads.back()) {
                (Some(living), Some(loads)) => fewest_moves(&living.seen, &loads.seen),
                _ => 0,
            };
            Judged { optimum: optimum.min(total), gone: 0, explained: false }
        })
    }
}

fn push<T: Clone + PartialEq>(views: &mut VecDeque<View<T>>, now_ms: i64, since: u64, seen: &T) {
    if let Some(last) = views.back_mut() {
        if last.seen == *seen {
            return;
        }
        last.until = since;
        last.until_ms = now_ms;
    }
    views.push_back(View { seen: seen.clone(), since, until: u64::MAX, until_ms: i64::MAX });
    views.retain(|view| view.until_ms >= now_ms - WINDOW_MS);
}

/// Whether `moves` are `plan` with some ids missing.
fn is_part(moves: &Moves, plan: &Moves) -> bool {
    moves.iter().all(|(way, count)| plan.get(way).is_some_and(|planned| count <= planned))
}

/// Moves of the production planner.
fn plan(living: &Living, loads: &Loads) -> Moves {
    let worker = |(incarnation, (state, capacity)): (&i64, &(WorkerState, u64))| WorkerLoad {
        incarnation: Incarnation(*incarnation),
        state: *state,
        capacity: *capacity,
        load: loads.get(&Some(*incarnation)).copied().unwrap_or(0),
    };
    let workers: Vec<WorkerLoad> = living.iter().map(worker).collect();
    let is_orphaned = |owner: &Option<i64>| owner.is_none_or(|owner| !living.contains_key(&owner));
    let orphans: Vec<Orphans> = loads
        .iter()
        .filter(|(owner, _)| is_orphaned(owner))
        .map(|(owner, count)| Orphans { owner: owner.map(Incarnation), count: *count })
        .collect();
    let mut moves = Moves::new();
    for transfer in assignment::plan(&workers, &orphans).transfers {
        *moves.entry((transfer.from.map(|from| from.0), transfer.to.0)).or_default() += transfer.count;
    }
    moves
}

/// Smallest number of moves that balances the active workers within one id and places as
/// many ids as fit. Assigns the ids one by one to the worker with the fewest, and among
/// equals first to a worker that holds more than it has been assigned. Each id that a
/// worker receives beyond those it holds is a move.
pub(crate) fn fewest_moves(living: &Living, loads: &Loads) -> u64 {
    let mut ids: u64 = loads.values().sum();
    // Target, held, capacity.
    let mut active: Vec<(u64, u64, u64)> = living
        .iter()
        .filter(|(_, (state, _))| *state == WorkerState::Active)
        .map(|(incarnation, (_, capacity))| (0, loads.get(&Some(*incarnation)).copied().unwrap_or(0), *capacity))
        .collect();
    while ids > 0 {
        let with_room = active.iter_mut().filter(|(target, _, capacity)| target < capacity);
        let Some(least) = with_room.min_by_key(|(target, held, _)| (*target, held <= target)) else { break };
        least.0 += 1;
        ids -= 1;
    }
    active.iter().map(|(target, held, _)| target.saturating_sub(*held)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn living(workers: &[(i64, u64)]) -> Living {
        workers.iter().map(|(worker, capacity)| (*worker, (WorkerState::Active, *capacity))).collect()
    }

    fn loads(loads: &[(Option<i64>, u64)]) -> Loads {
        loads.iter().copied().collect()
    }

    #[test]
    fn the_fewest_moves() {
        let three = living(&[(1, 20), (2, 20), (3, 20)]);
        assert_eq!(fewest_moves(&three, &loads(&[(None, 5)])), 5, "new ids");
        assert_eq!(fewest_moves(&three, &loads(&[(Some(9), 5), (Some(1), 1)])), 5, "a dead owner's");
        assert_eq!(fewest_moves(&three, &loads(&[(Some(1), 10), (Some(2), 10)])), 6, "20 = 7 + 7 + 6");
        assert_eq!(fewest_moves(&three, &loads(&[(Some(1), 7), (Some(2), 7), (Some(3), 6)])), 0);
        assert_eq!(fewest_moves(&three, &loads(&[(Some(1), 2), (Some(2), 2), (Some(3), 3)])), 0);
        assert_eq!(fewest_moves(&three, &loads(&[(Some(1), 5), (Some(2), 1), (Some(3), 1)])), 2, "7 = 3 + 2 + 2");
        assert_eq!(fewest_moves(&living(&[(1, 3)]), &loads(&[(Some(1), 2), (None, 9)])), 1, "no more than fits");
    }

    #[test]
    fn agrees_with_the_production_planner() {
        let mut rng = crate::rng::Rng::new(1);
        for _ in 0..2000 {
            let workers: Vec<(i64, u64)> = (1..=6).map(|worker| (worker, rng.below(6) as u64)).collect();
            let mut owned: Vec<(Option<i64>, u64)> =
                workers.iter().map(|(worker, _)| (Some(*worker), rng.below(6) as u64)).collect();
            owned.extend([(None, rng.below(6) as u64), (Some(99), rng.below(6) as u64)]);
            let (living, loads) = (living(&workers), loads(&owned));
            let planned: u64 = plan(&living, &loads).values().sum();
            assert_eq!(planned, fewest_moves(&living, &loads), "{workers:?} {owned:?}");
        }
    }

    #[test]
    fn a_plan_for_what_was_there_a_moment_ago_is_the_optimum() {
        let mut views = Views::default();
        let workers = living(&[(1, 20), (2, 20)]);
        views.clock(10_000);
        views.push(1, &workers, &loads(&[(None, 4)]));
        views.clock(10_100);
        views.push(2, &workers, &loads(&[(None, 3)]));
        let judged = views.judge(&Moves::from([((None, 1), 2), ((None, 2), 2)]));
        assert_eq!(judged, Judged { optimum: 4, gone: 0, explained: true });

        // One of the three had been removed before the move.
        views.clock(10_200);
        views.push(3, &workers, &loads(&[(None, 2), (Some(3), 1)]));
        let judged = views.judge(&Moves::from([((None, 1), 1), ((None, 2), 1)]));
        assert_eq!(judged, Judged { optimum: 2, gone: 1, explained: true });

        views.clock(12_000);
        views.push(4, &workers, &loads(&[]));
        views.push(5, &workers, &loads(&[(None, 1)]));
        let judged = views.judge(&Moves::from([((None, 1), 2), ((None, 2), 2)]));
        assert!(!judged.explained, "too long ago");
    }

    #[test]
    fn a_needless_move_is_found() {
        let mut views = Views::default();
        views.push(1, &living(&[(1, 20), (2, 20)]), &loads(&[(Some(1), 4), (Some(2), 3), (None, 1)]));
        let judged = views.judge(&Moves::from([((None, 1), 1), ((Some(1), 2), 1)]));
        assert_eq!(judged, Judged { optimum: 1, gone: 0, explained: false });
    }
}
