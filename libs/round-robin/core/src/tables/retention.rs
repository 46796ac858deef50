//! Deleting what is old.

use super::Tables;
use crate::types::ClientRow;

/// Milliseconds after its last heartbeat for which a registration is kept: 24 hours. The page shows
/// replicas that are gone.
pub const REPLICA_KEPT_MS: i64 = 24 * 60 * 60 * 1000;

impl Tables {
    /// Deletes messages that were served more than `acknowledged_ms` milliseconds ago if their
    /// client acknowledged them, and more than `unacknowledged_ms` ago if not. Keeps the last message
    /// that was served of each client. Deletes a message 0 only together with message 1, so that
    /// [`ClientRow::has_deleted`] can tell. Returns the number of deleted messages.
    pub fn delete_old(&mut self, acknowledged_ms: i64, unacknowledged_ms: i64) -> u64 {
        let mut clients = std::mem::take(&mut self.clients);
        let deleted = clients.values_mut().map(|client| self.delete_of(client, acknowledged_ms, unacknowledged_ms));
        let deleted = deleted.sum();
        self.clients = clients;
        deleted
    }

    fn delete_of(&mut self, client: &mut ClientRow, acknowledged_ms: i64, unacknowledged_ms: i64) -> u64 {
        let is_old = |counter: i64| {
            let age = if counter <= client.acknowledged { acknowledged_ms } else { unacknowledged_ms };
            let row = self.messages.get(&(client.id.clone(), counter));
            row.and_then(|row| row.served.as_ref()).is_none_or(|served| served.at < self.now - age)
        };
        let deleted = (client.kept..client.next - 1).take_while(|counter| is_old(*counter)).count();
        let end = client.kept + i64::try_from(deleted).unwrap_or(0);
        if end == 1 {
            return 0;
        }
        let removed =
            (client.kept..end).filter(|counter| self.messages.remove(&(client.id.clone(), *counter)).is_some());
        let removed = removed.count() as u64;
        client.kept = end;
        removed
    }

    /// Deletes turns that began more than `age_ms` milliseconds ago, except for the latest one, and
    /// returns how many.
    pub fn delete_old_turns(&mut self, age_ms: i64) -> u64 {
        let (now, quantum, before) = (self.now, self.quantum, self.turns.len());
        let Some(latest) = self.turns.keys().last().copied() else { return 0 };
        self.turns.retain(|turn, _| *turn == latest || quantum.start_of(*turn) >= now - age_ms);
        (before - self.turns.len()) as u64
    }

    pub(super) fn forget_replicas(&mut self) {
        let now = self.now;
        self.replicas.retain(|_, row| row.heartbeat >= now - REPLICA_KEPT_MS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::{Accepted, tests::*};
    use crate::types::{Epoch, Token, Turn};

    /// Counters 1 to 5 of the client x, the first three served at 1000, 1100 and 1200.
    fn three_served() -> Tables {
        let mut tables = empty();
        let replica = tables.register("a", Token(1));
        stored(&mut tables, "x", 5);
        for counter in 1..=3 {
            tables.now = 900 + counter * 100;
            let turn = tables.beat(replica).turn;
            tables.serve(replica, turn, &[range("x", counter, counter)]).unwrap();
        }
        tables
    }

    fn kept(tables: &Tables) -> Vec<i64> {
        tables.messages.keys().map(|(_, counter)| *counter).collect()
    }

    #[test]
    fn answers_are_deleted_after_their_retention_and_the_last_one_is_kept() {
        let mut tables = three_served();
        tables.now = 1150;
        assert_eq!(tables.delete_old(50, 150), 0, "exactly as old as allowed");
        tables.now = 1151;
        assert_eq!(tables.delete_old(50, 150), 1);
        assert_eq!((kept(&tables), tables.clients[&client("x")].kept), (vec![2, 3, 4, 5], 2));
        tables.now = 1_000_000;
        assert_eq!(tables.delete_old(50, 150), 1);
        assert_eq!((kept(&tables), tables.clients[&client("x")].kept), (vec![3, 4, 5], 3));
        assert_eq!(tables.clients[&client("x")].last_served(), Some(3));
        assert_eq!(tables.accept(&request("x", 2)), Accepted::Gone { kept: 3 });
        assert_eq!(tables.delete_old(50, 150), 0);
    }

    #[test]
    fn what_is_acknowledged_may_go_earlier() {
        let mut tables = three_served();
        tables.acknowledge(&client("x"), Epoch(0), 1);
        tables.now = 1300;
        assert_eq!(tables.delete_old(50, 1000), 1, "the second one has to wait");
        assert_eq!(kept(&tables), [2, 3, 4, 5]);
    }

    #[test]
    fn message_0_is_deleted_together_with_message_1() {
        let mut tables = three_served();
        for counter in 1..=5 {
            let mut row = tables.messages.remove(&(client("x"), counter)).unwrap();
            row.counter = counter - 1;
            tables.messages.insert((client("x"), row.counter), row);
        }
        let row = tables.clients.get_mut(&client("x")).unwrap();
        (row.kept, row.next, row.missing) = (0, 3, 5);
        tables.now = 1180;
        assert_eq!(tables.delete_old(100, 100), 0);
        assert!(!tables.clients[&client("x")].has_deleted());
        tables.now = 1201;
        assert_eq!(tables.delete_old(100, 100), 2);
        assert_eq!((kept(&tables), tables.clients[&client("x")].has_deleted()), (vec![2, 3, 4], true));
    }

    #[test]
    fn an_answer_that_the_clock_dates_ahead_is_kept() {
        let mut tables = three_served();
        tables.now = 500;
        assert_eq!(tables.delete_old(0, 0), 0);
    }

    #[test]
    fn old_turns_are_deleted_and_the_latest_one_is_kept() {
        let mut tables = empty();
        let replica = tables.register("a", Token(1));
        for now in [2000, 3500, 4500] {
            tables.now = now;
            tables.beat(replica);
        }
        assert_eq!(tables.delete_old_turns(1500), 1, "the turn from 3000 on is as old as allowed");
        assert_eq!(tables.turns.keys().copied().collect::<Vec<_>>(), [Turn(3), Turn(4)]);
        tables.now = 1_000_000;
        assert_eq!(tables.delete_old_turns(0), 1);
        assert_eq!(tables.delete_old_turns(0), 0);
        assert_eq!(empty().delete_old_turns(0), 0);
    }

    #[test]
    fn a_registration_removes_those_that_were_silent_for_a_day() {
        let mut tables = empty();
        let [a, b] = ["a", "b"].map(|name| tables.register(name, Token(1)));
        tables.now += 1;
        tables.beat(b);
        tables.now += REPLICA_KEPT_MS;
        let c = tables.register("c", Token(1));
        assert_eq!(tables.replicas.keys().copied().collect::<Vec<_>>(), [b.id, c.id]);
        assert!(!tables.beat(a).is_registered);
    }
}
