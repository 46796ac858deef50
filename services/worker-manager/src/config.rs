//! Configuration.

use clap::Args;
use kit_process::HumanDuration;
use kit_process::config::{Invalid, invalid};
use values_core::{manager, scaling};

/// The configuration of a manager.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// The manager's name in the lease; in Kubernetes, the name of its pod.
    #[arg(id = "manager_name", long, env = "MANAGER_NAME", default_value_t = kit_process::config::process_name("worker-manager"))]
    pub name: String,

    /// Maximum number of ids of a worker; the same as the workers' CAPACITY.
    #[arg(long, env = "CAPACITY", default_value = "20", value_parser = clap::value_parser!(u32).range(1..))]
    pub capacity: u32,

    /// Number of workers beyond what the ids need, so that a failover finds room at once.
    #[arg(long, env = "SPARE", default_value = "1")]
    pub spare: u32,

    /// Minimum number of workers.
    #[arg(long, env = "MIN_WORKERS", default_value = "2")]
    pub min_workers: u32,

    /// Maximum number of workers.
    #[arg(long, env = "MAX_WORKERS", default_value = "50", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_workers: u32,

    /// What decides on the number of workers.
    #[arg(long, env = "SCALING_MODE", value_enum, default_value = "auto")]
    pub scaling_mode: Mode,

    /// How long fewer workers must have sufficed before one is removed, and how long a
    /// scale made by hand is left alone.
    #[arg(long, env = "QUIET_WINDOW", default_value = "60s")]
    pub quiet_window: HumanDuration,

    /// A worker without a heartbeat for this long is dead. Workers write one
    /// every half second.
    #[arg(long, env = "DEAD_AFTER", default_value = "2s", value_parser = at_least_one_second)]
    pub dead_after: HumanDuration,
}

/// What decides on the number of workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// The manager does.
    Auto,
    /// The operator does; the manager only redistributes.
    Manual,
}

/// Ids moved in one transaction. It takes some 20 ms, during which the ids do not tick.
const BATCH: u64 = 2000;

impl Config {
    /// Checks whether the settings fit together.
    ///
    /// # Errors
    /// The minimum number of workers is above the maximum.
    pub fn check(&self) -> Result<(), Invalid> {
        let Self { min_workers, max_workers, .. } = self;
        if min_workers > max_workers {
            let reason = format!("{max_workers} is below MIN_WORKERS, which is {min_workers}");
            return Err(invalid("MAX_WORKERS", reason));
        }
        Ok(())
    }

    pub(crate) fn policy(&self) -> manager::Policy {
        manager::Policy {
            dead_after_ms: self.dead_after.as_millis(),
            batch: BATCH,
            scaling: scaling::Policy {
                mode: match self.scaling_mode {
                    Mode::Auto => scaling::Mode::Auto,
                    Mode::Manual => scaling::Mode::Manual,
                },
                capacity: self.capacity,
                spare: self.spare,
                min: self.min_workers,
                max: self.max_workers,
                quiet_window_ms: self.quiet_window.as_millis(),
            },
        }
    }
}

fn at_least_one_second(text: &str) -> Result<HumanDuration, String> {
    let duration = text.parse::<HumanDuration>().map_err(|error| format!("{error}"))?;
    if duration.as_millis() < 1000 {
        return Err("must be at least 1s, twice the workers' heartbeat".to_owned());
    }
    Ok(duration)
}
