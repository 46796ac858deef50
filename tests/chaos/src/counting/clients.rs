//! The kinds of clients.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Result;
use testkit::{Launch, Process, free_port};

use super::Options;

/// A kind of client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// counting-client.
    Rust,
    /// The official package of JavaScript, which connects again by itself.
    JavaScript,
    /// python-socketio, which connects again by itself.
    Python,
    /// python-socketio as in the field: it never looks back, and ends when it is disconnected.
    Field,
}

impl Kind {
    /// Whether a client of this kind ends by itself, and its platform starts it again.
    pub(super) const fn ends(self) -> bool {
        !matches!(self, Self::Rust)
    }

    /// The launch of a client that connects to `server`.
    pub(super) fn launch(self, server: SocketAddr, options: &Options) -> Result<impl Fn(&str) -> Launch + use<>> {
        let program = options.programs.path("counting-client")?;
        let packages = options.packages.clone();
        let url = format!("http://{server}");
        Ok(move |_: &str| match self {
            Self::Rust => Launch::new(&program)
                .env("SERVER_URL", &url)
                .env("INTERVAL", "0s")
                .env("ADMIN_LISTEN", format!("127.0.0.1:{}", free_port()))
                .env("LOG_FORMAT", "json"),
            Self::JavaScript => Launch::new("node")
                .arg(script("client.js"))
                .arg(&url)
                .env("NODE_PATH", packages.join("node_modules")),
            Self::Python => python(&packages).arg(&url).arg("resume"),
            Self::Field => python(&packages).arg(&url).arg("field"),
        })
    }

    /// The highest number of which the log of a process says that it is acknowledged; 0 if none.
    pub(super) fn acknowledged(self, process: &Process) -> u64 {
        let lines = process.lines();
        let numbers = lines.iter().filter_map(|line| match self {
            Self::Rust => {
                let line: serde_json::Value = serde_json::from_str(&line.text).ok()?;
                // The line about a refused number has a number, too.
                line["message"].as_str()?.starts_with("acknowledged").then(|| line["number"].as_u64())?
            }
            _ => line.text.strip_prefix("ack ")?.parse().ok(),
        });
        numbers.max().unwrap_or(0)
    }
}

fn python(packages: &Path) -> Launch {
    Launch::new(packages.join("python/bin/python")).arg(script("client.py"))
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(name)
}
