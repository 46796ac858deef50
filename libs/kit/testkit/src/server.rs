//! Faults that all servers support: stop, kill, pause and restart.

use std::fmt::{Debug, Display};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use url::Url;

use crate::process::lock;
use crate::{Folder, Launch, Process, eventually_ok};

/// The longest time that a server may take to start, on a busy machine and after a crash.
pub(crate) const START: Duration = Duration::from_mins(2);

/// The process of a private server, and how to start it again.
#[derive(Debug)]
pub struct Private {
    name: &'static str,
    folder: Folder,
    launch: Launch,
    process: Mutex<Option<Process>>,
}

impl Private {
    /// Describes a server that has not been started yet. `name` appears in messages.
    pub(crate) fn new(name: &'static str, folder: Folder, launch: Launch) -> Self {
        Self { name, folder, launch, process: Mutex::default() }
    }

    /// The folder with the data of the server.
    pub(crate) const fn folder(&self) -> &Folder {
        &self.folder
    }

    fn take(&self) -> Option<Process> {
        lock(&self.process).take()
    }
}

/// Faults of a private server.
#[expect(async_fn_in_trait, reason = "used with the servers of this crate only, whose futures can be sent")]
pub trait Server {
    /// The private server.
    ///
    /// # Panics
    /// When a `TEST_…` variable names the server: it is not private.
    fn private(&self) -> &Private;

    /// Checks whether the server answers.
    async fn ping(&self) -> Result<(), impl Display + Debug>;

    /// Asks the server to end (SIGTERM), and waits until it has.
    async fn stop(&self) {
        if let Some(process) = self.private().take() {
            process.terminate();
            process.wait(START).await;
        }
    }

    /// Kills the server (SIGKILL), as in a crash.
    fn kill(&self) {
        drop(self.private().take());
    }

    /// Starts the server again after [`Self::stop`] or [`Self::kill`], on the same port
    /// and data, and waits until it answers.
    ///
    /// # Panics
    /// When it does not answer. The message contains its last lines.
    async fn up(&self) {
        let Private { name, launch, .. } = self.private();
        let process = launch.clone().spawn();
        eventually_ok(START, format!("{name} to answer"), async || {
            assert!(process.exit_status().is_none(), "{name} ended{}", process.tail());
            self.ping().await
        })
        .await;
        *lock(&self.private().process) = Some(process);
    }

    /// Stops the server and starts it again.
    async fn restart(&self) {
        self.stop().await;
        self.up().await;
    }

    /// Pauses the server (SIGSTOP): it keeps its connections and locks, but does not
    /// answer.
    fn pause(&self) {
        if let Some(process) = lock(&self.private().process).as_ref() {
            process.pause();
        }
    }

    /// Continues the server after [`Self::pause`].
    fn resume(&self) {
        if let Some(process) = lock(&self.private().process).as_ref() {
            process.resume();
        }
    }
}

/// Returns the address in `url`.
///
/// # Panics
/// When the URL contains a host name instead of an address.
pub(crate) fn address(url: &Url, default_port: u16) -> SocketAddr {
    let host = url.host_str().unwrap_or("127.0.0.1").replace("localhost", "127.0.0.1");
    format!("{host}:{}", url.port().unwrap_or(default_port)).parse().expect("a URL with an address")
}

/// Returns a name that begins with `name` and that no other test receives.
pub(crate) fn unique(name: &str, separator: char) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    format!("{name}{separator}{process}{separator}{count}")
}
