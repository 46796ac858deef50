//! Injects the planned faults: into the processes of the jobs system, and at the same time
//! into the database and the broker.

use std::time::{Duration, Instant};

use anyhow::Result;
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use testkit::Server;

use super::cluster::{Cluster, LEASE};
use crate::faults::{self, Board};
use crate::fleet::Member;
use crate::rng::Rng;

/// Time that a proxy waits for the request whose reply it cuts.
const TRAPPED: Duration = Duration::from_secs(4);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OfProcess {
    KillMainApp,
    KillServiceApp,
    RollServiceApp,
    StopServiceApp,
    Reset,
    CutAcceptReply,
    CutClaimReply,
    CutFinishReply,
}

impl OfProcess {
    const ROUND: [Self; 9] = [
        Self::KillMainApp,
        Self::KillServiceApp,
        Self::KillServiceApp,
        Self::RollServiceApp,
        Self::StopServiceApp,
        Self::Reset,
        Self::CutAcceptReply,
        Self::CutClaimReply,
        Self::CutFinishReply,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::KillMainApp => "SIGKILL of a main-app",
            Self::KillServiceApp => "SIGKILL of a service-app",
            Self::RollServiceApp => "SIGTERM of a service-app",
            Self::StopServiceApp => "SIGSTOP of a service-app past its lease",
            Self::Reset => "connections to the database reset",
            Self::CutAcceptReply => "reply to an INSERT of jobs cut",
            Self::CutClaimReply => "reply to a claim cut",
            Self::CutFinishReply => "reply to an effect cut",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OfServers {
    KillBroker,
    RestartBroker,
    KillDatabase,
    RestartDatabase,
    DeleteBinding,
}

impl OfServers {
    const ROUND: [Self; 5] =
        [Self::KillBroker, Self::RestartBroker, Self::KillDatabase, Self::RestartDatabase, Self::DeleteBinding];

    const fn name(self) -> &'static str {
        match self {
            Self::KillBroker => "SIGKILL of the broker",
            Self::RestartBroker => "broker restarted",
            Self::KillDatabase => "SIGKILL of the database",
            Self::RestartDatabase => "database restarted",
            Self::DeleteBinding => "binding of a queue deleted",
        }
    }
}

/// Injects faults until `end`, each kind at least once.
pub(crate) async fn run(cluster: &Cluster, board: &Board, rng: &mut Rng, end: Instant) {
    let duration = end.saturating_duration_since(Instant::now());
    let (mut of_processes, mut of_servers) = (rng.fork(), rng.fork());
    let pause = Duration::from_millis(700);
    let processes = faults::plan(&mut of_processes, &OfProcess::ROUND, duration.max(pause * 20), pause);
    let servers = faults::plan(&mut of_servers, &OfServers::ROUND, duration.max(pause * 10), pause * 2);
    let break_processes = async {
        for (index, planned) in processes.iter().enumerate() {
            if index >= OfProcess::ROUND.len() && Instant::now() >= end {
                return;
            }
            tokio::time::sleep(of_processes.duration(pause / 2, pause * 3 / 2)).await;
            harm_process(cluster, board, planned.kind, &mut of_processes).await;
        }
    };
    let break_servers = async {
        for (index, planned) in servers.iter().enumerate() {
            if index >= OfServers::ROUND.len() && Instant::now() >= end {
                return;
            }
            tokio::time::sleep(of_servers.duration(pause, pause * 4)).await;
            if let Err(error) = harm_server(cluster, board, planned.kind, &mut of_servers).await {
                board.note(&format!("{}: {error:#}", planned.kind.name()));
            }
        }
    };
    tokio::join!(break_processes, break_servers);
}

async fn harm_process(cluster: &Cluster, board: &Board, fault: OfProcess, rng: &mut Rng) {
    let candidates = match fault {
        OfProcess::KillMainApp | OfProcess::CutAcceptReply => &cluster.main_apps,
        _ => &cluster.service_apps,
    };
    let Some(member) = rng.pick(candidates) else { return };
    match fault {
        OfProcess::CutAcceptReply => return cut_reply(board, member, fault, "INSERT INTO jobs").await,
        OfProcess::CutClaimReply => return cut_reply(board, member, fault, "lease_owner = ").await,
        OfProcess::CutFinishReply => return cut_reply(board, member, fault, "INTO user_requests").await,
        _ => {}
    }
    let _active = board.begin(fault.name(), member.life());
    match fault {
        OfProcess::Reset => member.proxy().reset(),
        OfProcess::StopServiceApp => {
            member.pause();
            tokio::time::sleep(LEASE + rng.duration(Duration::from_millis(500), Duration::from_secs(2))).await;
            member.resume();
        }
        OfProcess::RollServiceApp => {
            member.terminate_and_wait(Duration::from_mins(1)).await;
            member.start();
        }
        _ => {
            member.kill_and_wait().await;
            tokio::time::sleep(rng.duration(Duration::from_millis(50), Duration::from_secs(1))).await;
            member.start();
        }
    }
}

async fn cut_reply(board: &Board, member: &Member, fault: OfProcess, text: &str) {
    member.proxy().cut_reply_to(text);
    let until = Instant::now() + TRAPPED;
    while member.proxy().is_trap_set() {
        if Instant::now() >= until {
            // An empty text matches no request.
            return member.proxy().cut_reply_to(Vec::new());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    drop(board.begin(fault.name(), member.life()));
}

async fn harm_server(cluster: &Cluster, board: &Board, fault: OfServers, rng: &mut Rng) -> Result<()> {
    let active = board.begin(fault.name(), "all");
    let away = rng.duration(Duration::from_millis(200), Duration::from_secs(2));
    match fault {
        OfServers::KillBroker => {
            cluster.broker.kill();
            tokio::time::sleep(away).await;
            cluster.broker.up().await;
        }
        OfServers::RestartBroker => cluster.broker.restart().await,
        OfServers::KillDatabase => {
            cluster.database_server.kill();
            tokio::time::sleep(away).await;
            cluster.database_server.up().await;
        }
        OfServers::RestartDatabase => cluster.database_server.restart().await,
        OfServers::DeleteBinding => {
            let priority = *rng.pick(&["high", "default", "low"]).unwrap_or(&"default");
            let unbind = unbind(cluster.broker.url(), priority);
            tokio::time::timeout(Duration::from_secs(20), unbind).await??;
        }
    }
    drop(active);
    Ok(())
}

async fn unbind(url: &str, priority: &'static str) -> Result<()> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let queue = format!("jobs.{priority}");
    channel.queue_unbind(queue.as_str().into(), "jobs".into(), priority.into(), FieldTable::default()).await?;
    Ok(connection.close(200, "done".into()).await?)
}
