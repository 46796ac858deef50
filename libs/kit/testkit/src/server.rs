//! What all servers have in common: they can be stopped, killed and started again.

use std::fmt::{Debug, Display};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use url::Url;

use crate::process::lock;
use crate::{Folder, Launch, Process, eventually_ok};

/// How long a server may take to start, on a busy machine and after a crash.
pub(crate) const START: Duration = Duration::from_mins(2);

/// The process behind a private server, and what is needed to start it again.
#[derive(Debug)]
pub struct Private {
    name: &'static str,
    folder: Folder,
    launch: Launch,
    process: Mutex<Option<Process>>,
}

impl Private {
    /// A server that has not been started yet. `name` is what failures call it.
    pub(crate) fn new(name: &'static str, folder: Folder, launch: Launch) -> Self {
        Self { name, folder, launch, process: Mutex::default() }
    }

    /// Where its data is.
    pub(crate) const fn folder(&self) -> &Folder {
        &self.folder
    }

    fn take(&self) -> Option<Process> {
        lock(&self.process).take()
    }
}

/// Faults for a private server.
#[expect(async_fn_in_trait, reason = "used with the servers of this crate only, whose futures can be sent")]
pub trait Server {
    /// Its process.
    ///
    /// # Panics
    /// When it is the shared server that a `TEST_…` variable names.
    fn private(&self) -> &Private;

    /// Asks the server whether it is there.
    async fn ping(&self) -> Result<(), impl Display + Debug>;

    /// Ends the server in order, and waits for it.
    async fn stop(&self) {
        if let Some(process) = self.private().take() {
            process.terminate();
            process.wait(START).await;
        }
    }

    /// Kills the server, as a crash does.
    fn kill(&self) {
        drop(self.private().take());
    }

    /// Starts the server when it is not running, on the same port and data, and
    /// waits until it answers.
    ///
    /// # Panics
    /// When it does not, with its log.
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

    /// Ends the server in order and starts it again.
    async fn restart(&self) {
        self.stop().await;
        self.up().await;
    }

    /// Stops the server where it is: it keeps its connections and locks, and
    /// answers nothing.
    fn pause(&self) {
        if let Some(process) = lock(&self.private().process).as_ref() {
            process.pause();
        }
    }

    /// Lets the server go on after [`Self::pause`].
    fn resume(&self) {
        if let Some(process) = lock(&self.private().process).as_ref() {
            process.resume();
        }
    }
}

/// Where the server of `url` listens.
///
/// # Panics
/// When the URL has a name in place of an address.
pub(crate) fn address(url: &Url, default_port: u16) -> SocketAddr {
    let host = url.host_str().unwrap_or("127.0.0.1").replace("localhost", "127.0.0.1");
    format!("{host}:{}", url.port().unwrap_or(default_port)).parse().expect("a URL with an address")
}

/// A name that begins with `name` and that no other test has been given.
pub(crate) fn unique(name: &str, separator: char) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    format!("{name}{separator}{process}{separator}{count}")
}
