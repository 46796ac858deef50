//! Writes that the database refuses: a bad row does not block the others.

use jobs_core::{Outcome, State};
use jobs_runner::testing::{Harness, new_job};
use jobs_runner::{Backoff, Context, Done, Failure, Handler, Limits, Registry};
use jobs_store::{JobRow, NewJob};
use kit_database::{Database, Options};
use serde::Deserialize;
use serde_json::{Value, json};
use testkit::{SqlBackend, on_every_backend};
use uuid::Uuid;

const UNSTORABLE: &str = "the database refused to store the reason of the failure; see the log of service-app";

const REFUSED_CLAIM: &str = "the database refused to start the job; see the log of service-app";

on_every_backend!(
    a_reason_that_a_constraint_refuses_is_replaced,
    a_reason_that_an_attempt_cannot_have_is_replaced,
    a_reason_that_is_too_long_is_replaced,
    a_reason_with_characters_that_do_not_fit_is_replaced,
    a_failure_that_cannot_wait_is_for_good,
    a_result_that_is_refused_is_the_fault_of_its_job,
    a_job_that_may_not_start_ends_with_a_reason,
    a_row_that_cannot_be_read_holds_up_no_other,
    a_callback_that_is_refused_holds_up_no_other,
    a_lease_that_is_refused_holds_up_no_other,
);

/// A database, and a runner that has the handler [`Obedient`].
struct Backend {
    harness: Harness,
    sql: SqlBackend,
}

/// What a job does.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Order {
    Succeed(Value),
    Fail(String),
    /// Sets the progress, and never ends.
    Hang(f64),
}

struct Obedient;

impl Handler for Obedient {
    const KIND: &'static str = "obedient";
    type Payload = Order;

    fn limits(&self) -> Limits {
        Limits { backoff: Backoff { initial_ms: 10, max_ms: 10 }, ..Limits::default() }
    }

    async fn run(&self, order: Order, context: &Context) -> Result<Done, Failure> {
        match order {
            Order::Succeed(result) => Done::new().result(result),
            Order::Fail(reason) => Err(Failure::retry(reason)),
            Order::Hang(progress) => {
                context.set_progress(progress);
                std::future::pending().await
            }
        }
    }
}

impl Backend {
    async fn sqlite(_: &str) -> Self {
        Self::open(SqlBackend::sqlite(Options::DEFAULT)).await
    }

    async fn mysql(name: &str) -> Self {
        Self::open(SqlBackend::mysql(&name[..30.min(name.len())], Options::DEFAULT).await).await
    }

    async fn hostile(name: &str) -> Self {
        Self::open(SqlBackend::hostile(&name[..30.min(name.len())], Options::DEFAULT).await).await
    }

    async fn open(sql: SqlBackend) -> Self {
        Self { harness: Harness::on(sql.database().clone(), Registry::new().with(Obedient)).await, sql }
    }

    /// Makes the database refuse to insert or update rows of `table` that meet `condition`.
    /// `condition` receives the prefix of column names.
    async fn refuse(&self, table: &str, condition: impl Fn(&str) -> String) {
        let statements = match self.sql.database() {
            Database::MySql(_) => {
                vec![format!(
                    "ALTER TABLE {table} ADD CONSTRAINT refused CHECK (NOT COALESCE({}, FALSE))",
                    condition("")
                )]
            }
            Database::Sqlite(_) => ["INSERT", "UPDATE"]
                .map(|change| {
                    format!(
                        "CREATE TRIGGER refuse_{change} BEFORE {change} ON {table} WHEN {} \
                         BEGIN SELECT RAISE(ABORT, 'refused'); END",
                        condition("NEW.")
                    )
                })
                .into(),
        };
        for statement in statements {
            self.sql.sql(&statement).await.unwrap();
        }
    }

    async fn accept(&self, job: &NewJob) -> Uuid {
        self.harness.store().accept(std::slice::from_ref(job)).await.unwrap();
        job.id
    }

    /// Accepts a job with one attempt, whose message is not published yet.
    async fn job(&self, payload: Value) -> Uuid {
        self.accept(&new_job("obedient", &payload, 1)).await
    }

    async fn run(&self, ids: &[Uuid]) {
        for id in ids {
            self.harness.publish(*id).await;
        }
    }

    /// Runs `bad` jobs among good ones, twice: a runner that a bad job blocks would not run the
    /// next ones. Checks that the good ones end as they should, and returns the bad ones.
    async fn among_others(&self, bad: impl AsyncFn() -> Uuid) -> Vec<Uuid> {
        let mut of_interest = Vec::new();
        for _ in 0..2 {
            let (mut ids, mut good, mut failing) = (Vec::new(), Vec::new(), Vec::new());
            for number in 0..4 {
                good.push(self.job(json!({ "succeed": number })).await);
                if number == 2 {
                    of_interest.push(bad().await);
                    ids.extend(of_interest.last());
                }
                failing.push(self.job(json!({ "fail": "broken" })).await);
            }
            ids.extend(good.iter().chain(&failing));
            ids.sort_unstable();
            self.run(&ids).await;
            for id in good {
                assert_eq!(self.harness.ended(id).await.job.state, State::Succeeded);
            }
            for id in failing {
                let row = self.harness.ended(id).await;
                assert_eq!((row.job.state, row.error.as_deref()), (State::Failed, Some("broken")));
            }
        }
        of_interest
    }

    /// Jobs that fail with `reason` fail with a reason that can be stored instead.
    async fn assert_replaced(&self, reason: &str) {
        for id in self.among_others(async || self.job(json!({ "fail": reason })).await).await {
            let row = self.harness.ended(id).await;
            assert_eq!((row.job.state, row.error.as_deref()), (State::Failed, Some(UNSTORABLE)));
            let attempts = self.harness.store().attempts(id).await.unwrap();
            assert_eq!((attempts.len(), attempts[0].error.as_deref()), (1, Some(UNSTORABLE)));
        }
        // The failure itself counts as it would have with its reason.
        let id = self.accept(&new_job("obedient", &json!({ "fail": reason }), 2)).await;
        self.run(&[id]).await;
        let row = self.harness.until(id, |row| row.job.state == State::RetryWait).await;
        assert_eq!((row.job.attempt, row.error.as_deref()), (1, Some(UNSTORABLE)));
    }

    async fn ended(&self, id: Uuid) -> JobRow {
        self.harness.ended(id).await
    }
}

async fn a_reason_that_a_constraint_refuses_is_replaced(backend: Backend) {
    backend.refuse("jobs", |new| format!("{new}error LIKE '%poison%'")).await;
    backend.assert_replaced("it is poison").await;
}

async fn a_reason_that_an_attempt_cannot_have_is_replaced(backend: Backend) {
    backend.refuse("attempts", |new| format!("{new}error LIKE '%poison%'")).await;
    backend.assert_replaced("it is poison").await;
}

/// SQLite has neither lengths nor character sets of columns.
async fn a_reason_that_is_too_long_is_replaced(backend: Backend) {
    match backend.sql.database() {
        Database::MySql(_) => backend.sql.sql("ALTER TABLE jobs MODIFY error VARCHAR(100) NULL").await.unwrap(),
        Database::Sqlite(_) => backend.refuse("jobs", |new| format!("LENGTH({new}error) > 100")).await,
    }
    backend.assert_replaced(&"long ".repeat(1000)).await;
}

async fn a_reason_with_characters_that_do_not_fit_is_replaced(backend: Backend) {
    match backend.sql.database() {
        Database::MySql(_) => {
            for table in ["jobs", "attempts"] {
                let sql = format!("ALTER TABLE {table} MODIFY error TEXT CHARACTER SET latin1 NULL");
                backend.sql.sql(&sql).await.unwrap();
            }
        }
        Database::Sqlite(_) => backend.refuse("jobs", |new| format!("{new}error LIKE '%日本%'")).await,
    }
    backend.assert_replaced("the server said 日本 😀").await;
}

async fn a_failure_that_cannot_wait_is_for_good(backend: Backend) {
    backend.refuse("jobs", |new| format!("{new}state = 'retry_wait' AND {new}payload LIKE '%poison%'")).await;
    let poison = async || backend.accept(&new_job("obedient", &json!({ "fail": "poison" }), 5)).await;
    for id in backend.among_others(poison).await {
        let row = backend.ended(id).await;
        assert_eq!((row.job.state, row.error.as_deref()), (State::Failed, Some(UNSTORABLE)));
    }
}

async fn a_result_that_is_refused_is_the_fault_of_its_job(backend: Backend) {
    backend.refuse("jobs", |new| format!("{new}result LIKE '%poison%'")).await;
    for id in backend.among_others(async || backend.job(json!({ "succeed": "poison" })).await).await {
        let row = backend.ended(id).await;
        let reason = row.error.as_deref().unwrap_or_default();
        assert!(row.job.state == State::Failed && reason.starts_with("the database refused the effect: "), "{row:?}");
    }
}

async fn a_job_that_may_not_start_ends_with_a_reason(backend: Backend) {
    backend.refuse("jobs", |new| format!("{new}state = 'running' AND {new}payload LIKE '%poison%'")).await;
    for id in backend.among_others(async || backend.job(json!({ "succeed": "poison" })).await).await {
        let row = backend.ended(id).await;
        assert_eq!((row.job.state, row.error.as_deref()), (State::Failed, Some(REFUSED_CLAIM)));
        let attempts = backend.harness.store().attempts(id).await.unwrap();
        assert_eq!((attempts.len(), attempts[0].outcome), (1, Outcome::Undeliverable));
    }
}

/// The claim commits, but its answer cannot be read, however often the runner repeats it.
async fn a_row_that_cannot_be_read_holds_up_no_other(backend: Backend) {
    let unreadable = async || {
        let id = backend.job(json!({ "succeed": 0 })).await;
        let sql = format!("UPDATE jobs SET priority = 'urgent' WHERE id = X'{}'", id.simple());
        backend.sql.sql(&sql).await.unwrap();
        id
    };
    for id in backend.among_others(unreadable).await {
        let sql = format!("SELECT COUNT(*) FROM jobs WHERE state = 'running' AND id = X'{}'", id.simple());
        assert_eq!(backend.sql.number(&sql).await, 1, "its lease runs out");
    }
}

/// A job whose end cannot be stored at all keeps its state until its lease expires.
async fn a_callback_that_is_refused_holds_up_no_other(mut backend: Backend) {
    backend.refuse("callbacks", |new| format!("{new}url LIKE '%poison%'")).await;
    let poison = async || {
        let callback_url = Some("http://example.com/poison".to_owned());
        backend.accept(&NewJob { callback_url, ..new_job("obedient", &json!({ "succeed": 1 }), 1) }).await
    };
    let refused = backend.among_others(poison).await;
    backend.harness.stop().await;
    for id in refused {
        let row = backend.harness.store().get(id).await.unwrap().unwrap();
        assert_eq!((row.job.state, row.job.lease_until.is_some()), (State::Running, true));
    }
}

async fn a_lease_that_is_refused_holds_up_no_other(backend: Backend) {
    backend.refuse("jobs", |new| format!("{new}progress > 0.7")).await;
    let mut ids = Vec::new();
    for progress in [0.1, 0.8, 0.2, 0.9, 0.3] {
        ids.push(backend.job(json!({ "hang": progress })).await);
    }
    backend.run(&ids).await;
    for id in [ids[0], ids[2], ids[4]] {
        backend.harness.until(id, |row| row.progress > 0.05).await;
    }
}
