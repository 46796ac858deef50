//! The database of the values system as plain data: each storage operation as one atomic
//! step.
//!
//! This is the specification. The conformance suite compares each SQL backend with it,
//! and the model checker explores the protocol on it.

use std::collections::{BTreeMap, BTreeSet};

use crate::assignment::{Orphans, Transfer, WorkerLoad};
use crate::types::{Incarnation, Lease, Registration, Term, Token, ValueRow, WorkerRow, WorkerState};

/// All rows, and the database's clock.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tables {
    /// The database's clock, in milliseconds since the Unix epoch. It may step back.
    pub now_ms: i64,
    /// The `values` table.
    pub values: BTreeMap<i64, ValueRow>,
    /// The `workers` table.
    pub workers: BTreeMap<Incarnation, WorkerRow>,
    /// The row of the `manager_lease` table; `None` if it was lost.
    pub lease: Option<Lease>,
    last_incarnation: i64,
}

/// The tables as the migrations make them, at the Unix epoch.
impl Default for Tables {
    fn default() -> Self {
        Self {
            now_ms: 0,
            values: BTreeMap::new(),
            workers: BTreeMap::new(),
            lease: Some(Lease::default()),
            last_incarnation: 0,
        }
    }
}

/// The result of a heartbeat, which every write of a worker carries.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Beat {
    /// The database's clock, in milliseconds since the Unix epoch.
    pub now_ms: i64,
    /// `false` once the registration is dead or lost; the worker then has to register
    /// again.
    pub alive: bool,
    /// The generation of the worker, which changes whenever its ids do.
    pub generation: i64,
}

/// The result of a full tick.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tick {
    /// The heartbeat that the tick carried.
    pub beat: Beat,
    /// What was counted.
    pub counted: Counted,
    /// Every row that the worker owns, as committed, in ascending order of ids.
    pub rows: Vec<OwnedRow>,
}

impl Tick {
    /// The second at which the rows were read.
    #[must_use]
    pub const fn second(&self) -> i64 {
        self.counted.second_at(self.beat.now_ms)
    }
}

/// The result of a light tick.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct LightTick {
    /// What was counted.
    pub counted: Counted,
    /// The heartbeat, in milliseconds by the database's clock; `None` if the registration
    /// is dead or lost, or has another generation than the worker expected.
    pub beat_ms: Option<i64>,
}

/// What a tick counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Counted {
    /// Number of rows changed.
    pub rows: u64,
    /// The second up to which they were counted; `None` if no row was changed, or if the
    /// database did not return it.
    pub second: Option<i64>,
}

impl Counted {
    /// The second that was counted. If none was, the second of the heartbeat, which the
    /// database may have run one second later.
    #[must_use]
    pub const fn second_at(&self, beat_ms: i64) -> i64 {
        match self.second {
            Some(second) => second,
            None => beat_ms.div_euclid(1000),
        }
    }
}

/// The columns of a row that its worker needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OwnedRow {
    /// The id.
    pub id: i64,
    /// Its value.
    pub value: i64,
    /// The second up to which `value` has been counted.
    pub last_tick: i64,
}

/// The result of a campaign for the lease.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Campaign {
    /// The database's clock, in milliseconds.
    pub now_ms: i64,
    /// The new term, if the manager took the lease.
    pub won: Option<Term>,
}

/// The workers and their loads, as the leader reads them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Observation {
    /// The database's clock, in milliseconds.
    pub now_ms: i64,
    /// Workers that are not dead, in ascending order of incarnations.
    pub workers: Vec<WorkerRow>,
    /// Number of ids of each owner, in ascending order: of living, dead and unknown
    /// workers, and without owner (`None`). Owners without ids are left out.
    pub loads: Vec<(Option<Incarnation>, u64)>,
}

impl Observation {
    /// Number of ids.
    #[must_use]
    pub fn ids(&self) -> u64 {
        self.loads.iter().map(|(_, count)| count).sum()
    }

    /// Number of ids that `worker` owns.
    #[must_use]
    pub fn load(&self, worker: Incarnation) -> u64 {
        self.loads.iter().find(|(owner, _)| *owner == Some(worker)).map_or(0, |(_, count)| *count)
    }

    /// The input of a plan: living workers with their loads, and all other ids as
    /// orphans.
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

/// Worker operations. None of them needs the lease. Under a registration that is dead or
/// lost they write neither to `workers` nor to any `owner`.
impl Tables {
    /// Registers a worker under a new incarnation, and with this random `token`.
    pub fn register(&mut self, name: &str, capacity: u32, token: Token) -> Registration {
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
                token,
            },
        );
        Registration { incarnation, token }
    }

    /// Counts the seconds of every row that `worker` owns, reads the rows, and renews the
    /// heartbeat.
    ///
    /// Counts rows even if another worker is registered under the number: each second is still
    /// counted once, and `worker` does not report it, because its heartbeat fails.
    pub fn tick(&mut self, worker: Registration) -> Tick {
        let counted = self.count(worker);
        let owned = self.values.values().filter(|row| row.owner == Some(worker.incarnation));
        let rows = owned.map(|row| OwnedRow { id: row.id, value: row.value, last_tick: row.last_tick }).collect();
        Tick { beat: self.heartbeat(worker), counted, rows }
    }

    /// Counts as [`Tables::tick`] does, without reading rows. Renews the heartbeat only
    /// if `worker` still has this `generation`.
    pub fn light_tick(&mut self, worker: Registration, generation: i64) -> LightTick {
        let counted = self.count(worker);
        let expected = self.living(worker).is_some_and(|row| row.generation == generation);
        LightTick { counted, beat_ms: expected.then(|| self.heartbeat(worker).now_ms) }
    }

    fn count(&mut self, worker: Registration) -> Counted {
        let now = self.now_ms.div_euclid(1000);
        let owned = self.values.values_mut().filter(|row| row.owner == Some(worker.incarnation));
        let rows = owned.map(|row| u64::from(row.tick(now) > 0)).sum();
        Counted { rows, second: (rows > 0).then_some(now) }
    }

    /// Renews the heartbeat of `worker`.
    pub fn heartbeat(&mut self, worker: Registration) -> Beat {
        let now_ms = self.now_ms;
        match self.living(worker) {
            Some(row) => {
                row.heartbeat = now_ms;
                Beat { now_ms, alive: true, generation: row.generation }
            }
            None => Beat { now_ms, alive: false, generation: 0 },
        }
    }

    /// Renews the heartbeat of `worker`, which is about to exit: it drains and receives no
    /// more ids.
    pub fn leave(&mut self, worker: Registration) -> Beat {
        if let Some(row) = self.living(worker) {
            row.state = WorkerState::Draining;
            row.capacity = 0;
        }
        self.heartbeat(worker)
    }

    /// Ends `worker`: releases the ids that it still owns, and returns their number.
    pub fn retire(&mut self, worker: Registration) -> u64 {
        let Some(row) = self.living(worker) else { return 0 };
        row.state = WorkerState::Dead;
        let mut released = 0;
        for row in self.values.values_mut().filter(|row| row.owner == Some(worker.incarnation)) {
            row.owner = None;
            row.epoch += 1;
            released += 1;
        }
        released
    }

    /// The row of this registration, unless it is dead or lost.
    fn living(&mut self, worker: Registration) -> Option<&mut WorkerRow> {
        self.numbered(worker.incarnation).filter(|row| row.token == worker.token)
    }

    /// The row of the living worker that has this number.
    fn numbered(&mut self, incarnation: Incarnation) -> Option<&mut WorkerRow> {
        self.workers.get_mut(&incarnation).filter(|row| row.state != WorkerState::Dead)
    }
}

/// Manager operations. All but [`Tables::campaign`] are fenced: under a stale term they
/// change nothing and return `None`.
impl Tables {
    /// Takes the lease under the next term, with this random `token`, if it is free or
    /// held by `holder`. A lease that ends later than any holder could have asked for is free, too:
    /// the clock stepped back. If the row is gone, inserts it; its terms continue at the clock,
    /// which no earlier term has reached.
    pub fn campaign(&mut self, holder: &str, ttl_ms: i64, token: Token) -> Campaign {
        let now_ms = self.now_ms;
        let lease = self.lease.get_or_insert_with(|| Lease { term: now_ms, ..Lease::default() });
        let held = lease.until > now_ms && lease.until <= now_ms + 2 * ttl_ms;
        if held && lease.holder != holder {
            return Campaign { now_ms, won: None };
        }
        *lease = Lease { term: lease.term + 1, holder: holder.to_owned(), until: now_ms + ttl_ms, token };
        Campaign { now_ms, won: Some(lease.current()) }
    }

    /// Renews the lease, if half of it is over, and reads the workers and their loads.
    pub fn observe(&mut self, term: Term, ttl_ms: i64) -> Option<Observation> {
        let now_ms = self.now_ms;
        let lease = self.held(term)?;
        if lease.until < now_ms + ttl_ms / 2 {
            lease.until = now_ms + ttl_ms;
        }
        Some(self.overview())
    }

    /// Reads the workers and their loads. Needs no lease.
    #[must_use]
    pub fn overview(&self) -> Observation {
        let mut loads = BTreeMap::new();
        for row in self.values.values() {
            *loads.entry(row.owner).or_insert(0) += 1;
        }
        Observation {
            now_ms: self.now_ms,
            workers: self.workers.values().filter(|worker| worker.state != WorkerState::Dead).cloned().collect(),
            loads: loads.into_iter().collect(),
        }
    }

    /// Declares those of `workers` dead whose heartbeat is not within `dead_after_ms`
    /// milliseconds of now, and returns their number.
    pub fn expire(&mut self, term: Term, ttl_ms: i64, workers: &[Incarnation], dead_after_ms: i64) -> Option<u64> {
        self.renew(term, ttl_ms)?;
        let now_ms = self.now_ms;
        let mut expired = 0;
        for worker in workers {
            if let Some(row) = self.numbered(*worker)
                && is_stale(row.heartbeat, now_ms, dead_after_ms)
            {
                row.state = WorkerState::Dead;
                expired += 1;
            }
        }
        Some(expired)
    }

    /// Moves ids, the lowest of each source first, raises the generation of every worker
    /// concerned, and returns how many moved. Ids that have left their source since it
    /// was read stay where they are.
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
            if let Some(row) = self.numbered(*worker).filter(|row| row.capacity > 0) {
                row.state = if draining { WorkerState::Draining } else { WorkerState::Active };
            }
        }
        Some(())
    }

    /// Ends the term at once, so that no manager waits for the lease to expire.
    pub fn resign(&mut self, term: Term) {
        if let Some(lease) = self.held(term) {
            lease.until = 0;
        }
    }

    fn renew(&mut self, term: Term, ttl_ms: i64) -> Option<()> {
        let until = self.now_ms + ttl_ms;
        self.held(term)?.until = until;
        Some(())
    }

    /// The row of the lease, if it records this term.
    fn held(&mut self, term: Term) -> Option<&mut Lease> {
        self.lease.as_mut().filter(|lease| lease.current() == term)
    }
}

/// Losses of rows: a user emptied a table, or a replica without the last transactions became the
/// primary.
impl Tables {
    /// Loses the registrations after `last`, whose numbers are then assigned again.
    pub fn lose_registrations(&mut self, last: i64) {
        self.workers.retain(|worker, _| worker.0 <= last);
        self.last_incarnation = last.min(self.last_incarnation);
    }

    /// Loses the row of the lease.
    pub fn lose_lease(&mut self) {
        self.lease = None;
    }
}

/// The workers that `transfers` give ids to or take ids from.
#[must_use]
pub fn concerned(transfers: &[Transfer]) -> BTreeSet<Incarnation> {
    transfers.iter().flat_map(|transfer| transfer.from.into_iter().chain([transfer.to])).collect()
}

/// Whether a heartbeat is too old, or so far in the future that the clock must have
/// stepped back.
#[must_use]
pub const fn is_stale(heartbeat: i64, now_ms: i64, dead_after_ms: i64) -> bool {
    heartbeat < now_ms - dead_after_ms || heartbeat > now_ms + dead_after_ms
}
