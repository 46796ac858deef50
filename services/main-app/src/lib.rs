//! main-app: accepts jobs, publishes their messages, and shows jobs.

mod accept;
mod api;
mod backlog;
mod dead_letters;
mod history;
mod live;
mod metrics;
mod outbox;
mod page;
mod stats;
mod sweep;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use clap::Args;
use jobs_queue::JobQueue;
use jobs_store::JobsStore;
use kit_http_client::Allowlist;
use kit_process::readiness::Check;
use kit_process::{HumanDuration, Shutdown, StoreWatch, TaskFailed, Tasks};
use kit_web::http::{self, Limits};
use kit_web::live::Settings;
use tokio::net::TcpListener;

use crate::accept::Acceptor;
use crate::backlog::Backlog;
use crate::live::Live;
pub use crate::metrics::Metrics;
use crate::outbox::Outbox;
use crate::stats::Stats;

/// Time limit for accepting and publishing after the last request.
const LAST_WORK: Duration = Duration::from_secs(3);

/// Settings of main-app.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// Limits of the listener.
    #[command(flatten)]
    pub limits: Limits,

    /// Kinds of jobs to accept, separated by commas.
    #[arg(long, env = "KINDS", default_value = "user-request,http", value_delimiter = ',', value_parser = kind)]
    pub kinds: Vec<String>,

    /// Number of waiting jobs from which on no more are accepted.
    #[arg(long, env = "BACKLOG_LIMIT", default_value = "200000", value_parser = clap::value_parser!(u64).range(1..))]
    pub backlog_limit: u64,

    /// Hosts that jobs and callbacks may call, separated by commas; must equal the setting of service-app.
    #[arg(long, env = "ALLOWED_HOSTS", default_value_t)]
    pub allowed_hosts: Allowlist,

    /// Time after which jobs that have ended are deleted.
    #[arg(long, env = "RETENTION", default_value = "7days")]
    pub retention: HumanDuration,
}

/// Reads a kind in a list that may have spaces after its commas.
fn kind(text: &str) -> Result<String, &'static str> {
    let kind = text.trim();
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    let is_kind = (1..=64).contains(&kind.len()) && kind.bytes().all(is_name);
    if is_kind { Ok(kind.to_owned()) } else { Err("a kind has 1 to 64 characters of a-z, 0-9, -, _ and .") }
}

/// Dependencies of main-app.
pub struct Deps {
    /// The store of the jobs.
    pub store: Arc<dyn JobsStore>,
    /// The queue that carries job ids to the workers.
    pub queue: Arc<dyn JobQueue>,
    /// Readiness check: passes while the database answers.
    pub check: Check,
    /// Metrics of main-app.
    pub metrics: Metrics,
}

/// main-app, ready to run.
pub struct Service {
    state: api::State,
    config: Config,
    deps: Deps,
    acceptor: accept::Worker,
    outbox: outbox::Worker,
    snapshots: live::Reader<live::Snapshot>,
}

/// Builds the service. Nothing happens until it [runs](Service::run).
#[must_use]
pub fn build(config: Config, deps: Deps) -> Service {
    let (outbox, outbox_worker) = Outbox::new(&deps.metrics);
    let (acceptor, acceptor_worker) = Acceptor::new(outbox.clone(), &deps.metrics);
    let (live, snapshots) = Live::new(Settings::DATABASE);
    let state = api::State {
        store: deps.store.clone(),
        transitions: deps.store.clone(),
        acceptor,
        outbox,
        kinds: Arc::new(config.kinds.iter().cloned().collect::<BTreeSet<_>>()),
        allowed_hosts: Arc::new(config.allowed_hosts.clone()),
        backlog: Backlog::new(config.backlog_limit),
        live,
        stats: Stats::default(),
        metrics: deps.metrics.clone(),
    };
    Service { state, config, deps, acceptor: acceptor_worker, outbox: outbox_worker, snapshots }
}

impl Service {
    /// All routes. Most of them answer once the service runs.
    pub fn router(&self) -> Router {
        let router = api::router(self.state.clone()).merge(page::router(self.state.clone()));
        http::harden(router, &self.config.limits, Some(&self.deps.metrics.requests))
    }

    /// Answers requests until `shutdown` drains, then finishes the requests in progress
    /// and publishes the remaining messages.
    ///
    /// # Errors
    /// A background task failed.
    pub async fn run(self, listener: TcpListener, shutdown: Shutdown) -> Result<(), TaskFailed> {
        let router = self.router();
        let Self { state, config, deps, acceptor, outbox, snapshots } = self;
        let (store, queue, metrics) = (&deps.store, &deps.queue, &deps.metrics);
        let tasks = Tasks::new(&shutdown);
        let (retention, own) = (config.retention.0, state.outbox.clone());
        let sweeper = tasks.spawn("sweeper", sweep::run(store.clone(), own, Arc::clone(queue), retention));
        tasks.spawn("dead letters", dead_letters::run(store.clone(), Arc::clone(queue), metrics.clone()));
        let statistics = stats::run(
            state.stats.clone(),
            state.backlog.clone(),
            store.clone(),
            Arc::clone(queue),
            metrics.clone(),
            StoreWatch::new(deps.check.clone(), "main-app"),
        );
        tasks.spawn("statistics", statistics);
        let jobs = live::Jobs { store: store.clone(), stats: state.stats.clone() };
        tasks.spawn("snapshots", snapshots.run(jobs, shutdown.clone()));
        let outbox = tasks.spawn("outbox", outbox.run(store.clone(), Arc::clone(queue), metrics.clone()));
        let acceptor = tasks.spawn("acceptor", acceptor.run(store.clone(), metrics.clone()));
        drop(state);
        http::serve(listener, router, config.limits, shutdown.clone()).await;
        // Requests and the sweeper have ended, so these tasks end when they have finished
        // their work. The sweeper of another process does the rest.
        sweeper.abort();
        tokio::select! {
            _ = async { tokio::join!(acceptor.ended(), outbox.ended()) } => {}
            () = tokio::time::sleep(LAST_WORK) => {}
            () = shutdown.aborted() => {}
        }
        tasks.finish()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        config: Config,
    }

    #[test]
    fn the_kinds_may_have_spaces_between_them_and_have_names() {
        let kinds = |text: &str| Cli::try_parse_from(["main-app", "--kinds", text]).map(|cli| cli.config.kinds);
        for text in ["user-request,http", "user-request, http", " user-request ,\thttp "] {
            assert_eq!(kinds(text).unwrap(), ["user-request", "http"], "{text:?}");
        }
        for text in ["http,,", " ", "HTTP", "a b", "é"] {
            assert!(kinds(text).is_err(), "{text:?}");
        }
    }
}
