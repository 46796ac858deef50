//! Random operations, compared with the specification: each answer and, after each operation, all
//! rows.
//!
//! MySQL's clock is fixed, so its times have to be exact. SQLite's clock runs: for one millisecond
//! between the beginning and the end of the operation, the specification must return the same answer.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use round_robin_core::tables::{Accepted, Beat, Connected, Hello, Request, ServedBatch, Tables, Waiting};
use round_robin_core::turns::Quantum;
use round_robin_core::types::{
    ClientId, ClientRow, Epoch, MessageRow, Range, Registration, ReplicaId, ReplicaRow, Token, Turn, TurnRow, WINDOW,
};
use round_robin_store::{Answer as Reply, Page};

use crate::backend::{Backend, Contents, client, registered};

/// Number of cases, each of up to 60 operations.
const CASES: u32 = 100;

/// Names that databases may take for each other: they differ in case, in an accent, or in what
/// follows a common beginning.
const CLIENTS: [&str; 5] = ["x", "X", "x y", "é", "日本 😀 \\ ' \" %"];

/// A replica of the case: the latest one that registered under the number, or one before.
#[derive(Debug, Clone, Copy)]
struct Registrant {
    id: ReplicaId,
    /// How many registrations under the same number came later.
    before: usize,
}

/// All registrations of a case, in order.
#[derive(Debug, Default)]
struct Register(Vec<Registration>);

impl Register {
    fn find(&self, registrant: Registrant) -> Registration {
        let Registrant { id, before } = registrant;
        let mut found = self.0.iter().rev().filter(|made| made.id == id);
        found.nth(before).copied().unwrap_or(Registration { id, token: Token(0) })
    }
}

/// A counter of a client.
#[derive(Debug, Clone, Copy)]
enum Counter {
    /// At this distance from the first missing one.
    Missing(i64),
    /// At this distance from the next one to serve.
    Next(i64),
    /// This one.
    Exactly(i64),
}

#[derive(Debug, Clone)]
struct Sent {
    client: usize,
    counter: Counter,
    /// Number of messages, with consecutive counters.
    count: i64,
    text: &'static str,
    /// The connection, as the distance from the latest one.
    epoch: Option<i64>,
}

#[derive(Debug, Clone)]
enum Op {
    Register(&'static str),
    Beat(Registrant),
    Leave(Registrant),
    /// The turn is given as the distance from the current one.
    Serve(Registrant, i64, Vec<(usize, Counter, Counter)>, Option<usize>, usize),
    /// The replica of the turn serves what waits, up to a number of messages of each client.
    ServeWaiting(i64),
    Waiting(Option<usize>, usize),
    Accept(Vec<Sent>),
    Connect(usize, Option<i64>, Option<Counter>),
    Acknowledge(Vec<(usize, i64, Counter)>),
    Progress(Vec<usize>),
    Answers(Vec<(usize, Counter, Counter)>),
    Above(usize, Counter),
    Client(usize),
    Message(usize, Counter),
    Messages(usize, Option<Counter>, u32),
    Turns(Option<i64>, u32),
    Overview(u32),
    DeleteOld(i64, i64),
    DeleteOldTurns(i64),
    LoseRegistrations,
    LoseTurns,
    /// Advances the clock, in milliseconds; negative sets it back.
    Advance(i64),
}

#[derive(Debug, Clone, PartialEq)]
enum Answer {
    Registered(Registration),
    Beat(Beat),
    Served(Option<(ServedBatch, Vec<Waiting>)>),
    Waiting(Vec<Waiting>),
    Accepted(Vec<Accepted>),
    Connected(Connected),
    AreLatest(Vec<bool>),
    Clients(Vec<ClientRow>),
    Replies(Vec<Reply>),
    Counters(Vec<i64>),
    Client(Option<(ClientRow, i64)>),
    Message(Option<MessageRow>),
    Messages(Vec<MessageRow>),
    Turns(Vec<TurnRow>),
    Overview(Box<Overview>),
    Deleted(u64),
    Done,
}

#[derive(Debug, Clone, PartialEq)]
struct Overview {
    replicas: Vec<ReplicaRow>,
    turns: Vec<TurnRow>,
    clients: Vec<(ClientRow, Option<MessageRow>)>,
    client_count: i64,
    waiting: i64,
}

fn registrants() -> impl Strategy<Value = Registrant> {
    let id = prop_oneof![9 => 1..=3_i64, 1 => 4..=6_i64].prop_map(ReplicaId);
    (id, prop_oneof![9 => Just(0), 1 => Just(1_usize)]).prop_map(|(id, before)| Registrant { id, before })
}

fn clients() -> impl Strategy<Value = usize> {
    prop_oneof![6 => 0..2_usize, 1 => 2..CLIENTS.len()]
}

fn counters() -> impl Strategy<Value = Counter> {
    prop_oneof![
        12 => Just(Counter::Missing(0)),
        6 => (-4..=4_i64).prop_map(Counter::Missing),
        1 => (WINDOW - 1..=WINDOW + 2).prop_map(Counter::Missing),
        4 => (-3..=3_i64).prop_map(Counter::Next),
        2 => (0..=3_i64).prop_map(Counter::Exactly),
    ]
}

fn sent() -> impl Strategy<Value = Sent> {
    let text = select(vec!["a", "a", "a", "A", "a ", "", "it's \"é\" 日本 😀 \\ \0 %"]);
    let count = prop_oneof![50 => Just(1), 40 => 2..6_i64, 4 => 90..120_i64, 1 => Just(WINDOW + 5)];
    let epoch = prop_oneof![6 => Just(None), 4 => Just(Some(0)), 1 => Just(Some(-1)), 1 => Just(Some(1))];
    (clients(), counters(), count, text, epoch).prop_map(|(client, counter, count, text, epoch)| Sent {
        client,
        counter,
        count,
        text,
        epoch,
    })
}

fn ranges() -> impl Strategy<Value = Vec<(usize, Counter, Counter)>> {
    vec((clients(), counters(), counters()), 0..4)
}

fn ops() -> impl Strategy<Value = Op> {
    let names = || select(vec!["a", "rr-1", "o'brien", "名前"]);
    let ages = || select(vec![-1000, 0, 1, 500, 1500, 5000]);
    let after = || proptest::option::of(clients());
    prop_oneof![
        3 => names().prop_map(Op::Register),
        8 => registrants().prop_map(Op::Beat),
        1 => registrants().prop_map(Op::Leave),
        5 => (registrants(), prop_oneof![8 => Just(0), 1 => Just(-1), 1 => Just(1_i64)], ranges(), after(), 0..4_usize)
            .prop_map(|(replica, turn, ranges, after, limit)| Op::Serve(replica, turn, ranges, after, limit)),
        8 => select(vec![1, 2, 5, 150, 5000]).prop_map(Op::ServeWaiting),
        1 => (after(), 0..4_usize).prop_map(|(after, limit)| Op::Waiting(after, limit)),
        16 => vec(sent(), 0..6).prop_map(Op::Accept),
        4 => (clients(), proptest::option::of(-2..=2_i64), proptest::option::of(counters()))
            .prop_map(|(client, epoch, last_served)| Op::Connect(client, epoch, last_served)),
        3 => vec((clients(), prop_oneof![5 => Just(0), 1 => -1..=1_i64], counters()), 0..5).prop_map(Op::Acknowledge),
        1 => vec(clients(), 0..4).prop_map(Op::Progress),
        2 => ranges().prop_map(Op::Answers),
        1 => (clients(), counters()).prop_map(|(client, counter)| Op::Above(client, counter)),
        1 => clients().prop_map(Op::Client),
        1 => (clients(), counters()).prop_map(|(client, counter)| Op::Message(client, counter)),
        1 => (clients(), proptest::option::of(counters()), 0..20_u32)
            .prop_map(|(client, after, limit)| Op::Messages(client, after, limit)),
        1 => (proptest::option::of(-3..=1_i64), 0..5_u32).prop_map(|(before, limit)| Op::Turns(before, limit)),
        1 => (0..4_u32).prop_map(Op::Overview),
        3 => (ages(), ages()).prop_map(|(acknowledged, unacknowledged)| Op::DeleteOld(acknowledged, unacknowledged)),
        1 => ages().prop_map(Op::DeleteOldTurns),
        1 => Just(Op::LoseRegistrations),
        1 => Just(Op::LoseTurns),
        8 => prop_oneof![4 => 1..=3_i64, 4 => 4..=12_i64, 1 => Just(4 * 90_000), 2 => -20..=-1_i64]
            .prop_map(|quarters| Op::Advance(quarters * 250)),
    ]
}

/// An operation with its values, as the store is asked.
#[derive(Debug)]
struct Resolved {
    turn: Turn,
    requests: Vec<Request>,
    ranges: Vec<Range>,
    hello: Option<Hello>,
    acknowledged: Vec<(ClientId, Epoch, i64)>,
    counter: i64,
}

fn id(index: usize) -> ClientId {
    client(CLIENTS[index])
}

/// The row of a client; without one, that of a new client.
fn row_of(tables: &Tables, client: usize) -> ClientRow {
    tables.clients.get(&id(client)).cloned().unwrap_or_else(|| ClientRow::new(id(client)))
}

fn resolve_counter(tables: &Tables, client: usize, counter: Counter) -> i64 {
    let row = row_of(tables, client);
    match counter {
        Counter::Missing(off) => row.missing + off,
        Counter::Next(off) => row.next + off,
        Counter::Exactly(counter) => counter,
    }
}

fn resolve_range(tables: &Tables, (client, first, last): (usize, Counter, Counter)) -> Range {
    let first = resolve_counter(tables, client, first);
    Range { client: id(client), first, last: resolve_counter(tables, client, last).max(first - 1) }
}

fn resolve_sent(tables: &Tables, sent: &Sent) -> Vec<Request> {
    let first = resolve_counter(tables, sent.client, sent.counter).max(0);
    let epoch = sent.epoch.map(|off| Epoch(row_of(tables, sent.client).epoch.0 + off));
    let request = |counter| Request { client: id(sent.client), counter, message: sent.text.to_owned(), epoch };
    (first..first + sent.count).map(request).collect()
}

fn resolve(tables: &Tables, op: &Op) -> Resolved {
    let mut resolved = Resolved {
        turn: tables.quantum.turn_at(tables.now),
        requests: Vec::new(),
        ranges: Vec::new(),
        hello: None,
        acknowledged: Vec::new(),
        counter: 0,
    };
    match op {
        Op::Serve(_, off, ranges, ..) => {
            resolved.turn.0 += off;
            resolved.ranges = ranges.iter().map(|range| resolve_range(tables, *range)).collect();
        }
        Op::ServeWaiting(limit) => {
            let cut = |Waiting { range }: Waiting| Range { last: range.last.min(range.first + limit - 1), ..range };
            resolved.ranges = tables.waiting(None, 9).into_iter().map(cut).collect();
        }
        Op::Accept(sent) => resolved.requests = sent.iter().flat_map(|sent| resolve_sent(tables, sent)).collect(),
        Op::Connect(client, epoch, last_served) => {
            resolved.hello = Some(Hello {
                client: id(*client),
                epoch: epoch.map(|off| Epoch((row_of(tables, *client).epoch.0 + off).max(0))),
                last_served: last_served.map(|counter| resolve_counter(tables, *client, counter).max(-1)),
            });
        }
        Op::Acknowledge(answers) => {
            let answer = |(client, off, counter): &(usize, i64, Counter)| {
                let epoch = Epoch(row_of(tables, *client).epoch.0 + off);
                (id(*client), epoch, resolve_counter(tables, *client, *counter))
            };
            resolved.acknowledged = answers.iter().map(answer).collect();
        }
        Op::Answers(ranges) => {
            resolved.ranges = ranges.iter().map(|range| resolve_range(tables, *range)).collect();
        }
        Op::Above(client, counter) | Op::Message(client, counter) | Op::Messages(client, Some(counter), _) => {
            resolved.counter = resolve_counter(tables, *client, *counter);
        }
        Op::Turns(Some(off), _) => resolved.turn.0 += off,
        _ => {}
    }
    resolved
}

/// The replica that serves in the current turn, or one that does not exist.
fn serving(tables: &Tables) -> Registration {
    let turn = tables.quantum.turn_at(tables.now);
    let nobody = Registration { id: ReplicaId(0), token: Token(0) };
    tables.turns.get(&turn).map_or(nobody, TurnRow::registration)
}

/// Executes `op` on the backend.
async fn ask(
    backend: &Backend,
    op: &Op,
    resolved: &Resolved,
    known: &Register,
    serving: Registration,
) -> kit_database::Result<Answer> {
    let store = &backend.store;
    let Resolved { turn, requests, ranges, hello, acknowledged, counter } = resolved;
    Ok(match op {
        Op::Register(name) => Answer::Registered(registered(store.as_ref(), name).await?),
        Op::Beat(replica) => Answer::Beat(store.beat(known.find(*replica)).await?),
        Op::Leave(replica) => store.leave(known.find(*replica)).await.map(|()| Answer::Done)?,
        Op::Serve(replica, _, _, after, limit) => {
            let after = after.map(id);
            Answer::Served(store.serve(known.find(*replica), *turn, ranges, (after.as_ref(), *limit)).await?)
        }
        Op::ServeWaiting(_) => Answer::Served(store.serve(serving, *turn, ranges, (None, 9)).await?),
        Op::Waiting(after, limit) => Answer::Waiting(store.waiting(after.map(id).as_ref(), *limit).await?),
        Op::Accept(_) => Answer::Accepted(store.accept(requests).await?),
        Op::Connect(..) => Answer::Connected(store.connect(hello.as_ref().unwrap()).await?),
        Op::Acknowledge(_) => Answer::AreLatest(store.acknowledge(acknowledged).await?),
        Op::Progress(clients) => {
            let mut rows = store.progress(&clients.iter().map(|client| id(*client)).collect::<Vec<_>>()).await?;
            rows.sort_by(|a, b| a.id.cmp(&b.id));
            rows.dedup();
            Answer::Clients(rows)
        }
        Op::Answers(_) => Answer::Replies(store.answers(ranges).await?),
        Op::Above(client, _) => Answer::Counters(store.above(&id(*client), *counter).await?),
        Op::Client(client) => {
            Answer::Client(store.client(&id(*client)).await?.map(|status| (status.row, status.waiting)))
        }
        Op::Message(client, _) => Answer::Message(store.message(&id(*client), *counter).await?),
        Op::Messages(client, after, limit) => {
            let page = Page { client: id(*client), after: after.map(|_| *counter), limit: *limit };
            Answer::Messages(store.messages(&page).await?)
        }
        Op::Turns(before, limit) => Answer::Turns(store.turns(before.map(|_| *turn), *limit).await?),
        Op::Overview(turns) => {
            let overview = store.overview(*turns, 99).await?;
            let mut clients: Vec<_> = overview.clients.into_iter().map(|row| (row.row, row.last_served)).collect();
            clients.sort_by(|a, b| a.0.id.cmp(&b.0.id));
            Answer::Overview(Box::new(Overview {
                replicas: overview.replicas,
                turns: overview.turns,
                clients,
                client_count: overview.client_count,
                waiting: overview.waiting,
            }))
        }
        Op::DeleteOld(acknowledged_ms, unacknowledged_ms) => {
            let mut all = 0;
            loop {
                match store.delete_old_messages(*acknowledged_ms, *unacknowledged_ms).await? {
                    0 => break Answer::Deleted(all),
                    deleted => all += deleted,
                }
            }
        }
        Op::DeleteOldTurns(age_ms) => Answer::Deleted(store.delete_old_turns(*age_ms).await?),
        Op::LoseRegistrations => {
            backend.lose("replicas").await;
            Answer::Done
        }
        Op::LoseTurns => {
            backend.lose("turns").await;
            Answer::Done
        }
        Op::Advance(_) => Answer::Done,
    })
}

/// The answer of the specification. The backend chooses new tokens, so these are taken from
/// `answer`.
fn expect(
    tables: &mut Tables,
    op: &Op,
    resolved: &Resolved,
    known: &Register,
    serving: Registration,
    answer: &Answer,
) -> Answer {
    let Resolved { turn, requests, ranges, hello, acknowledged, counter } = resolved;
    match op {
        Op::Register(name) => {
            let token = if let Answer::Registered(registration) = answer { registration.token } else { Token(0) };
            Answer::Registered(tables.register(name, token))
        }
        Op::Beat(replica) => Answer::Beat(tables.beat(known.find(*replica))),
        Op::Leave(replica) => {
            tables.leave(known.find(*replica));
            Answer::Done
        }
        Op::Serve(replica, _, _, after, limit) => {
            let served = tables.serve(known.find(*replica), *turn, ranges);
            Answer::Served(served.map(|served| (served, tables.waiting(after.map(id).as_ref(), *limit))))
        }
        Op::ServeWaiting(_) => {
            let served = tables.serve(serving, *turn, ranges);
            Answer::Served(served.map(|served| (served, tables.waiting(None, 9))))
        }
        Op::Waiting(after, limit) => Answer::Waiting(tables.waiting(after.map(id).as_ref(), *limit)),
        Op::Accept(_) => Answer::Accepted(requests.iter().map(|request| tables.accept(request)).collect()),
        Op::Connect(..) => Answer::Connected(tables.connect(hello.as_ref().unwrap())),
        Op::Acknowledge(_) => Answer::AreLatest(
            acknowledged.iter().map(|(client, epoch, counter)| tables.acknowledge(client, *epoch, *counter)).collect(),
        ),
        Op::Progress(clients) => {
            let rows = tables.clients.values().filter(|row| clients.iter().any(|client| id(*client) == row.id));
            Answer::Clients(rows.cloned().collect())
        }
        Op::Answers(_) => Answer::Replies(ranges.iter().flat_map(|range| replies(tables, range)).collect()),
        Op::Above(client, _) => {
            let stored = tables.messages.keys().filter(|(of, stored)| *of == id(*client) && stored > counter);
            Answer::Counters(stored.map(|(_, counter)| *counter).take(1000).collect())
        }
        Op::Client(client) => Answer::Client(tables.clients.get(&id(*client)).map(|row| {
            let waiting = tables.messages.keys().filter(|(of, counter)| *of == row.id && *counter >= row.next);
            (row.clone(), i64::try_from(waiting.count()).unwrap())
        })),
        Op::Message(client, _) => Answer::Message(tables.messages.get(&(id(*client), *counter)).cloned()),
        Op::Messages(client, after, limit) => {
            let rows = tables.messages.values().filter(|row| row.client == id(*client));
            let rows = rows.filter(|row| after.is_none() || row.counter > *counter);
            Answer::Messages(rows.take(*limit as usize).cloned().collect())
        }
        Op::Turns(before, limit) => Answer::Turns(turns(tables, before.map(|_| *turn), *limit)),
        Op::Overview(limit) => Answer::Overview(Box::new(overview(tables, *limit))),
        Op::DeleteOld(acknowledged_ms, unacknowledged_ms) => {
            Answer::Deleted(tables.delete_old(*acknowledged_ms, *unacknowledged_ms))
        }
        Op::DeleteOldTurns(age_ms) => Answer::Deleted(tables.delete_old_turns(*age_ms)),
        Op::LoseRegistrations => {
            tables.lose_registrations(ReplicaId(0));
            Answer::Done
        }
        Op::LoseTurns => {
            tables.turns.clear();
            Answer::Done
        }
        Op::Advance(_) => Answer::Done,
    }
}

fn replies(tables: &Tables, range: &Range) -> Vec<Reply> {
    let reply = |counter: i64| {
        let row = tables.messages.get(&(range.client.clone(), counter))?;
        Some(Reply { client: row.client.clone(), counter, served: row.served.clone()? })
    };
    (range.first..=range.last).filter_map(reply).collect()
}

fn turns(tables: &Tables, before: Option<Turn>, limit: u32) -> Vec<TurnRow> {
    let turns = tables.turns.values().rev().filter(|row| before.is_none_or(|before| row.turn < before));
    turns.take(limit as usize).cloned().collect()
}

fn overview(tables: &Tables, limit: u32) -> Overview {
    let day = round_robin_core::tables::REPLICA_KEPT_MS;
    let last_served = |row: &ClientRow| tables.messages.get(&(row.id.clone(), row.last_served()?)).cloned();
    Overview {
        replicas: tables.replicas.values().filter(|row| row.heartbeat >= tables.now - day).cloned().collect(),
        turns: turns(tables, None, limit),
        clients: tables.clients.values().map(|row| (row.clone(), last_served(row))).collect(),
        client_count: i64::try_from(tables.clients.len()).unwrap(),
        waiting: tables.clients.values().map(|row| row.missing - row.next).sum(),
    }
}

async fn check(backend: &Backend, ops: &[Op]) -> Result<(), TestCaseError> {
    backend.reset().await;
    let mut model = Tables::new(backend.now().await, Quantum::SECOND);
    let mut known = Register::default();
    let beginning = [Op::Register("a"), Op::Register("b")];
    for (step, op) in beginning.iter().chain(ops).enumerate() {
        if let Op::Advance(ms) = op {
            backend.advance(*ms, Some(&mut model)).await;
        }
        let before = backend.now().await;
        model.now = before;
        let (resolved, serving) = (resolve(&model, op), serving(&model));
        let answer = ask(backend, op, &resolved, &known, serving).await;
        let answer = answer.map_err(|error| TestCaseError::fail(format!("step {step}, {op:?}: {error}")))?;
        if let Answer::Registered(registration) = answer {
            known.0.push(registration);
        }
        backend.hold_clock().await;
        let after = backend.now().await;
        let contents = backend.contents().await;
        let mut closest = None;
        let agreed = (before..=after).find_map(|now| {
            let mut next = model.clone();
            next.now = now;
            let expected = expect(&mut next, op, &resolved, &known, serving, &answer);
            let expected_contents = Contents::from(&next);
            let same = expected == answer && contents == expected_contents;
            closest = Some((expected, expected_contents));
            same.then_some(next)
        });
        let Some(next) = agreed else {
            return Err(TestCaseError::fail(format!(
                "step {step}, {op:?}, between {before} and {after}\n\
                 answered {answer:?}\nwith {contents:?}\nand not {closest:?}"
            )));
        };
        model = next;
    }
    Ok(())
}

fn compare(backend: impl Future<Output = Backend>) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let backend = runtime.block_on(backend);
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    // The cases are the same in each run, so that a failure is reproducible.
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let result = runner.run(&vec(ops(), 1..60), |ops| runtime.block_on(check(&backend, &ops)));
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

#[test]
fn a_hostile_server_does_as_specified() {
    compare(Backend::hostile("model"));
}
