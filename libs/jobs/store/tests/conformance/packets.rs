//! Servers that take short packets only.

use jobs_core::{Event, State};
use jobs_store::{Accepted, JobEvent, NewJob, Success, apply};
use kit_database::Error;
use testkit::MariaDb;

use crate::backend::{Backend, claim, new_job, success, with_key};

fn long(bytes: usize) -> String {
    format!("{:?}", "x".repeat(bytes - 2))
}

/// Each of the jobs fits into a packet, and no three of them do.
#[tokio::test]
async fn batches_are_cut_to_what_the_server_takes() {
    let backend = Backend::on(MariaDb::small_packets().await, "batches").await;
    let jobs: Vec<NewJob> = (0..30)
        .map(|index| NewJob {
            payload: long(200_000),
            key: (index % 2 == 0).then(|| format!("key {index}")),
            callback_url: Some("http://example.com/".to_owned()),
            ..new_job()
        })
        .collect();
    let new: Vec<Accepted> = jobs.iter().map(|job| Accepted::New(job.id)).collect();
    for _ in 0..2 {
        assert_eq!(backend.store.accept(&jobs).await.unwrap(), new);
    }
    let ids: Vec<_> = jobs.iter().map(|job| job.id).collect();
    let rows = backend.store.claim(&ids, claim(1)).await.unwrap().jobs;
    assert_eq!(rows.len(), 30);
    assert!(rows.iter().all(|row| row.payload == jobs[0].payload));
    let successes: Vec<Success> = rows.iter().map(|row| Success { result: long(200_000), ..success(row) }).collect();
    for result in backend.store.finish(&successes).await {
        assert!(result.unwrap());
    }
    assert_eq!(backend.number("SELECT COUNT(*) FROM jobs WHERE state = 'succeeded'").await, 30);
    assert_eq!(backend.number("SELECT COUNT(*) FROM user_requests").await, 30);
    assert_eq!(backend.number("SELECT COUNT(*) FROM callbacks").await, 30);
}

/// Many jobs fail at once, each with a long error.
#[tokio::test]
async fn transitions_are_cut_to_what_the_server_takes() {
    let backend = Backend::on(MariaDb::small_packets().await, "transitions").await;
    let jobs: Vec<NewJob> = (0..200).map(|_| new_job()).collect();
    backend.store.accept(&jobs).await.unwrap();
    let ids: Vec<_> = jobs.iter().map(|job| job.id).collect();
    assert_eq!(backend.store.claim(&ids, claim(1)).await.unwrap().jobs.len(), 200);
    let fail = |id: &uuid::Uuid| JobEvent {
        error: Some("é".repeat(2000)),
        ..JobEvent::new(*id, Event::Fail { token: 1, delay_ms: 0, permanent: true })
    };
    let events: Vec<JobEvent> = ids.iter().map(fail).collect();
    let applied = apply(backend.store.as_ref(), &events).await.unwrap();
    assert!(applied.len() == 200 && applied.values().all(|applied| applied.snapshot.job.state == State::Failed));
    assert_eq!(backend.number("SELECT COUNT(*) FROM attempts WHERE CHAR_LENGTH(error) = 2000").await, 200);
}

#[tokio::test]
async fn what_never_fits_is_refused_and_holds_up_nothing_else() {
    let backend = Backend::on(MariaDb::small_packets().await, "never").await;
    let large = NewJob { payload: long(600_000), ..new_job() };
    let error = backend.store.accept(std::slice::from_ref(&large)).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }) && !error.is_transient(), "{error:?}");

    // All or none: together they are too large.
    let some: Vec<NewJob> =
        (0..6).map(|index| NewJob { payload: long(100_000), ..with_key(&index.to_string()) }).collect();
    let error = backend.store.accept_all(&some).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error:?}");
    assert_eq!(backend.number("SELECT COUNT(*) FROM jobs").await, 0);
    assert_eq!(backend.store.accept_all(&some[..4]).await.unwrap().unwrap().len(), 4);

    // One result of three is too large. The others are stored.
    let rows = [backend.running().await, backend.running().await, backend.running().await];
    let mut successes: Vec<Success> = rows.iter().map(success).collect();
    successes[1].result = long(600_000);
    let results = backend.store.finish(&successes).await;
    assert!(matches!(results[..], [Ok(true), Err(Error::TooLarge { .. }), Ok(true)]), "{results:?}");
    let fail = Event::Fail { token: 1, delay_ms: 0, permanent: true };
    let error = results[1].as_ref().unwrap_err().to_string();
    assert!(backend.apply_with_error(rows[1].id, fail, &error).await.unwrap().ended);
}
