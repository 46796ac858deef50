//! All of worker-system in one process, on embedded stores.
//!
//! It runs the same services as the pods of a cluster, with other backends behind the
//! same traits: SQLite for the databases, tasks for pods.

pub mod config;
pub mod counting;
pub mod data_folder;
pub mod index;
pub mod jobs;
pub mod part;
pub mod round_robin;
pub mod settings;
pub mod values;
pub mod visits;
mod worker_tasks;
