//! Injects the planned faults into the values system.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection};
use testkit::{MariaDb, Server, eventually, eventually_ok};
use tokio::sync::{OwnedMutexGuard, Semaphore};
use tokio::task::JoinSet;

use super::cluster::{Cluster, DEADLINE};
use crate::database::{crash, execute_at_last};
use crate::faults::{Board, Planned};
use crate::fleet::Member;
use crate::rng::Rng;

/// Time for which a process is suspended.
const STOPPED: Duration = Duration::from_secs(5);

/// Time that a proxy waits for the request whose reply it cuts.
const TRAPPED: Duration = Duration::from_secs(6);

/// Kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    KillWorker,
    StopWorker,
    /// SIGTERM and a replacement, as in a rolling update.
    RollWorker,
    KillLeader,
    StopLeader,
    /// Connections are reset once.
    Reset,
    /// Connections are reset at once, for a while.
    Refuse,
    /// The proxy drops all data for a while, without closing connections.
    BlackHole,
    /// Requests pass and replies are dropped, for a while.
    LoseReplies,
    /// One tick is executed, and its reply is cut.
    CutTickReply,
    /// One assignment is executed, and its reply is cut.
    CutAssignReply,
    /// One change of the ids is executed, and its reply is cut.
    CutApiReply,
    /// Another SQL session locks some rows for a while.
    LockRows,
    /// The table of workers is emptied, so that their numbers come again.
    LoseRegistrations,
    /// The row of the lease is deleted.
    LoseLease,
    RestartDatabase,
    KillDatabase,
}

impl Fault {
    /// The faults of a round.
    pub(crate) const ROUND: [Self; 17] = [
        Self::KillWorker,
        Self::KillWorker,
        Self::StopWorker,
        Self::RollWorker,
        Self::KillLeader,
        Self::StopLeader,
        Self::Reset,
        Self::Reset,
        Self::Refuse,
        Self::BlackHole,
        Self::LoseReplies,
        Self::CutTickReply,
        Self::CutAssignReply,
        Self::CutApiReply,
        Self::LockRows,
        Self::LoseRegistrations,
        Self::LoseLease,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::KillWorker => "SIGKILL of a worker",
            Self::StopWorker => "SIGSTOP of a worker for 5 s",
            Self::RollWorker => "SIGTERM of a worker",
            Self::KillLeader => "SIGKILL of the leading manager",
            Self::StopLeader => "SIGSTOP of the leading manager for 5 s",
            Self::Reset => "connections reset",
            Self::Refuse => "connections refused for a while",
            Self::BlackHole => "connections silent for a while",
            Self::LoseReplies => "replies lost for a while",
            Self::CutTickReply => "connection cut after a tick's commit",
            Self::CutAssignReply => "connection cut after an assignment's commit",
            Self::CutApiReply => "connection cut after an API change's commit",
            Self::LockRows => "rows locked by a session for a while",
            Self::LoseRegistrations => "registrations of workers lost",
            Self::LoseLease => "lease of the managers lost",
            Self::RestartDatabase => "restart of the database",
            Self::KillDatabase => "SIGKILL of the database",
        }
    }
}

/// The targets of faults.
pub(crate) struct Injector {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) server: Arc<MariaDb>,
    pub(crate) board: Board,
    /// Permits for missing workers: as many as the others have room for.
    missing: Semaphore,
    /// Permit for a fault of a manager: the other one has to take over.
    managers: Semaphore,
    /// Time after which no fault begins.
    end: Instant,
    too_late: AtomicU64,
}

impl Injector {
    pub(crate) fn new(cluster: Arc<Cluster>, server: Arc<MariaDb>, board: Board, missing: usize, end: Instant) -> Self {
        let (missing, managers) = (Semaphore::new(missing), Semaphore::new(1));
        Self { cluster, server, board, missing, managers, end, too_late: AtomicU64::new(0) }
    }

    /// Starts each fault when it is due, and returns at the end. The returned tasks
    /// finish the faults that are still active.
    pub(crate) async fn run(
        self: &Arc<Self>,
        began: Instant,
        planned: &[Planned<Fault>],
        rng: &mut Rng,
    ) -> JoinSet<Result<()>> {
        let mut tasks = JoinSet::new();
        for Planned { at, kind } in planned {
            tokio::time::sleep_until((began + *at).into()).await;
            let (this, kind, rng) = (Arc::clone(self), *kind, rng.fork());
            tasks.spawn_local(async move { this.inject(kind, rng).await.with_context(|| kind.name()) });
        }
        tokio::time::sleep_until(self.end.into()).await;
        tasks
    }

    /// Number of faults that found no free target before the end.
    pub(crate) fn too_late(&self) -> u64 {
        self.too_late.load(Ordering::Relaxed)
    }

    async fn inject(&self, fault: Fault, rng: Rng) -> Result<()> {
        match fault {
            Fault::KillWorker | Fault::StopWorker | Fault::RollWorker => self.harm_worker(fault, rng).await,
            Fault::KillLeader | Fault::StopLeader => self.harm_leader(fault, rng).await,
            Fault::Reset | Fault::Refuse | Fault::BlackHole | Fault::LoseReplies => self.harm_network(fault, rng).await,
            Fault::CutTickReply | Fault::CutAssignReply | Fault::CutApiReply => self.cut_reply(fault, rng).await,
            Fault::LockRows => self.lock_rows(fault, rng).await,
            Fault::LoseRegistrations | Fault::LoseLease => {
                self.lose_rows(fault).await;
                Ok(())
            }
            Fault::RestartDatabase | Fault::KillDatabase => {
                self.harm_database(fault, rng).await;
                Ok(())
            }
        }
    }

    async fn harm_worker(&self, fault: Fault, mut rng: Rng) -> Result<()> {
        let _permit = self.missing.acquire().await?;
        let (worker, _reserved) = self.free(&self.cluster.workers, &mut rng).await;
        if self.is_over() {
            return Ok(());
        }
        let active = self.board.begin(fault.name(), worker.life());
        match fault {
            Fault::StopWorker => {
                worker.pause();
                tokio::time::sleep(STOPPED).await;
                worker.resume();
                drop(active);
            }
            Fault::RollWorker => {
                drop(active);
                worker.terminate_and_wait(DEADLINE).await;
                worker.start();
            }
            _ => {
                worker.kill();
                drop(active);
                worker.kill_and_wait().await;
                tokio::time::sleep(rng.duration(Duration::from_millis(200), Duration::from_millis(1500))).await;
                worker.start();
            }
        }
        self.cluster.back(&worker).await;
        Ok(())
    }

    async fn harm_leader(&self, fault: Fault, mut rng: Rng) -> Result<()> {
        let _permit = self.managers.acquire().await?;
        let (leader, _reserved) = self.free_leader().await;
        if self.is_over() {
            return Ok(());
        }
        let active = self.board.begin(fault.name(), leader.life());
        if fault == Fault::StopLeader {
            leader.pause();
            tokio::time::sleep(STOPPED).await;
            leader.resume();
            drop(active);
        } else {
            leader.kill();
            drop(active);
            leader.kill_and_wait().await;
            tokio::time::sleep(rng.duration(Duration::from_millis(200), Duration::from_secs(3))).await;
            leader.start();
        }
        Ok(())
    }

    async fn harm_network(&self, fault: Fault, mut rng: Rng) -> Result<()> {
        let is_long = fault != Fault::Reset;
        // A worker without a connection for long counts as missing.
        let permit = if is_long { self.missing.try_acquire().ok() } else { None };
        let mut candidates: Vec<_> = self.cluster.managers.iter().chain([&self.cluster.api]).map(Arc::clone).collect();
        if permit.is_some() || !is_long {
            candidates.extend(self.cluster.workers.iter().map(Arc::clone));
        }
        let (member, _reserved) = self.free(&candidates, &mut rng).await;
        let is_worker = self.cluster.workers.iter().any(|worker| worker.name() == member.name());
        let _permit = permit.filter(|_| is_worker);
        if self.is_over() {
            return Ok(());
        }
        let active = self.board.begin(fault.name(), member.life());
        let proxy = member.proxy();
        match fault {
            Fault::Refuse => proxy.cut(),
            Fault::BlackHole => proxy.black_hole(),
            Fault::LoseReplies => proxy.lose_replies(),
            _ => proxy.reset(),
        }
        if is_long {
            tokio::time::sleep(rng.duration(Duration::from_millis(200), Duration::from_secs(4))).await;
            proxy.heal();
        }
        drop(active);
        if is_worker {
            self.cluster.back(&member).await;
        }
        Ok(())
    }

    async fn cut_reply(&self, fault: Fault, mut rng: Rng) -> Result<()> {
        let (member, _reserved) = match fault {
            Fault::CutTickReply => self.free(&self.cluster.workers, &mut rng).await,
            Fault::CutAssignReply => self.free_leader().await,
            _ => self.free(std::slice::from_ref(&self.cluster.api), &mut rng).await,
        };
        let text = match fault {
            // The text selects scripts of a worker that contain more than a heartbeat, or
            // scripts of a leader that move ids.
            Fault::CutTickReply => "; COMMIT",
            Fault::CutAssignReply => "epoch + 1",
            _ => *rng.pick(&["INSERT INTO", "DELETE FROM"]).unwrap_or(&"INSERT INTO"),
        };
        let until = (Instant::now() + TRAPPED).min(self.end);
        member.proxy().cut_reply_to(text);
        while member.proxy().is_trap_set() {
            if Instant::now() >= until {
                // An empty text matches no request.
                member.proxy().cut_reply_to(Vec::new());
                self.too_late.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        drop(self.board.begin(fault.name(), member.life()));
        Ok(())
    }

    async fn lock_rows(&self, fault: Fault, mut rng: Rng) -> Result<()> {
        let (offset, count) = (rng.below(self.cluster.shape.ids), rng.between(1, 5));
        let sql = format!("SELECT id FROM `values` ORDER BY id LIMIT {count} OFFSET {offset}");
        let mut session =
            eventually_ok(DEADLINE, "a session", async || MySqlConnection::connect(self.cluster.database.url()).await)
                .await;
        if self.is_over() {
            return Ok(());
        }
        // If the database stops meanwhile, the locks are released.
        let ids: Vec<i64> = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&mut session).await.unwrap_or_default();
        let list: Vec<String> = ids.iter().map(i64::to_string).collect();
        if list.is_empty() {
            return Ok(());
        }
        let list = list.join(",");
        let active = self.board.begin(fault.name(), &list);
        let sql = format!("BEGIN; SELECT id FROM `values` WHERE id IN ({list}) FOR UPDATE");
        if session.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.is_ok() {
            tokio::time::sleep(rng.duration(Duration::from_millis(200), Duration::from_secs(4))).await;
        }
        // Closing the session rolls back and releases its locks.
        let _ = session.close().await;
        drop(active);
        Ok(())
    }

    /// Deletes rows. If the database stops meanwhile, does so on another connection.
    async fn lose_rows(&self, fault: Fault) {
        let sql = match fault {
            // The log has no rows of a `TRUNCATE`, so these statements replace it.
            Fault::LoseRegistrations => {
                "LOCK TABLES workers WRITE; DELETE FROM workers; ALTER TABLE workers AUTO_INCREMENT = 1; UNLOCK TABLES"
            }
            _ => "DELETE FROM manager_lease",
        };
        if self.is_over() {
            return;
        }
        let active = self.board.begin(fault.name(), "all");
        execute_at_last(self.cluster.database.url(), fault.name(), sql, DEADLINE).await;
        drop(active);
    }

    async fn harm_database(&self, fault: Fault, mut rng: Rng) {
        let active = self.board.begin(fault.name(), "all");
        if fault == Fault::RestartDatabase {
            self.server.restart().await;
        } else {
            crash(&self.server, &mut rng).await;
        }
        drop(active);
    }

    /// Waits for one of `members` without an active fault, and reserves it.
    async fn free(&self, members: &[Arc<Member>], rng: &mut Rng) -> (Arc<Member>, OwnedMutexGuard<()>) {
        let mut members = members.to_vec();
        rng.shuffle(&mut members);
        eventually(DEADLINE, "a process to do harm to", async || {
            members.iter().find_map(|member| Some((Arc::clone(member), member.try_reserve()?)))
        })
        .await
    }

    /// Waits until the leading manager has no active fault, and reserves it.
    async fn free_leader(&self) -> (Arc<Member>, OwnedMutexGuard<()>) {
        eventually_ok(DEADLINE, "a leader to do harm to", async || {
            let leader = self.cluster.leader().await.map_err(|error| error.to_string())?;
            let leader = leader.ok_or("nobody leads")?;
            let reserved = leader.try_reserve().ok_or("it is being harmed")?;
            Ok::<_, String>((leader, reserved))
        })
        .await
    }

    fn is_over(&self) -> bool {
        let is_over = Instant::now() >= self.end;
        self.too_late.fetch_add(u64::from(is_over), Ordering::Relaxed);
        is_over
    }
}
