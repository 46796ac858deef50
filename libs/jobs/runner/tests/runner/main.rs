//! Jobs in the whole system, within one process.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod locks;
mod panics;
mod refusals;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use jobs_core::{Event, Outcome, State};
use jobs_queue::{InProcessOptions, InProcessQueue, JobQueue, Message};
use jobs_runner::testing::{Harness, config, new_job};
use jobs_runner::{Backoff, Context, Deps, Done, Failure, Handler, Limits, Metrics, Registry, Runner, Statement};
use jobs_store::{
    Change, Claim, Claimed, HeldLease, JobEvent, JobsStore, Lease, RunStore, Snapshots, Success, TransitionStore, apply,
};
use kit_database::Database;
use kit_process::prometheus_client::registry::Registry as Prometheus;
use kit_process::{Readiness, Shutdown};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Notify;
use uuid::Uuid;

/// The behaviour of a job.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Script {
    Effect,
    Fail,
    FailForGood,
    Panic,
    Hang,
    BusyForHours,
    RefusedEffect,
    TooMuch,
}

/// A handler that follows its script, and counts its runs.
#[derive(Clone, Default)]
struct Scripted {
    runs: Arc<AtomicU32>,
    go: Arc<Notify>,
}

impl Handler for Scripted {
    const KIND: &'static str = "scripted";
    type Payload = Script;

    fn limits(&self) -> Limits {
        Limits {
            backoff: Backoff { initial_ms: 10, max_ms: 10 },
            timeout: Duration::from_secs(20),
            ..Limits::default()
        }
    }

    async fn run(&self, script: Script, context: &Context) -> Result<Done, Failure> {
        self.runs.fetch_add(1, Ordering::Relaxed);
        let effect = Statement::new("INSERT INTO user_requests (job_id, user_id, data) VALUES (?, ?, ?)")
            .bind(context.job())
            .bind(None::<String>)
            .bind(context.attempt().to_string());
        match script {
            Script::Effect => Done::new().effect(effect).result(json!({"attempt": context.attempt()})),
            Script::Fail => Err(Failure::retry("it's broken")),
            Script::BusyForHours => Err(Failure::retry_after("busy", Duration::from_hours(2))),
            Script::FailForGood => Err(Failure::permanent("it's broken for good")),
            Script::Panic => panic!("on purpose"),
            Script::Hang => {
                context.set_progress(0.5);
                self.go.notified().await;
                Ok(Done::new().effect(effect))
            }
            Script::RefusedEffect => Ok(Done::new().effect(effect.clone()).effect(effect)),
            Script::TooMuch => Done::new().result("x".repeat(300_000)),
        }
    }
}

async fn start() -> (Harness, Scripted) {
    let handler = Scripted::default();
    (Harness::start(Registry::new().with(handler.clone())).await, handler)
}

async fn effects(harness: &Harness) -> i64 {
    let Database::Sqlite(pool) = harness.database() else { panic!("the harness is on SQLite") };
    let sql = "SELECT COUNT(*) FROM user_requests";
    kit_database::sqlx::query_scalar(sql).fetch_one(pool.reader()).await.unwrap()
}

/// Retries the job, as the sweeper does.
async fn sweep(harness: &Harness, id: Uuid) {
    harness.until(id, |row| row.job.state == State::RetryWait).await;
    let applied = apply(harness.store().as_ref(), &[JobEvent::new(id, Event::Retry)]).await.unwrap();
    assert!(applied[&id].effects.is_some());
    harness.publish(id).await;
}

#[tokio::test]
async fn an_effect_happens_once_however_often_its_message_comes() {
    let (harness, handler) = start().await;
    let id = harness.submit("scripted", &json!("effect"), 3).await;
    for _ in 0..20 {
        harness.publish(id).await;
    }
    let row = harness.ended(id).await;
    assert_eq!((row.job.state, row.result.as_deref()), (State::Succeeded, Some(r#"{"attempt":1}"#)));
    let other = harness.submit("scripted", &json!("effect"), 3).await;
    harness.ended(other).await;
    assert_eq!((effects(&harness).await, handler.runs.load(Ordering::Relaxed)), (2, 2));
}

#[tokio::test]
async fn failures_of_every_sort_are_written_down_and_tried_again() {
    let (harness, _) = start().await;
    for (script, reason) in [
        (json!("fail"), "it's broken"),
        (json!("panic"), "the handler panicked: on purpose"),
        (json!("refused_effect"), "the database refused the effect: a row with this key exists"),
    ] {
        let id = harness.submit("scripted", &script, 1).await;
        let row = harness.ended(id).await;
        assert_eq!((row.job.state, row.error.as_deref()), (State::Failed, Some(reason)));
        let id = harness.submit("scripted", &script, 5).await;
        sweep(&harness, id).await;
        let row = harness.until(id, |row| row.job.state == State::RetryWait && row.job.lease_token > 3).await;
        assert_eq!(row.job.attempt, 1, "retried by hand, it has all its attempts again");
    }
    for (payload, reason) in [
        (json!("fail_for_good"), "it's broken for good"),
        (json!("nonsense"), "the payload does not fit the kind: unknown variant `nonsense`"),
        (json!("too_much"), "the result has 300002 bytes, more than 262144"),
    ] {
        let id = harness.submit("scripted", &payload, 5).await;
        let row = harness.ended(id).await;
        assert!(row.error.as_deref().is_some_and(|error| error.starts_with(reason)), "{row:?}");
        assert_eq!(harness.store().attempts(id).await.unwrap().len(), 1, "it is not tried again");
    }
    let id = harness.submit("unheard-of", &json!({}), 1).await;
    assert_eq!(harness.ended(id).await.job.state, State::Failed);
    assert_eq!(effects(&harness).await, 0);
}

#[tokio::test]
async fn a_handler_that_asks_for_a_long_delay_gets_the_longest_one_of_its_kind() {
    let (harness, _) = start().await;
    let id = harness.submit("scripted", &json!("busy_for_hours"), 2).await;
    let row = harness.until(id, |row| row.job.state == State::RetryWait).await;
    let delay = row.job.run_at - harness.store().now().await.unwrap();
    assert!(delay <= 10, "{delay} ms");
}

#[tokio::test]
async fn a_cancelled_job_is_cut_off_and_its_progress_was_seen() {
    let (harness, _) = start().await;
    let id = harness.submit("scripted", &json!("hang"), 3).await;
    harness.until(id, |row| row.progress > 0.4).await;
    apply(harness.store().as_ref(), &[JobEvent::new(id, Event::Cancel)]).await.unwrap();
    let row = harness.ended(id).await;
    assert_eq!((row.job.state, effects(&harness).await), (State::Cancelled, 0));
}

#[tokio::test]
async fn a_job_that_was_given_to_another_worker_is_cut_off_and_has_no_effect() {
    let (harness, _) = start().await;
    let id = harness.submit("scripted", &json!("hang"), 3).await;
    let row = harness.until(id, |row| row.job.state == State::Running).await;
    // Like the sweeper after the lease has expired.
    let release = Event::Release { token: row.job.lease_token, delay_ms: 0 };
    apply(harness.store().as_ref(), &[JobEvent::new(id, release)]).await.unwrap();
    sweep(&harness, id).await;
    let again = harness.until(id, |row| row.job.state == State::Running).await;
    assert!(again.job.lease_token > row.job.lease_token);
    assert_eq!(effects(&harness).await, 0);
}

#[tokio::test]
async fn at_the_end_jobs_that_run_are_given_back_and_their_attempt_does_not_count() {
    let (mut harness, _) = start().await;
    let id = harness.submit("scripted", &json!("hang"), 1).await;
    harness.until(id, |row| row.job.state == State::Running).await;
    harness.stop().await;
    let store = harness.store();
    let row = store.get(id).await.unwrap().unwrap();
    assert_eq!((row.job.state, row.job.attempt), (State::RetryWait, 0));
    assert_eq!(store.attempts(id).await.unwrap()[0].outcome, Outcome::Released);
}

/// A slow handler that runs one job at a time.
struct Narrow(Scripted);

impl Handler for Narrow {
    const KIND: &'static str = "narrow";
    type Payload = Script;

    fn limits(&self) -> Limits {
        Limits { concurrency: Some(1), ..self.0.limits() }
    }

    async fn run(&self, script: Script, context: &Context) -> Result<Done, Failure> {
        self.0.run(script, context).await
    }
}

#[tokio::test]
async fn a_kind_at_its_limit_blocks_no_other_kind() {
    let handler = Scripted::default();
    let harness = Harness::start(Registry::new().with(handler.clone()).with(Narrow(handler.clone()))).await;
    let mut narrow = Vec::new();
    // More jobs than the process runs at once.
    for _ in 0..40 {
        narrow.push(harness.submit("narrow", &json!("hang"), 1).await);
    }
    let other = harness.submit("scripted", &json!("effect"), 1).await;
    assert_eq!(harness.ended(other).await.job.state, State::Succeeded);
    let mut running = 0;
    for id in narrow {
        let row = harness.store().get(id).await.unwrap().unwrap();
        running += u32::from(row.progress > 0.4);
        assert!(!row.job.state.is_terminal());
    }
    assert!(running <= 1, "{running} run at once");
}

/// A store that holds back the answers to claims.
struct LateAnswers {
    store: Arc<dyn JobsStore>,
    claimed: Notify,
    answer: Notify,
}

#[async_trait]
impl TransitionStore for LateAnswers {
    async fn snapshot(&self, ids: &[Uuid]) -> jobs_store::Result<Snapshots> {
        self.store.snapshot(ids).await
    }

    async fn update(&self, changes: &[Change]) -> jobs_store::Result<Vec<bool>> {
        self.store.update(changes).await
    }
}

#[async_trait]
impl RunStore for LateAnswers {
    async fn ping(&self) -> jobs_store::Result<()> {
        self.store.ping().await
    }

    async fn claim(&self, ids: &[Uuid], claim: Claim<'_>) -> jobs_store::Result<Claimed> {
        let claimed = self.store.claim(ids, claim).await;
        self.claimed.notify_one();
        self.answer.notified().await;
        claimed
    }

    async fn renew(&self, leases: &[Lease], lease_ms: i64) -> jobs_store::Result<Vec<HeldLease>> {
        self.store.renew(leases, lease_ms).await
    }

    async fn finish(&self, successes: &[Success]) -> Vec<jobs_store::Result<bool>> {
        self.store.finish(successes).await
    }
}

#[tokio::test]
async fn jobs_whose_claim_is_in_flight_at_the_end_are_released() {
    let harness = Harness::start(Registry::new()).await;
    let job = new_job("scripted", &json!("hang"), 1);
    harness.store().accept(std::slice::from_ref(&job)).await.unwrap();
    let store = LateAnswers { store: Arc::clone(harness.store()), claimed: Notify::new(), answer: Notify::new() };
    let (store, shutdown) = (Arc::new(store), Shutdown::new());
    // A separate queue, so that the runner of the harness does not receive the job.
    let queue = Arc::new(InProcessQueue::new(InProcessOptions::default()));
    let message = Message { job: job.id, priority: job.priority, traceparent: None };
    queue.publish(vec![message]).await.remove(0).unwrap();
    let deps = Deps {
        store: store.clone(),
        queue,
        registry: Registry::new().with(Scripted::default()),
        metrics: Metrics::register(&mut Prometheus::default()),
        check: Readiness::default().check("jobs"),
    };
    let runner = tokio::spawn(Runner::new(config(), deps).run(shutdown.clone()));
    store.claimed.notified().await;
    shutdown.drain();
    // The runner notices the drain before it receives the answer.
    tokio::task::yield_now().await;
    store.answer.notify_one();
    runner.await.unwrap().unwrap();
    let row = harness.store().get(job.id).await.unwrap().unwrap();
    assert_eq!((row.job.state, row.job.attempt), (State::RetryWait, 0));
}
