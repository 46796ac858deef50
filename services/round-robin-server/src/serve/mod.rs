//! The serving loop: this replica takes its turns.
//!
//! [`Replica`] decides on the next command. This module executes the commands on the store at their
//! time, tells local clients what was served, and writes logs and metrics.

mod batch;

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use kit_process::{HumanDuration, Shutdown, StoreWatch};
use round_robin_core::plan::Sizes;
use round_robin_core::replica::{Change, Command, Next, Outcome, Replica};
use round_robin_core::turns::Quantum;
use round_robin_core::types::{Range, Turn};
use round_robin_store::{Error, Registered, RoundRobinStore};
use tokio::sync::Notify;
use tokio::time::Instant;

use self::batch::{Batch, Refused};
use crate::Metrics;
use crate::answers::Answers;

/// The delays before a failed command is repeated. Jitter at most doubles each delay, so they grow
/// to between 200 and 400 ms.
const RETRY: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(25))
    .with_max_delay(Duration::from_millis(200))
    .with_jitter()
    .without_max_times();

/// Time between two looks whether the tables exist.
const PING_INTERVAL: Duration = Duration::from_millis(50);

/// Time for the migration before the log says that the tables are missing.
const MIGRATION: Duration = Duration::from_secs(2);

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error(transparent)]
    Store(#[from] Error),
    #[error(
        "QUANTUM is {quantum}, and other replicas of this database take turns of {other}: \
         set QUANTUM={other}, or end the other replicas first"
    )]
    OtherQuantum { quantum: HumanDuration, other: HumanDuration },
}

impl CommandError {
    fn other_quantum(quantum: Quantum, other: Quantum) -> Self {
        let duration = |quantum: Quantum| HumanDuration(Duration::from_millis(quantum.as_millis().unsigned_abs()));
        Self::OtherQuantum { quantum: duration(quantum), other: duration(other) }
    }
}

/// Wakes the serving loop when a message was stored. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waker(Arc<Notify>);

impl Waker {
    /// Wakes the serving loop. If it is busy, it looks for messages once more before it sleeps.
    pub(crate) fn wake(&self) {
        self.0.notify_one();
    }
}

/// What the serving loop needs.
pub(crate) struct Serving {
    pub(crate) store: Arc<dyn RoundRobinStore>,
    pub(crate) quantum: Quantum,
    /// The name of this replica.
    pub(crate) name: Arc<str>,
    pub(crate) answers: Answers,
    pub(crate) waker: Waker,
    pub(crate) watch: StoreWatch,
    pub(crate) metrics: Metrics,
}

impl Serving {
    /// Takes turns until `shutdown` drains, and then serves to the end of the current turn.
    pub(crate) async fn run(self, shutdown: Shutdown) {
        tokio::select! {
            () = self.until_tables_exist() => {}
            () = shutdown.draining() => return,
        }
        let mut replica = Replica::new(self.quantum, Sizes::DEFAULT);
        let clock = Clock(Instant::now());
        let mut retry = RETRY.build();
        let (mut served, mut refused) = (0, Refused::default());
        loop {
            if shutdown.is_draining() {
                replica.shut_down();
            }
            match replica.next(clock.now()) {
                Next::Exit => return,
                Next::Sleep { until, is_idle } => {
                    tokio::select! {
                        () = clock.sleep_until(until) => {}
                        () = self.waker.0.notified(), if is_idle => replica.wake(),
                        () = shutdown.draining(), if !shutdown.is_draining() => {}
                    }
                }
                Next::Run(command) => {
                    let asked = clock.now();
                    let outcome = self.run_command(command, &mut refused).await;
                    if let Outcome::Served(Some((batch, _))) = &outcome {
                        served += batch.ranges.iter().map(Range::count).sum::<i64>();
                    }
                    let change = replica.apply(&outcome, asked, clock.now());
                    self.report(change, &mut served);
                    if outcome == Outcome::Failed {
                        // The number of attempts is unlimited, so there is always a next delay.
                        tokio::time::sleep(retry.next().unwrap_or_default()).await;
                    } else {
                        retry = RETRY.build();
                    }
                }
            }
        }
    }

    /// Waits for the migration. Until then the replica is not ready, and registers nowhere.
    async fn until_tables_exist(&self) {
        let began = Instant::now();
        while let Err(error) = self.store.ping().await {
            if began.elapsed() > MIGRATION {
                self.watch.record(Err::<(), _>(error));
            }
            tokio::time::sleep(PING_INTERVAL).await;
        }
    }

    async fn run_command(&self, command: Command, refused: &mut Refused) -> Outcome {
        let result = self.try_command(command, refused).await;
        self.watch.record(result.as_ref());
        result.unwrap_or_else(|error| {
            if matches!(error, CommandError::Store(_)) {
                self.metrics.store_errors.inc();
            }
            Outcome::Failed
        })
    }

    async fn try_command(&self, command: Command, refused: &mut Refused) -> Result<Outcome, CommandError> {
        let store = &self.store;
        Ok(match command {
            Command::Register => match store.register(&self.name).await? {
                Registered::As(registration) => Outcome::Registered(registration),
                Registered::OtherQuantum(other) => return Err(CommandError::other_quantum(self.quantum, other)),
            },
            Command::Beat(replica) => Outcome::Beat(store.beat(replica).await?),
            Command::List { after, limit } => Outcome::Listed(store.waiting(after.as_ref(), limit).await?),
            Command::Serve { replica, turn, ranges, after, limit } => {
                let batch = Batch { replica, turn, next: (after.as_ref(), limit) };
                Outcome::Served(self.serve(&batch, ranges, refused).await?)
            }
            Command::Leave(replica) => {
                store.leave(replica).await?;
                Outcome::Left
            }
        })
    }

    /// Logs and counts what changed. `served` is the number of messages since the turn began.
    fn report(&self, change: Change, served: &mut i64) {
        if change.is_lost {
            tracing::warn!(replica = &*self.name, "the registration of this replica is lost");
        }
        if let Some(Turn(turn)) = change.ended {
            if *served > 0 {
                tracing::info!(replica = &*self.name, turn, served = *served, "served a turn");
            } else {
                tracing::debug!(replica = &*self.name, turn, "nothing waited in a turn");
            }
            *served = 0;
        }
        if change.began.is_some() {
            self.metrics.turns.inc();
        }
    }
}

/// Milliseconds of the monotonic clock since the loop began.
#[derive(Debug, Clone, Copy)]
struct Clock(Instant);

impl Clock {
    fn now(self) -> i64 {
        i64::try_from(self.0.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    async fn sleep_until(self, at: i64) {
        let at = Duration::from_millis(u64::try_from(at).unwrap_or(0));
        tokio::time::sleep_until(self.0 + at).await;
    }
}
