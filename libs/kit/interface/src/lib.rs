//! The interface of a program as text, for snapshots.
//!
//! Snapshots are in the repository, so a change of an interface is a diff in review.
//! Parts that vary from run to run are replaced by fixed text.

mod text;

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use testkit::{Launch, Process, eventually_ok, free_port};

/// The time that a program may take to answer on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The output of `program --help`, without the influence of the environment. The id of the
/// process, which default names contain, is replaced by `ID`.
///
/// # Panics
/// If the program fails.
#[must_use]
pub fn help(program: &str) -> String {
    let mut command = Command::new(program);
    let child = command.arg("--help").env_clear().stdout(Stdio::piped()).spawn().expect("the program starts");
    let id = child.id();
    let output = child.wait_with_output().expect("the program ends");
    assert!(output.status.success(), "{program} --help: {}", output.status);
    let help = String::from_utf8(output.stdout).expect("help is UTF-8");
    let help = help.replace(&format!("-{id}]"), "-ID]");
    help.lines().flat_map(|line| [line.trim_end(), "\n"]).collect()
}

/// A running program whose interface is read over HTTP.
#[derive(Debug)]
pub struct Program {
    public: String,
    admin: String,
    _process: Process,
}

impl Program {
    /// Starts a program on two free ports and waits until it is ready. The
    /// environment variable `listen` sets the address of its public listener.
    ///
    /// # Panics
    /// If the program is not ready in time.
    pub async fn start(launch: Launch, listen: &str) -> Self {
        let (public, admin) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
        let process = launch.env(listen, &public).env("ADMIN_LISTEN", &admin).spawn();
        let program = Self { public, admin, _process: process };
        program.request(&program.admin, "/readyz").await;
        program
    }

    /// The description of the API, as indented JSON.
    ///
    /// # Panics
    /// If there is none.
    pub async fn openapi(&self) -> String {
        let text = self.request(&self.public, "/openapi.json").await;
        let description: Value = serde_json::from_str(&text).expect("the description is JSON");
        serde_json::to_string_pretty(&description).expect("the description is plain data")
    }

    /// A page, with one tag per line, without the versions of files and the ports of
    /// loopback addresses.
    ///
    /// # Panics
    /// If there is none.
    pub async fn page(&self, path: &str) -> String {
        text::page(&self.request(&self.public, path).await)
    }

    /// The page at `path` once it contains `shown`, which the program shows some time after its
    /// start.
    ///
    /// # Panics
    /// If the page does not contain it in time.
    pub async fn page_with(&self, path: &str, shown: &str) -> String {
        eventually_ok(PATIENCE, "the page", async || {
            let page = self.page(path).await;
            if page.contains(shown) { Ok(page) } else { Err(page) }
        })
        .await
    }

    /// The metrics with their labels, but without values. Families whose samples appear
    /// later, such as after the first look at a store, are waited for.
    ///
    /// # Panics
    /// If one of `families` has no sample in time.
    pub async fn metrics(&self, families: &[&str]) -> String {
        eventually_ok(PATIENCE, "metrics", async || {
            let metrics = text::metrics(&self.request(&self.admin, "/metrics").await);
            let has = |family: &&&str| metrics.lines().any(|line| line.split('{').next() == Some(**family));
            match families.iter().find(|family| !has(family)) {
                Some(family) => Err(format!("no sample of {family}")),
                None => Ok(metrics),
            }
        })
        .await
    }

    async fn request(&self, address: &str, path: &str) -> String {
        let url = format!("http://{address}{path}");
        eventually_ok(PATIENCE, &url, async || testkit::http_get(&url).await?.error_for_status()?.text().await).await
    }
}
