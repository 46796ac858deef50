//! The server and its two clients.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use testkit::{Folder, Launch, Proxy, eventually_ok, free_port};

use super::Options;
use super::clients::Kind;
use crate::faults::Board;
use crate::fleet::Member;

/// Time limit for the first numbers.
const FIRST: Duration = Duration::from_mins(1);

/// Numbers after which the faults begin.
const WARM: u64 = 20;

/// The system of one part.
pub(super) struct Table {
    folder: Folder,
    pub(super) server: Arc<Member>,
    pub(super) clients: [Arc<Member>; 2],
    pub(super) kinds: [Kind; 2],
    pub(super) board: Board,
}

impl Table {
    /// Starts the system, and waits until it counts.
    pub(super) async fn lay(options: &Options, kinds: [Kind; 2], logs: &Path) -> Result<Self> {
        let folder = Folder::new("counting");
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let (program, data) = (options.programs.path("counting-server")?, folder.path().to_owned());
        let launch = move |_: &str| {
            Launch::new(&program)
                .env("LISTEN", address.to_string())
                .env("ADMIN_LISTEN", format!("127.0.0.1:{}", free_port()))
                .env("DATA_DIR", &data)
                .env("LOG_FORMAT", "json")
        };
        let server = Member::new("server", Proxy::start(address).await, logs, launch);
        let mut clients = Vec::new();
        for (kind, name) in kinds.into_iter().zip(["one", "two"]) {
            let proxy = Proxy::start(address).await;
            let launch = kind.launch(proxy.address(), options)?;
            clients.push(Member::new(name, proxy, logs, launch));
        }
        let Ok(clients) = <[_; 2]>::try_from(clients) else { anyhow::bail!("there are two clients") };
        let board = Board::new(&logs.join("faults.log"))?;
        let table = Self { folder, server, clients, kinds, board };
        table.members().for_each(Member::start);
        table.counts_to(WARM).await;
        Ok(table)
    }

    /// All processes: the server, and the clients.
    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        std::iter::once(&*self.server).chain(self.clients.iter().map(|client| &**client))
    }

    /// The path of the file.
    pub(super) fn file(&self) -> PathBuf {
        self.folder.path().join("numbers.txt")
    }

    /// Length of the file in bytes.
    pub(super) fn length(&self) -> u64 {
        std::fs::metadata(self.file()).map_or(0, |file| file.len())
    }

    /// Waits until the file has this many lines.
    pub(super) async fn counts_to(&self, number: u64) {
        let length = counting_words::lines::length(number);
        eventually_ok(FIRST, format!("the file has {number} lines"), async || {
            if self.length() >= length { Ok(()) } else { Err(format!("{} bytes", self.length())) }
        })
        .await;
    }

    /// The highest number of which a client has logged that it is acknowledged.
    pub(super) fn acknowledged(&self) -> u64 {
        let processes = self.clients.iter().zip(self.kinds);
        let numbers = processes.map(|(client, kind)| client.process().map_or(0, |it| kind.acknowledged(&it)));
        numbers.max().unwrap_or(0)
    }
}
