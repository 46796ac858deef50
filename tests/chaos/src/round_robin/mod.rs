//! Fault injection for the round robin system.
//!
//! Part 1 breaks everything while clients send. Part 2 sends at full load without faults, and looks
//! at the turns. Part 3 rolls the replicas while clients are disconnected. Each part ends with the
//! binary log, which holds the whole history, commit by commit.

mod cluster;
mod disturbed;
mod history;
mod injector;
mod judge;
mod library;
mod record;
mod roll;
mod rows;
mod service;
mod socket;
mod steady;
mod web;
mod wire;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::fleet::Programs;
use crate::report::Report;
use crate::rng::Rng;

/// Options of a run.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) seed: u64,
    /// Time over which faults are injected.
    pub(crate) duration: Duration,
    /// Mean time between two faults.
    pub(crate) pause: Duration,
    /// Number of turns at full load.
    pub(crate) turns: u32,
    /// Numbers of replicas at full load.
    pub(crate) replicas: Vec<usize>,
    /// Number of disconnects while replicas are rolled.
    pub(crate) disconnects: usize,
    /// Whether the run is short: times are reported and not judged.
    pub(crate) short: bool,
    pub(crate) programs: Programs,
    pub(crate) logs: PathBuf,
}

/// Runs all parts.
pub(crate) async fn run(options: Options) -> Result<Report> {
    let mut rng = Rng::new(options.seed);
    let mut report = Report::default();
    let (disturbed, rolled) = (rng.fork(), rng.fork());
    if !options.duration.is_zero() {
        disturbed::run(&options, disturbed, &mut report).await?;
    }
    if options.turns > 0 {
        for replicas in &options.replicas {
            steady::run(&options, *replicas, &mut report).await?;
        }
    }
    if options.disconnects > 0 {
        roll::run(&options, rolled, &mut report).await?;
    }
    Ok(report)
}
