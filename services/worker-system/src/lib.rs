//! All of worker-system in one process on embedded stores.
//!
//! The very services that run in pods elsewhere, with another backend behind
//! the same traits: SQLite for the database, tasks for pods.

pub mod config;
pub mod index;
pub mod jobs;
mod tasks;
pub mod values;
pub mod visits;
