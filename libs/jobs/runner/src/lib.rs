//! Job handlers, and the runner that executes them.
//!
//! A kind of job is a [`Handler`] that is added to a [`Registry`]. The [`Runner`] takes
//! messages from a [`JobQueue`](jobs_queue::JobQueue), claims their jobs, calls their
//! handlers, and commits the effect of each job together with its success. A handler may
//! run more than once; the effect takes effect exactly once, even if processes crash.
//! [`testing`] calls a handler without database and broker.

mod config;
mod context;
mod gate;
mod handler;
mod metrics;
mod registry;
mod runner;
pub mod testing;

pub use config::Config;
pub use context::Context;
pub use handler::{Done, Failure, Handler, Limits};
pub use jobs_core::backoff::Backoff;
pub use jobs_store::{Parameter, Statement};
pub use metrics::Metrics;
pub use registry::Registry;
pub use runner::{Deps, Runner};
