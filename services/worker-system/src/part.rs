//! A part of the process that is restarted after a failure, as a platform restarts a pod.

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
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
    ///
    /// # Errors
    /// The run that `shutdown` ended has failed.
    pub async fn run(
        self,
        shutdown: Shutdown,
        start: impl AsyncFn(Shutdown) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut pauses = pauses();
        while !shutdown.is_draining() {
            self.check.set(true);
            let began = Instant::now();
            let run = shutdown.child();
            // The drain may take a while, and the part takes on nothing new meanwhile.
            let result = run.drain_on_failure(start(run.clone()), || self.check.set(false)).await;
            if shutdown.is_draining() {
                return result;
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
        Ok(())
    }

    /// [Runs](Self::run) a part that listens on `port`, alone or with others. The port closes
    /// as soon as `shutdown` drains, so that new clients are refused instead of waiting.
    ///
    /// # Errors
    /// The run that `shutdown` ended has failed.
    pub async fn serve(
        self,
        port: &Port,
        shutdown: Shutdown,
        start: impl AsyncFn(TcpListener, Shutdown) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let closed = async {
            shutdown.draining().await;
            port.close();
        };
        let run = self.run(shutdown.clone(), async |shutdown| start(port.listener()?, shutdown).await);
        tokio::join!(run, closed).0
    }
}

/// Runs `clients`, which end after `shutdown` drains, and then drains the servers: what clients have
/// sent last is answered. `servers` receives their shutdown.
///
/// # Errors
/// A part has failed during the drain.
pub async fn clients_first<S: Future<Output = anyhow::Result<()>>>(
    shutdown: Shutdown,
    clients: impl Future<Output = anyhow::Result<()>>,
    servers: impl FnOnce(Shutdown) -> S,
) -> anyhow::Result<()> {
    let end_of_servers = Shutdown::new();
    let clients = async {
        let result = clients.await;
        end_of_servers.drain();
        result
    };
    let aborted = async {
        shutdown.aborted().await;
        end_of_servers.abort();
        std::future::pending().await
    };
    tokio::select! {
        (clients, servers) = async { tokio::join!(clients, servers(end_of_servers.clone())) } => clients.and(servers),
        result = aborted => result,
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

/// A listening port that stays open while its part restarts: clients wait in its queue. Parts
/// can share a port; each connection then goes to one of them, as behind a load balancer.
pub struct Port {
    address: SocketAddr,
    /// `None` when it is closed.
    socket: Mutex<Option<std::net::TcpListener>>,
}

impl Port {
    /// Listens on `address`, which `setting` changes.
    pub async fn bind(address: SocketAddr, setting: &'static str) -> anyhow::Result<Self> {
        let socket = http::bind(address, setting).await?.into_std()?;
        Ok(Self { address: socket.local_addr()?, socket: Mutex::new(Some(socket)) })
    }

    /// The address of the port.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Creates the listener for one run of the part. The port is closed only when the
    /// listener is closed too.
    fn listener(&self) -> std::io::Result<TcpListener> {
        match &*self.lock() {
            Some(socket) => TcpListener::from_std(socket.try_clone()?),
            None => Err(std::io::ErrorKind::NotConnected.into()),
        }
    }

    fn close(&self) {
        self.lock().take();
    }

    fn lock(&self) -> MutexGuard<'_, Option<std::net::TcpListener>> {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use kit_process::{TaskFailed, Tasks};
    use tokio::net::TcpStream;

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
                _ = &mut running => panic!("it ended"),
                () = tokio::time::sleep(Duration::from_millis(10)) => {}
            }
        }
        shutdown.drain();
        running.await.unwrap();
        assert_eq!(runs.load(Ordering::Relaxed), 4);
    }

    #[tokio::test]
    async fn a_failure_during_the_drain_is_the_result() {
        let (readiness, shutdown) = (Readiness::default(), Shutdown::new());
        let start = async |run: Shutdown| {
            let tasks = Tasks::new(&run);
            let task = tasks.spawn("broken", async { panic!("on purpose") });
            shutdown.drain();
            task.ended().await;
            Ok(tasks.finish()?)
        };
        let error = Part::new("part", &readiness).run(shutdown.clone(), start).await.unwrap_err();
        assert!(error.is::<TaskFailed>() && error.to_string().contains("on purpose"), "{error}");
    }

    #[tokio::test]
    async fn a_port_refuses_clients_during_the_drain_and_queues_them_during_a_restart() {
        let (readiness, shutdown) = (Readiness::default(), Shutdown::new());
        let port = Port::bind("127.0.0.1:0".parse().unwrap(), "--listen").await.unwrap();
        let address = port.address();
        let runs = AtomicU32::new(0);
        let serving = Part::new("part", &readiness).serve(&port, shutdown.clone(), async |listener, run| {
            if runs.fetch_add(1, Ordering::Relaxed) == 0 {
                drop(listener);
                TcpStream::connect(address).await.expect("it waits for the next run");
                return Err(anyhow::anyhow!("failed"));
            }
            listener.accept().await.expect("the client of the first run");
            shutdown.drain();
            run.draining().await;
            drop(listener);
            // The drain goes on while clients come.
            while TcpStream::connect(address).await.is_ok() {
                tokio::task::yield_now().await;
            }
            Ok(())
        });
        tokio::time::timeout(STABLE, serving).await.expect("clients are refused").unwrap();
        assert_eq!(runs.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn parts_that_share_a_port_both_get_connections() {
        let (readiness, shutdown) = (Readiness::default(), Shutdown::new());
        let port = Port::bind("127.0.0.1:0".parse().unwrap(), "--listen").await.unwrap();
        let accepted = AtomicU32::new(0);
        let accepts_one = async |listener: TcpListener, run: Shutdown| {
            listener.accept().await.expect("a client");
            accepted.fetch_add(1, Ordering::Relaxed);
            run.draining().await;
            Ok(())
        };
        let parts = ["first", "second"].map(|name| Part::new(name, &readiness));
        let [first, second] = parts.map(|part| part.serve(&port, shutdown.clone(), &accepts_one));
        let connections = async {
            for _ in 0..2 {
                TcpStream::connect(port.address()).await.expect("the port is open");
            }
            while accepted.load(Ordering::Relaxed) < 2 {
                tokio::task::yield_now().await;
            }
            shutdown.drain();
        };
        let (first, second, ()) = tokio::join!(first, second, connections);
        first.and(second).unwrap();
    }
}
