//! The programs that are measured.

use std::path::PathBuf;

use anyhow::Context;
use testkit::Launch;

/// Prepares to start the program `name` of this workspace, from the folder of this
/// program. It gets a free port for its admin listener and logs JSON.
pub(crate) fn launch(name: &str) -> anyhow::Result<Started> {
    let admin = testkit::free_port();
    let launch = Launch::new(find(name)?).env("ADMIN_LISTEN", format!("127.0.0.1:{admin}")).env("LOG_FORMAT", "json");
    Ok(Started { launch, admin })
}

/// A prepared program, and the port of its admin listener.
#[derive(Debug)]
pub(crate) struct Started {
    /// Launch, to be completed and spawned.
    pub(crate) launch: Launch,
    /// The port of its admin listener.
    pub(crate) admin: u16,
}

fn find(name: &str) -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name(name);
    anyhow::ensure!(program.is_file(), "{} is not built: use ci/bench", program.display());
    program.canonicalize().context("the program's path")
}
