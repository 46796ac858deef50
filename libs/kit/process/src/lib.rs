//! The parts that every process needs: configuration, logs and traces, readiness,
//! supervised tasks, shutdown.
//!
//! A service is a library: it takes a configuration and its dependencies, and runs until
//! its [`Shutdown`] drains. It never reads the environment, binds a port, installs a
//! signal handler or sets a global subscriber. Its `main` does so, by [`run`]. So each
//! service can run in a pod of its own, or all services in one process.
//!
//! HTTP is in `kit-web`.

pub mod config;
pub mod descriptors;
pub mod health;
pub mod metrics;
pub mod output;
pub mod readiness;
pub mod run;
pub mod shutdown;
pub mod tasks;
pub mod telemetry;
pub mod watch;

pub use config::{Common, HumanDuration};
pub use output::Output;
pub use prometheus_client;
pub use readiness::Readiness;
pub use run::{App, run};
pub use shutdown::Shutdown;
pub use tasks::{Spawner, TaskFailed, Tasks};
pub use watch::{StoreWatch, watch_store};
