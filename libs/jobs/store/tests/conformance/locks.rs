//! Sessions of users that hold row locks on MySQL.

use jobs_core::State;
use jobs_store::{Claimed, JobRow, Lease, Statement, Success};
use kit_database::Error;
use kit_database::sqlx::{AssertSqlSafe, MySqlConnection, raw_sql};
use uuid::Uuid;

use crate::backend::{Backend, LEASE_MS, claim, effect, success};

macro_rules! on_every_server {
    ($($test:ident),+ $(,)?) => {
        mod mysql {
            $(#[tokio::test] async fn $test() { super::$test(super::Backend::mysql(stringify!($test)).await).await; })+
        }
        mod hostile {
            $(#[tokio::test] async fn $test() { super::$test(super::Backend::hostile(stringify!($test)).await).await; })+
        }
    };
}

on_every_server!(
    locked_jobs_are_claimed_later,
    locked_leases_are_neither_renewed_nor_lost,
    locked_jobs_keep_no_other_from_success,
    a_locked_row_of_an_effect_keeps_no_other_from_success,
);

async fn lock(backend: &Backend, ids: &[Uuid]) -> MySqlConnection {
    let mut user = backend.user().await;
    raw_sql("START TRANSACTION READ WRITE").execute(&mut user).await.unwrap();
    for id in ids {
        // A search for several ids may lock every row of a small table.
        let sql = format!("SELECT id FROM jobs WHERE id = X'{}' FOR UPDATE", id.simple());
        raw_sql(AssertSqlSafe(sql)).execute(&mut user).await.unwrap();
    }
    user
}

async fn release(mut user: MySqlConnection) {
    raw_sql("ROLLBACK").execute(&mut user).await.unwrap();
}

async fn jobs(backend: &Backend) -> Vec<Uuid> {
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(backend.job().await);
    }
    ids
}

fn ids_of(rows: &[JobRow]) -> Vec<Uuid> {
    rows.iter().map(|row| row.id).collect()
}

fn without(ids: &[Uuid], some: &[Uuid]) -> Vec<Uuid> {
    ids.iter().copied().filter(|id| !some.contains(id)).collect()
}

async fn locked_jobs_are_claimed_later(backend: Backend) {
    let ids = jobs(&backend).await;
    let running = backend.claim(&ids[..2], 1).await.len();
    // One of the locked jobs is running already: its message is out of date.
    let locked = [ids[1], ids[7], ids[13]];
    let user = lock(&backend, &locked).await;
    for _ in 0..2 {
        let claimed = backend.store.claim(&ids, claim(2)).await.unwrap();
        assert_eq!((running, ids_of(&claimed.jobs)), (2, without(&ids[2..], &locked)));
        assert_eq!(claimed.locked, locked[1..]);
        for row in &claimed.jobs {
            assert_eq!(*row, backend.row(row.id).await);
            assert_eq!((row.job.state, row.job.attempt, row.job.lease_token), (State::Running, 1, 1));
            assert_eq!(row.job.lease_until, row.started_at.map(|at| at + LEASE_MS));
        }
    }
    release(user).await;
    let Claimed { jobs, locked } = backend.store.claim(&ids, claim(3)).await.unwrap();
    assert_eq!((ids_of(&jobs), locked), (vec![ids[7], ids[13]], vec![]));
}

async fn locked_leases_are_neither_renewed_nor_lost(backend: Backend) {
    let ids = jobs(&backend).await;
    backend.claim(&ids, 1).await;
    backend.pass(1000).await;
    let locked = [ids[7], ids[13]];
    let leases: Vec<Lease> = ids.iter().map(|id| Lease { id: *id, token: 1, progress: 0.5 }).collect();
    let user = lock(&backend, &locked).await;
    let mut before = Vec::new();
    for id in &ids {
        before.push(backend.row(*id).await);
    }
    let held = backend.store.renew(&leases, LEASE_MS).await.unwrap();
    assert_eq!(held.len(), 20);
    for before in before {
        let after = backend.row(before.id).await;
        if locked.contains(&before.id) {
            assert_eq!(after, before);
        } else {
            assert!(after.job.lease_until > before.job.lease_until && after.progress > 0.4, "{after:?}");
            assert_eq!(after.job.due_at, after.job.lease_until);
        }
    }
    release(user).await;
    assert_eq!(backend.store.renew(&leases, LEASE_MS).await.unwrap().len(), 20);
    assert!(backend.row(ids[7]).await.progress > 0.4);
}

async fn locked_jobs_keep_no_other_from_success(backend: Backend) {
    let ids = jobs(&backend).await;
    let rows = backend.claim(&ids, 1).await;
    let locked = [7, 13];
    let user = lock(&backend, &locked.map(|index: usize| rows[index].id)).await;
    let mut all: Vec<Success> = rows.iter().map(success).collect();
    // One that is refused is the fault of its job alone, as ever.
    all[3].effect.push(effect(rows[3].id));
    let mut errors = Vec::new();
    for (index, result) in backend.store.finish(&all).await.into_iter().enumerate() {
        match result {
            Err(error) if locked.contains(&index) => errors.push(error),
            Err(error) => assert!(index == 3 && matches!(error, Error::Duplicate), "{error:?}"),
            Ok(finished) => assert!(finished && index != 3 && !locked.contains(&index), "{index}"),
        }
    }
    assert_eq!(errors.len(), 2);
    assert!(errors.iter().all(Error::is_transient) && errors[1].is_lock_wait_timeout(), "{errors:?}");
    for index in locked {
        assert_eq!(backend.row(rows[index].id).await, rows[index]);
        assert_eq!(backend.effects(rows[index].id).await, 0);
    }
    release(user).await;
    for finished in [true, false] {
        for index in locked {
            assert_eq!(backend.store.finish(&all[index..=index]).await.remove(0).unwrap(), finished);
        }
    }
    for (index, row) in rows.iter().enumerate() {
        assert_eq!(backend.effects(row.id).await, i64::from(index != 3));
    }
}

async fn a_locked_row_of_an_effect_keeps_no_other_from_success(backend: Backend) {
    backend.sql("CREATE TABLE counts (id INT PRIMARY KEY, n INT NOT NULL) ENGINE = InnoDB").await;
    backend.sql("INSERT INTO counts VALUES (1, 0)").await;
    let ids = jobs(&backend).await;
    let rows = backend.claim(&ids, 1).await;
    let mut all: Vec<Success> = rows.iter().map(success).collect();
    all[7].effect.push(Statement::new("UPDATE counts SET n = n + 1 WHERE id = 1"));
    let mut user = lock(&backend, &[]).await;
    raw_sql("SELECT n FROM counts WHERE id = 1 FOR UPDATE").execute(&mut user).await.unwrap();
    for (index, result) in backend.store.finish(&all).await.into_iter().enumerate() {
        match result {
            Ok(finished) => assert!(finished && index != 7),
            Err(error) => assert!(index == 7 && error.is_lock_wait_timeout(), "{error:?}"),
        }
    }
    release(user).await;
    assert!(backend.store.finish(&all[7..8]).await.remove(0).unwrap());
    assert_eq!(backend.number("SELECT n FROM counts").await, 1);
}
