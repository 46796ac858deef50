//! Requests of values-api.

use std::collections::BTreeSet;

use kit_database::{Database, Error, Options};
use testkit::{MariaDb, on_every_backend};
use values_store::{Added, MAX_ID, NewValue, Page};

use crate::backend::Backend;

on_every_backend!(
    it_answers_once_there_are_tables,
    new_ids_are_above_the_largest,
    new_ids_are_at_least_one,
    new_ids_of_concurrent_callers_differ,
    thousands_of_new_ids,
    new_ids_end_at_the_limit,
    ids_above_the_limit_do_not_count_as_the_largest,
    ids_that_concurrent_callers_choose_differ,
    given_ids_count_from_given_values,
    what_exists_is_named_and_nothing_is_added,
    what_is_given_twice_is_named_and_nothing_is_added,
    removing_says_whether_it_was_there,
    removing_many_takes_the_largest,
    what_concurrent_callers_remove_is_removed_once,
    pages_cover_everything_once,
);

const ALL: Page = Page { after: None, owner: None, limit: 1000 };

async fn it_answers_once_there_are_tables(backend: Backend) {
    backend.store.ping().await.unwrap();
    backend.store.add_count(1).await.unwrap();
    backend.store.ping().await.unwrap();
    backend.sql("DROP TABLE `values`").await.unwrap();
    backend.store.ping().await.unwrap_err();
}

async fn new_ids_are_above_the_largest(backend: Backend) {
    assert_eq!(backend.store.add_count(2).await.unwrap().unwrap(), [1, 2]);
    backend.sql("INSERT INTO `values` (id) VALUES (100)").await.unwrap();
    assert_eq!(backend.store.add_count(3).await.unwrap().unwrap(), [101, 102, 103]);
    assert_eq!(backend.store.add_count(0).await.unwrap().unwrap(), [0_i64; 0]);
    let row = backend.row(101).await;
    assert_eq!((row.value, row.initial_value, row.owner, row.epoch), (0, 0, None, 0));
}

async fn new_ids_are_at_least_one(backend: Backend) {
    backend.sql("INSERT INTO `values` (id) VALUES (-10)").await.unwrap();
    assert_eq!(backend.store.add_count(2).await.unwrap().unwrap(), [1, 2]);
}

async fn new_ids_of_concurrent_callers_differ(backend: Backend) {
    let store = backend.another(8);
    let adders: Vec<_> = (0..8)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.add_count(50).await.unwrap().unwrap() })
        })
        .collect();
    let mut all = BTreeSet::new();
    for adder in adders {
        let ids = adder.await.unwrap();
        assert!(ids.len() == 50 && ids.is_sorted(), "{ids:?}");
        all.extend(ids);
    }
    assert_eq!(all.len(), 400);
    assert_eq!(backend.contents().await.values.into_keys().collect::<BTreeSet<_>>(), all);
}

async fn thousands_of_new_ids(backend: Backend) {
    let ids = backend.store.add_count(2500).await.unwrap().unwrap();
    assert_eq!(ids, (1..=2500).collect::<Vec<_>>());
    assert_eq!(backend.store.overview().await.unwrap().ids(), 2500);
    let given: Vec<NewValue> = (10_001..=12_500).map(|id| NewValue { id, value: -id }).collect();
    assert_eq!(backend.store.add(&given).await.unwrap(), Added::All);
    assert_eq!(backend.row(12_500).await.value, -12_500);
    let removed = backend.store.remove_count(3000).await.unwrap();
    assert_eq!(removed, (2001..=2500).chain(10_001..=12_500).collect::<Vec<_>>());
    assert_eq!(backend.store.overview().await.unwrap().ids(), 2000);
}

async fn new_ids_end_at_the_limit(backend: Backend) {
    backend.store.add(&[NewValue { id: MAX_ID - 2, value: 0 }]).await.unwrap();
    let before = backend.contents().await;
    assert_eq!(backend.store.add_count(3).await.unwrap(), None);
    assert_eq!(backend.contents().await, before, "nothing was added");
    assert_eq!(backend.store.add_count(2).await.unwrap().unwrap(), [MAX_ID - 1, MAX_ID]);
    assert_eq!(backend.store.add_count(1).await.unwrap(), None);
    assert_eq!(backend.store.add_count(2500).await.unwrap(), None);
    assert_eq!(backend.contents().await.values.len(), 3);
    assert!(backend.store.remove(MAX_ID).await.unwrap());
    assert_eq!(backend.store.add_count(1).await.unwrap().unwrap(), [MAX_ID]);
}

async fn ids_above_the_limit_do_not_count_as_the_largest(backend: Backend) {
    backend.store.add_count(3).await.unwrap();
    let mut next = 4;
    for far in [MAX_ID + 1, i64::MAX - 1, i64::MAX] {
        backend.sql(&format!("INSERT INTO `values` (id) VALUES ({far})")).await.unwrap();
        assert_eq!(backend.store.add_count(2).await.unwrap().unwrap(), [next, next + 1], "{far} is there");
        assert!(backend.store.remove(far).await.unwrap());
        assert_eq!(backend.store.add_count(1).await.unwrap().unwrap(), [next + 2], "{far} was there");
        next += 3;
    }
    let many = backend.store.add_count(2500).await.unwrap().unwrap();
    assert_eq!(many, (next..next + 2500).collect::<Vec<_>>());
    let row = backend.row(next).await;
    assert_eq!((row.value, row.initial_value, row.owner, row.epoch), (0, 0, None, 0));
}

async fn ids_that_concurrent_callers_choose_differ(backend: Backend) {
    backend.sql(&format!("INSERT INTO `values` (id) VALUES ({})", i64::MAX)).await.unwrap();
    let store = backend.another(4);
    let adders = (0..4).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.add_count(5).await.unwrap().unwrap() })
    });
    let mut all = BTreeSet::new();
    for adder in adders.collect::<Vec<_>>() {
        all.extend(adder.await.unwrap());
    }
    assert_eq!(all, (1..=20).collect());
}

async fn given_ids_count_from_given_values(backend: Backend) {
    let given = [(5, 0), (3, -7), (i64::MAX, i64::MAX), (4, i64::MIN)].map(|(id, value)| NewValue { id, value });
    assert_eq!(backend.store.add(&given).await.unwrap(), Added::All);
    for NewValue { id, value } in given {
        let row = backend.row(id).await;
        assert_eq!((row.value, row.initial_value), (value, value));
    }
    assert_eq!(backend.store.add(&[]).await.unwrap(), Added::All);
    assert_eq!(backend.contents().await.values.len(), 4);
}

async fn what_exists_is_named_and_nothing_is_added(backend: Backend) {
    backend.sql("INSERT INTO `values` (id) VALUES (3), (1500)").await.unwrap();
    let before = backend.contents().await;
    let given: Vec<NewValue> = (1..=2000).map(|id| NewValue { id, value: 0 }).collect();
    assert_eq!(backend.store.add(&given).await.unwrap(), Added::Exist(vec![3, 1500]));
    assert_eq!(backend.contents().await, before);
}

async fn what_is_given_twice_is_named_and_nothing_is_added(backend: Backend) {
    let given = [4, 5, 4, 6, 5, 4].map(|id| NewValue { id, value: 0 });
    assert_eq!(backend.store.add(&given).await.unwrap(), Added::Exist(vec![4, 5]));
    assert!(backend.contents().await.values.is_empty());
}

async fn removing_says_whether_it_was_there(backend: Backend) {
    backend.sql("INSERT INTO `values` (id) VALUES (7)").await.unwrap();
    assert!(backend.store.remove(7).await.unwrap());
    assert!(!backend.store.remove(7).await.unwrap());
    assert_eq!(backend.store.get(7).await.unwrap(), None);
}

async fn removing_many_takes_the_largest(backend: Backend) {
    backend.sql("INSERT INTO `values` (id) VALUES (5), (1), (9), (-2), (7)").await.unwrap();
    assert_eq!(backend.store.remove_count(0).await.unwrap(), [0_i64; 0]);
    assert_eq!(backend.store.remove_count(2).await.unwrap(), [7, 9]);
    assert_eq!(backend.store.remove_count(100).await.unwrap(), [-2, 1, 5]);
    assert_eq!(backend.store.remove_count(100).await.unwrap(), [0_i64; 0]);
}

async fn what_concurrent_callers_remove_is_removed_once(backend: Backend) {
    backend.store.add_count(100).await.unwrap();
    let store = backend.another(8);
    let removers: Vec<_> = (0..8)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.remove_count(10).await.unwrap() })
        })
        .collect();
    let mut removed = Vec::new();
    for remover in removers {
        removed.extend(remover.await.unwrap());
    }
    let left: BTreeSet<i64> = backend.contents().await.values.into_keys().collect();
    assert_eq!(removed.len() + left.len(), 100);
    assert!(removed.iter().all(|id| !left.contains(id)));
    assert_eq!(removed.iter().collect::<BTreeSet<_>>().len(), removed.len(), "one id removed twice");
}

async fn pages_cover_everything_once(backend: Backend) {
    let worker = backend.worker().await;
    for id in [-4, 0, 3, 8] {
        // MySQL replaces an inserted 0 by a new id, so that id is inserted in two steps.
        backend.owned(id - 100, worker).await;
        backend.sql(&format!("UPDATE `values` SET id = {id} WHERE id = {}", id - 100)).await.unwrap();
    }
    backend.sql("INSERT INTO `values` (id) VALUES (1), (2)").await.unwrap();
    let ids = async |page| backend.store.list(page).await.unwrap().iter().map(|row| row.id).collect::<Vec<_>>();
    assert_eq!(ids(ALL).await, [-4, 0, 1, 2, 3, 8]);
    assert_eq!(ids(Page { limit: 2, ..ALL }).await, [-4, 0]);
    assert_eq!(ids(Page { limit: 2, after: Some(0), ..ALL }).await, [1, 2]);
    assert_eq!(ids(Page { limit: 2, after: Some(3), ..ALL }).await, [8]);
    assert_eq!(ids(Page { after: Some(i64::MAX), ..ALL }).await, [0_i64; 0]);
    assert_eq!(ids(Page { owner: Some(worker.incarnation), ..ALL }).await, [-4, 0, 3, 8]);
    assert_eq!(ids(Page { owner: Some(worker.incarnation), after: Some(0), limit: 1 }).await, [3]);
    assert_eq!(ids(Page { limit: 0, ..ALL }).await, [0_i64; 0]);
}

/// All of the ids are added or none, so they have to fit into one packet.
#[tokio::test]
async fn more_ids_than_the_server_takes_are_refused() {
    let database = MariaDb::small_packets().await.database("packets").await;
    let database = Database::open(database.url(), Options::DEFAULT).unwrap();
    database.migrate(&values_store::MIGRATIONS).await.unwrap();
    let store = values_store::open(&database);
    let values = |count: i64| -> Vec<NewValue> {
        (0..count).map(|index| NewValue { id: 1_000_000_000_000 + index, value: index }).collect()
    };
    assert_eq!(store.add(&values(20_000)).await.unwrap(), Added::All);
    let error = store.add(&values(60_000)).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }) && !error.is_transient(), "{error:?}");
    assert_eq!(store.add_count(100_000).await.unwrap().unwrap().len(), 100_000);
    assert_eq!(store.overview().await.unwrap().ids(), 120_000);
}
