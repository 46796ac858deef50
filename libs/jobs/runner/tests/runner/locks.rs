//! Sessions of users that hold row locks on MySQL, and tables that cannot be written: what one
//! job waits for holds up no other.

use jobs_core::State;
use jobs_runner::testing::{Harness, new_job};
use jobs_runner::{Backoff, Context, Done, Failure, Handler, Limits, Registry, Statement};
use kit_database::Options;
use kit_database::sqlx::{AssertSqlSafe, MySqlConnection, raw_sql};
use serde::Deserialize;
use serde_json::json;
use testkit::SqlBackend;
use tokio::sync::watch;
use uuid::Uuid;

/// How a job ends.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum End {
    /// With a row in the table `kept`.
    Keep,
    /// With a row in the table `missing`.
    Miss,
    Fail,
}

/// Jobs that end when the gate is open.
struct Gated(watch::Receiver<bool>);

impl Handler for Gated {
    const KIND: &'static str = "gated";
    type Payload = End;

    fn limits(&self) -> Limits {
        Limits { backoff: Backoff { initial_ms: 10, max_ms: 10 }, ..Limits::default() }
    }

    async fn run(&self, end: End, context: &Context) -> Result<Done, Failure> {
        context.set_progress(0.5);
        let mut gate = self.0.clone();
        gate.wait_for(|open| *open).await.map_err(|error| Failure::permanent(error.to_string()))?;
        let statement = match end {
            End::Keep => Statement::new("INSERT INTO kept (job_id) VALUES (?)"),
            End::Miss => Statement::new("INSERT INTO missing (job_id) VALUES (?)"),
            End::Fail => return Err(Failure::retry("broken")),
        };
        Ok(Done::new().effect(statement.bind(context.job())))
    }
}

struct Backend {
    harness: Harness,
    gate: watch::Sender<bool>,
    sql: SqlBackend,
}

impl Backend {
    async fn open(name: &str) -> Self {
        let sql = SqlBackend::mysql(name, Options::DEFAULT).await;
        sql.sql("CREATE TABLE kept (job_id BINARY(16) NOT NULL) ENGINE = InnoDB").await.unwrap();
        let (gate, opened) = watch::channel(false);
        let registry = Registry::new().with(Gated(opened));
        Self { harness: Harness::on(sql.database().clone(), registry).await, gate, sql }
    }

    async fn accept(&self, end: &str) -> Uuid {
        let job = new_job("gated", &json!(end), 1);
        self.harness.store().accept(std::slice::from_ref(&job)).await.unwrap();
        job.id
    }

    /// Jobs with an effect and jobs that fail, which are not published yet.
    async fn jobs(&self) -> Vec<Uuid> {
        let mut ids = Vec::new();
        for _ in 0..3 {
            ids.push(self.accept("keep").await);
            ids.push(self.accept("fail").await);
        }
        ids
    }

    async fn publish(&self, ids: &[Uuid]) {
        for id in ids {
            self.harness.publish(*id).await;
        }
    }

    async fn lock(&self, ids: &[Uuid]) -> MySqlConnection {
        let mut user = self.sql.on_server().unwrap().connect().await;
        raw_sql("BEGIN").execute(&mut user).await.unwrap();
        for id in ids {
            // A search for several ids may lock every row of a small table.
            let sql = format!("SELECT id FROM jobs WHERE id = X'{}' FOR UPDATE", id.simple());
            raw_sql(AssertSqlSafe(sql)).execute(&mut user).await.unwrap();
        }
        user
    }

    async fn state(&self, id: Uuid) -> State {
        self.harness.store().get(id).await.unwrap().unwrap().job.state
    }

    async fn running(&self, ids: &[Uuid]) {
        for id in ids {
            self.harness.until(*id, |row| row.job.state == State::Running).await;
        }
    }

    /// Waits until the jobs have ended as they should: after one attempt, with one effect.
    async fn ended(&self, ids: &[Uuid]) {
        for id in ids {
            let row = self.harness.ended(*id).await;
            let sql = format!("SELECT COUNT(*) FROM kept WHERE job_id = X'{}'", id.simple());
            let effects = self.sql.number(&sql).await;
            assert_eq!(
                (row.job.state, effects),
                match row.payload.as_str() {
                    r#""fail""# => (State::Failed, 0),
                    _ => (State::Succeeded, 1),
                }
            );
            assert_eq!(self.harness.store().attempts(*id).await.unwrap().len(), 1);
        }
    }

    /// Jobs that are published now run to their ends.
    async fn assert_works(&self) {
        let ids = self.jobs().await;
        self.publish(&ids).await;
        self.ended(&ids).await;
    }
}

async fn release(mut user: MySqlConnection) {
    raw_sql("ROLLBACK").execute(&mut user).await.unwrap();
}

#[tokio::test]
async fn locked_jobs_in_the_queue_start_when_the_locks_are_released() {
    let backend = Backend::open("locks_queued").await;
    backend.gate.send_replace(true);
    let ids = backend.jobs().await;
    let user = backend.lock(&ids[2..4]).await;
    backend.publish(&ids).await;
    backend.ended(&ids[..2]).await;
    backend.ended(&ids[4..]).await;
    backend.assert_works().await;
    for id in &ids[2..4] {
        assert_eq!(backend.state(*id).await, State::Queued);
    }
    release(user).await;
    backend.ended(&ids).await;
}

/// The queue gets the message of the locked job back.
#[tokio::test]
async fn a_locked_job_in_the_queue_does_not_keep_the_runner_from_stopping() {
    let mut backend = Backend::open("locks_stop").await;
    backend.gate.send_replace(true);
    let ids = backend.jobs().await;
    let user = backend.lock(&ids[2..3]).await;
    backend.publish(&ids).await;
    backend.ended(&ids[3..]).await;
    backend.harness.stop().await;
    assert_eq!(backend.state(ids[2]).await, State::Queued);
    release(user).await;
}

#[tokio::test]
async fn a_locked_lease_keeps_no_other_from_being_renewed() {
    let backend = Backend::open("locks_running").await;
    let ids = backend.jobs().await;
    backend.publish(&ids).await;
    backend.running(&ids).await;
    let user = backend.lock(&ids[2..3]).await;
    let locked = backend.harness.store().get(ids[2]).await.unwrap().unwrap();
    for id in ids.iter().filter(|id| **id != locked.id) {
        let before = backend.harness.store().get(*id).await.unwrap().unwrap().job.lease_until;
        backend.harness.until(*id, |row| row.job.lease_until > before).await;
    }
    assert_eq!(backend.harness.store().get(locked.id).await.unwrap().unwrap(), locked);
    release(user).await;
    backend.harness.until(locked.id, |row| row.job.lease_until > locked.job.lease_until).await;
    backend.gate.send_replace(true);
    backend.ended(&ids).await;
}

#[tokio::test]
async fn the_ends_of_locked_jobs_are_recorded_when_the_locks_are_released() {
    let backend = Backend::open("locks_ending").await;
    let ids = backend.jobs().await;
    backend.publish(&ids).await;
    backend.running(&ids).await;
    let user = backend.lock(&ids[2..4]).await;
    backend.gate.send_replace(true);
    backend.ended(&ids[..2]).await;
    backend.ended(&ids[4..]).await;
    backend.assert_works().await;
    for id in &ids[2..4] {
        assert_eq!(backend.state(*id).await, State::Running);
    }
    release(user).await;
    backend.ended(&ids).await;
}

/// A job whose effect needs a table that is missing holds up none that ends later.
#[tokio::test]
async fn an_effect_waits_for_its_table_by_itself() {
    let backend = Backend::open("locks_table").await;
    backend.gate.send_replace(true);
    let waiting = backend.accept("miss").await;
    backend.publish(&[waiting]).await;
    backend.running(&[waiting]).await;
    for _ in 0..3 {
        backend.assert_works().await;
    }
    assert_eq!(backend.state(waiting).await, State::Running);
    backend.sql.sql("CREATE TABLE missing (job_id BINARY(16) NOT NULL) ENGINE = InnoDB").await.unwrap();
    let row = backend.harness.ended(waiting).await;
    assert_eq!((row.job.state, row.job.attempt), (State::Succeeded, 1));
    assert_eq!(backend.sql.number("SELECT COUNT(*) FROM missing").await, 1);
}
