//! The command line.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::Parser;
use kit_process::Common;

use crate::settings::Settings;

/// All of worker-system in one process, with nothing else installed.
#[derive(Debug, Parser)]
#[command(name = "worker-system", version)]
pub struct Config {
    #[command(flatten)]
    common: Common,

    /// A folder that outlives the process. It is created.
    #[arg(long, env = "DATA_DIR", default_value = "data", conflicts_with = "ephemeral")]
    pub data_dir: PathBuf,

    /// Keep everything in a temporary folder that goes with the process.
    #[arg(long)]
    pub ephemeral: bool,

    /// Address of the page that links to all others.
    #[arg(long, env = "INDEX_LISTEN", default_value_t = local(8080))]
    pub index_listen: SocketAddr,

    /// Address of values-api.
    #[arg(long, env = "VALUES_LISTEN", default_value_t = local(8001))]
    pub values_listen: SocketAddr,

    /// Address of visit-counter.
    #[arg(long, env = "VISITS_LISTEN", default_value_t = local(8000))]
    pub visits_listen: SocketAddr,

    /// Address of main-app.
    #[arg(long, env = "JOBS_LISTEN", default_value_t = local(8003))]
    pub jobs_listen: SocketAddr,

    /// Address of round-robin-server.
    #[arg(long, env = "ROUND_ROBIN_LISTEN", default_value_t = local(8002))]
    pub round_robin_listen: SocketAddr,

    /// Address of counting-server.
    #[arg(long, env = "COUNTING_LISTEN", default_value_t = local(5000))]
    pub counting_listen: SocketAddr,

    /// The settings of the services.
    #[command(flatten)]
    pub settings: Settings,
}

impl Config {
    /// The settings of every process, with the admin listener on this machine only.
    #[must_use]
    pub fn common(&self) -> Common {
        Common { admin_listen: self.common.admin_listen.or(Some(local(9090))), ..self.common.clone() }
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
