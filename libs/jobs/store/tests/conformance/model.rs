//! Random requests in random order: every backend behaves like [`jobs_core::tables`].

use std::collections::BTreeMap;

use jobs_core::tables::{NewJob as ModelJob, Tables};
use jobs_core::{Event, State};
use jobs_store::{Accepted, Lease, NewJob};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use uuid::Uuid;

use crate::backend::{Backend, claim, new_job, success};
use crate::on_every_backend;

on_every_backend!(random_requests);

/// Times differ by whole seconds, so that a slow test changes nothing.
const SECOND: i64 = 1_000_000;

#[derive(Debug, Clone)]
enum Ask {
    Accept { key: Option<u8>, hash: u8, later: bool },
    AcceptAll(Vec<(Option<u8>, u8)>),
    Published(usize, i64),
    Claim(Vec<usize>),
    Renew(usize, i64),
    Finish(Vec<(usize, i64)>),
    Apply(usize, u8, i64, i64),
    Passes(i64),
}

fn asks() -> impl Strategy<Value = Vec<Ask>> {
    let job = 0_usize..6;
    let off = prop_oneof![5 => Just(0_i64), 1 => -1_i64..2];
    let one = prop_oneof![
        3 => (proptest::option::of(0_u8..3), 0_u8..2, any::<bool>())
            .prop_map(|(key, hash, later)| Ask::Accept { key, hash, later }),
        1 => vec((proptest::option::of(0_u8..3), 0_u8..2), 1..4).prop_map(Ask::AcceptAll),
        2 => (job.clone(), off.clone()).prop_map(|(job, off)| Ask::Published(job, off)),
        4 => vec(job.clone(), 1..4).prop_map(Ask::Claim),
        1 => (job.clone(), off.clone()).prop_map(|(job, off)| Ask::Renew(job, off)),
        2 => vec((job.clone(), off.clone()), 1..4).prop_map(Ask::Finish),
        6 => (job, 0_u8..9, off, 0_i64..3).prop_map(|(job, what, off, delay)| Ask::Apply(job, what, off, delay)),
        2 => (1_i64..3).prop_map(Ask::Passes),
    ];
    vec(one, 1..40)
}

/// The backend, and its expected content.
struct Run {
    backend: Backend,
    tables: Tables<Uuid>,
    ids: Vec<Uuid>,
    claims: i64,
}

async fn random_requests(backend: Backend) {
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    let now = backend.store.overview().await.unwrap().now;
    let mut run = Run { backend, tables: Tables { now, ..Tables::default() }, ids: Vec::new(), claims: 0 };
    for _ in 0..60 {
        let asks = asks().new_tree(&mut runner).expect("requests").current();
        run.clear().await;
        for (index, ask) in asks.iter().enumerate() {
            run.ask(ask).await;
            run.compare(&format!("after {:?}", &asks[..=index])).await;
        }
    }
}

impl Run {
    async fn clear(&mut self) {
        self.backend.sql("DELETE FROM jobs; DELETE FROM attempts; DELETE FROM user_requests").await;
        self.tables = Tables { now: self.tables.now, ..Tables::default() };
        self.ids.clear();
    }

    fn id(&self, index: usize) -> Uuid {
        self.ids.get(index % self.ids.len().max(1)).copied().unwrap_or_default()
    }

    fn token(&self, id: Uuid, off: i64) -> i64 {
        self.tables.jobs.get(&id).map_or(0, |row| row.job.lease_token) + off
    }

    async fn ask(&mut self, ask: &Ask) {
        match ask {
            Ask::Accept { key, hash, later } => self.accept(*key, *hash, *later).await,
            Ask::AcceptAll(jobs) => self.accept_all(jobs).await,
            Ask::Published(job, off) => {
                let id = self.id(*job);
                let token = self.token(id, *off);
                self.backend.store.mark_published(&[(id, token)]).await.unwrap();
                self.tables.apply(id, Event::Published { token });
            }
            Ask::Claim(jobs) => self.claim(jobs).await,
            Ask::Renew(job, off) => {
                let id = self.id(*job);
                let token = self.token(id, *off);
                let lease = Lease { id, token, progress: 0.5 };
                let held = self.backend.store.renew(&[lease], SECOND).await.unwrap();
                let expected = self.tables.apply(id, Event::Renew { token, lease_ms: SECOND });
                assert_eq!(held.len(), usize::from(expected.is_some()));
            }
            Ask::Finish(jobs) => self.finish(jobs).await,
            Ask::Apply(job, what, off, delay) => {
                let id = self.id(*job);
                let event = event(*what, self.token(id, *off), delay * SECOND);
                let effects = self.backend.apply(id, event).await;
                let due_at = self.tables.jobs.get(&id).map(|row| (row.job.state, row.job.due_at));
                assert_eq!(effects, self.tables.apply(id, event), "{event:?}");
                // `take_due` writes the new `due_at` of a queued job, not this event.
                if let (Event::Sweep { .. }, Some((State::Queued, due_at))) = (event, due_at)
                    && let Some(row) = self.tables.jobs.get_mut(&id)
                {
                    row.job.due_at = due_at;
                }
            }
            Ask::Passes(seconds) => {
                self.backend.pass(seconds * SECOND).await;
                self.tables.now += seconds * SECOND;
            }
        }
    }

    /// A job as requested, and as the model holds it.
    async fn job(&self, key: Option<u8>, hash: u8, later: bool) -> (NewJob, ModelJob<Uuid>) {
        let (key, request_hash) = (key.map(|key| key.to_string()), [hash; 32]);
        let now = self.backend.store.overview().await.unwrap().now;
        let off = if later { SECOND } else { -SECOND };
        let job = NewJob { key: key.clone(), request_hash, run_at: now + off, ..new_job() };
        let run_at = self.tables.now + off;
        let model = ModelJob { id: job.id, key, request_hash, max_attempts: job.max_attempts, run_at };
        (job, model)
    }

    async fn accept(&mut self, key: Option<u8>, hash: u8, later: bool) {
        let (job, model) = self.job(key, hash, later).await;
        let accepted = self.backend.store.accept(std::slice::from_ref(&job)).await.unwrap().remove(0);
        assert_eq!(accepted, self.tables.accept(model));
        self.remember(&[accepted]);
    }

    async fn accept_all(&mut self, asked: &[(Option<u8>, u8)]) {
        let (mut jobs, mut models) = (Vec::new(), Vec::new());
        for (key, hash) in asked {
            let (job, model) = self.job(*key, *hash, false).await;
            jobs.push(job);
            models.push(model);
        }
        let accepted = self.backend.store.accept_all(&jobs).await.unwrap();
        assert_eq!(accepted, self.tables.accept_all(models));
        self.remember(&accepted.unwrap_or_default());
    }

    fn remember(&mut self, accepted: &[Accepted]) {
        let new = |accepted: &Accepted| if let Accepted::New(id) = accepted { Some(*id) } else { None };
        self.ids.extend(accepted.iter().filter_map(new));
    }

    async fn claim(&mut self, jobs: &[usize]) {
        let ids: Vec<Uuid> = jobs.iter().map(|job| self.id(*job)).collect();
        self.claims += 1;
        let mut claimed: Vec<Uuid> = self
            .backend
            .store
            .claim(&ids, jobs_store::Claim { lease_ms: SECOND, ..claim(self.claims) })
            .await
            .unwrap()
            .jobs
            .iter()
            .map(|row| row.id)
            .collect();
        let mut expected = Vec::new();
        for id in ids {
            if self.tables.apply(id, Event::Claim { lease_ms: SECOND }).is_some() {
                expected.push(id);
            }
        }
        claimed.sort_unstable();
        expected.sort_unstable();
        assert_eq!(claimed, expected);
    }

    async fn finish(&mut self, jobs: &[(usize, i64)]) {
        let mut all = BTreeMap::new();
        for (job, off) in jobs {
            let id = self.id(*job);
            if let Some(row) = self.backend.store.get(id).await.unwrap() {
                all.insert(id, jobs_store::Success { token: self.token(id, *off), ..success(&row) });
            }
        }
        let all: Vec<_> = all.into_values().collect();
        let results = self.backend.store.finish(&all).await;
        for (success, result) in all.iter().zip(results) {
            let expected = self.tables.apply(success.id, Event::Succeed { token: success.token });
            assert_eq!(result.unwrap(), expected.is_some(), "{success:?}");
        }
    }

    async fn compare(&self, when: &str) {
        for (id, expected) in &self.tables.jobs {
            let row = self.backend.row(*id).await;
            let (job, model) = (&row.job, &expected.job);
            assert_eq!(
                (job.state, job.attempt, job.lease_token, job.published, job.cancel_requested),
                (model.state, model.attempt, model.lease_token, model.published, model.cancel_requested),
                "{when}"
            );
            // The clocks differ by at most the duration of the test, and times here by
            // far more.
            let relative = |at: Option<i64>, now: i64| at.map(|at| (at - now + SECOND / 2).div_euclid(SECOND));
            let now = self.backend.store.overview().await.unwrap().now;
            let times = |job: &jobs_core::Job, now| (relative(job.due_at, now), relative(job.lease_until, now));
            assert_eq!(times(job, now), times(model, self.tables.now), "{when}");
            assert_eq!(self.backend.effects(*id).await, i64::from(expected.effects), "{when}");
            let attempts = self.backend.store.attempts(*id).await.unwrap();
            let outcomes: Vec<_> = attempts.iter().map(|attempt| attempt.outcome).collect();
            assert_eq!(outcomes, expected.attempts, "{when}");
            assert_eq!(row.ended_at.is_some(), job.state.is_terminal(), "{when}");
            assert_eq!(row.result.is_some(), job.state == State::Succeeded, "{when}");
        }
        let jobs = self.backend.number("SELECT COUNT(*) FROM jobs").await;
        assert_eq!(usize::try_from(jobs).unwrap(), self.tables.jobs.len(), "{when}");
    }
}

fn event(what: u8, token: i64, delay_ms: i64) -> Event {
    match what {
        0 => Event::Fail { token, delay_ms, permanent: false },
        1 => Event::Fail { token, delay_ms, permanent: true },
        2 => Event::Release { token, delay_ms },
        3 => Event::Sweep { delay_ms },
        4 => Event::DeadLettered { delay_ms },
        5 => Event::MessageLost,
        6 => Event::MessageEvicted { delay_ms },
        7 => Event::Cancel,
        _ => Event::Retry,
    }
}
