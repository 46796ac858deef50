//! Claims, leases and effects.

use jobs_core::{Event, Outcome, State};
use jobs_store::{Lease, Parameter, Statement, Success};
use kit_database::Error;
use uuid::Uuid;

use crate::backend::{Backend, LEASE_MS, effect, success};
use crate::on_every_backend;

on_every_backend!(
    a_job_is_claimed_once,
    a_repeated_claim_finds_the_same_jobs,
    concurrent_workers_never_claim_the_same_job,
    a_lease_is_renewed_while_it_is_held,
    effect_and_success_are_one,
    a_stale_worker_has_no_effect,
    one_that_is_stale_does_not_keep_others_from_success,
    an_effect_that_is_refused_is_the_fault_of_its_job_alone,
    a_table_that_is_not_there_concerns_its_jobs_alone,
    every_parameter_arrives,
    hundreds_at_once,
);

async fn a_job_is_claimed_once(backend: Backend) {
    let id = backend.job().await;
    let claimed = backend.claim(&[id, Uuid::now_v7(), id], 1).await;
    assert_eq!(claimed.len(), 1);
    let row = &claimed[0];
    assert_eq!(*row, backend.row(id).await);
    assert_eq!((row.job.state, row.job.attempt, row.job.lease_token), (State::Running, 1, 1));
    assert_eq!(row.job.lease_until, row.started_at.map(|at| at + LEASE_MS));
    assert_eq!((row.job.due_at, row.worker.as_deref()), (row.job.lease_until, Some("a worker")));
    assert_eq!(backend.claim(&[id], 2).await, []);
    assert_eq!(backend.claim(&[], 3).await, []);
}

async fn a_repeated_claim_finds_the_same_jobs(backend: Backend) {
    let id = backend.job().await;
    let first = backend.claim(&[id], 5).await;
    assert_eq!(backend.claim(&[id], 5).await, first);
}

async fn concurrent_workers_never_claim_the_same_job(backend: Backend) {
    let mut ids = Vec::new();
    for _ in 0..40 {
        ids.push(backend.job().await);
    }
    let workers: Vec<_> = (1..=6)
        .map(|number| {
            let (store, mut ids) = (backend.store.clone(), ids.clone());
            ids.rotate_left(number);
            let claim = crate::backend::claim(i64::try_from(number).unwrap());
            tokio::spawn(async move {
                let mut claimed = Vec::new();
                for ids in ids.chunks(7) {
                    claimed.extend(store.claim(ids, claim).await.unwrap().jobs.iter().map(|row| row.id));
                }
                claimed
            })
        })
        .collect();
    let mut claimed = Vec::new();
    for worker in workers {
        claimed.extend(worker.await.unwrap());
    }
    claimed.sort_unstable();
    ids.sort_unstable();
    assert_eq!(claimed, ids);
}

async fn a_lease_is_renewed_while_it_is_held(backend: Backend) {
    let (one, other, third) = (backend.running().await, backend.running().await, backend.running().await);
    backend.pass(1000).await;
    backend.apply(other.id, Event::Cancel).await;
    backend.apply(third.id, Event::Release { token: 1, delay_ms: 0 }).await;
    let lease = |id, progress| Lease { id, token: 1, progress };
    let leases = [lease(one.id, 0.25), lease(other.id, f64::NAN), lease(third.id, 1.0), lease(Uuid::now_v7(), 0.0)];
    let mut held = backend.store.renew(&leases, LEASE_MS).await.unwrap();
    held.sort_unstable_by_key(|held| held.id);
    let held: Vec<_> = held.into_iter().map(|held| (held.id, held.token, held.cancel_requested)).collect();
    assert_eq!(held, [(one.id, 1, false), (other.id, 1, true)]);
    let row = backend.row(one.id).await;
    assert!(row.job.lease_until > one.job.lease_until.map(|until| until - 1000));
    assert_eq!((row.job.due_at, row.progress.to_bits()), (row.job.lease_until, 0.25_f64.to_bits()));
    // A lease with another token is not renewed.
    let stale = Lease { token: 0, ..lease(one.id, 0.5) };
    assert_eq!(backend.store.renew(&[stale], LEASE_MS).await.unwrap(), []);
    assert_eq!(backend.row(one.id).await, row);
    assert_eq!(backend.store.renew(&[], LEASE_MS).await.unwrap(), []);
}

async fn finish(backend: &Backend, successes: &[Success]) -> Vec<Option<bool>> {
    backend.store.finish(successes).await.into_iter().map(Result::ok).collect()
}

async fn effect_and_success_are_one(backend: Backend) {
    let row = backend.running().await;
    assert_eq!(finish(&backend, &[success(&row)]).await, [Some(true)]);
    let after = backend.row(row.id).await;
    assert_eq!((after.job.state, after.job.lease_token, after.job.due_at), (State::Succeeded, 2, None));
    assert_eq!((after.result.as_deref(), after.progress.to_bits()), (Some(r#"{"said":"✓ '?'"}"#), 1.0_f64.to_bits()));
    assert!(after.ended_at >= row.started_at);
    assert_eq!(backend.effects(row.id).await, 1);
    let attempts = backend.store.attempts(row.id).await.unwrap();
    assert_eq!(attempts.len(), 1);
    assert_eq!((attempts[0].attempt, attempts[0].outcome), (1, Outcome::Succeeded));
    assert_eq!((attempts[0].started_at, attempts[0].worker.as_deref()), (row.started_at, Some("a worker")));
    // A worker repeats a request whose answer was lost.
    assert_eq!(finish(&backend, &[success(&row)]).await, [Some(false)]);
    assert_eq!((backend.effects(row.id).await, backend.row(row.id).await), (1, after));
    assert_eq!(finish(&backend, &[]).await, []);
}

async fn a_stale_worker_has_no_effect(backend: Backend) {
    let stale = backend.running().await;
    backend.pass(LEASE_MS + 1).await;
    backend.apply(stale.id, Event::Sweep { delay_ms: 0 }).await.expect("its lease has run out");
    backend.pass(1).await;
    backend.apply(stale.id, Event::Sweep { delay_ms: 0 }).await.expect("it is tried again");
    let heir = backend.claim(&[stale.id], 2).await.remove(0);
    let before = backend.row(stale.id).await;
    assert_eq!(finish(&backend, &[success(&stale)]).await, [Some(false)]);
    let fail = Event::Fail { token: stale.job.lease_token, delay_ms: 0, permanent: true };
    assert_eq!(backend.apply(stale.id, fail).await, None);
    assert_eq!((backend.effects(stale.id).await, backend.row(stale.id).await), (0, before));
    assert_eq!(finish(&backend, &[success(&heir)]).await, [Some(true)]);
    assert_eq!(backend.effects(stale.id).await, 1);
}

async fn one_that_is_stale_does_not_keep_others_from_success(backend: Backend) {
    let mut rows = Vec::new();
    for _ in 0..5 {
        rows.push(backend.running().await);
    }
    backend.apply(rows[2].id, Event::Release { token: 1, delay_ms: 0 }).await;
    let all: Vec<Success> = rows.iter().map(success).collect();
    let expected = [true, true, false, true, true];
    assert_eq!(finish(&backend, &all).await, expected.map(Some));
    for (row, expected) in rows.iter().zip(expected) {
        assert_eq!(backend.effects(row.id).await, i64::from(expected));
    }
}

async fn an_effect_that_is_refused_is_the_fault_of_its_job_alone(backend: Backend) {
    let (good, twice, wrong, unbound) =
        (backend.running().await, backend.running().await, backend.running().await, backend.running().await);
    let all = [
        success(&good),
        Success { effect: vec![effect(twice.id), effect(twice.id)], ..success(&twice) },
        Success { effect: vec![effect(wrong.id), Statement::new("INSERT INTO nowhere VALUES (1)")], ..success(&wrong) },
        Success { effect: vec![Statement::new("SELECT ?")], ..success(&unbound) },
    ];
    let results = backend.store.finish(&all).await;
    assert!(matches!(results[0], Ok(true)), "{results:?}");
    assert!(matches!(results[1], Err(Error::Duplicate)), "{results:?}");
    assert!(results[2].is_err() && matches!(results[3], Err(Error::Refused(_))), "{results:?}");
    for row in [&twice, &wrong, &unbound] {
        assert_eq!(backend.row(row.id).await, *row, "the job is unchanged");
        assert_eq!(backend.effects(row.id).await, 0);
    }
}

/// Each of two kinds of jobs writes to a table of its own, and one table is missing.
async fn a_table_that_is_not_there_concerns_its_jobs_alone(backend: Backend) {
    let mut all = Vec::new();
    for index in 0..6 {
        let row = backend.running().await;
        let nowhere = Statement::new("INSERT INTO nowhere VALUES (1)");
        let effect = if index % 2 == 0 { vec![nowhere] } else { vec![effect(row.id)] };
        all.push(Success { effect, ..success(&row) });
    }
    let results = backend.store.finish(&all).await;
    for (index, result) in results.iter().enumerate() {
        assert_eq!(result.is_ok(), index % 2 == 1, "{results:?}");
        assert!(!matches!(result, Err(Error::Timeout(_))), "{results:?}");
    }
}

async fn every_parameter_arrives(backend: Backend) {
    backend.sql("CREATE TABLE kept (id INTEGER, a BIGINT, b DOUBLE PRECISION, c BLOB, d BLOB, e TEXT)").await;
    let row = backend.running().await;
    let statement = Statement::new("INSERT INTO kept (id, a, b, c, d, e) VALUES (?, ?, ?, ?, ?, ?)")
        .bind(1)
        .bind(i64::MIN)
        .bind(-1.5e-7)
        .bind("'; DROP TABLE kept; -- ✓\\")
        .bind(vec![0_u8, 255, 39])
        .bind(Parameter::Null);
    let all = [Success { effect: vec![statement], ..success(&row) }];
    assert_eq!(finish(&backend, &all).await, [Some(true)]);
    let sql = "SELECT COUNT(*) FROM kept WHERE a = -9223372036854775807 - 1 AND b = -1.5e-7 \
               AND HEX(c) = '273B2044524F50205441424C45206B6570743B202D2D20E29C935C' AND d = X'00ff27' AND e IS NULL";
    assert_eq!(backend.number(sql).await, 1);
}

async fn hundreds_at_once(backend: Backend) {
    let jobs: Vec<_> = (0..450).map(|_| crate::backend::new_job()).collect();
    backend.store.accept(&jobs).await.unwrap();
    let ids: Vec<Uuid> = jobs.iter().map(|job| job.id).collect();
    backend.store.mark_published(&ids.iter().map(|id| (*id, 0)).collect::<Vec<_>>()).await.unwrap();
    let claimed = backend.claim(&ids, 1).await;
    assert_eq!(claimed.len(), 450);
    let leases: Vec<Lease> = ids.iter().map(|id| Lease { id: *id, token: 1, progress: 0.5 }).collect();
    assert_eq!(backend.store.renew(&leases, LEASE_MS).await.unwrap().len(), 450);
    let all: Vec<Success> = claimed.iter().map(success).collect();
    assert_eq!(finish(&backend, &all).await, vec![Some(true); 450]);
    assert_eq!(backend.number("SELECT COUNT(*) FROM user_requests").await, 450);
}
