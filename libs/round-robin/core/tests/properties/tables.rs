//! Operations in any order.

use proptest::collection::vec;
use proptest::prelude::*;
use round_robin_core::tables::{Accepted, Hello, Request, Resume, Tables};
use round_robin_core::turns::Quantum;
use round_robin_core::types::{ClientId, Epoch, MessageRow, Range, Registration, ReplicaId, Token, Turn};

use crate::consistent::is_consistent;
use crate::{cases, client};

#[derive(Debug, Clone)]
enum Operation {
    Register,
    Beat(usize),
    Leave(usize),
    /// Serves some messages of each client, from some counter on, in some turn.
    Serve(usize, i64, i64, i64),
    Passes(i64),
    LoseRegistrations(i64),
    Accept(usize, i64, bool, Option<i64>),
    Connect(usize, Option<i64>, Option<i64>),
    Acknowledge(usize, i64, i64),
    Delete(i64, i64),
    DeleteTurns(i64),
}

fn operation() -> impl Strategy<Value = Operation> {
    use Operation::*;
    let rarely_off = || prop_oneof![8 => Just(0_i64), 1 => -2_i64..3];
    let maybe = |values: std::ops::Range<i64>| proptest::option::of(values);
    prop_oneof![
        1 => Just(Register),
        4 => (0_usize..3).prop_map(Beat),
        1 => (0_usize..3).prop_map(Leave),
        8 => (0_usize..3, rarely_off(), 1_i64..5, rarely_off()).prop_map(|(a, b, c, d)| Serve(a, b, c, d)),
        4 => prop_oneof![4 => 0_i64..700, 1 => -1500_i64..3000].prop_map(Passes),
        1 => (0_i64..3).prop_map(LoseRegistrations),
        16 => (0_usize..2, prop_oneof![9 => 0_i64..12, 1 => 990_i64..1020], proptest::bool::weighted(0.1),
            proptest::option::weighted(0.3, 0_i64..4)).prop_map(|(a, b, c, d)| Accept(a, b, c, d)),
        2 => (0_usize..2, maybe(0..5), maybe(-1..12)).prop_map(|(a, b, c)| Connect(a, b, c)),
        3 => (0_usize..2, 0_i64..4, -1_i64..12).prop_map(|(a, b, c)| Acknowledge(a, b, c)),
        2 => (0_i64..900, 0_i64..2000).prop_map(|(a, b)| Delete(a, b)),
        1 => (0_i64..3000).prop_map(DeleteTurns),
    ]
}

struct Run {
    tables: Tables,
    replicas: Vec<Registration>,
    tokens: i64,
}

impl Run {
    fn replica(&self, index: usize) -> Registration {
        let nobody = Registration { id: ReplicaId(1), token: Token(0) };
        self.replicas.iter().rev().nth(index).copied().unwrap_or(nobody)
    }

    fn run(&mut self, operation: &Operation) -> Result<(), TestCaseError> {
        let before = self.tables.clone();
        match *operation {
            Operation::Register => {
                self.tokens += 1;
                self.replicas.push(self.tables.register("r", Token(self.tokens)));
            }
            Operation::Beat(replica) => {
                let beat = self.tables.beat(self.replica(replica));
                prop_assert_eq!(beat.turn, before.quantum.turn_at(before.now));
                prop_assert!(before.turns.iter().all(|(turn, row)| self.tables.turns.get(turn) == Some(row)));
            }
            Operation::Leave(replica) => self.tables.leave(self.replica(replica)),
            Operation::Serve(replica, off, count, turns) => self.serve(&before, replica, (off, count), turns)?,
            Operation::Passes(ms) => self.tables.now += ms,
            Operation::LoseRegistrations(last) => self.tables.lose_registrations(ReplicaId(last)),
            Operation::Accept(of, counter, is_other, epoch) => {
                let message = if is_other { "other".to_owned() } else { counter.to_string() };
                let request = Request { client: client(of), counter, message, epoch: epoch.map(Epoch) };
                self.accept(&before, &request)?;
            }
            Operation::Connect(of, epoch, last_served) => {
                let hello = Hello { client: client(of), epoch: epoch.map(Epoch), last_served };
                self.connect(&before, &hello)?;
            }
            Operation::Acknowledge(of, epoch, counter) => {
                let is_latest = self.tables.acknowledge(&client(of), Epoch(epoch), counter);
                let expected = before.clients.get(&client(of)).is_some_and(|row| row.epoch == Epoch(epoch));
                prop_assert_eq!(is_latest, expected);
                prop_assert!(is_latest || self.tables == before);
            }
            Operation::Delete(acknowledged_ms, unacknowledged_ms) => {
                let deleted = self.tables.delete_old(acknowledged_ms, unacknowledged_ms);
                prop_assert_eq!(before.messages.len() - self.tables.messages.len(), usize::try_from(deleted).unwrap());
                for ((of, counter), row) in &before.messages {
                    let is_kept = self.tables.messages.contains_key(&(of.clone(), *counter));
                    let is_acknowledged = *counter <= before.clients[of].acknowledged;
                    let age = if is_acknowledged { acknowledged_ms } else { unacknowledged_ms };
                    prop_assert!(is_kept || row.served.as_ref().is_some_and(|served| served.at < before.now - age));
                }
            }
            Operation::DeleteTurns(age_ms) => {
                self.tables.delete_old_turns(age_ms);
                prop_assert_eq!(self.tables.turns.keys().last(), before.turns.keys().last());
            }
        }
        if !matches!(operation, Operation::Delete(..)) {
            let same = |(key, old): (&(ClientId, i64), &MessageRow)| {
                self.tables.messages.get(key).is_some_and(|new| {
                    let is_answered = old.served.is_some() || matches!(operation, Operation::Serve(..));
                    new.message == old.message && (old.served == new.served || old.served.is_none() && is_answered)
                })
            };
            prop_assert!(before.messages.iter().all(same));
        }
        Ok(())
    }

    fn serve(
        &mut self,
        before: &Tables,
        replica: usize,
        (off, count): (i64, i64),
        turns: i64,
    ) -> Result<(), TestCaseError> {
        let replica = self.replica(replica);
        let turn = Turn(before.quantum.turn_at(before.now).0 + turns);
        let next = |row: &round_robin_core::types::ClientRow| row.next + off;
        let range = |row| Range { client: row_id(row), first: next(row), last: next(row) + count - 1 };
        let ranges: Vec<Range> = before.clients.values().map(range).collect();
        let served = self.tables.serve(replica, turn, &ranges);
        let is_turn = turns == 0
            && before.turns.get(&turn).is_some_and(|row| row.registration() == replica)
            && before.replicas.get(&replica.id).is_some_and(|row| row.token == replica.token);
        prop_assert_eq!(served.is_some(), is_turn);
        let Some(served) = served else {
            prop_assert_eq!(&self.tables, before);
            return Ok(());
        };
        let count: i64 = served.ranges.iter().map(Range::count).sum();
        prop_assert_eq!(self.tables.turns[&turn].served - before.turns[&turn].served, count);
        prop_assert!(off == 0 || served.ranges.is_empty());
        Ok(())
    }

    fn accept(&mut self, before: &Tables, request: &Request) -> Result<(), TestCaseError> {
        let accepted = self.tables.accept(request);
        let key = (request.client.clone(), request.counter);
        if let Accepted::Stored(row) = &accepted {
            prop_assert_eq!(Some(row), self.tables.messages.get(&key));
            prop_assert!(before.messages.get(&key).is_none_or(|old| old == row));
        } else {
            prop_assert_eq!(&self.tables.messages, &before.messages);
        }
        if !matches!(accepted, Accepted::Stored(_)) && before.clients.contains_key(&request.client) {
            prop_assert_eq!(&self.tables, before, "{:?}", accepted);
        }
        Ok(())
    }

    fn connect(&mut self, before: &Tables, hello: &Hello) -> Result<(), TestCaseError> {
        let connected = self.tables.connect(hello);
        let row = &connected.client;
        prop_assert_eq!(Some(row), self.tables.clients.get(&hello.client));
        let older = before.clients.get(&hello.client).map(|row| row.epoch).into_iter().chain(hello.epoch);
        prop_assert!(older.max().unwrap_or_default() < row.epoch);
        let from = connected.resume.from();
        prop_assert!((row.kept..=row.next).contains(&from), "{:?}", connected);
        if let (Resume::From(from), Some(last_served)) = (connected.resume, hello.last_served) {
            // Nothing is left out in silence.
            let between = last_served + 1..from;
            prop_assert!(between.is_empty() || (last_served, from) == (-1, 1), "{:?}", connected);
        }
        Ok(())
    }
}

fn row_id(row: &round_robin_core::types::ClientRow) -> ClientId {
    row.id.clone()
}

proptest! {
    #![proptest_config(cases(3000))]

    #[test]
    fn rows_agree_with_each_other_after_any_operations(operations in vec(operation(), 0..120)) {
        let tables = Tables::new(10_000, Quantum::SECOND);
        let mut run = Run { tables, replicas: Vec::new(), tokens: 0 };
        for operation in &operations {
            run.run(operation)?;
            prop_assert!(is_consistent(&run.tables), "{:?} made {:#?}", operation, run.tables);
        }
    }
}
