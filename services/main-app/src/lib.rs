//! Accepts jobs; shows what becomes of them.

mod accept;
mod api;
mod backlog;
mod dead;
mod live;
mod metrics;
mod outbox;
mod page;
mod stats;
mod sweep;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use clap::Args;
use jobs_queue::Dispatch;
use jobs_store::JobsStore;
use kit_http_client::Allowlist;
use kit_process::readiness::Check;
use kit_process::{HumanDuration, Shutdown};
use kit_web::http::{self, Limits, Routes};
use tokio::net::TcpListener;

use crate::accept::Acceptor;
use crate::backlog::Backlog;
use crate::live::Live;
pub use crate::metrics::Metrics;
use crate::outbox::Outbox;
use crate::stats::Stats;

/// The settings of main-app.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// Address of the API and the page.
    #[arg(long, env = "LISTEN", default_value_t = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8003)))]
    pub listen: SocketAddr,

    /// The kinds of jobs that are accepted, with commas in between.
    #[arg(long, env = "KINDS", default_value = "user-request,http", value_delimiter = ',')]
    pub kinds: Vec<String>,

    /// When so many jobs wait, no more are accepted.
    #[arg(long, env = "BACKLOG_LIMIT", default_value = "200000", value_parser = clap::value_parser!(u64).range(1..))]
    pub backlog_limit: u64,

    /// Hosts that callbacks may call, with commas in between; the same as of service-app.
    #[arg(long, env = "ALLOWED_HOSTS", default_value_t)]
    pub allowed_hosts: Allowlist,

    /// How long jobs that have ended are kept.
    #[arg(long, env = "RETENTION", default_value = "7days")]
    pub retention: HumanDuration,
}

/// What main-app works with.
pub struct Deps {
    /// Where the jobs are.
    pub store: Arc<dyn JobsStore>,
    /// How those who run them learn of them.
    pub dispatch: Arc<dyn Dispatch>,
    /// Set while the store answers.
    pub check: Check,
    /// What is counted.
    pub metrics: Metrics,
}

/// main-app, ready to run.
pub struct Service {
    state: api::State,
    config: Config,
    deps: Deps,
    acceptor: accept::Worker,
    outbox: outbox::Worker,
}

/// Puts main-app together. `shutdown` ends streams of events.
#[must_use]
pub fn build(config: Config, deps: Deps, shutdown: Shutdown) -> Service {
    let (outbox, outbox_worker) = Outbox::new();
    let (acceptor, acceptor_worker) = Acceptor::new(outbox.clone());
    let latest = Stats::default();
    let state = api::State {
        store: Arc::clone(&deps.store),
        acceptor,
        outbox,
        kinds: Arc::new(config.kinds.iter().cloned().collect::<BTreeSet<_>>()),
        allowed_hosts: Arc::new(config.allowed_hosts.clone()),
        backlog: Backlog::new(config.backlog_limit),
        live: Live::new(Arc::clone(&deps.store), latest.clone(), shutdown.clone()),
        stats: latest,
        metrics: deps.metrics.clone(),
        shutdown,
    };
    Service { state, config, deps, acceptor: acceptor_worker, outbox: outbox_worker }
}

impl Service {
    /// Everything that it answers.
    pub fn router(&self) -> Router {
        let router = api::router(self.state.clone()).merge(page::router(self.state.clone()));
        http::harden(Routes::from(router).compressed(), &Limits::default(), Some(&self.deps.metrics.requests))
    }

    /// Answers requests until `shutdown` drains; then finishes those under way, and
    /// publishes what they have left.
    pub async fn run(self, listener: TcpListener, shutdown: Shutdown) {
        let router = self.router();
        let Self { state, config, deps, acceptor, outbox } = self;
        let (store, dispatch, metrics) = (&deps.store, &deps.dispatch, &deps.metrics);
        let sweeper = sweep::run(Arc::clone(store), state.outbox.clone(), Arc::clone(dispatch), config.retention.0);
        let dead = dead::run(Arc::clone(store), Arc::clone(dispatch), metrics.clone());
        let looks = stats::run(
            state.stats.clone(),
            state.backlog.clone(),
            Arc::clone(store),
            Arc::clone(dispatch),
            metrics.clone(),
            deps.check.clone(),
        );
        let outbox = tokio::spawn(outbox.run(Arc::clone(store), Arc::clone(dispatch), metrics.clone()));
        let acceptor = tokio::spawn(acceptor.run(Arc::clone(store), metrics.clone()));
        let background = [tokio::spawn(sweeper), tokio::spawn(dead), tokio::spawn(looks)];
        drop(state);
        http::serve(listener, router, Limits::default(), shutdown.clone()).await;
        for task in background {
            task.abort();
        }
        // Nobody asks any more, so they end when they have done what was asked. What they
        // do not come to is left to the sweeper.
        tokio::select! {
            _ = async { tokio::join!(acceptor, outbox) } => {}
            () = tokio::time::sleep(std::time::Duration::from_secs(3)) => {}
            () = shutdown.aborted() => {}
        }
    }
}
