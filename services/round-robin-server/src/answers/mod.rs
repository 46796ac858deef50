//! Answers on their way to local clients.
//!
//! Requests and sockets that wait for answers [follow](Answers::follow) their client. The serving
//! loop tells them [what this replica serves](Answers::served); the [watch] finds out what other
//! replicas serve, and which connections are newer. Nothing is kept for a client that nobody
//! follows.

mod position;
pub(crate) mod watch;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use round_robin_core::tables::ServedBatch;
use round_robin_core::types::{ClientId, ClientRow, Epoch};
use tokio::sync::{Notify, watch as channel};

pub(crate) use self::position::{Position, Served, combined, served_before};

/// The clients that are followed. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answers(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    clients: Mutex<BTreeMap<ClientId, Arc<Client>>>,
    /// Notified when a client is followed.
    followed: Notify,
}

/// A client that is followed.
#[derive(Debug, Default)]
struct Client {
    position: channel::Sender<Position>,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    followers: usize,
    /// Followers that expect answers.
    expecting: usize,
}

/// Follows one client until it is dropped.
#[derive(Debug)]
pub(crate) struct Follower {
    answers: Answers,
    id: ClientId,
    client: Arc<Client>,
    position: channel::Receiver<Position>,
    is_expecting: bool,
}

/// What the watch knows about a client before it asks the database.
#[derive(Debug, Clone)]
struct Known {
    id: ClientId,
    epoch: Epoch,
    next: Option<i64>,
}

impl Answers {
    /// Follows `client`, and expects answers.
    pub(crate) fn follow(&self, id: &ClientId) -> Follower {
        let client = {
            let mut clients = self.lock();
            let client = clients.entry(id.clone()).or_default();
            if client.position.borrow().is_lost {
                // Its followers end, and the new one begins with what the database knows now.
                *client = Arc::default();
            }
            let mut counts = lock(&client.counts);
            counts.followers += 1;
            counts.expecting += 1;
            Arc::clone(client)
        };
        self.0.followed.notify_one();
        let position = client.position.subscribe();
        Follower { answers: self.clone(), id: id.clone(), client, position, is_expecting: true }
    }

    /// Number of clients that are followed.
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Tells followers what the row of their client says.
    pub(crate) fn learned(&self, row: &ClientRow) {
        self.update(&row.id, |position| {
            let is_newer = position.set_epoch(row.epoch);
            position.set_next(served_before(row)) || is_newer
        });
    }

    /// Tells followers that the replica called `replica` has served these messages.
    pub(crate) fn served(&self, replica: &Arc<str>, batch: &ServedBatch) {
        for range in &batch.ranges {
            self.update(&range.client, |position| {
                let (first, last) = (range.first, range.last);
                position.add(Served { first, last, replica: Arc::clone(replica), at: batch.at })
            });
        }
    }

    /// Tells followers that messages were served.
    fn answered(&self, (client, served): (ClientId, Served)) {
        self.update(&client, |position| position.add(served));
    }

    /// Tells followers that what they know of this client is no longer true.
    fn lost(&self, id: &ClientId) {
        tracing::warn!(client_id = %id, "the database lost its latest transactions: connections of the client are closed");
        self.update(id, |position| !std::mem::replace(&mut position.is_lost, true));
    }

    /// Tells the followers of a client, if there are any. `change` returns whether it changed
    /// anything.
    fn update(&self, id: &ClientId, change: impl FnOnce(&mut Position) -> bool) {
        let client = self.lock().get(id).cloned();
        if let Some(client) = client {
            client.position.send_if_modified(change);
        }
    }

    /// Waits until a client is followed.
    async fn any(&self) {
        while self.lock().is_empty() {
            self.0.followed.notified().await;
        }
    }

    /// The clients whose followers expect answers, and at most `idle` others after the client
    /// `after`, beginning again after the last one.
    fn known(&self, after: Option<&ClientId>, idle: usize) -> (Vec<Known>, Vec<Known>) {
        let clients = self.lock();
        let (expecting, others): (Vec<_>, Vec<_>) = clients.iter().partition(|(_, client)| client.is_expecting());
        let begin = after.map_or(0, |after| others.partition_point(|(id, _)| *id <= after));
        let known = |(id, client): &(&ClientId, &Arc<Client>)| {
            let position = client.position.borrow();
            Known { id: (*id).clone(), epoch: position.epoch, next: position.next }
        };
        let idle = others[begin..].iter().chain(&others[..begin]).take(idle).map(known).collect();
        (expecting.iter().map(known).collect(), idle)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ClientId, Arc<Client>>> {
        lock(&self.0.clients)
    }
}

impl Client {
    fn is_expecting(&self) -> bool {
        lock(&self.counts).expecting > 0
    }
}

impl Follower {
    /// What is known at present. Holds a lock: drop it before the next `await`.
    pub(crate) fn position(&mut self) -> channel::Ref<'_, Position> {
        self.position.borrow_and_update()
    }

    /// The messages that were served together with this one, if they are known.
    pub(crate) fn served_with(&self, counter: i64) -> Option<Served> {
        self.position.borrow().served_with(counter).cloned()
    }

    /// Waits until more is known than at the last call of [`position`](Self::position).
    pub(crate) async fn changed(&mut self) {
        // The sender lives as long as this follower.
        let _ = self.position.changed().await;
    }

    /// Sets whether answers are expected. Until they are, the watch asks about the client less often.
    pub(crate) fn expect(&mut self, is_expecting: bool) {
        if self.is_expecting == is_expecting {
            return;
        }
        self.is_expecting = is_expecting;
        let mut counts = lock(&self.client.counts);
        if is_expecting {
            counts.expecting += 1;
        } else {
            counts.expecting -= 1;
        }
    }

    /// Waits until the message with this counter is served.
    pub(crate) async fn answer(&mut self, counter: i64) -> Answer {
        loop {
            {
                let position = self.position();
                if position.is_lost {
                    return Answer::Lost;
                }
                if position.is_served(counter) {
                    return position
                        .served_with(counter)
                        .map_or(Answer::Unknown, |served| Answer::Known(served.clone()));
                }
            }
            self.changed().await;
        }
    }
}

/// What a follower knows about the answer to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It was served.
    Known(Served),
    /// A replica served it. The database has the name of the replica and the time.
    Unknown,
    /// The database lost its latest transactions, and with them perhaps the message.
    Lost,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.expect(false);
        let mut clients = self.answers.lock();
        let is_last = {
            let mut counts = lock(&self.client.counts);
            counts.followers -= 1;
            counts.followers == 0
        };
        let is_current = clients.get(&self.id).is_some_and(|client| Arc::ptr_eq(client, &self.client));
        if is_last && is_current {
            clients.remove(&self.id);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use round_robin_core::types::Range;

    use super::*;

    fn client(name: &str) -> ClientId {
        name.to_owned().try_into().unwrap()
    }

    fn row(name: &str, epoch: i64, next: i64) -> ClientRow {
        ClientRow { epoch: Epoch(epoch), next, ..ClientRow::new(client(name)) }
    }

    #[tokio::test]
    async fn the_first_counter_may_turn_out_to_be_0() {
        let answers = Answers::default();
        let mut follower = answers.follow(&client("a"));
        answers.learned(&row("a", 1, 1));
        assert_eq!(follower.position().next, Some(0), "nothing was served");
        answers.learned(&ClientRow { kept: 0, ..row("a", 1, 0) });
        assert_eq!(follower.position().next, Some(0));
        answers.learned(&ClientRow { kept: 0, ..row("a", 1, 1) });
        assert_eq!(follower.answer(0).await, Answer::Unknown, "it was served");
    }

    fn names(known: &[Known]) -> Vec<&str> {
        known.iter().map(|known| known.id.as_str()).collect()
    }

    #[test]
    fn nothing_is_kept_for_a_client_that_nobody_follows() {
        let answers = Answers::default();
        answers.learned(&row("a", 1, 5));
        assert_eq!(answers.count(), 0);
        let (first, second) = (answers.follow(&client("a")), answers.follow(&client("a")));
        drop(first);
        assert_eq!(answers.count(), 1);
        drop(second);
        assert_eq!(answers.count(), 0);
    }

    #[test]
    fn those_who_expect_answers_come_first_and_the_others_in_turn() {
        let answers = Answers::default();
        let mut followers: Vec<Follower> = ["a", "b", "c", "d", "e"].map(|name| answers.follow(&client(name))).into();
        for follower in &mut followers[1..] {
            follower.expect(false);
            follower.expect(false);
        }
        let (expecting, idle) = answers.known(None, 3);
        assert_eq!((names(&expecting), names(&idle)), (vec!["a"], vec!["b", "c", "d"]));
        let (_, idle) = answers.known(Some(&client("d")), 3);
        assert_eq!(names(&idle), ["e", "b", "c"]);
        let mut other = answers.follow(&client("c"));
        let (expecting, idle) = answers.known(Some(&client("z")), 9);
        assert_eq!((names(&expecting), names(&idle)), (vec!["a", "c"], vec!["b", "d", "e"]));
        other.expect(false);
        drop(other);
        assert_eq!(names(&answers.known(None, 0).0), ["a"]);
    }

    #[tokio::test]
    async fn followers_get_what_is_served_here() {
        let answers = Answers::default();
        let mut follower = answers.follow(&client("a"));
        let range = |name, first, last| Range { client: client(name), first, last };
        let batch = ServedBatch { at: 9, ranges: vec![range("b", 1, 1), range("a", 1, 3)] };
        answers.served(&"me".into(), &batch);
        let served = Served { first: 1, last: 3, replica: "me".into(), at: 9 };
        assert_eq!(follower.answer(2).await, Answer::Known(served));
        answers.learned(&row("a", 1, 9));
        assert_eq!(follower.answer(8).await, Answer::Unknown, "another replica served it");
    }

    #[tokio::test]
    async fn a_database_that_lost_transactions_ends_what_was_known() {
        let answers = Answers::default();
        let mut before = answers.follow(&client("a"));
        answers.learned(&row("a", 3, 9));
        answers.lost(&client("a"));
        assert_eq!(before.answer(9).await, Answer::Lost);
        let mut after = answers.follow(&client("a"));
        assert_eq!(after.position().next, None);
        drop(before);
        assert_eq!(answers.count(), 1, "it does not remove the new one");
        answers.learned(&row("a", 2, 5));
        assert_eq!(after.answer(4).await, Answer::Unknown);
    }
}
