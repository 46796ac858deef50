//! The whole process, as `cargo run` starts it.

mod page;
mod process;
mod running;
