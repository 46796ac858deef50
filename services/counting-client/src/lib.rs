//! Counts the odd or the even numbers, together with another client.

mod api;
mod page;

use std::sync::Arc;

use axum::Router;
use clap::Args;
use kit_process::{Shutdown, TaskFailed, Tasks};
use kit_web::http::{self, Limits};
use kit_web::requests;
use tokio::net::TcpListener;

/// The configuration of counting-client.
#[derive(Debug, Clone, Args)]
#[group(id = "counting-client")]
pub struct Config {
    /// Limits of the listener.
    #[command(flatten)]
    pub limits: Limits,

    /// The text of the greeting.
    #[arg(long, env = "GREETING", default_value = "Hello")]
    pub greeting: String,
}

/// The dependencies of counting-client.
#[derive(Debug)]
pub struct Deps {
    /// The metrics of HTTP requests.
    pub requests: requests::Metrics,
}

/// The service, ready to run.
#[derive(Debug)]
pub struct Service {
    limits: Limits,
    state: State,
    requests: requests::Metrics,
}

/// The state that handlers share.
#[derive(Debug, Clone)]
struct State {
    greeting: Arc<str>,
}

/// Builds the service. Has no side effects.
#[must_use]
pub fn build(config: Config, deps: Deps) -> Service {
    let state = State { greeting: config.greeting.into() };
    Service { limits: config.limits, state, requests: deps.requests }
}

impl Service {
    /// All routes, with the middleware of every public listener.
    pub fn router(&self) -> Router {
        let router = api::router(self.state.clone()).merge(page::router(self.state.clone()));
        http::harden(router.layer(http::compression()), &self.limits, Some(&self.requests))
    }

    /// Serves requests until `shutdown` drains, then finishes those in flight.
    ///
    /// # Errors
    /// A background task failed.
    pub async fn run(self, listener: TcpListener, shutdown: Shutdown) -> Result<(), TaskFailed> {
        // Background tasks are started here, by `tasks.spawn(name, task)`.
        let tasks = Tasks::new(&shutdown);
        http::serve(listener, self.router(), self.limits, shutdown).await;
        tasks.finish()
    }
}
