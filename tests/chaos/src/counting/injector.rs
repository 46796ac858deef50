//! Injects faults: two sequences at a time.

use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Result, ensure};
use counting_words::lines::length;

use super::table::Table;
use crate::faults::{lock, plan};
use crate::fleet::Member;
use crate::rng::Rng;

/// The longest time for which a process is suspended: longer than the server and the clients wait
/// for a sign of life.
const SUSPENDED: Duration = Duration::from_secs(9);

/// The longest time until a killed process is started again.
const DOWN: Duration = Duration::from_secs(1);

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Kill(Target),
    Suspend(Target),
    Cut(usize),
    /// All three are killed.
    KillAll,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Server,
    Client(usize),
}

const KINDS: [Kind; 10] = [
    Kind::Kill(Target::Server),
    Kind::Kill(Target::Server),
    Kind::Kill(Target::Client(0)),
    Kind::Kill(Target::Client(1)),
    Kind::Suspend(Target::Server),
    Kind::Suspend(Target::Client(0)),
    Kind::Suspend(Target::Client(1)),
    Kind::Cut(0),
    Kind::Cut(1),
    Kind::KillAll,
];

/// Injects faults into one system.
pub(super) struct Injector<'a> {
    table: &'a Table,
    rng: Mutex<Rng>,
}

impl<'a> Injector<'a> {
    pub(super) const fn new(table: &'a Table, rng: Rng) -> Self {
        Self { table, rng: Mutex::new(rng) }
    }

    /// Injects this many faults, and waits until the last one is over.
    pub(super) async fn run(&self, faults: usize, pause: Duration) -> Result<()> {
        let sequences = [faults / 2, faults - faults / 2].map(|count| {
            let mut rng = lock(&self.rng).fork();
            let endless = pause * 2 * u32::try_from(count * 2).unwrap_or(u32::MAX);
            let mut planned = plan(&mut rng, &KINDS, endless, pause * 2);
            planned.truncate(count);
            async move {
                let mut before = Duration::ZERO;
                for fault in planned {
                    tokio::time::sleep(fault.at.saturating_sub(before)).await;
                    before = fault.at;
                    self.inject(fault.kind).await?;
                }
                anyhow::Ok(())
            }
        });
        let [first, second] = sequences;
        let (first, second) = tokio::join!(first, second);
        first.and(second)
    }

    async fn inject(&self, kind: Kind) -> Result<()> {
        match kind {
            Kind::Kill(target) => self.kill("SIGKILL", &[self.member(target)]).await,
            Kind::KillAll => self.kill("SIGKILL to all", &self.table.members().collect::<Vec<_>>()).await,
            Kind::Suspend(target) => {
                let member = self.member(target);
                let _reserved = member.reserve().await;
                let _active = self.table.board.begin("SIGSTOP", member.life());
                member.pause();
                tokio::time::sleep(self.duration(SUSPENDED)).await;
                member.resume();
                Ok(())
            }
            Kind::Cut(client) => {
                let _active = self.table.board.begin("cut connections", self.table.clients[client].name());
                self.table.clients[client].proxy().reset();
                Ok(())
            }
        }
    }

    /// Kills processes, and starts them again. What was acknowledged before has to be in the file.
    async fn kill(&self, fault: &'static str, members: &[&Member]) -> Result<()> {
        // All in the same order, so that two faults never wait for one another.
        let mut reserved = Vec::new();
        for member in members {
            reserved.push(member.reserve().await);
        }
        let names: Vec<_> = members.iter().map(|member| member.life()).collect();
        let _active = self.table.board.begin(fault, names.join(", "));
        for member in members {
            member.kill_and_wait().await;
        }
        let (acknowledged, found) = (self.table.acknowledged(), self.table.length());
        ensure!(
            found >= length(acknowledged),
            "{acknowledged} was acknowledged, and the file has only {found} bytes after {fault}: {names:?}"
        );
        for member in members {
            tokio::time::sleep(self.duration(DOWN)).await;
            member.start();
        }
        Ok(())
    }

    fn member(&self, target: Target) -> &Member {
        match target {
            Target::Server => &self.table.server,
            Target::Client(client) => &self.table.clients[client],
        }
    }

    fn duration(&self, longest: Duration) -> Duration {
        lock(&self.rng).duration(Duration::ZERO, longest)
    }
}
