//! All systems use one database at the same time.

use jobs_core::Priority;
use jobs_store::{Accepted, Claim, NewJob, Statement, Success};
use kit_database::Database;
use round_robin_core::tables::{Accepted::Stored, Request};
use round_robin_core::turns::Quantum;
use round_robin_core::types::{ClientId, Range};
use round_robin_store::Registered;
use testkit::on_every_backend;
use values_core::assignment::Transfer;
use visits_store::{SqliteStore, VisitStore};

use crate::SYSTEMS;
use crate::backend::Backend;

on_every_backend!(all_systems_work_at_once);

/// Number of rounds of each system.
const ROUNDS: i64 = 20;

async fn all_systems_work_at_once(backend: Backend) {
    for system in SYSTEMS {
        backend.migrate(system).await;
    }
    let database = backend.0.database();
    tokio::join!(
        async { tokio::spawn(values(database.clone())).await.unwrap() },
        async { tokio::spawn(jobs(database.clone())).await.unwrap() },
        async { tokio::spawn(visits(database.clone())).await.unwrap() },
        async { tokio::spawn(round_robin(database.clone())).await.unwrap() },
    );
    assert_eq!(backend.0.number("SELECT COUNT(*) FROM user_requests").await, ROUNDS);
    assert_eq!(backend.0.number("SELECT COUNT(*) FROM `values`").await, ROUNDS);
    assert_eq!(backend.0.number("SELECT COUNT(*) FROM messages WHERE served_at IS NOT NULL").await, ROUNDS);
    assert_eq!(backend.0.number("SELECT COUNT(*) FROM jobs WHERE state = 'succeeded'").await, ROUNDS);
}

/// Ids are added, assigned by a manager and ticked by a worker.
async fn values(database: Database) {
    let store = values_store::open(&database);
    let worker = store.register("worker", u32::MAX).await.unwrap();
    for round in 1..=ROUNDS {
        assert_eq!(store.add_count(1).await.unwrap().unwrap(), [round]);
        // A manager may take its own lease again, with the next term.
        let term = store.campaign("manager").await.unwrap().won.unwrap();
        let transfer = Transfer { from: None, to: worker.incarnation, count: 1 };
        assert_eq!(store.assign(term, &[transfer]).await.unwrap(), Some(1));
        let tick = store.tick(worker).await.unwrap();
        assert!(tick.beat.alive && i64::try_from(tick.rows.len()).unwrap() == round, "{tick:?}");
    }
}

/// Jobs are accepted, claimed and finished, with an effect each.
async fn jobs(database: Database) {
    let store = jobs_store::open(&database);
    for number in 1..=ROUNDS {
        let id = uuid::Uuid::now_v7();
        let new = NewJob {
            id,
            key: Some(format!("key {number}")),
            request_hash: [0; 32],
            kind: "user-request".to_owned(),
            payload: "{}".to_owned(),
            priority: Priority::Default,
            max_attempts: 1,
            run_at: 0,
            traceparent: None,
            callback_url: None,
        };
        assert_eq!(store.accept(&[new]).await.unwrap(), [Accepted::New(id)]);
        let claimed =
            store.claim(&[id], Claim { id: number, worker: "a worker", lease_ms: 60_000 }).await.unwrap().jobs;
        let success = Success {
            id,
            token: claimed[0].job.lease_token,
            attempt: claimed[0].job.attempt,
            worker: "a worker".to_owned(),
            started_at: claimed[0].started_at,
            result: "{}".to_owned(),
            effect: vec![Statement::new("INSERT INTO user_requests (job_id, data) VALUES (?, ?)").bind(id).bind("{}")],
            has_callback: false,
        };
        assert!(store.finish(&[success]).await.remove(0).unwrap());
    }
}

/// Messages are stored, and served by the only replica.
async fn round_robin(database: Database) {
    let store = round_robin_store::open(&database, Quantum::SECOND);
    let Registered::As(replica) = store.register("a replica").await.unwrap() else { panic!("no other is there") };
    let client = ClientId::try_from("a client".to_owned()).unwrap();
    for counter in 1..=ROUNDS {
        let message = format!("message {counter}");
        let accepted =
            store.accept(&[Request { client: client.clone(), counter, message, epoch: None }]).await.unwrap();
        assert!(matches!(accepted[..], [Stored(_)]), "{accepted:?}");
        let range = Range { client: client.clone(), first: counter, last: counter };
        // A turn may end between the two commands.
        loop {
            let beat = store.beat(replica).await.unwrap();
            assert_eq!(beat.serves, Some(replica));
            if store.serve(replica, beat.turn, std::slice::from_ref(&range), (None, 1)).await.unwrap().is_some() {
                break;
            }
        }
    }
}

/// Visits are counted, on SQLite only, since Redis counts them otherwise.
async fn visits(database: Database) {
    let Database::Sqlite(pool) = database else { return };
    let store = SqliteStore::new(pool, "counter");
    for round in 1..=ROUNDS {
        assert_eq!(store.add(1, std::time::Duration::from_secs(20)).await.unwrap().total, round);
    }
    assert_eq!(store.read(std::time::Duration::from_secs(20)).await.unwrap(), ROUNDS);
}
