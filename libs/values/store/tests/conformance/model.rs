//! Random operations, compared with the specification: each answer and, after each
//! operation, all rows.
//!
//! MySQL's clock is fixed, so its times have to be exact. SQLite's clock runs: for one
//! millisecond between the beginning and the end of the operation, the specification must
//! return the same answer.

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use values_core::assignment::Transfer;
use values_core::tables::{Beat, Campaign, LightTick, Observation, Tables, Tick};
use values_core::types::{Incarnation, Term, ValueRow};
use values_store::{Added, LEASE_TTL_MS, NewValue, Page};

use crate::backend::{Backend, Contents};

/// Number of cases, each of up to 80 operations.
const CASES: u32 = 100;

#[derive(Debug, Clone)]
enum Op {
    Register(&'static str, u32),
    Tick(Incarnation),
    LightTick(Incarnation, i64),
    Heartbeat(Incarnation),
    Leave(Incarnation),
    Retire(Incarnation),
    Campaign(&'static str),
    /// The term is given as the distance from the present one.
    Observe(i64),
    Expire(i64, Vec<Incarnation>, i64),
    Assign(i64, Vec<Transfer>),
    SetDraining(i64, Vec<Incarnation>, bool),
    Resign(i64),
    AddCount(u32),
    Add(Vec<NewValue>),
    Remove(i64),
    RemoveCount(u32),
    Get(i64),
    List(Page),
    Overview,
    /// A user's `INSERT`.
    Insert(NewValue),
    /// A user's `UPDATE`.
    Own(i64, Option<Incarnation>),
    /// Advances the clock, in milliseconds; negative sets it back.
    Advance(i64),
}

#[derive(Debug, Clone, PartialEq)]
enum Answer {
    Registered(Incarnation),
    Ticked(Tick),
    LightlyTicked(LightTick),
    Beat(Beat),
    Retired(u64),
    Campaigned(Campaign),
    Observed(Option<Observation>),
    Counted(Option<u64>),
    Set(Option<()>),
    Ids(Vec<i64>),
    Added(Added),
    Was(bool),
    Row(Option<ValueRow>),
    Rows(Vec<ValueRow>),
    Done,
}

fn workers() -> impl Strategy<Value = Incarnation> {
    // Workers that exist in most cases, and some that never do.
    prop_oneof![9 => 1..=4_i64, 1 => 5..=9_i64].prop_map(Incarnation)
}

fn many_workers() -> impl Strategy<Value = Vec<Incarnation>> {
    proptest::collection::btree_set(workers(), 0..4).prop_map(|workers| workers.into_iter().collect())
}

fn terms() -> impl Strategy<Value = i64> {
    prop_oneof![8 => Just(0), 1 => Just(-1), 1 => Just(1)]
}

fn ids() -> impl Strategy<Value = i64> {
    prop_oneof![10 => 1..=30_i64, 1 => -3..=-1_i64, 1 => 10_000..=10_003_i64]
}

fn new_values() -> impl Strategy<Value = NewValue> {
    let value = prop_oneof![8 => -50..50_i64, 1 => i64::MAX - 20..=i64::MAX, 1 => Just(i64::MIN)];
    (ids(), value).prop_map(|(id, value)| NewValue { id, value })
}

fn transfers() -> impl Strategy<Value = Transfer> {
    (proptest::option::weighted(0.6, workers()), workers(), 1..=8_u64)
        .prop_filter_map("moves from itself", |(from, to, count)| {
            (from != Some(to)).then_some(Transfer { from, to, count })
        })
}

fn ops() -> impl Strategy<Value = Op> {
    let names = || select(vec!["a", "worker-0", "o'brien", "名前"]);
    let page = (proptest::option::of(ids()), proptest::option::of(workers()), 0..10_u32);
    prop_oneof![
        3 => (names(), 0..=20_u32).prop_map(|(name, capacity)| Op::Register(name, capacity)),
        8 => workers().prop_map(Op::Tick),
        8 => (workers(), 0..4_i64).prop_map(|(worker, generation)| Op::LightTick(worker, generation)),
        4 => workers().prop_map(Op::Heartbeat),
        1 => workers().prop_map(Op::Leave),
        1 => workers().prop_map(Op::Retire),
        4 => names().prop_map(Op::Campaign),
        3 => terms().prop_map(Op::Observe),
        3 => (terms(), many_workers(), select(vec![0, 500, 2000, 10_000]))
            .prop_map(|(term, workers, dead_after_ms)| Op::Expire(term, workers, dead_after_ms)),
        8 => (terms(), proptest::collection::vec(transfers(), 0..5))
            .prop_map(|(term, transfers)| Op::Assign(term, transfers)),
        2 => (terms(), many_workers(), any::<bool>()).prop_map(|(term, workers, on)| Op::SetDraining(term, workers, on)),
        1 => terms().prop_map(Op::Resign),
        3 => (0..=6_u32).prop_map(Op::AddCount),
        2 => proptest::collection::vec(new_values(), 0..4).prop_map(Op::Add),
        1 => ids().prop_map(Op::Remove),
        1 => (0..=4_u32).prop_map(Op::RemoveCount),
        1 => ids().prop_map(Op::Get),
        1 => page.prop_map(|(after, owner, limit)| Op::List(Page { after, owner, limit })),
        1 => Just(Op::Overview),
        4 => new_values().prop_map(Op::Insert),
        2 => (ids(), proptest::option::of(workers())).prop_map(|(id, owner)| Op::Own(id, owner)),
        8 => prop_oneof![4 => 1..=3_i64, 4 => 4..=12_i64, 2 => 40..=4000_i64, 2 => -20..=-1_i64]
            .prop_map(|quarters| Op::Advance(quarters * 250)),
    ]
}

/// Executes `op` on the backend.
async fn ask(backend: &Backend, op: &Op, present: i64) -> kit_database::Result<Answer> {
    let store = &backend.store;
    let term = |distance: &i64| Term(present + distance);
    Ok(match op {
        Op::Register(name, capacity) => Answer::Registered(store.register(name, *capacity).await?),
        Op::Tick(worker) => Answer::Ticked(store.tick(*worker).await?),
        Op::LightTick(worker, generation) => Answer::LightlyTicked(store.light_tick(*worker, *generation).await?),
        Op::Heartbeat(worker) => Answer::Beat(store.heartbeat(*worker).await?),
        Op::Leave(worker) => Answer::Beat(store.leave(*worker).await?),
        Op::Retire(worker) => Answer::Retired(store.retire(*worker).await?),
        Op::Campaign(holder) => Answer::Campaigned(store.campaign(holder).await?),
        Op::Observe(distance) => Answer::Observed(store.observe(term(distance)).await?),
        Op::Expire(distance, workers, dead_after_ms) => {
            Answer::Counted(store.expire(term(distance), workers, *dead_after_ms).await?)
        }
        Op::Assign(distance, transfers) => Answer::Counted(store.assign(term(distance), transfers).await?),
        Op::SetDraining(distance, workers, on) => Answer::Set(store.set_draining(term(distance), workers, *on).await?),
        Op::Resign(distance) => store.resign(term(distance)).await.map(|()| Answer::Done)?,
        Op::AddCount(count) => Answer::Ids(store.add_count(*count).await?),
        Op::Add(values) => Answer::Added(store.add(values).await?),
        Op::Remove(id) => Answer::Was(store.remove(*id).await?),
        Op::RemoveCount(count) => Answer::Ids(store.remove_count(*count).await?),
        Op::Get(id) => Answer::Row(store.get(*id).await?),
        Op::List(page) => Answer::Rows(store.list(*page).await?),
        Op::Overview => Answer::Observed(Some(store.overview().await?)),
        Op::Insert(NewValue { id, value }) => {
            let sql = format!("INSERT INTO `values` (id, value) VALUES ({id}, {value})");
            match backend.sql(&sql).await {
                Ok(()) => Answer::Was(true),
                Err(kit_database::Error::Duplicate) => Answer::Was(false),
                Err(error) => return Err(error),
            }
        }
        Op::Own(id, owner) => {
            let owner = owner.map_or_else(|| "NULL".to_owned(), |owner| owner.to_string());
            backend.sql(&format!("UPDATE `values` SET owner = {owner} WHERE id = {id}")).await?;
            Answer::Done
        }
        Op::Advance(_) => Answer::Done,
    })
}

/// The answer of the specification. The backend chooses the values of new ids, so these
/// are taken from `answer`.
fn expect(tables: &mut Tables, op: &Op, answer: &Answer) -> Answer {
    const TTL: i64 = LEASE_TTL_MS;
    let second = tables.now_ms.div_euclid(1000);
    let present = tables.lease.term;
    let term = |distance: &i64| Term(present + distance);
    match op {
        Op::Register(name, capacity) => Answer::Registered(tables.register(name, *capacity)),
        Op::Tick(worker) => Answer::Ticked(tables.tick(*worker)),
        Op::LightTick(worker, generation) => Answer::LightlyTicked(tables.light_tick(*worker, *generation)),
        Op::Heartbeat(worker) => Answer::Beat(tables.heartbeat(*worker)),
        Op::Leave(worker) => Answer::Beat(tables.leave(*worker)),
        Op::Retire(worker) => Answer::Retired(tables.retire(*worker)),
        Op::Campaign(holder) => Answer::Campaigned(tables.campaign(holder, TTL)),
        Op::Observe(distance) => Answer::Observed(tables.observe(term(distance), TTL)),
        Op::Expire(distance, workers, dead_after_ms) => {
            Answer::Counted(tables.expire(term(distance), TTL, workers, *dead_after_ms))
        }
        Op::Assign(distance, transfers) => Answer::Counted(tables.assign(term(distance), TTL, transfers)),
        Op::SetDraining(distance, workers, on) => Answer::Set(tables.set_draining(term(distance), TTL, workers, *on)),
        Op::Resign(distance) => {
            tables.resign(term(distance));
            Answer::Done
        }
        Op::AddCount(count) => {
            let Answer::Ids(ids) = answer else { return Answer::Done };
            let largest = tables.values.last_key_value().map_or(0, |(id, _)| *id).max(0);
            let right = ids.len() == *count as usize && ids.is_sorted() && ids.iter().all(|id| *id > largest);
            let added = ids.iter().filter(|id| tables.values.insert(**id, ValueRow::new(**id, 0, second)).is_none());
            if added.count() == ids.len() && right { answer.clone() } else { Answer::Done }
        }
        Op::Add(values) => Answer::Added(add(tables, values, second)),
        Op::Remove(id) => Answer::Was(tables.values.remove(id).is_some()),
        Op::RemoveCount(count) => {
            let mut ids: Vec<i64> = tables.values.keys().rev().take(*count as usize).copied().collect();
            ids.reverse();
            tables.values.retain(|id, _| !ids.contains(id));
            Answer::Ids(ids)
        }
        Op::Get(id) => Answer::Row(tables.values.get(id).copied()),
        Op::List(Page { after, owner, limit }) => {
            let rows = tables.values.values().copied();
            let rows = rows.filter(|row| after.is_none_or(|after| row.id > after));
            let rows = rows.filter(|row| owner.is_none() || row.owner == *owner);
            Answer::Rows(rows.take(*limit as usize).collect())
        }
        // It reads the same rows as a manager, and needs no term.
        Op::Overview => Answer::Observed(tables.clone().observe(Term(present), TTL)),
        Op::Insert(new) => Answer::Was(add(tables, &[*new], second) == Added::All),
        Op::Own(id, owner) => {
            if let Some(row) = tables.values.get_mut(id) {
                row.owner = *owner;
            }
            Answer::Done
        }
        Op::Advance(_) => Answer::Done,
    }
}

fn add(tables: &mut Tables, values: &[NewValue], second: i64) -> Added {
    let twice = |id: &i64| values.iter().filter(|new| new.id == *id).count() > 1;
    let mut named: Vec<i64> = values.iter().map(|new| new.id).filter(twice).collect();
    if named.is_empty() {
        named = values.iter().map(|new| new.id).filter(|id| tables.values.contains_key(id)).collect();
    }
    named.sort_unstable();
    named.dedup();
    if named.is_empty() {
        tables.values.extend(values.iter().map(|new| (new.id, ValueRow::new(new.id, new.value, second))));
        return Added::All;
    }
    Added::Exist(named)
}

async fn check(backend: &Backend, ops: &[Op]) -> Result<(), TestCaseError> {
    backend.reset().await;
    let mut model = Tables::default();
    // Every case begins with some workers.
    let beginning = [Op::Register("a", 20), Op::Register("b", 20), Op::Register("c", 3), Op::Campaign("m")];
    for (step, op) in beginning.iter().chain(ops).enumerate() {
        if let Op::Advance(ms) = op {
            backend.advance(*ms, Some(&mut model)).await;
        }
        let before = backend.now_ms().await;
        let answer = ask(backend, op, model.lease.term).await;
        let answer = answer.map_err(|error| TestCaseError::fail(format!("step {step}, {op:?}: {error}")))?;
        backend.hold_clock().await;
        let after = backend.now_ms().await;
        let contents = backend.contents().await;
        let mut closest = None;
        let agreed = (before..=after).find_map(|now_ms| {
            let mut next = model.clone();
            next.now_ms = now_ms;
            let expected = expect(&mut next, op, &answer);
            let same = expected == answer && contents == of(&next);
            closest = Some((expected, of(&next)));
            same.then_some(next)
        });
        let Some(next) = agreed else {
            return Err(TestCaseError::fail(format!(
                "step {step}, {op:?}, between {before} and {after}\n\
                 answered {answer:#?}\nwith {contents:#?}\nand not {closest:#?}"
            )));
        };
        model = next;
        prop_assert!(model.values.values().all(ValueRow::is_consistent));
    }
    Ok(())
}

fn of(tables: &Tables) -> Contents {
    Contents { values: tables.values.clone(), workers: tables.workers.clone(), lease: tables.lease.clone() }
}

fn compare(backend: impl Future<Output = Backend>) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let backend = runtime.block_on(backend);
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    // The cases are the same in each run, so that a failure is reproducible.
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let result = runner.run(&proptest::collection::vec(ops(), 1..80), |ops| runtime.block_on(check(&backend, &ops)));
    if let Err(error) = result {
        panic!("{error}");
    }
}

#[test]
fn sqlite_does_as_specified() {
    compare(Backend::sqlite("model"));
}

#[test]
fn mysql_does_as_specified() {
    compare(Backend::mysql("model"));
}
