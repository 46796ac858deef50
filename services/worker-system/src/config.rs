//! What can be set.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::Parser;
use kit_http_client::Allowlist;
use kit_process::{Common, HumanDuration};

/// All of worker-system in one process, with nothing else installed.
#[derive(Debug, Parser)]
#[command(name = "worker-system", version)]
pub struct Config {
    /// What every service can be told.
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

    /// What visit-counter can be told.
    #[command(flatten)]
    pub visits: visit_counter::Config,

    /// Address of main-app.
    #[arg(long, env = "JOBS_LISTEN", default_value_t = local(8003))]
    pub jobs_listen: SocketAddr,

    /// How long a job of the kind user-request takes.
    #[arg(long, env = "PROCESSING_TIME", default_value = "1s")]
    pub processing_time: HumanDuration,

    /// Hosts that jobs and callbacks may call, with commas in between. None by default.
    #[arg(long, env = "ALLOWED_HOSTS", default_value_t)]
    pub allowed_hosts: Allowlist,

    /// Whether those hosts may be at private addresses, too.
    #[arg(long, env = "ALLOW_PRIVATE_ADDRESSES")]
    pub allow_private_addresses: bool,

    /// How many ids a worker may own.
    #[arg(long, env = "CAPACITY", default_value = "20", value_parser = clap::value_parser!(u32).range(1..))]
    pub capacity: u32,

    /// Never fewer workers than this.
    #[arg(long, env = "MIN_WORKERS", default_value = "3")]
    pub min_workers: u32,

    /// Never more workers than this.
    #[arg(long, env = "MAX_WORKERS", default_value = "50", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_workers: u32,
}

impl Config {
    /// What every service can be told; on this machine alone, the admin listener too.
    #[must_use]
    pub fn common(&self) -> Common {
        Common { admin_listen: self.common.admin_listen.or(Some(local(9090))), ..self.common.clone() }
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
