//! Runs the state machine of a client on a connection.

use std::ops::ControlFlow;
use std::time::Duration;

use counting_socket_io::Address;
use kit_process::Shutdown;
use kit_process::readiness::Check;
use serde_json::Value;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::link::Link;
use crate::machine::{Effect, Input, Machine, Settings, Time};
use crate::report::Reporter;
use crate::{Config, Deps, events};

/// A client at work.
pub(crate) struct Driver {
    address: Address,
    credentials: Value,
    machine: Machine,
    reporter: Reporter,
    is_summary: bool,
    check: Check,
    link: Link,
    began: Instant,
}

impl Driver {
    pub(crate) fn new(config: &Config, address: Address, deps: Deps) -> Self {
        let (interval, until, role) = (config.interval.0, config.until, config.role);
        let settings = Settings { interval, until, role, ..Settings::default() };
        let is_summary = interval.is_zero();
        Self {
            address,
            credentials: events::credentials(role),
            machine: Machine::new(settings, fastrand::Rng::new()),
            reporter: Reporter::new(deps.metrics, is_summary),
            is_summary,
            check: deps.check,
            link: Link::Down,
            began: Instant::now(),
        }
    }

    /// Counts until everything is counted, or `shutdown` drains and what is in flight is
    /// acknowledged.
    pub(crate) async fn run(mut self, shutdown: &Shutdown) {
        let mut draining = std::pin::pin!(shutdown.draining());
        let mut is_finishing = false;
        let mut seconds = interval(Duration::from_secs(1));
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        seconds.reset();
        loop {
            while let Some(effect) = self.machine.next_effect() {
                if self.execute(effect).await.is_break() {
                    self.check.set(false);
                    return self.reporter.ended();
                }
            }
            self.reporter.set_in_flight(self.machine.in_flight());
            let Self { machine, link, began, reporter, is_summary, .. } = &mut self;
            let deadline = machine.deadline();
            tokio::select! {
                input = link.next() => {
                    if let Some(input) = input {
                        machine.input(began.elapsed(), input);
                    }
                }
                () = sleep_until(*began, deadline) => machine.tick(began.elapsed()),
                () = &mut draining, if !is_finishing => {
                    is_finishing = true;
                    machine.input(began.elapsed(), Input::Finish);
                }
                _ = seconds.tick(), if *is_summary => reporter.summarize(),
            }
        }
    }

    /// Executes an effect. Breaks if it is the last one.
    async fn execute(&mut self, effect: Effect) -> ControlFlow<()> {
        match effect {
            Effect::Connect => {
                self.reporter.connecting();
                self.link = Link::open(self.address.clone(), self.credentials.clone());
            }
            Effect::Send { id, role, number } => {
                self.reporter.sent();
                if let Err(error) = self.link.send(id, role, number) {
                    self.link.abandon();
                    self.machine.input(self.began.elapsed(), Input::Ended(error.to_string()));
                }
            }
            Effect::Disconnect => self.link.disconnect().await,
            Effect::Abandon => self.link.abandon(),
            Effect::Assigned { role, next } => {
                self.check.set(true);
                self.reporter.assigned(role, next);
            }
            Effect::Acknowledged { role, number, elapsed } => self.reporter.acknowledged(role, number, elapsed),
            Effect::Refused { role, number, error } => self.reporter.refused(role, number, &error),
            Effect::Failed { reason, delay } => {
                self.check.set(false);
                self.reporter.failed(&reason, delay);
            }
            Effect::End => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }
}

/// Waits until a time of the client; forever for `None`.
async fn sleep_until(began: Instant, time: Option<Time>) {
    match time {
        Some(time) => tokio::time::sleep_until(began + time).await,
        None => std::future::pending().await,
    }
}
