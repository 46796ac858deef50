//! Operations of a replica: it takes its turns and serves.

use super::Tables;
use crate::turns::{is_live, replica_of};
use crate::types::{ClientId, Range, Registration, ReplicaId, ReplicaRow, Served, Token, Turn, TurnRow};

/// The result of a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Beat {
    /// The database's clock, in milliseconds since the Unix epoch.
    pub now: i64,
    /// `false` once the registration is lost; the replica then has to register again.
    pub is_registered: bool,
    /// The current turn.
    pub turn: Turn,
    /// The replica that serves in it; `None` if there was no live replica.
    pub serves: Option<Registration>,
}

/// The messages of a client that can be served.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Waiting {
    /// All of them, from the next one on.
    pub range: Range,
}

/// The messages that one transaction served.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServedBatch {
    /// When, in milliseconds since the Unix epoch.
    pub at: i64,
    /// Those of the requested ranges that were served.
    pub ranges: Vec<Range>,
}

impl Tables {
    /// Registers a replica under a new number, and with this random `token`. Removes registrations
    /// that had no heartbeat for [`REPLICA_KEPT_MS`](super::REPLICA_KEPT_MS).
    pub fn register(&mut self, name: &str, token: Token) -> Registration {
        self.forget_replicas();
        self.last_replica += 1;
        let id = ReplicaId(self.last_replica);
        let row = ReplicaRow { id, name: name.to_owned(), is_leaving: false, heartbeat: self.now, token };
        self.replicas.insert(id, row);
        Registration { id, token }
    }

    /// Renews the heartbeat of a replica, and determines which replica serves in the current turn,
    /// unless that was determined before. So membership that changes within a turn has no effect
    /// on it, and no two replicas serve in one turn.
    pub fn beat(&mut self, replica: Registration) -> Beat {
        let now = self.now;
        let row = self.registered(replica);
        let is_registered = row.is_some();
        if let Some(row) = row {
            row.heartbeat = now;
        }
        let turn = self.quantum.turn_at(now);
        if !self.turns.contains_key(&turn) {
            let live: Vec<ReplicaId> =
                self.replicas.values().filter(|row| is_live(row, now)).map(|row| row.id).collect();
            if let Some(row) = replica_of(turn, &live).and_then(|id| self.replicas.get(&id)) {
                let row = TurnRow { turn, replica: row.id, token: row.token, name: row.name.clone(), served: 0 };
                self.turns.insert(turn, row);
            }
        }
        Beat { now, is_registered, turn, serves: self.turns.get(&turn).map(TurnRow::registration) }
    }

    /// Gives a replica no further turns. It still serves until the end of its current one.
    pub fn leave(&mut self, replica: Registration) {
        if let Some(row) = self.registered(replica) {
            row.is_leaving = true;
        }
    }

    /// Marks messages as served by `replica`. Changes nothing and returns `None` unless the current
    /// turn is `turn` and this registered replica serves in it. Leaves out a range that does not
    /// begin at the client's next counter, or that is not stored as a whole.
    pub fn serve(&mut self, replica: Registration, turn: Turn, ranges: &[Range]) -> Option<ServedBatch> {
        let (now, quantum) = (self.now, self.quantum);
        let name = self.registered(replica)?.name.clone();
        let row = self.turns.get_mut(&turn).filter(|row| row.registration() == replica)?;
        if quantum.turn_at(now) != turn {
            return None;
        }
        let mut served = Vec::new();
        for range in ranges {
            let Some(client) = self.clients.get_mut(&range.client) else { continue };
            if client.next != range.first || range.last < range.first || range.last >= client.missing {
                continue;
            }
            client.next = range.last + 1;
            for counter in range.first..=range.last {
                if let Some(message) = self.messages.get_mut(&(range.client.clone(), counter)) {
                    message.served = Some(Served { replica: name.clone(), at: now });
                }
            }
            row.served += range.count();
            served.push(range.clone());
        }
        Some(ServedBatch { at: now, ranges: served })
    }

    /// Lists clients with messages that can be served, in the order of their names, at most `limit`
    /// after the client `after`.
    #[must_use]
    pub fn waiting(&self, after: Option<&ClientId>, limit: usize) -> Vec<Waiting> {
        let waiting = self.clients.values().filter(|row| row.is_waiting() && after.is_none_or(|after| row.id > *after));
        waiting
            .take(limit)
            .map(|row| Waiting { range: Range { client: row.id.clone(), first: row.next, last: row.missing - 1 } })
            .collect()
    }

    fn registered(&mut self, replica: Registration) -> Option<&mut ReplicaRow> {
        self.replicas.get_mut(&replica.id).filter(|row| row.token == replica.token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::{Request, tests::*};
    use crate::turns::DEAD_AFTER_MS;

    /// Two replicas in the first one's turn.
    fn two() -> (Tables, [Registration; 2]) {
        let mut tables = empty();
        let replicas = [tables.register("a", Token(1)), tables.register("b", Token(2))];
        tables.now = 2000;
        tables.beat(replicas[1]);
        let beat = tables.beat(replicas[0]);
        assert_eq!((beat.turn, beat.serves), (Turn(2), Some(replicas[0])));
        (tables, replicas)
    }

    /// The replica that serves in the current turn.
    fn serves(tables: &mut Tables) -> Option<Registration> {
        let nobody = Registration { id: ReplicaId(0), token: Token(0) };
        tables.beat(nobody).serves
    }

    #[test]
    fn live_replicas_take_turns() {
        let (mut tables, [a, b]) = two();
        for expected in [a, b, a, b] {
            assert_eq!(serves(&mut tables), Some(expected), "{}", tables.now);
            tables.now += 1000;
            for replica in [a, b] {
                tables.beat(replica);
            }
        }
    }

    #[test]
    fn membership_that_changes_within_a_turn_has_no_effect_on_it() {
        let (mut tables, [a, b]) = two();
        tables.leave(a);
        tables.register("c", Token(3));
        assert_eq!(tables.beat(b).serves, Some(a), "it serves until the end of its turn");
        stored(&mut tables, "x", 1);
        assert!(tables.serve(a, Turn(2), &[range("x", 1, 1)]).is_some());
    }

    #[test]
    fn a_replica_that_leaves_or_is_silent_gets_no_further_turns() {
        let (mut tables, [a, b]) = two();
        tables.now = 3999;
        tables.beat(b);
        tables.leave(b);
        tables.now = 4000 + DEAD_AFTER_MS - 1000;
        assert_eq!(serves(&mut tables), None, "one left, and the other one is silent");
        assert!(!tables.turns.contains_key(&Turn(4)));
        assert_eq!(tables.beat(a).serves, Some(a), "it is back");
    }

    #[test]
    fn a_heartbeat_renews_only_its_own_registration() {
        let (mut tables, [a, b]) = two();
        tables.now = 2500;
        assert!(tables.beat(a).is_registered);
        assert!(!tables.beat(Registration { token: Token(9), ..b }).is_registered);
        assert_eq!((tables.replicas[&a.id].heartbeat, tables.replicas[&b.id].heartbeat), (2500, 2000));
    }

    #[test]
    fn only_the_replica_of_the_turn_serves_and_only_in_it() {
        let (mut tables, [a, b]) = two();
        stored(&mut tables, "x", 2);
        let one = [range("x", 1, 1)];
        let before = tables.clone();
        assert_eq!(tables.serve(b, Turn(2), &one), None, "another replica's turn");
        assert_eq!(tables.serve(a, Turn(3), &one), None, "a turn that nobody serves");
        assert_eq!(tables.serve(Registration { token: Token(9), ..a }, Turn(2), &one), None, "another registration");
        assert_eq!(tables, before);
        tables.now = 3000;
        assert_eq!(tables.serve(a, Turn(2), &one), None, "a turn that is over");
        tables.now = 1999;
        assert_eq!(tables.serve(a, Turn(2), &one), None, "a turn that has not begun");
        tables.now = 2999;
        let served = tables.serve(a, Turn(2), &one);
        assert_eq!(served, Some(ServedBatch { at: 2999, ranges: one.to_vec() }));
        assert_eq!(tables.turns[&Turn(2)].served, 1);
        let message = &tables.messages[&(client("x"), 1)];
        assert_eq!(message.served, Some(Served { replica: "a".to_owned(), at: 2999 }));
        assert_eq!(tables.messages[&(client("x"), 2)].served, None);
    }

    #[test]
    fn a_number_that_comes_again_has_no_part_in_the_turn_of_the_one_before() {
        let (mut tables, [a, _]) = two();
        stored(&mut tables, "x", 1);
        tables.lose_registrations(ReplicaId(0));
        let again = tables.register("c", Token(3));
        assert_eq!(again.id, a.id);
        assert_eq!(tables.serve(a, Turn(2), &[range("x", 1, 1)]), None, "its registration is lost");
        assert_eq!(tables.serve(again, Turn(2), &[range("x", 1, 1)]), None, "it is not its turn");
        assert_eq!(tables.beat(again), Beat { now: 2000, is_registered: true, turn: Turn(2), serves: Some(a) });
    }

    #[test]
    fn a_range_begins_at_the_next_counter_and_is_stored() {
        let (mut tables, [a, _]) = two();
        stored(&mut tables, "x", 3);
        stored(&mut tables, "y", 1);
        let wrong = [range("x", 2, 3), range("x", 0, 1), range("x", 1, 4), range("x", 1, 0), range("z", 1, 1)];
        let before = tables.clone();
        assert_eq!(tables.serve(a, Turn(2), &wrong).unwrap().ranges, []);
        assert_eq!(tables, before);
        let mixed = [range("x", 2, 2), range("y", 1, 1), range("x", 1, 2), range("x", 1, 2), range("x", 3, 3)];
        let served = tables.serve(a, Turn(2), &mixed).unwrap().ranges;
        assert_eq!(served, [range("y", 1, 1), range("x", 1, 2), range("x", 3, 3)]);
        assert_eq!(tables.turns[&Turn(2)].served, 4);
    }

    #[test]
    fn those_that_wait_are_listed_in_the_order_of_their_names() {
        let (mut tables, [a, _]) = two();
        for name in ["b", "a", "ä", "B"] {
            stored(&mut tables, name, 2);
        }
        tables.accept(&Request { counter: 2, ..request("gap", 1) });
        tables.serve(a, Turn(2), &[range("b", 1, 2), range("a", 1, 1)]);
        let all = [range("B", 1, 2), range("a", 2, 2), range("ä", 1, 2)].map(|range| Waiting { range });
        assert_eq!(tables.waiting(None, 9), all);
        assert_eq!(tables.waiting(Some(&client("B")), 1), all[1..2]);
        assert_eq!(tables.waiting(Some(&client("ä")), 1), []);
    }
}
