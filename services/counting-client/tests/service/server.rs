//! Counting servers made of the official packages, as processes.

use std::path::PathBuf;
use std::time::Duration;

use testkit::{Folder, Launch, Process, free_port};

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

const PROGRAM: &str = env!("CARGO_BIN_EXE_counting-client");

/// Who wrote the package of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The official `socket.io`.
    JavaScript,
    /// `python-socketio`.
    Python,
}

impl Kind {
    pub(crate) const ALL: [Self; 2] = [Self::JavaScript, Self::Python];
}

/// A server that runs, and can be killed and started again on its port.
pub(crate) struct Server {
    kind: Kind,
    port: u16,
    folder: Folder,
    environment: Vec<(&'static str, String)>,
    process: Process,
}

impl Server {
    pub(crate) async fn start(kind: Kind) -> Self {
        Self::start_with(kind, &[]).await
    }

    pub(crate) async fn start_with(kind: Kind, environment: &[(&'static str, u64)]) -> Self {
        let (folder, port) = (Folder::new("counting"), free_port());
        let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.to_string())).collect();
        let process = launch(kind, port, &folder, &environment).await;
        Self { kind, port, folder, environment, process }
    }

    /// Kills the server, and starts it again.
    pub(crate) async fn restart(&mut self) {
        self.kill().await;
        self.process = launch(self.kind, self.port, &self.folder, &self.environment).await;
    }

    pub(crate) async fn kill(&self) {
        self.process.kill();
        self.process.wait(PATIENCE).await;
    }

    /// Pauses the server: it is there, and answers nothing.
    pub(crate) fn pause(&self) {
        self.process.pause();
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) const fn process(&self) -> &Process {
        &self.process
    }

    /// The numbers that the server has stored, in the order of their arrival.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        let text = std::fs::read_to_string(file(&self.folder)).unwrap_or_default();
        // The last line may be under way.
        let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        lines.map(|line| line.trim_end().split(' ').next_back().unwrap().parse().unwrap()).collect()
    }

    /// Waits until so many numbers are stored.
    pub(crate) async fn until_stored(&self, count: usize) {
        testkit::eventually(PATIENCE, "numbers", async || {
            let is_alive = self.process.exit_status().is_none();
            assert!(is_alive, "the server has ended{}", self.process.tail());
            (self.numbers().len() >= count).then_some(())
        })
        .await;
    }

    /// Asserts that the numbers up to `last` are stored, each once and those of a role in order.
    pub(crate) fn assert_counted(&self, last: u64) {
        self.assert_counted_so_far();
        assert_eq!(self.numbers().len() as u64, last, "{:?}", self.kind);
    }

    /// Asserts that the numbers of each role are stored without a gap, each once and in order.
    pub(crate) fn assert_counted_so_far(&self) {
        let numbers = self.numbers();
        for first in [1, 2] {
            let of_role: Vec<u64> = numbers.iter().copied().filter(|number| number % 2 == first % 2).collect();
            assert_eq!(of_role, (first..).step_by(2).take(of_role.len()).collect::<Vec<_>>(), "{:?}", self.kind);
        }
    }
}

fn file(folder: &Folder) -> PathBuf {
    folder.path().join("numbers")
}

async fn launch(kind: Kind, port: u16, folder: &Folder, environment: &[(&'static str, String)]) -> Process {
    let servers = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers");
    let launch = match kind {
        Kind::JavaScript => {
            let modules = packages("node_modules");
            Launch::new("node").env("NODE_PATH", modules).arg(format!("{servers}/server.js"))
        }
        Kind::Python => Launch::new(packages("python/bin/python")).arg(format!("{servers}/server.py")),
    };
    let launch = launch.arg(port.to_string()).arg(file(folder));
    let launch = environment.iter().fold(launch, |launch, (name, value)| launch.env(name, value));
    let process = launch.name(format!("{kind:?}")).spawn();
    process.wait_for_line(PATIENCE, "its start", |line| line == "listening").await;
    process
}

/// A path below the folder in which `ci/test` installs the packages of Socket.IO.
fn packages(path: &str) -> PathBuf {
    let program = std::env::current_exe().expect("a test program has a path");
    let target = program.ancestors().nth(3).expect("a test program is in target/<profile>/deps");
    let path = target.join("tools/socket-io").join(path);
    assert!(path.exists(), "{} is missing: run ci/install-socket-io", path.display());
    path
}

/// How a client starts.
pub(crate) fn client(url: &str) -> Launch {
    Launch::new(PROGRAM)
        .env("SERVER_URL", url)
        .env("INTERVAL", "0")
        .env("LOG_FORMAT", "json")
        .env("ADMIN_LISTEN", format!("127.0.0.1:{}", free_port()))
}

/// Two clients that count to `until` at these addresses.
pub(crate) fn clients(urls: [&str; 2], interval: &str, until: u64) -> [Process; 2] {
    urls.map(|url| client(url).env("INTERVAL", interval).env("UNTIL", until.to_string()).spawn())
}

/// Waits until clients have counted to the end.
pub(crate) async fn end(clients: &[Process]) {
    for client in clients {
        assert!(client.wait(2 * PATIENCE).await.success(), "{}", client.tail());
    }
}

/// Waits for a line of the log of a client, after the first `from`, that has all these texts.
pub(crate) async fn logged(client: &Process, from: usize, texts: &[&str]) -> String {
    let is_wanted = |line: &str| texts.iter().all(|text| line.contains(text));
    client.wait_for_line_from(from, PATIENCE, format!("{texts:?}"), is_wanted).await.text
}
