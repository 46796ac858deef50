//! Replays the commit-ordered history of the values system, and checks each transaction
//! against the rules of the system.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use values_core::types::WorkerState;

use super::optimum::{Living, Loads, Moves, Views};
use super::rows::{Lease, Value, Worker};
use crate::oracle::binlog::{Change, Event, Transaction};
use crate::oracle::cases::Cases;
use crate::oracle::layout::Layout;

/// Violations and counts of a replayed history.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Changes after which `value − initial_value ≠ last_tick − first_tick`.
    pub(crate) broken: Cases,
    /// Seconds that were skipped: an increment that does not begin where the previous one
    /// ended, or a changed `first_tick`.
    pub(crate) skipped: Cases,
    /// Seconds that were counted twice.
    pub(crate) twice: Cases,
    /// Epochs that did not grow by one when the owner changed, or that changed otherwise.
    pub(crate) epochs: Cases,
    /// Rows ticked by a worker that does not own them.
    pub(crate) foreign: Cases,
    /// Commits that left an active worker with more ids than its capacity.
    pub(crate) overfull: Cases,
    /// Assignments by a manager whose term had ended, and terms that did not grow.
    pub(crate) terms: Cases,
    /// Changes whose old values differ from the values that the previous change left.
    pub(crate) torn: Cases,
    /// Assignments that the planner would not have made for any recent state of the
    /// tables.
    pub(crate) unexplained: Cases,
    /// Number of transactions.
    pub(crate) transactions: u64,
    /// Number of rows added, including ids that were added again.
    pub(crate) lives: u64,
    /// Number of row changes by ticks.
    pub(crate) ticks: u64,
    /// Seconds that these changes counted.
    pub(crate) seconds: u64,
    /// Number of transactions that assigned ids to workers.
    pub(crate) assignments: u64,
    /// Number of ids that these transactions moved.
    pub(crate) moves: u64,
    /// Smallest number of moves that would have balanced the workers.
    pub(crate) optimum: u64,
    /// Planned moves whose ids had been removed meanwhile, or were locked.
    pub(crate) gone: u64,
    /// Transactions that a crash left half-written in the log.
    pub(crate) half_written: u64,
}

impl Findings {
    /// Adds the findings of another history.
    pub(crate) fn add(&mut self, other: Self) {
        self.broken.join(other.broken);
        self.skipped.join(other.skipped);
        self.twice.join(other.twice);
        self.epochs.join(other.epochs);
        self.foreign.join(other.foreign);
        self.overfull.join(other.overfull);
        self.terms.join(other.terms);
        self.torn.join(other.torn);
        self.unexplained.join(other.unexplained);
        self.transactions += other.transactions;
        self.lives += other.lives;
        self.ticks += other.ticks;
        self.seconds += other.seconds;
        self.assignments += other.assignments;
        self.moves += other.moves;
        self.optimum += other.optimum;
        self.gone += other.gone;
        self.half_written += other.half_written;
    }
}

/// State of the tables after some commit, and the findings up to it.
#[derive(Debug)]
pub(crate) struct History {
    layout: Layout,
    lease_ttl_ms: i64,
    rows: BTreeMap<i64, Value>,
    /// Last second counted for each id, in its present or previous life.
    counted: BTreeMap<i64, i64>,
    workers: BTreeMap<i64, Worker>,
    loads: Loads,
    term: i64,
    views: Views,
    findings: Findings,
}

/// Changes made by one transaction.
#[derive(Debug, Default)]
struct Done {
    /// Ticked rows: id and owner.
    ticked: Vec<(i64, Option<i64>)>,
    /// Workers whose heartbeat the transaction wrote.
    beats: Vec<i64>,
    moves: Moves,
    /// Term under which the transaction renewed the lease.
    term: Option<i64>,
}

impl History {
    /// Creates a history without transactions.
    pub(crate) fn new(layout: Layout, lease_ttl_ms: i64) -> Self {
        Self {
            layout,
            lease_ttl_ms,
            rows: BTreeMap::new(),
            counted: BTreeMap::new(),
            workers: BTreeMap::new(),
            loads: Loads::new(),
            term: 0,
            views: Views::default(),
            findings: Findings::default(),
        }
    }

    /// Replays one transaction.
    pub(crate) fn apply(&mut self, transaction: &Transaction) -> Result<()> {
        self.findings.transactions += 1;
        self.views.push(self.findings.transactions, &self.living(), &self.loads);
        let mut done = Done::default();
        for event in transaction {
            self.event(event, &mut done).with_context(|| format!("{event:?}"))?;
        }
        self.check_ticks(&done);
        self.check_assignment(&done);
        self.check_loads();
        Ok(())
    }

    /// Returns the rows at the end, and the findings.
    pub(crate) fn finish(self) -> (BTreeMap<i64, Value>, Findings) {
        (self.rows, self.findings)
    }

    fn living(&self) -> Living {
        let living = self.workers.values().filter(|worker| worker.state != WorkerState::Dead);
        living.map(|worker| (worker.incarnation, (worker.state, worker.capacity))).collect()
    }

    fn event(&mut self, event: &Event, done: &mut Done) -> Result<()> {
        match (event.table.as_str(), &event.change) {
            ("values", Change::Insert(new)) => self.added(self.layout.value(new)?),
            ("values", Change::Update(old, new)) => {
                self.changed(self.layout.value(old)?, self.layout.value(new)?, done);
            }
            ("values", Change::Delete(old)) => self.removed(&self.layout.value(old)?),
            ("workers", Change::Insert(new) | Change::Update(_, new)) => {
                let worker = self.layout.worker(new)?;
                let before = self.workers.get(&worker.incarnation);
                if before.is_some_and(|before| before.heartbeat != worker.heartbeat) {
                    done.beats.push(worker.incarnation);
                }
                self.views.clock(worker.heartbeat);
                self.workers.insert(worker.incarnation, worker);
            }
            ("workers", Change::Delete(old)) => {
                self.workers.remove(&self.layout.worker(old)?.incarnation);
            }
            ("manager_lease", Change::Update(old, new)) => {
                self.leased(self.layout.lease(old)?, self.layout.lease(new)?, done);
            }
            ("manager_lease", Change::Insert(new)) => self.lease_made(self.layout.lease(new)?),
            _ => {}
        }
        Ok(())
    }

    fn added(&mut self, row: Value) {
        let found = &mut self.findings;
        found.lives += 1;
        if !row.is_consistent() {
            found.broken.add(|| format!("added as {row:?}"));
        }
        if row.epoch != 0 || row.owner.is_some() {
            found.epochs.add(|| format!("added as {row:?}"));
        }
        let before = self.counted.insert(row.id, row.last_tick);
        if before.is_some_and(|before| before > row.first_tick) {
            found.twice.add(|| format!("counted up to {before:?}, then added again as {row:?}"));
        }
        if self.rows.insert(row.id, row).is_some() {
            found.torn.add(|| format!("added twice: {row:?}"));
        }
        *self.loads.entry(row.owner).or_default() += 1;
    }

    fn removed(&mut self, old: &Value) {
        if self.rows.remove(&old.id).as_ref() != Some(old) {
            self.findings.torn.add(|| format!("removed, but was not there: {old:?}"));
        }
        self.unload(old.owner);
    }

    fn changed(&mut self, old: Value, new: Value, done: &mut Done) {
        let found = &mut self.findings;
        let change = || format!("{old:?} to {new:?}");
        if self.rows.insert(new.id, new) != Some(old) || old.id != new.id {
            found.torn.add(change);
        }
        if !new.is_consistent() {
            found.broken.add(change);
        }
        if (old.initial_value, old.first_tick) != (new.initial_value, new.first_tick) {
            found.skipped.add(change);
        }
        if (old.value, old.last_tick) != (new.value, new.last_tick) {
            // The seconds after `old.last_tick`, up to and with `new.last_tick`.
            let counted = self.counted.insert(new.id, new.last_tick).unwrap_or(old.last_tick);
            if new.last_tick < counted || old.last_tick < counted {
                found.twice.add(change);
            }
            if old.last_tick > counted || new.value - old.value < new.last_tick - old.last_tick {
                found.skipped.add(change);
            }
            if new.value - old.value > new.last_tick - old.last_tick {
                found.twice.add(change);
            }
            found.ticks += 1;
            found.seconds += u64::try_from(new.last_tick - old.last_tick).unwrap_or(0);
            if old.owner != new.owner {
                found.foreign.add(change);
            }
            done.ticked.push((new.id, old.owner));
        }
        if new.epoch != old.epoch + i64::from(old.owner != new.owner) {
            found.epochs.add(change);
        }
        if old.owner != new.owner {
            self.unload(old.owner);
            *self.loads.entry(new.owner).or_default() += 1;
            if let Some(to) = new.owner {
                *done.moves.entry((old.owner, to)).or_default() += 1;
            }
        }
    }

    fn unload(&mut self, owner: Option<i64>) {
        if let Some(load) = self.loads.get_mut(&owner) {
            *load -= 1;
            if *load == 0 {
                self.loads.remove(&owner);
            }
        }
    }

    fn leased(&mut self, old: Lease, new: Lease, done: &mut Done) {
        if new.until > 0 {
            self.views.clock(new.until - self.lease_ttl_ms);
        }
        if old.term != self.term || !(old.term..=old.term + 1).contains(&new.term) {
            self.findings.terms.add(|| format!("{old:?} to {new:?}"));
        }
        self.term = new.term;
        done.term = Some(old.term);
    }

    /// The row of the lease was lost and made again: terms continue above all earlier ones.
    fn lease_made(&mut self, new: Lease) {
        if new.term < self.term {
            self.findings.terms.add(|| format!("made again as {new:?} after term {}", self.term));
        }
        self.term = new.term;
    }

    /// Checks that a tick is one transaction of one worker and contains its heartbeat.
    /// The heartbeat is missing if the worker is dead, or wrote one in the same
    /// millisecond.
    fn check_ticks(&mut self, done: &Done) {
        let Some((_, owner)) = done.ticked.first() else { return };
        let same = done.ticked.iter().all(|(_, other)| other == owner);
        let own_beat = done.beats.iter().all(|beat| Some(*beat) == *owner);
        if !same || !own_beat || owner.is_none() {
            self.findings.foreign.add(|| format!("{done:?}"));
        }
    }

    fn check_assignment(&mut self, done: &Done) {
        if done.moves.is_empty() {
            return;
        }
        let found = &mut self.findings;
        let moved: u64 = done.moves.values().sum();
        let judged = self.views.judge(&done.moves);
        found.assignments += 1;
        found.moves += moved;
        found.optimum += judged.optimum;
        found.gone += judged.gone;
        let case = || format!("transaction {}: {:?}, {judged:?}", found.transactions, done.moves);
        if !judged.explained || judged.optimum != moved {
            found.unexplained.add(case);
        }
        if done.term.is_some_and(|term| term != self.term) {
            found.terms.add(case);
        }
    }

    fn check_loads(&mut self) {
        for worker in self.workers.values().filter(|worker| worker.state == WorkerState::Active) {
            let load = self.loads.get(&Some(worker.incarnation)).copied().unwrap_or(0);
            if load > worker.capacity {
                let transaction = self.findings.transactions;
                self.findings.overfull.add(|| format!("transaction {transaction}: {load} on {worker:?}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::binlog::Image;

    fn history() -> History {
        let layout = Layout::of(&[
            ("values", &["id", "value", "initial_value", "first_tick", "last_tick", "owner", "epoch"]),
            ("workers", &["incarnation", "name", "state", "capacity", "heartbeat", "generation"]),
            ("manager_lease", &["id", "term", "holder", "until"]),
        ]);
        History::new(layout, 1000)
    }

    fn row(id: i64, seconds: i64, owner: Option<i64>, epoch: i64) -> Value {
        Value { id, value: seconds, initial_value: 0, first_tick: 100, last_tick: 100 + seconds, owner, epoch }
    }

    fn image(row: Value) -> Image {
        let numbers = [row.id, row.value, row.initial_value, row.first_tick, row.last_tick].map(Some);
        let columns = numbers.into_iter().chain([row.owner, Some(row.epoch)]);
        columns.map(|column| column.map(|column| column.to_string())).collect()
    }

    fn event(table: &str, change: Change) -> Event {
        Event { table: table.to_owned(), change }
    }

    fn add(row: Value) -> Event {
        event("values", Change::Insert(image(row)))
    }

    fn update(old: Value, new: Value) -> Event {
        event("values", Change::Update(image(old), image(new)))
    }

    fn remove(row: Value) -> Event {
        event("values", Change::Delete(image(row)))
    }

    fn worker(incarnation: i64, heartbeat: i64) -> Event {
        let (incarnation, heartbeat) = (incarnation.to_string(), heartbeat.to_string());
        let columns = [&incarnation, "w", "active", "2", &heartbeat, "0"];
        event("workers", Change::Insert(columns.map(|column| Some(column.to_owned())).into()))
    }

    fn lease(from: i64, to: i64, until: i64) -> Event {
        let image = |term: i64| ["1", &term.to_string(), "m", &until.to_string()].map(|it| Some(it.to_owned())).into();
        event("manager_lease", Change::Update(image(from), image(to)))
    }

    /// A worker 1 and an id 7 that is added, assigned to the worker and ticked twice.
    fn good() -> Vec<Transaction> {
        vec![
            vec![worker(1, 100_000)],
            vec![lease(0, 1, 101_000)],
            vec![add(row(7, 0, None, 0))],
            vec![lease(1, 1, 101_050), update(row(7, 0, None, 0), row(7, 0, Some(1), 1))],
            vec![update(row(7, 0, Some(1), 1), row(7, 1, Some(1), 1)), worker(1, 101_000)],
            vec![update(row(7, 1, Some(1), 1), row(7, 3, Some(1), 1)), worker(1, 103_000)],
        ]
    }

    fn findings(more: Vec<Transaction>) -> Findings {
        let mut history = history();
        for transaction in good().into_iter().chain(more) {
            history.apply(&transaction).unwrap();
        }
        history.finish().1
    }

    /// Number of violations of each kind, in the order of the fields.
    fn counts(found: &Findings) -> [u64; 9] {
        let Findings { broken, skipped, twice, epochs, foreign, overfull, terms, torn, unexplained, .. } = found;
        [broken, skipped, twice, epochs, foreign, overfull, terms, torn, unexplained].map(|cases| cases.count)
    }

    const LAST: fn() -> Value = || row(7, 3, Some(1), 1);

    #[test]
    fn a_good_history_has_nothing_to_find() {
        let again = Value { value: 50, initial_value: 50, first_tick: 103, last_tick: 103, ..row(7, 0, None, 0) };
        let found = findings(vec![vec![remove(LAST())], vec![add(again)]]);
        assert_eq!(counts(&found), [0; 9], "{found:?}");
        assert_eq!((found.lives, found.ticks, found.seconds), (2, 2, 3));
        assert_eq!((found.assignments, found.moves, found.optimum), (1, 1, 1));
    }

    #[test]
    fn a_second_counted_twice_is_found() {
        let wrong = Value { value: 5, ..row(7, 4, Some(1), 1) };
        let found = findings(vec![vec![update(LAST(), wrong)]]);
        assert_eq!(counts(&found), [1, 0, 1, 0, 0, 0, 0, 0, 0], "{found:?}");

        // A stale read of the row, as without row locks: consistent in itself.
        let stale = row(7, 1, Some(1), 1);
        let found = findings(vec![vec![update(stale, row(7, 3, Some(1), 1))]]);
        assert_eq!(counts(&found), [0, 0, 1, 0, 0, 0, 0, 1, 0], "{found:?}");

        let early = Value { first_tick: 102, last_tick: 102, ..row(7, 0, None, 0) };
        let found = findings(vec![vec![remove(LAST())], vec![add(early)]]);
        assert_eq!(counts(&found), [0, 0, 1, 0, 0, 0, 0, 0, 0], "{found:?}");
    }

    #[test]
    fn a_skipped_second_is_found() {
        let wrong = Value { last_tick: 105, ..row(7, 4, Some(1), 1) };
        let found = findings(vec![vec![update(LAST(), wrong)]]);
        assert_eq!(counts(&found), [1, 1, 0, 0, 0, 0, 0, 0, 0], "{found:?}");

        // Both ends are shifted: the row is consistent, and its history is not.
        let moved = Value { first_tick: 101, last_tick: 104, ..LAST() };
        let found = findings(vec![vec![update(LAST(), moved)]]);
        assert_eq!(found.broken.count, 0);
        assert!(found.skipped.count > 0, "{found:?}");
    }

    #[test]
    fn a_wrong_epoch_is_found() {
        let found = findings(vec![vec![update(LAST(), Value { epoch: 2, ..LAST() })]]);
        assert_eq!(counts(&found), [0, 0, 0, 1, 0, 0, 0, 0, 0], "{found:?}");
        let found = findings(vec![vec![update(LAST(), Value { owner: None, ..LAST() })]]);
        assert_eq!(counts(&found), [0, 0, 0, 1, 0, 0, 0, 0, 0], "{found:?}");
    }

    #[test]
    fn a_tick_of_somebody_else_is_found() {
        let tick = update(LAST(), row(7, 4, Some(1), 1));
        let found = findings(vec![vec![worker(2, 103_000)], vec![tick, worker(2, 104_000)]]);
        assert_eq!(counts(&found), [0, 0, 0, 0, 1, 0, 0, 0, 0], "{found:?}");
    }

    #[test]
    fn a_needless_or_overfull_assignment_is_found() {
        let found = findings(vec![
            vec![worker(2, 103_000)],
            vec![lease(1, 1, 104_100), update(LAST(), Value { owner: Some(2), epoch: 2, ..LAST() })],
        ]);
        assert_eq!(counts(&found), [0, 0, 0, 0, 0, 0, 0, 0, 1], "{found:?}");
        assert_eq!((found.moves, found.optimum), (2, 1));

        let more = (8..=9)
            .flat_map(|id| [vec![add(row(id, 0, None, 0))], vec![update(row(id, 0, None, 0), row(id, 0, Some(1), 1))]]);
        assert_eq!(findings(more.collect()).overfull.count, 1);
    }

    #[test]
    fn terms_that_go_back_when_the_lease_is_made_again_are_found() {
        let made = |term: i64| {
            let image = ["1", &term.to_string(), "", "0"].map(|it| Some(it.to_owned()));
            vec![event("manager_lease", Change::Insert(image.into()))]
        };
        let found = findings(vec![made(900), vec![lease(900, 901, 104_000)]]);
        assert_eq!(counts(&found), [0; 9], "{found:?}");
        assert_eq!(counts(&findings(vec![made(0)])), [0, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn an_assignment_under_an_old_term_is_found() {
        let found = findings(vec![vec![lease(1, 2, 104_000)], vec![lease(1, 1, 104_100)]]);
        assert_eq!(counts(&found), [0, 0, 0, 0, 0, 0, 1, 0, 0], "{found:?}");
    }
}
