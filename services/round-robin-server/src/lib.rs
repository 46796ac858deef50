//! Replicas that take turns of one second, and keep every client's place.
//!
//! Each replica stores what clients send ([`intake`]), serves in its turns ([`serve`]), and tells
//! its clients what it or another replica served ([`answers`]). Replicas share nothing but the
//! database.

mod answers;
mod api;
mod config;
mod intake;
mod live;
mod metrics;
mod page;
mod retention;
mod serve;
mod socket;
mod statistics;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use kit_process::readiness::Check;
use kit_process::{Shutdown, StoreWatch, TaskFailed, Tasks};
use kit_web::http;
use round_robin_store::RoundRobinStore;
use tokio::net::TcpListener;

use crate::answers::{Answers, watch};
use crate::intake::{Acknowledgements, Intake};
use crate::live::Live;
use crate::serve::{Serving, Waker};
use crate::socket::Sockets;

pub use crate::config::Config;
pub use crate::metrics::Metrics;

/// Time for the last commits after the last request.
const LAST_COMMITS: Duration = Duration::from_secs(3);

/// The dependencies of round-robin-server.
pub struct Deps {
    /// The store for requests.
    pub store: Arc<dyn RoundRobinStore>,
    /// The same store on connections of its own, for turns and answers: requests that wait for a
    /// connection never hold up a turn.
    pub turns: Arc<dyn RoundRobinStore>,
    /// Readiness check: passes while the database answers.
    pub check: Check,
    /// Metrics of round-robin-server.
    pub metrics: Metrics,
}

/// The service, ready to run.
pub struct Service {
    config: Config,
    deps: Deps,
    state: api::State,
    waker: Waker,
    workers: Workers,
}

/// The tasks that serve the handles of the state.
struct Workers {
    intake: intake::Worker,
    acknowledgements: intake::AcknowledgementWorker,
    snapshots: live::Reader<live::Snapshot>,
}

/// Builds the service. Nothing happens until it [runs](Service::run).
#[must_use]
pub fn build(config: Config, deps: Deps) -> Service {
    let (answers, waker, metrics) = (Answers::default(), Waker::default(), deps.metrics.clone());
    let (intake, intake_worker) = Intake::new(deps.store.clone(), waker.clone(), metrics.clone());
    let (acknowledgements, acknowledgement_worker) = Acknowledgements::new(deps.store.clone(), metrics.clone());
    let (live, snapshots) = Live::new(live::SETTINGS);
    let sockets = Sockets {
        store: deps.store.clone(),
        intake: intake.clone(),
        acknowledgements,
        answers: answers.clone(),
        metrics: metrics.clone(),
        hello_timeout: config.limits.header_timeout.0,
        open: Arc::default(),
    };
    let state = api::State {
        store: deps.store.clone(),
        intake,
        answers,
        sockets,
        live,
        quantum: config.quantum,
        answer_within: config.answer_within,
        shutdown: Shutdown::new(),
        metrics,
    };
    let workers = Workers { intake: intake_worker, acknowledgements: acknowledgement_worker, snapshots };
    Service { config, deps, state, waker, workers }
}

impl Service {
    /// All routes. Most of them answer once the service runs.
    pub fn router(&self) -> Router {
        let routes = api::routes(self.state.clone());
        http::harden(routes, &self.config.limits, Some(&self.deps.metrics.requests))
    }

    /// Answers requests and takes turns until `shutdown` drains. Then finishes the requests in
    /// progress, and serves to the end of the current turn.
    ///
    /// # Errors
    /// A background task failed.
    pub async fn run(self, listener: TcpListener, shutdown: Shutdown) -> Result<(), TaskFailed> {
        let router = self.router();
        let tasks = Tasks::new(&shutdown);
        let Self { config, deps, state, waker, workers } = self;
        let turns = tasks.spawn("turns", serving(&config, &deps, &state, waker).run(shutdown.clone()));
        let (store, metrics) = (&deps.store, &deps.metrics);
        tasks.spawn("answers", watch::run(state.answers.clone(), deps.turns.clone(), metrics.clone()));
        tasks.spawn("statistics", statistics::run(store.clone(), metrics.clone()));
        let source = live::Turns { store: store.clone(), quantum: config.quantum };
        tasks.spawn("snapshots", workers.snapshots.run(source, shutdown.clone()));
        if let Some(retention) = config.retention {
            tasks.spawn("retention", retention::run(store.clone(), retention, metrics.clone()));
        }
        let intake = tasks.spawn("intake", workers.intake.run());
        let acknowledgements = tasks.spawn("acknowledgements", workers.acknowledgements.run());
        let draining = state.shutdown.clone();
        drop(state);
        let drain = async {
            shutdown.draining().await;
            draining.drain();
        };
        tokio::join!(http::serve(listener, router, config.limits, shutdown.clone()), drain);
        // Requests and sockets have ended, so these tasks end when they have finished their work.
        tokio::select! {
            _ = async { tokio::join!(turns.ended(), intake.ended(), acknowledgements.ended()) } => {}
            () = tokio::time::sleep(last_work(&config)) => {}
            () = shutdown.aborted() => {}
        }
        tasks.finish()
    }
}

fn serving(config: &Config, deps: &Deps, state: &api::State, waker: Waker) -> Serving {
    Serving {
        store: deps.turns.clone(),
        quantum: config.quantum,
        name: config.name.as_str().into(),
        answers: state.answers.clone(),
        waker,
        watch: StoreWatch::new(deps.check.clone(), config.name.as_str()),
        metrics: deps.metrics.clone(),
    }
}

/// Time limit for the last turn and the last commits after the last request.
fn last_work(config: &Config) -> Duration {
    Duration::from_millis(config.quantum.as_millis().unsigned_abs()) + LAST_COMMITS
}
