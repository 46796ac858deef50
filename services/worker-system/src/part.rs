//! A part of the process that is restarted after a failure, as a platform restarts a pod.

use std::net::SocketAddr;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use kit_database::{Database, Migrations};
use kit_process::readiness::Check;
use kit_process::{Readiness, Shutdown};
use kit_web::http;
use tokio::net::TcpListener;
use tokio::time::Instant;

/// A part that failed after running for this long is restarted without a long pause.
const STABLE: Duration = Duration::from_mins(1);

/// One service in this process.
pub struct Part {
    name: &'static str,
    /// Set while the part runs.
    check: Check,
}

impl Part {
    /// Creates a part that has not started. The process is not ready until it has.
    #[must_use]
    pub fn new(name: &'static str, readiness: &Readiness) -> Self {
        Self { name, check: readiness.check(name) }
    }

    /// Runs `start` until `shutdown` drains. Runs it again after each failure, with a
    /// growing pause. `start` receives the shutdown of this run.
    pub async fn run(self, shutdown: Shutdown, start: impl AsyncFn(Shutdown) -> anyhow::Result<()>) {
        let mut pauses = pauses();
        while !shutdown.is_draining() {
            self.check.set(true);
            let began = Instant::now();
            let result = self.until_failed(&start, shutdown.child()).await;
            if shutdown.is_draining() {
                return;
            }
            self.check.set(false);
            if began.elapsed() >= STABLE {
                pauses = self::pauses();
            }
            let pause = pauses.next().unwrap_or_default();
            let error = result.err().unwrap_or_else(|| anyhow::anyhow!("ended before the process did"));
            let retry_seconds = pause.as_secs_f64();
            tracing::warn!(part = self.name, error = format!("{error:#}"), retry_seconds, "starting a part again");
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shutdown.draining() => {}
            }
        }
    }

    async fn until_failed(
        &self,
        start: &impl AsyncFn(Shutdown) -> anyhow::Result<()>,
        shutdown: Shutdown,
    ) -> anyhow::Result<()> {
        let running = start(shutdown.clone());
        tokio::pin!(running);
        tokio::select! {
            result = &mut running => return result,
            () = shutdown.failed() => {}
        }
        // The drain may take a while, and the part takes on nothing new meanwhile.
        self.check.set(false);
        shutdown.drain();
        running.await
    }
}

fn pauses() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(10))
        .with_jitter()
        .without_max_times()
        .build()
}

/// Runs a system of this process. If it cannot start, the process ends in order.
///
/// # Errors
/// The system could not start.
pub async fn or_end(system: impl Future<Output = anyhow::Result<()>>, shutdown: &Shutdown) -> anyhow::Result<()> {
    let result = system.await;
    if let Err(error) = &result {
        tracing::error!(error = format!("{error:#}"), "a system cannot start: the process ends");
        shutdown.fail();
    }
    result
}

/// Brings the schema of a system up to date. Returns `false` if `shutdown` drains before,
/// such as while another process holds the database.
pub(crate) async fn prepare(
    database: &Database,
    migrations: &Migrations,
    shutdown: &Shutdown,
) -> kit_database::Result<bool> {
    tokio::select! {
        result = database.prepare(migrations) => result.map(|()| true),
        () = shutdown.draining() => Ok(false),
    }
}

/// A listening port that stays open while its part restarts: clients wait in its queue.
pub struct Port(std::net::TcpListener);

impl Port {
    /// Listens on `address`, which `setting` changes.
    pub async fn bind(address: SocketAddr, setting: &'static str) -> anyhow::Result<Self> {
        Ok(Self(http::bind(address, setting).await?.into_std()?))
    }

    /// The address of the port.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Creates the listener for one run of the part.
    pub fn listener(&self) -> std::io::Result<TcpListener> {
        TcpListener::from_std(self.0.try_clone()?)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use kit_process::Tasks;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_part_that_fails_is_started_again_and_is_not_ready_meanwhile() {
        let (readiness, shutdown) = (Readiness::default(), Shutdown::new());
        let part = Part::new("part", &readiness);
        assert_eq!(readiness.waiting_for(), ["part"]);
        let runs = AtomicU32::new(0);
        let start = async |shutdown: Shutdown| {
            assert!(readiness.waiting_for().is_empty(), "ready while it runs");
            let tasks = Tasks::new(&shutdown);
            match runs.fetch_add(1, Ordering::Relaxed) {
                0 => drop(tasks.spawn("broken", async { panic!("on purpose") })),
                1 => return Err(anyhow::anyhow!("no file descriptors")),
                2 => return Ok(()),
                _ => {}
            }
            shutdown.draining().await;
            Ok(tasks.finish()?)
        };
        let running = part.run(shutdown.clone(), start);
        tokio::pin!(running);
        while runs.load(Ordering::Relaxed) < 4 {
            tokio::select! {
                () = &mut running => panic!("it ended"),
                () = tokio::time::sleep(Duration::from_millis(10)) => {}
            }
        }
        shutdown.drain();
        running.await;
        assert_eq!(runs.load(Ordering::Relaxed), 4);
    }
}
