//! The database of the values system, in plain data: what each storage
//! operation reads and writes, in one atomic step.
//!
//! This is the specification. The SQL backends are compared with it operation
//! by operation, and the model checker explores the protocol on top of it.

use std::collections::{BTreeMap, BTreeSet};

use crate::assignment::{Orphans, Transfer, WorkerLoad};
use crate::types::{Incarnation, Lease, Term, ValueRow, WorkerRow, WorkerState};

/// All rows, and the clock they are stamped with.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Tables {
    /// The database's clock, in milliseconds since 1970. It may step back.
    pub now_ms: i64,
    /// The `values` table.
    pub values: BTreeMap<i64, ValueRow>,
    /// The `workers` table.
    pub workers: BTreeMap<Incarnation, WorkerRow>,
    /// The `manager_lease` table.
    pub lease: Lease,
    last_incarnation: i64,
}

/// What a worker learns from each of its writes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Beat {
    /// The database's clock when it answered, in milliseconds.
    pub now_ms: i64,
    /// `false` once the worker has been declared dead: it must register anew.
    pub alive: bool,
    /// Changes whenever ids were given or taken.
    pub generation: i64,
}

/// What a worker learns from a full tick.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tick {
    /// The heartbeat that the tick carried.
    pub beat: Beat,
    /// What was counted.
    pub counted: Counted,
    /// Every row it owns, as committed, ascending by id.
    pub rows: Vec<OwnedRow>,
}

impl Tick {
    /// The second at which the rows are as they were read.
    #[must_use]
    pub const fn second(&self) -> i64 {
        self.counted.second_at(self.beat.now_ms)
    }
}

/// What a worker learns from a light tick.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct LightTick {
    /// What was counted.
    pub counted: Counted,
    /// The heartbeat, in milliseconds by the database's clock, if there was one:
    /// if the worker is alive and of the generation that it expected.
    pub beat_ms: Option<i64>,
}

/// What a tick counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Counted {
    /// How many rows it changed.
    pub rows: u64,
    /// The second up to which it counted them; `None` if it changed none, or if
    /// the database did not tell.
    pub second: Option<i64>,
}

impl Counted {
    /// The second that was counted; as good as any other, if none was, is that of
    /// the heartbeat, which the database may have run one second later.
    #[must_use]
    pub const fn second_at(&self, beat_ms: i64) -> i64 {
        match self.second {
            Some(second) => second,
            None => beat_ms.div_euclid(1000),
        }
    }
}

/// A row as far as its worker needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OwnedRow {
    /// The id.
    pub id: i64,
    /// Its value.
    pub value: i64,
    /// The second up to which `value` has been counted.
    pub last_tick: i64,
}

/// What a manager learns from asking for the lease.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Campaign {
    /// The database's clock, in milliseconds.
    pub now_ms: i64,
    /// The new term, if the lease was free.
    pub won: Option<Term>,
}

/// What the leader sees.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Observation {
    /// The database's clock, in milliseconds.
    pub now_ms: i64,
    /// Workers that are not dead, ascending by incarnation.
    pub workers: Vec<WorkerRow>,
    /// How many ids each owner has, dead, unknown and no owner (`None`)
    /// included, ascending; owners of nothing are left out.
    pub loads: Vec<(Option<Incarnation>, u64)>,
}

impl Observation {
    /// How many ids there are.
    #[must_use]
    pub fn ids(&self) -> u64 {
        self.loads.iter().map(|(_, count)| count).sum()
    }

    /// How many ids `worker` owns.
    #[must_use]
    pub fn load(&self, worker: Incarnation) -> u64 {
        self.loads.iter().find(|(owner, _)| *owner == Some(worker)).map_or(0, |(_, count)| *count)
    }

    /// The planner's view: living workers with their loads, and everything else
    /// as orphans.
    #[must_use]
    pub fn fleet(&self) -> (Vec<WorkerLoad>, Vec<Orphans>) {
        let mut loads: BTreeMap<Option<Incarnation>, u64> = self.loads.iter().copied().collect();
        let workers = self
            .workers
            .iter()
            .map(|worker| WorkerLoad {
                incarnation: worker.incarnation,
                state: worker.state,
                capacity: u64::from(worker.capacity),
                load: loads.remove(&Some(worker.incarnation)).unwrap_or(0),
            })
            .collect();
        (workers, loads.into_iter().map(|(owner, count)| Orphans { owner, count }).collect())
    }
}

/// Worker operations. None of them needs the lease: a row's `owner` is the fence.
impl Tables {
    /// Adds a worker under a new incarnation.
    pub fn register(&mut self, name: &str, capacity: u32) -> Incarnation {
        self.last_incarnation += 1;
        let incarnation = Incarnation(self.last_incarnation);
        self.workers.insert(
            incarnation,
            WorkerRow {
                incarnation,
                name: name.to_owned(),
                state: WorkerState::Active,
                capacity,
                heartbeat: self.now_ms,
                generation: 0,
            },
        );
        incarnation
    }

    /// Counts the seconds of every row that `worker` owns, and reads them. A
    /// heartbeat, too.
    ///
    /// Rows are ticked whatever the worker's state: ownership alone decides, and
    /// a dead worker's rows are caught up by whoever is next.
    pub fn tick(&mut self, worker: Incarnation) -> Tick {
        let counted = self.count(worker);
        let owned = self.values.values().filter(|row| row.owner == Some(worker));
        let rows = owned.map(|row| OwnedRow { id: row.id, value: row.value, last_tick: row.last_tick }).collect();
        Tick { beat: self.heartbeat(worker), counted, rows }
    }

    /// Counts as [`Tables::tick`] does and reads nothing. A heartbeat only if
    /// `worker` is alive and still of this `generation`.
    pub fn light_tick(&mut self, worker: Incarnation, generation: i64) -> LightTick {
        let counted = self.count(worker);
        let expected = self.living(worker).is_some_and(|row| row.generation == generation);
        LightTick { counted, beat_ms: expected.then(|| self.heartbeat(worker).now_ms) }
    }

    fn count(&mut self, worker: Incarnation) -> Counted {
        let now = self.now_ms.div_euclid(1000);
        let owned = self.values.values_mut().filter(|row| row.owner == Some(worker));
        let rows = owned.map(|row| u64::from(row.tick(now) > 0)).sum();
        Counted { rows, second: (rows > 0).then_some(now) }
    }

    /// Says that `worker` is alive.
    pub fn heartbeat(&mut self, worker: Incarnation) -> Beat {
        let now_ms = self.now_ms;
        match self.living(worker) {
            Some(row) => {
                row.heartbeat = now_ms;
                Beat { now_ms, alive: true, generation: row.generation }
            }
            None => Beat { now_ms, alive: false, generation: 0 },
        }
    }

    /// Says that `worker` is about to exit: it drains, and takes no more ids.
    pub fn leave(&mut self, worker: Incarnation) -> Beat {
        if let Some(row) = self.living(worker) {
            row.state = WorkerState::Draining;
            row.capacity = 0;
        }
        self.heartbeat(worker)
    }

    /// Ends `worker`: releases what it still owns and says how much that was.
    pub fn retire(&mut self, worker: Incarnation) -> u64 {
        if let Some(row) = self.living(worker) {
            row.state = WorkerState::Dead;
        }
        let mut released = 0;
        for row in self.values.values_mut().filter(|row| row.owner == Some(worker)) {
            row.owner = None;
            row.epoch += 1;
            released += 1;
        }
        released
    }

    fn living(&mut self, worker: Incarnation) -> Option<&mut WorkerRow> {
        self.workers.get_mut(&worker).filter(|row| row.state != WorkerState::Dead)
    }
}

/// Manager operations. Each but [`Tables::campaign`] is fenced: under a stale
/// term it changes nothing and answers `None`.
impl Tables {
    /// Takes the lease under the next term if it is free or its own, or if its
    /// end is further away than any holder could have asked for, which means that
    /// the clock stepped back.
    pub fn campaign(&mut self, holder: &str, ttl_ms: i64) -> Campaign {
        let now_ms = self.now_ms;
        let held = self.lease.until > now_ms && self.lease.until <= now_ms + 2 * ttl_ms;
        if held && self.lease.holder != holder {
            return Campaign { now_ms, won: None };
        }
        self.lease = Lease { term: self.lease.term + 1, holder: holder.to_owned(), until: now_ms + ttl_ms };
        Campaign { now_ms, won: Some(Term(self.lease.term)) }
    }

    /// Prolongs the lease, if half of it is over, and reads who owns how much.
    pub fn observe(&mut self, term: Term, ttl_ms: i64) -> Option<Observation> {
        if self.lease.term != term.0 {
            return None;
        }
        if self.lease.until < self.now_ms + ttl_ms / 2 {
            self.lease.until = self.now_ms + ttl_ms;
        }
        let mut loads = BTreeMap::new();
        for row in self.values.values() {
            *loads.entry(row.owner).or_insert(0) += 1;
        }
        Some(Observation {
            now_ms: self.now_ms,
            workers: self.workers.values().filter(|worker| worker.state != WorkerState::Dead).cloned().collect(),
            loads: loads.into_iter().collect(),
        })
    }

    /// Declares those of `workers` dead whose heartbeat is not within
    /// `dead_after_ms` of now, and says how many those were.
    pub fn expire(&mut self, term: Term, ttl_ms: i64, workers: &[Incarnation], dead_after_ms: i64) -> Option<u64> {
        self.renew(term, ttl_ms)?;
        let now_ms = self.now_ms;
        let mut expired = 0;
        for worker in workers {
            if let Some(row) = self.living(*worker)
                && is_stale(row.heartbeat, now_ms, dead_after_ms)
            {
                row.state = WorkerState::Dead;
                expired += 1;
            }
        }
        Some(expired)
    }

    /// Moves ids, the lowest of each source first, tells every worker concerned
    /// by its generation, and says how many moved. Ids that left their source
    /// since it was observed stay where they are.
    pub fn assign(&mut self, term: Term, ttl_ms: i64, transfers: &[Transfer]) -> Option<u64> {
        self.renew(term, ttl_ms)?;
        let mut moved = 0;
        for transfer in transfers {
            let limit = usize::try_from(transfer.count).unwrap_or(usize::MAX);
            for row in self.values.values_mut().filter(|row| row.owner == transfer.from).take(limit) {
                row.owner = Some(transfer.to);
                row.epoch += 1;
                moved += 1;
            }
        }
        for worker in concerned(transfers) {
            if let Some(row) = self.workers.get_mut(&worker) {
                row.generation += 1;
            }
        }
        Some(moved)
    }

    /// Sets `workers`, unless dead or leaving, to draining or back to active.
    pub fn set_draining(&mut self, term: Term, ttl_ms: i64, workers: &[Incarnation], draining: bool) -> Option<()> {
        self.renew(term, ttl_ms)?;
        for worker in workers {
            if let Some(row) = self.living(*worker).filter(|row| row.capacity > 0) {
                row.state = if draining { WorkerState::Draining } else { WorkerState::Active };
            }
        }
        Some(())
    }

    /// Ends the term at once, so that nobody waits for the lease to run out.
    pub fn resign(&mut self, term: Term) {
        if self.lease.term == term.0 {
            self.lease.until = 0;
        }
    }

    fn renew(&mut self, term: Term, ttl_ms: i64) -> Option<()> {
        if self.lease.term != term.0 {
            return None;
        }
        self.lease.until = self.now_ms + ttl_ms;
        Some(())
    }
}

/// The workers that `transfers` give to or take from.
#[must_use]
pub fn concerned(transfers: &[Transfer]) -> BTreeSet<Incarnation> {
    transfers.iter().flat_map(|transfer| transfer.from.into_iter().chain([transfer.to])).collect()
}

/// Whether a heartbeat is too old, or so far ahead that the clock stepped back.
#[must_use]
pub const fn is_stale(heartbeat: i64, now_ms: i64, dead_after_ms: i64) -> bool {
    heartbeat < now_ms - dead_after_ms || heartbeat > now_ms + dead_after_ms
}
