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
use values_core::types::{Incarnation, Lease, Registration, Term, Token, ValueRow};
use values_store::{Added, LEASE_TTL_MS, NewValue, Page};

use crate::backend::{Backend, Contents};

/// Number of cases, each of up to 80 operations.
const CASES: u32 = 100;

/// A worker of the case: the latest one that registered under the number, or one before.
#[derive(Debug, Clone, Copy)]
struct Registrant {
    incarnation: Incarnation,
    /// How many registrations under the same number came later.
    before: usize,
}

/// All registrations of a case, in order.
#[derive(Debug, Default)]
struct Register(Vec<Registration>);

impl Register {
    fn find(&self, registrant: Registrant) -> Registration {
        let Registrant { incarnation, before } = registrant;
        let mut found = self.0.iter().rev().filter(|made| made.incarnation == incarnation);
        found.nth(before).copied().unwrap_or(Registration { incarnation, token: Token(0) })
    }
}

#[derive(Debug, Clone)]
enum Op {
    Register(&'static str, u32),
    Tick(Registrant),
    LightTick(Registrant, i64),
    Heartbeat(Registrant),
    Leave(Registrant),
    Retire(Registrant),
    Campaign(&'static str),
    /// The term is given as the distance from the present one.
    Observe(i64),
    Expire(i64, Vec<Incarnation>, i64),
    Assign(i64, Vec<Transfer>),
    SetDraining(i64, Vec<Incarnation>, bool),
    Resign(i64),
    LoseRegistrations,
    LoseLease,
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
    Registered(Registration),
    Ticked(Tick),
    LightlyTicked(LightTick),
    Beat(Beat),
    Retired(u64),
    Campaigned(Campaign),
    Observed(Option<Observation>),
    Counted(Option<u64>),
    Set(Option<()>),
    NewIds(Option<Vec<i64>>),
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

fn registrants() -> impl Strategy<Value = Registrant> {
    let before = prop_oneof![9 => Just(0), 1 => Just(1_usize)];
    (workers(), before).prop_map(|(incarnation, before)| Registrant { incarnation, before })
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
        8 => registrants().prop_map(Op::Tick),
        8 => (registrants(), 0..4_i64).prop_map(|(worker, generation)| Op::LightTick(worker, generation)),
        4 => registrants().prop_map(Op::Heartbeat),
        1 => registrants().prop_map(Op::Leave),
        1 => registrants().prop_map(Op::Retire),
        4 => names().prop_map(Op::Campaign),
        3 => terms().prop_map(Op::Observe),
        3 => (terms(), many_workers(), select(vec![0, 500, 2000, 10_000]))
            .prop_map(|(term, workers, dead_after_ms)| Op::Expire(term, workers, dead_after_ms)),
        8 => (terms(), proptest::collection::vec(transfers(), 0..5))
            .prop_map(|(term, transfers)| Op::Assign(term, transfers)),
        2 => (terms(), many_workers(), any::<bool>()).prop_map(|(term, workers, on)| Op::SetDraining(term, workers, on)),
        1 => terms().prop_map(Op::Resign),
        1 => Just(Op::LoseRegistrations),
        1 => Just(Op::LoseLease),
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
async fn ask(backend: &Backend, op: &Op, known: &Register, present: Term) -> kit_database::Result<Answer> {
    let store = &backend.store;
    let term = |distance: &i64| near(present, *distance);
    let find = |worker: &Registrant| known.find(*worker);
    Ok(match op {
        Op::Register(name, capacity) => Answer::Registered(store.register(name, *capacity).await?),
        Op::Tick(worker) => Answer::Ticked(store.tick(find(worker)).await?),
        Op::LightTick(worker, generation) => Answer::LightlyTicked(store.light_tick(find(worker), *generation).await?),
        Op::Heartbeat(worker) => Answer::Beat(store.heartbeat(find(worker)).await?),
        Op::Leave(worker) => Answer::Beat(store.leave(find(worker)).await?),
        Op::Retire(worker) => Answer::Retired(store.retire(find(worker)).await?),
        Op::Campaign(holder) => Answer::Campaigned(store.campaign(holder).await?),
        Op::Observe(distance) => Answer::Observed(store.observe(term(distance)).await?),
        Op::Expire(distance, workers, dead_after_ms) => {
            Answer::Counted(store.expire(term(distance), workers, *dead_after_ms).await?)
        }
        Op::Assign(distance, transfers) => Answer::Counted(store.assign(term(distance), transfers).await?),
        Op::SetDraining(distance, workers, on) => Answer::Set(store.set_draining(term(distance), workers, *on).await?),
        Op::Resign(distance) => store.resign(term(distance)).await.map(|()| Answer::Done)?,
        Op::LoseRegistrations => {
            backend.lose_registrations().await;
            Answer::Done
        }
        Op::LoseLease => {
            backend.lose_lease().await;
            Answer::Done
        }
        Op::AddCount(count) => Answer::NewIds(store.add_count(*count).await?),
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

/// The term at a distance from the present one.
const fn near(present: Term, distance: i64) -> Term {
    Term { number: present.number + distance, token: present.token }
}

/// The answer of the specification. The backend chooses new ids and tokens, so these are
/// taken from `answer`.
fn expect(tables: &mut Tables, op: &Op, known: &Register, answer: &Answer) -> Answer {
    const TTL: i64 = LEASE_TTL_MS;
    let second = tables.now_ms.div_euclid(1000);
    let present = present(tables);
    let term = |distance: &i64| near(present, *distance);
    let find = |worker: &Registrant| known.find(*worker);
    let token = match answer {
        Answer::Registered(registration) => registration.token,
        Answer::Campaigned(Campaign { won: Some(term), .. }) => term.token,
        _ => Token::default(),
    };
    match op {
        Op::Register(name, capacity) => Answer::Registered(tables.register(name, *capacity, token)),
        Op::Tick(worker) => Answer::Ticked(tables.tick(find(worker))),
        Op::LightTick(worker, generation) => Answer::LightlyTicked(tables.light_tick(find(worker), *generation)),
        Op::Heartbeat(worker) => Answer::Beat(tables.heartbeat(find(worker))),
        Op::Leave(worker) => Answer::Beat(tables.leave(find(worker))),
        Op::Retire(worker) => Answer::Retired(tables.retire(find(worker))),
        Op::Campaign(holder) => Answer::Campaigned(tables.campaign(holder, TTL, token)),
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
        Op::LoseRegistrations => {
            tables.lose_registrations(0);
            Answer::Done
        }
        Op::LoseLease => {
            tables.lose_lease();
            Answer::Done
        }
        Op::AddCount(count) => {
            let Answer::NewIds(Some(ids)) = answer else { return Answer::Done };
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
        Op::Overview => Answer::Observed(Some(tables.overview())),
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
    let (mut model, mut known) = (Tables::default(), Register::default());
    // Every case begins with some workers.
    let beginning = [Op::Register("a", 20), Op::Register("b", 20), Op::Register("c", 3), Op::Campaign("m")];
    for (step, op) in beginning.iter().chain(ops).enumerate() {
        if let Op::Advance(ms) = op {
            backend.advance(*ms, Some(&mut model)).await;
        }
        let before = backend.now_ms().await;
        let answer = ask(backend, op, &known, present(&model)).await;
        let answer = answer.map_err(|error| TestCaseError::fail(format!("step {step}, {op:?}: {error}")))?;
        if let Answer::Registered(registration) = answer {
            known.0.push(registration);
        }
        backend.hold_clock().await;
        let after = backend.now_ms().await;
        let contents = backend.contents().await;
        let mut closest = None;
        let agreed = (before..=after).find_map(|now_ms| {
            let mut next = model.clone();
            next.now_ms = now_ms;
            let expected = expect(&mut next, op, &known, &answer);
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

/// The present term; without a lease, one that no manager has won.
fn present(tables: &Tables) -> Term {
    tables.lease.as_ref().map_or(Term { number: 0, token: Token(0) }, Lease::current)
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
