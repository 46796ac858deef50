//! Keeps sending messages, and resumes exactly where it was served last.
//!
//! [`round_robin_session`] is the client of the protocol. This crate decides what to send and when,
//! and logs the answers.

mod config;
mod report;

use std::time::Duration;

use kit_process::readiness::Check;
use kit_process::{Shutdown, TaskFailed, Tasks};
use round_robin_core::types::ClientId;
use round_robin_session::{Answers, Client, Error, Session, Settings};
use tokio::time::{MissedTickBehavior, interval};

pub use round_robin_session::Metrics;

pub use crate::config::{Config, Template};
use crate::report::Reporter;

/// The dependencies of round-robin-client.
#[derive(Debug, Clone)]
pub struct Deps {
    /// Metrics, shared by all clients of the process.
    pub metrics: Metrics,
    /// The readiness check: passes while the client is connected.
    pub check: Check,
}

/// The service, ready to run.
#[derive(Debug)]
pub struct Service {
    config: Config,
    deps: Deps,
}

/// Builds the service. Has no side effects.
#[must_use]
pub const fn build(config: Config, deps: Deps) -> Service {
    Service { config, deps }
}

impl Service {
    /// Sends messages until `shutdown` drains, and then waits until those in flight are answered.
    ///
    /// # Errors
    /// A background task failed. That of the session ends when another client with the same name has
    /// taken over, or the server refuses this client.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), TaskFailed> {
        let Self { config, deps } = self;
        let session = round_robin_session::Config {
            server: config.server_url.clone(),
            client_id: config.client_id.clone(),
            settings: Settings::default(),
        };
        let (client, answers, session) = round_robin_session::connect(session, deps.metrics);
        let tasks = Tasks::new(&shutdown);
        tasks.spawn("readiness", follow(client.clone(), deps.check, shutdown.clone()));
        tasks.spawn("messages", send(config.clone(), client.clone(), shutdown.clone()));
        let answers = tasks.spawn("answers", report(config.clone(), answers, shutdown.clone()));
        let session = tasks.spawn("session", run(config.client_id, session));
        let finish = async {
            shutdown.draining().await;
            client.finish();
        };
        let answered = async {
            tokio::join!(session.ended(), finish);
            answers.ended().await;
        };
        tokio::select! {
            () = answered => {}
            // After a failure, the client does not wait: the next one continues where this one was
            // served last.
            () = shutdown.failed() => {}
        }
        tasks.finish()
    }
}

async fn run(client_id: ClientId, session: Session) {
    if let Err(error) = session.run().await {
        tracing::error!(%client_id, %error, "the client ends");
    }
}

/// Keeps `check` up to date.
async fn follow(client: Client, check: Check, shutdown: Shutdown) {
    while client.resume().await.is_ok() {
        check.set(true);
        client.disconnected().await;
        check.set(false);
    }
    // The task of the session tells why it ended.
    shutdown.draining().await;
}

/// Sends messages until `shutdown` drains.
async fn send(config: Config, client: Client, shutdown: Shutdown) {
    let sending = async {
        let pause = config.interval.0;
        let result = if pause.is_zero() { flood(&config, &client).await } else { pace(&config, &client, pause).await };
        if result.is_err() {
            // The task of the session tells why it ended.
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = sending => {}
        () = shutdown.draining() => {}
    }
}

/// Sends a message in each `pause`, as long as the server stores them. An outage leaves no backlog.
async fn pace(config: &Config, client: &Client, pause: Duration) -> Result<(), Error> {
    let mut ticks = interval(pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        submit(config, client).await?.stored().await?;
    }
}

/// Sends as many messages as the window has room for.
async fn flood(config: &Config, client: &Client) -> Result<(), Error> {
    loop {
        drop(submit(config, client).await?);
    }
}

async fn submit(config: &Config, client: &Client) -> Result<round_robin_session::Pending, Error> {
    let (message, client_id) = (config.message.clone(), config.client_id.clone());
    client.submit(move |counter| message.render(&client_id, counter)).await
}

/// Logs the answers.
async fn report(config: Config, mut answers: Answers, shutdown: Shutdown) {
    let mut reporter = Reporter::new(config.client_id, config.interval.0.is_zero());
    reporter.run(&mut answers).await;
    // The task of the session tells why it ended.
    shutdown.draining().await;
}
