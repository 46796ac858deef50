//! Injects the planned faults into the round robin system.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use testkit::{Direction, Proxy, Server, eventually};
use tokio::sync::{OwnedMutexGuard, Semaphore, mpsc};
use tokio::task::JoinSet;

use super::cluster::{Cluster, DEADLINE, Replica};
use super::socket::Order;
use crate::database::{crash, execute_at_last};
use crate::faults::{Board, Planned, lock};
use crate::rng::Rng;

/// Time that a proxy waits for what it cuts.
const TRAPPED: Duration = Duration::from_secs(3);

/// Largest number of bytes that a cut message lacks: fewer than a frame has.
const TORN: usize = 24;

/// Number of replicas that may be missing at the same time.
const MISSING: usize = 2;

/// Kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    KillReplica,
    StopReplica,
    /// SIGTERM and a replacement, as in a rolling update.
    RollReplica,
    /// A client's connections are reset.
    ResetClient,
    /// A client's connection is cut in the middle of what it sends.
    TearRequest,
    /// A client's connection is cut in the middle of what it receives.
    TearReply,
    /// A client's requests pass and its replies are dropped, for a while.
    LoseReplies,
    /// All data of a client is dropped for a while, without closing its connections.
    SilenceClient,
    /// A client starts again and knows only its name.
    ForgetClient,
    /// A client connects again while its old connection stays open.
    TakeOver,
    /// A replica's connections to the database are reset.
    ResetDatabase,
    /// All data between a replica and the database is dropped for a while.
    SilenceDatabase,
    /// The connection is cut after messages were stored.
    CutIntake,
    /// The connection is cut after messages were served.
    CutServing,
    /// The table of replicas is emptied.
    LoseRegistrations,
    RestartDatabase,
    KillDatabase,
}

impl Fault {
    /// The faults of a round.
    pub(crate) const ROUND: [Self; 18] = [
        Self::KillReplica,
        Self::KillReplica,
        Self::StopReplica,
        Self::RollReplica,
        Self::ResetClient,
        Self::TearRequest,
        Self::TearRequest,
        Self::TearReply,
        Self::TearReply,
        Self::LoseReplies,
        Self::SilenceClient,
        Self::ForgetClient,
        Self::TakeOver,
        Self::ResetDatabase,
        Self::SilenceDatabase,
        Self::CutIntake,
        Self::CutServing,
        Self::LoseRegistrations,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::KillReplica => "SIGKILL of a replica",
            Self::StopReplica => "SIGSTOP of a replica for a while",
            Self::RollReplica => "SIGTERM of a replica",
            Self::ResetClient => "connections of a client reset",
            Self::TearRequest => "connection cut in the middle of a request",
            Self::TearReply => "connection cut in the middle of a reply",
            Self::LoseReplies => "replies to a client lost for a while",
            Self::SilenceClient => "connections of a client silent for a while",
            Self::ForgetClient => "client started again without its state",
            Self::TakeOver => "client connected again beside its old connection",
            Self::ResetDatabase => "connections of a replica to the database reset",
            Self::SilenceDatabase => "connections to the database silent for a while",
            Self::CutIntake => "connection cut after messages were stored",
            Self::CutServing => "connection cut after messages were served",
            Self::LoseRegistrations => "registrations of replicas lost",
            Self::RestartDatabase => "restart of the database",
            Self::KillDatabase => "SIGKILL of the database",
        }
    }
}

/// What faults can do to a client.
pub(crate) struct Target {
    pub(crate) name: String,
    /// Between the client and the load balancer.
    pub(crate) proxy: Proxy,
    pub(crate) orders: mpsc::UnboundedSender<Order>,
    /// Whether it has a WebSocket.
    pub(crate) is_socket: bool,
    pub(crate) reserved: Arc<tokio::sync::Mutex<()>>,
}

/// A time in which a process did not run.
#[derive(Debug, Clone)]
pub(crate) struct Absence {
    /// Name of the process.
    pub(crate) life: String,
    /// In milliseconds since the Unix epoch.
    pub(crate) from: i64,
    pub(crate) until: i64,
}

/// The targets of faults.
pub(crate) struct Injector {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) targets: Vec<Target>,
    pub(crate) board: Board,
    missing: Semaphore,
    /// Time after which no fault begins.
    end: Instant,
    too_late: AtomicU64,
    absences: Mutex<Vec<Absence>>,
}

impl Injector {
    pub(crate) fn new(cluster: Arc<Cluster>, targets: Vec<Target>, board: Board, end: Instant) -> Self {
        let (missing, too_late) = (Semaphore::new(MISSING), AtomicU64::new(0));
        Self { cluster, targets, board, missing, end, too_late, absences: Mutex::default() }
    }

    /// Starts each fault when it is due, and waits until all have ended.
    pub(crate) async fn run(self: &Arc<Self>, began: Instant, planned: &[Planned<Fault>], rng: &mut Rng) -> Result<()> {
        let mut tasks = JoinSet::new();
        for Planned { at, kind } in planned {
            tokio::time::sleep_until((began + *at).into()).await;
            let (this, kind, rng) = (Arc::clone(self), *kind, rng.fork());
            tasks.spawn_local(async move { this.inject(kind, rng).await.with_context(|| kind.name()) });
        }
        tokio::time::sleep_until(self.end.into()).await;
        while let Some(task) = tasks.join_next().await {
            task??;
        }
        Ok(())
    }

    /// Number of faults that found no target before the end.
    pub(crate) fn too_late(&self) -> u64 {
        self.too_late.load(Ordering::Relaxed)
    }

    /// The times in which processes did not run.
    pub(crate) fn absences(&self) -> Vec<Absence> {
        lock(&self.absences).clone()
    }

    async fn inject(&self, fault: Fault, rng: Rng) -> Result<()> {
        match fault {
            Fault::KillReplica | Fault::StopReplica | Fault::RollReplica => self.harm_replica(fault, rng).await?,
            Fault::ResetClient | Fault::LoseReplies | Fault::SilenceClient => self.harm_client(fault, rng).await,
            Fault::TearRequest => self.tear(fault, Direction::Requests, rng).await,
            Fault::TearReply => self.tear(fault, Direction::Replies, rng).await,
            Fault::ForgetClient | Fault::TakeOver => self.order(fault, rng).await,
            Fault::ResetDatabase | Fault::SilenceDatabase => self.harm_link(fault, rng).await?,
            Fault::CutIntake | Fault::CutServing => self.cut_reply(fault, rng).await,
            Fault::LoseRegistrations => self.lose_registrations(fault).await,
            Fault::RestartDatabase | Fault::KillDatabase => self.harm_database(fault, rng).await,
        }
        Ok(())
    }

    async fn harm_replica(&self, fault: Fault, mut rng: Rng) -> Result<()> {
        let _permit = self.missing.acquire().await?;
        let (replica, _reserved) = self.free_replica(&mut rng).await;
        if self.is_over() {
            return Ok(());
        }
        let (member, life) = (&replica.member, replica.member.life());
        let active = self.board.begin(fault.name(), &life);
        match fault {
            Fault::StopReplica => {
                member.pause();
                let from = now();
                tokio::time::sleep(rng.duration(Duration::from_secs(1), Duration::from_secs(4))).await;
                self.absent(life, from, now());
                member.resume();
            }
            Fault::RollReplica => {
                self.cluster.terminate(replica).await;
                self.absent(life, now(), i64::MAX);
                member.start();
            }
            _ => {
                member.kill_and_wait().await;
                self.absent(life, now(), i64::MAX);
                tokio::time::sleep(rng.duration(Duration::from_millis(50), Duration::from_millis(1500))).await;
                member.start();
            }
        }
        drop(active);
        self.cluster.back(replica).await;
        Ok(())
    }

    async fn harm_client(&self, fault: Fault, mut rng: Rng) {
        let (target, _reserved) = self.free_target(&mut rng, false).await;
        if self.is_over() {
            return;
        }
        let active = self.board.begin(fault.name(), &target.name);
        match fault {
            Fault::LoseReplies => target.proxy.lose_replies(),
            Fault::SilenceClient => target.proxy.black_hole(),
            _ => return target.proxy.reset(),
        }
        tokio::time::sleep(rng.duration(Duration::from_millis(200), Duration::from_secs(3))).await;
        target.proxy.heal();
        drop(active);
    }

    async fn tear(&self, fault: Fault, direction: Direction, mut rng: Rng) {
        let (target, _reserved) = self.free_target(&mut rng, false).await;
        let missing = rng.between(1, TORN);
        target.proxy.cut_within(direction, missing);
        if self.sprung(async || !target.proxy.is_cut_due()).await {
            drop(self.board.begin(fault.name(), format!("{}, {missing} bytes missing", target.name)));
        } else {
            target.proxy.cancel_cut();
        }
    }

    async fn order(&self, fault: Fault, mut rng: Rng) {
        let is_takeover = fault == Fault::TakeOver;
        let (target, _reserved) = self.free_target(&mut rng, is_takeover).await;
        if self.is_over() {
            return;
        }
        let active = self.board.begin(fault.name(), &target.name);
        // Fails only if the client has ended, which its record tells.
        let _ = target.orders.send(if is_takeover { Order::TakeOver } else { Order::Forget });
        drop(active);
    }

    /// Disturbs the connections of a replica to the database.
    async fn harm_link(&self, fault: Fault, mut rng: Rng) -> Result<()> {
        // A replica without a connection counts as missing.
        let _permit = self.missing.acquire().await?;
        let (replica, _reserved) = self.free_replica(&mut rng).await;
        if self.is_over() {
            return Ok(());
        }
        let active = self.board.begin(fault.name(), replica.member.life());
        let proxy = replica.member.proxy();
        if fault == Fault::ResetDatabase {
            proxy.reset();
        } else {
            proxy.black_hole();
            tokio::time::sleep(rng.duration(Duration::from_millis(200), Duration::from_secs(3))).await;
            proxy.heal();
        }
        drop(active);
        self.cluster.back(replica).await;
        Ok(())
    }

    async fn cut_reply(&self, fault: Fault, mut rng: Rng) {
        let (replica, _reserved) = self.free_replica(&mut rng).await;
        let proxy = replica.member.proxy();
        // Statements that no other script contains.
        proxy.cut_reply_to(if fault == Fault::CutIntake {
            "INSERT INTO received_messages"
        } else {
            "INSERT INTO served_ranges"
        });
        if self.sprung(async || !proxy.is_trap_set()).await {
            drop(self.board.begin(fault.name(), replica.member.life()));
        } else {
            // An empty text matches no request.
            proxy.cut_reply_to(Vec::new());
        }
    }

    /// Empties the table. If the database stops meanwhile, does so on another connection.
    async fn lose_registrations(&self, fault: Fault) {
        if self.is_over() {
            return;
        }
        let active = self.board.begin(fault.name(), "all");
        // The log has no rows of a `TRUNCATE`.
        let sql = "LOCK TABLES replicas WRITE; DELETE FROM replicas; ALTER TABLE replicas AUTO_INCREMENT = 1; \
                   UNLOCK TABLES";
        execute_at_last(self.cluster.database.url(), fault.name(), sql, DEADLINE).await;
        drop(active);
    }

    async fn harm_database(&self, fault: Fault, mut rng: Rng) {
        let active = self.board.begin(fault.name(), "all");
        let server = &self.cluster.server;
        if fault == Fault::RestartDatabase {
            server.restart().await;
        } else {
            crash(server, &mut rng).await;
        }
        drop(active);
    }

    /// Waits until something was cut. Returns whether that happened in time.
    async fn sprung(&self, is_sprung: impl AsyncFn() -> bool) -> bool {
        let until = (Instant::now() + TRAPPED).min(self.end);
        while !is_sprung().await {
            if Instant::now() >= until {
                self.too_late.fetch_add(1, Ordering::Relaxed);
                return false;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        true
    }

    /// Waits for a replica without an active fault, and reserves it.
    async fn free_replica(&self, rng: &mut Rng) -> (&Replica, OwnedMutexGuard<()>) {
        let mut replicas: Vec<&Replica> = self.cluster.replicas.iter().collect();
        rng.shuffle(&mut replicas);
        eventually(DEADLINE, "a replica to do harm to", async || {
            replicas.iter().find_map(|replica| Some((*replica, replica.member.try_reserve()?)))
        })
        .await
    }

    /// Waits for a client without an active fault, and reserves it.
    async fn free_target(&self, rng: &mut Rng, only_sockets: bool) -> (&Target, OwnedMutexGuard<()>) {
        let mut targets: Vec<&Target> =
            self.targets.iter().filter(|target| target.is_socket || !only_sockets).collect();
        rng.shuffle(&mut targets);
        eventually(DEADLINE, "a client to do harm to", async || {
            targets.iter().find_map(|target| Some((*target, Arc::clone(&target.reserved).try_lock_owned().ok()?)))
        })
        .await
    }

    fn absent(&self, life: String, from: i64, until: i64) {
        lock(&self.absences).push(Absence { life, from, until });
    }

    fn is_over(&self) -> bool {
        let is_over = Instant::now() >= self.end;
        self.too_late.fetch_add(u64::from(is_over), Ordering::Relaxed);
        is_over
    }
}

/// The time of this machine, which is the database's, in milliseconds since the Unix epoch.
#[expect(clippy::disallowed_methods, reason = "compared with times of the database on the same machine")]
fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
