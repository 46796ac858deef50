//! The whole process, as `cargo run` starts it.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod assets;
mod browser;
mod counting;
mod descriptors;
mod disk;
mod jobs;
mod live;
mod output;
mod page;
mod process;
mod round_robin;
mod running;
mod supervision;
mod traces;
mod visits;
