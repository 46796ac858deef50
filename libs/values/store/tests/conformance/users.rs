//! Changes that users make to the table by SQL.

use testkit::on_every_backend;

use crate::backend::Backend;

on_every_backend!(
    an_id_alone_is_enough,
    a_value_may_come_with_it,
    what_would_break_the_count_is_refused,
    an_id_is_there_once,
);

async fn an_id_alone_is_enough(backend: Backend) {
    let before = backend.now_ms().await.div_euclid(1000);
    backend.sql("INSERT INTO `values` (id) VALUES (7), (-3)").await.unwrap();
    let after = backend.now_ms().await.div_euclid(1000);
    for id in [7, -3] {
        let row = backend.row(id).await;
        assert_eq!((row.value, row.initial_value, row.owner, row.epoch), (0, 0, None, 0));
        assert!((before..=after).contains(&row.first_tick), "{row:?}");
        assert_eq!(row.first_tick, row.last_tick);
    }
}

async fn a_value_may_come_with_it(backend: Backend) {
    for (id, value) in [(1, 42), (2, -42), (3, i64::MAX), (4, i64::MIN)] {
        backend.sql(&format!("INSERT INTO `values` (id, value) VALUES ({id}, {value})")).await.unwrap();
        let row = backend.row(id).await;
        assert_eq!((row.value, row.initial_value), (value, value));
        assert!(row.is_consistent());
    }
}

async fn what_would_break_the_count_is_refused(backend: Backend) {
    backend.sql("INSERT INTO `values` (id, value) VALUES (1, 10)").await.unwrap();
    let before = backend.contents().await;
    for refused in [
        "UPDATE `values` SET value = 11 WHERE id = 1",
        "UPDATE `values` SET last_tick = last_tick + 1 WHERE id = 1",
        // Times before 1970 would overflow differences.
        "INSERT INTO `values` (id, first_tick, last_tick) VALUES (2, -1, -1)",
        "INSERT INTO `values` (id, value, initial_value, first_tick, last_tick) VALUES (2, 5, 0, 1, 1)",
    ] {
        assert!(backend.sql(refused).await.is_err(), "{refused}");
    }
    assert_eq!(backend.contents().await, before);
    // A user who changes the value has to change both columns.
    backend.sql("UPDATE `values` SET value = value + 5, initial_value = initial_value + 5 WHERE id = 1").await.unwrap();
    assert_eq!(backend.row(1).await.value, 15);
}

async fn an_id_is_there_once(backend: Backend) {
    backend.sql("INSERT INTO `values` (id) VALUES (7)").await.unwrap();
    let error = backend.sql("INSERT INTO `values` (id) VALUES (7)").await.unwrap_err();
    assert!(matches!(error, kit_database::Error::Duplicate), "{error:?}");
}
