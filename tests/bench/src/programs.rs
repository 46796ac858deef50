//! The programs that are measured.

use std::path::PathBuf;

use anyhow::Context;
use testkit::Launch;

/// Starts from the program `name` of this workspace, built like this one: it
/// lies in the same folder. It gets a free port for its admin listener and logs
/// JSON.
pub(crate) fn launch(name: &str) -> anyhow::Result<Started> {
    let admin = testkit::free_port();
    let launch = Launch::new(find(name)?).env("ADMIN_LISTEN", format!("127.0.0.1:{admin}")).env("LOG_FORMAT", "json");
    Ok(Started { launch, admin })
}

/// How to start a program, and where to ask about it.
#[derive(Debug)]
pub(crate) struct Started {
    /// To be completed and spawned.
    pub(crate) launch: Launch,
    /// The port of its admin listener.
    pub(crate) admin: u16,
}

fn find(name: &str) -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name(name);
    anyhow::ensure!(program.is_file(), "{} is not built: use ci/bench", program.display());
    program.canonicalize().context("the program's path")
}
