//! Requests of managers.

use std::collections::BTreeSet;

use testkit::on_every_backend;
use values_core::assignment::Transfer;
use values_core::types::{Incarnation, Term, Token, WorkerState};
use values_store::LEASE_TTL_MS;

use crate::backend::Backend;

on_every_backend!(
    the_lease_is_taken_over_only_when_it_has_run_out,
    a_lease_that_was_given_back_is_free,
    a_lease_from_before_the_clock_stepped_back_is_free,
    of_many_candidates_one_wins,
    observing_renews,
    an_observation_says_who_owns_how_much,
    its_holder_may_take_the_lease_again_under_the_next_term,
    a_deleted_lease_is_made_again_with_greater_terms,
    a_term_whose_number_came_again_changes_nothing,
    a_stale_term_changes_nothing,
    only_the_silent_expire,
    moves_take_the_lowest_ids_and_are_told,
    moves_of_more_than_there_is_move_what_there_is,
    many_moves_in_one_transaction,
    two_moves_in_one_millisecond,
    nothing_to_do_renews_the_lease,
    draining_is_for_the_living,
);

fn number(won: Option<Term>) -> Option<i64> {
    won.map(|term| term.number)
}

async fn the_lease_is_taken_over_only_when_it_has_run_out(backend: Backend) {
    let first = backend.store.campaign("a").await.unwrap();
    assert_eq!(number(first.won), Some(1));
    let lease = backend.contents().await.lease.unwrap();
    assert_eq!((lease.term, lease.holder.as_str(), lease.until), (1, "a", first.now_ms + LEASE_TTL_MS));
    assert_eq!(backend.store.campaign("b").await.unwrap().won, None);
    assert_eq!(backend.contents().await.lease.unwrap(), lease);
    backend.advance(LEASE_TTL_MS, None).await;
    assert_eq!(number(backend.store.campaign("b").await.unwrap().won), Some(2));
    assert_eq!(backend.contents().await.lease.unwrap().holder, "b");
}

async fn its_holder_may_take_the_lease_again_under_the_next_term(backend: Backend) {
    let first = backend.store.campaign("a").await.unwrap().won.unwrap();
    let second = backend.store.campaign("a").await.unwrap().won.unwrap();
    assert_eq!((first.number, second.number), (1, 2));
    assert_eq!(backend.store.observe(first).await.unwrap(), None, "what was asked under the old term is refused");
    assert!(backend.store.observe(second).await.unwrap().is_some());
}

async fn a_deleted_lease_is_made_again_with_greater_terms(backend: Backend) {
    let mut last = backend.lead().await;
    for _ in 0..3 {
        backend.lose_lease().await;
        assert_eq!(backend.store.observe(last).await.unwrap(), None);
        assert_eq!(backend.store.assign(last, &[]).await.unwrap(), None);
        backend.store.resign(last).await.unwrap();
        assert_eq!(backend.contents().await.lease, None);
        let next = backend.store.campaign("a").await.unwrap().won.expect("a new lease is free");
        assert!(next.number > last.number, "{next:?} after {last:?}");
        assert_eq!(backend.store.campaign("b").await.unwrap().won, None);
        assert!(backend.store.observe(next).await.unwrap().is_some());
        last = backend.store.campaign("a").await.unwrap().won.expect("its own lease");
        assert_eq!(last.number, next.number + 1);
        backend.advance(1000, None).await;
    }
}

async fn a_term_whose_number_came_again_changes_nothing(backend: Backend) {
    let worker = backend.worker().await.incarnation;
    backend.owned(1, worker).await;
    backend.sql("INSERT INTO `values` (id) VALUES (2)").await.unwrap();
    let old = backend.lead().await;
    // As after a failover to a replica that has not seen the last campaign.
    backend.sql("UPDATE manager_lease SET term = term - 1, token = 0, holder = 'x', until = 0").await.unwrap();
    let new = backend.store.campaign("b").await.unwrap().won.expect("a free lease");
    assert_eq!(new.number, old.number);
    backend.advance(5000, None).await;
    let before = backend.contents().await;
    let (store, transfer) = (&backend.store, Transfer { from: None, to: worker, count: 1 });
    assert_eq!(store.observe(old).await.unwrap(), None);
    assert_eq!(store.expire(old, &[worker], 1000).await.unwrap(), None);
    assert_eq!(store.assign(old, std::slice::from_ref(&transfer)).await.unwrap(), None);
    assert_eq!(store.set_draining(old, &[worker], true).await.unwrap(), None);
    store.resign(old).await.unwrap();
    assert_eq!(backend.contents().await, before);
    assert_eq!(store.assign(new, &[transfer]).await.unwrap(), Some(1));
}

async fn a_lease_that_was_given_back_is_free(backend: Backend) {
    let term = backend.lead().await;
    backend.store.resign(Term { number: term.number - 1, ..term }).await.unwrap();
    assert_eq!(backend.store.campaign("b").await.unwrap().won, None, "given back by another term");
    backend.store.resign(term).await.unwrap();
    assert_eq!(number(backend.store.campaign("b").await.unwrap().won), Some(term.number + 1));
}

async fn a_lease_from_before_the_clock_stepped_back_is_free(backend: Backend) {
    let term = backend.lead().await;
    backend.advance(-LEASE_TTL_MS, None).await;
    assert_eq!(backend.store.campaign("b").await.unwrap().won, None, "two spans ahead is still possible");
    backend.advance(-LEASE_TTL_MS, None).await;
    assert_eq!(number(backend.store.campaign("b").await.unwrap().won), Some(term.number + 1));
}

async fn of_many_candidates_one_wins(backend: Backend) {
    let candidates = (0..8).map(|i| {
        let store = backend.another(1);
        tokio::spawn(async move { store.campaign(&format!("candidate {i}")).await.unwrap().won })
    });
    let mut won = Vec::new();
    for candidate in candidates.collect::<Vec<_>>() {
        won.extend(number(candidate.await.unwrap()));
    }
    assert_eq!(won, [1]);
}

async fn observing_renews(backend: Backend) {
    let term = backend.lead().await;
    let taken = backend.contents().await.lease;
    backend.store.observe(term).await.unwrap().unwrap();
    // Before half of the lease has passed, nothing is written.
    assert_eq!(backend.contents().await.lease, taken);
    backend.advance(LEASE_TTL_MS, None).await;
    let observation = backend.store.observe(term).await.unwrap().unwrap();
    assert_eq!(backend.contents().await.lease.unwrap().until, observation.now_ms + LEASE_TTL_MS);
}

async fn an_observation_says_who_owns_how_much(backend: Backend) {
    let [idle, busy, dead] = [backend.worker().await, backend.worker().await, backend.worker().await];
    for id in 1..=3 {
        backend.owned(id, busy).await;
    }
    backend.owned(4, dead).await;
    backend.store.retire(dead).await.unwrap();
    backend.owned(5, dead).await;
    backend.owned(6, Incarnation(99)).await;
    let term = backend.lead().await;
    let observation = backend.store.observe(term).await.unwrap().unwrap();
    let living: Vec<Incarnation> = observation.workers.iter().map(|worker| worker.incarnation).collect();
    let [idle, busy, dead] = [idle, busy, dead].map(Incarnation::from);
    assert_eq!(living, [idle, busy]);
    assert_eq!(observation.loads, [(None, 1), (Some(busy), 3), (Some(dead), 1), (Some(Incarnation(99)), 1)]);
    let overview = backend.store.overview().await.unwrap();
    assert_eq!((overview.workers, overview.loads), (observation.workers, observation.loads));
}

async fn a_stale_term_changes_nothing(backend: Backend) {
    let worker = backend.worker().await.incarnation;
    backend.owned(1, worker).await;
    backend.sql("INSERT INTO `values` (id) VALUES (2)").await.unwrap();
    let stale = backend.lead().await;
    let term = backend.lead().await;
    backend.advance(5000, None).await;
    let before = backend.contents().await;
    let store = &backend.store;
    let other = |number, token| Term { number, token };
    let numbers = [other(0, term.token), other(term.number + 1, term.token)];
    let tokens = [other(term.number, Token(0)), other(term.number, stale.token)];
    for stale in [&[stale], &numbers[..], &tokens[..]].concat() {
        assert_eq!(store.observe(stale).await.unwrap(), None);
        assert_eq!(store.expire(stale, &[worker], 1000).await.unwrap(), None);
        let transfer = Transfer { from: None, to: worker, count: 1 };
        assert_eq!(store.assign(stale, &[transfer]).await.unwrap(), None);
        assert_eq!(store.set_draining(stale, &[worker], true).await.unwrap(), None);
        store.resign(stale).await.unwrap();
    }
    assert_eq!(backend.contents().await, before);
}

async fn only_the_silent_expire(backend: Backend) {
    let [silent, beating, unlisted, retired] =
        [backend.worker().await, backend.worker().await, backend.worker().await, backend.worker().await];
    backend.store.retire(retired).await.unwrap();
    let term = backend.lead().await;
    backend.advance(3000, None).await;
    // The manager has observed the worker as silent, but it writes a heartbeat before it
    // is declared dead.
    backend.store.heartbeat(beating).await.unwrap();
    let [silent, beating, unlisted, retired] = [silent, beating, unlisted, retired].map(Incarnation::from);
    let listed = [silent, beating, retired, Incarnation(99)];
    assert_eq!(backend.store.expire(term, &listed, 2000).await.unwrap(), Some(1));
    let states: Vec<WorkerState> = backend.contents().await.workers.values().map(|worker| worker.state).collect();
    assert_eq!(states, [WorkerState::Dead, WorkerState::Active, WorkerState::Active, WorkerState::Dead]);
    // A heartbeat from the far future does not count: the clock stepped back.
    backend.advance(-60_000, None).await;
    assert_eq!(backend.store.expire(term, &[beating, unlisted], 2000).await.unwrap(), Some(2));
}

async fn moves_take_the_lowest_ids_and_are_told(backend: Backend) {
    let [from, to, bystander] = [backend.worker().await, backend.worker().await, backend.worker().await];
    for id in [50, -5, 10, 30, 20] {
        backend.owned(id, from).await;
    }
    let term = backend.lead().await;
    let beating = to;
    let [from, to, bystander] = [from, to, bystander].map(Incarnation::from);
    let moved = backend.store.assign(term, &[Transfer { from: Some(from), to, count: 3 }]).await.unwrap();
    assert_eq!(moved, Some(3));
    let contents = backend.contents().await;
    let owned = |owner| contents.values.values().filter(|row| row.owner == Some(owner)).map(|row| row.id).collect();
    let (left, got): (Vec<i64>, Vec<i64>) = (owned(from), owned(to));
    assert_eq!((left, got), (vec![30, 50], vec![-5, 10, 20]));
    assert!(contents.values.values().all(|row| row.epoch == i64::from(row.owner == Some(to))));
    let generations = [from, to, bystander].map(|worker| contents.workers[&worker].generation);
    assert_eq!(generations, [1, 1, 0]);
    assert_eq!(backend.store.heartbeat(beating).await.unwrap().generation, 1);
}

async fn moves_of_more_than_there_is_move_what_there_is(backend: Backend) {
    let [to, dead] = [backend.worker().await, backend.worker().await];
    backend.store.retire(dead).await.unwrap();
    let [to, dead] = [to, dead].map(Incarnation::from);
    backend.sql("INSERT INTO `values` (id) VALUES (1), (2)").await.unwrap();
    backend.owned(3, dead).await;
    backend.owned(4, Incarnation(99)).await;
    let term = backend.lead().await;
    let transfers = [
        Transfer { from: None, to, count: u64::from(u32::MAX) },
        Transfer { from: Some(dead), to, count: 5 },
        Transfer { from: Some(Incarnation(99)), to, count: 5 },
        Transfer { from: Some(Incarnation(98)), to, count: 5 },
    ];
    assert_eq!(backend.store.assign(term, &transfers).await.unwrap(), Some(4));
    assert!(backend.contents().await.values.values().all(|row| row.owner == Some(to) && row.epoch == 1));
}

async fn many_moves_in_one_transaction(backend: Backend) {
    let ids = backend.store.add_count(500).await.unwrap().unwrap();
    let mut workers = Vec::new();
    for _ in 0..25 {
        workers.push(backend.worker().await);
    }
    let term = backend.lead().await;
    let transfers: Vec<Transfer> =
        workers.iter().map(|to| Transfer { from: None, to: to.incarnation, count: 20 }).collect();
    assert_eq!(backend.store.assign(term, &transfers).await.unwrap(), Some(500));
    for (worker, ids) in workers.iter().zip(ids.chunks(20)) {
        let rows = backend.store.tick(*worker).await.unwrap().rows;
        assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), ids);
    }
}

/// Renewing the lease then changes no value of its row, and must still succeed.
async fn two_moves_in_one_millisecond(backend: Backend) {
    let to = backend.worker().await.incarnation;
    backend.store.add_count(4).await.unwrap();
    let term = backend.lead().await;
    for _ in 0..4 {
        let transfer = Transfer { from: None, to, count: 1 };
        assert_eq!(backend.store.assign(term, &[transfer]).await.unwrap(), Some(1));
    }
    assert_eq!(backend.contents().await.workers[&to].generation, 4);
}

async fn nothing_to_do_renews_the_lease(backend: Backend) {
    let term = backend.lead().await;
    let store = &backend.store;
    backend.advance(500 * 1000, None).await;
    let mut untils = BTreeSet::new();
    assert_eq!(store.expire(term, &[], 2000).await.unwrap(), Some(0));
    untils.insert(backend.contents().await.lease.unwrap().until);
    backend.advance(1000, None).await;
    assert_eq!(store.assign(term, &[]).await.unwrap(), Some(0));
    untils.insert(backend.contents().await.lease.unwrap().until);
    backend.advance(1000, None).await;
    assert_eq!(store.set_draining(term, &[], true).await.unwrap(), Some(()));
    untils.insert(backend.contents().await.lease.unwrap().until);
    let now = backend.now_ms().await;
    assert!(*untils.last().unwrap() > now, "{untils:?} {now}");
}

async fn draining_is_for_the_living(backend: Backend) {
    let [one, dead, leaving] = [backend.worker().await, backend.worker().await, backend.worker().await];
    backend.store.retire(dead).await.unwrap();
    backend.store.leave(leaving).await.unwrap();
    let term = backend.lead().await;
    let [one, dead, leaving] = [one, dead, leaving].map(Incarnation::from);
    let everyone = [one, dead, leaving, Incarnation(99)];
    let states = async || backend.contents().await.workers.values().map(|row| row.state).collect::<Vec<_>>();
    backend.store.set_draining(term, &everyone, true).await.unwrap().unwrap();
    assert_eq!(states().await, [WorkerState::Draining, WorkerState::Dead, WorkerState::Draining]);
    backend.store.set_draining(term, &everyone, false).await.unwrap().unwrap();
    assert_eq!(states().await, [WorkerState::Active, WorkerState::Dead, WorkerState::Draining]);
}
