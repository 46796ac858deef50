//! The server, step by step and in random histories.

mod histories;
mod steps;
