//! What every service does the same way.
//!
//! A service is a library with a `Config` (clap; each flag is also an
//! environment variable), its `Deps`, and a value that runs until its
//! [`Shutdown`] says otherwise. Libraries never read the environment, bind ports,
//! install signal handlers or set a global subscriber: a `main` does, by
//! [`run`], in a few lines. So the same services run each in a pod of their own,
//! or all in one process.

pub mod admin;
pub mod assets;
pub mod config;
pub mod extract;
pub mod health;
pub mod http;
pub mod openapi;
pub mod page;
pub mod problem;
pub mod readiness;
pub mod requests;
pub mod run;
pub mod shutdown;
pub mod telemetry;

pub use config::{Common, HumanDuration};
pub use problem::Problem;
pub use prometheus_client;
pub use readiness::Readiness;
pub use run::{App, run};
pub use shutdown::Shutdown;
