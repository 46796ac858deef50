//! Handlers of jobs, and what runs them.
//!
//! A kind of job is a [`Handler`], and one line that [registers](Registry::with) it.
//! The [`Runner`] takes messages from a [`dispatch`], claims their jobs, runs their
//! handlers, and commits the effect of each together with its success: exactly once,
//! whatever dies meanwhile. [`testing`] runs a handler without any of that.

mod config;
mod context;
mod gate;
mod handler;
mod metrics;
mod registry;
mod runner;
pub mod testing;

use uuid::Uuid;

pub use config::Config;
pub use context::Context;
pub use handler::{Done, Failure, Handler, Limits};
pub use jobs_core::backoff::Backoff;
pub use jobs_store::{Parameter, Statement};
pub use metrics::Metrics;
pub use registry::Registry;
pub use runner::{Deps, Runner};

/// Anything, to spread what would otherwise happen at once.
#[must_use]
pub fn random() -> u64 {
    // The last bits of such an id are.
    let (_, low) = Uuid::now_v7().as_u64_pair();
    low & 0x3fff_ffff_ffff_ffff
}
