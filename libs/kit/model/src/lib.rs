//! Exhaustive searches of models, for the tests of the pure cores.

mod search;
mod witnesses;

pub use crate::search::{catch, search};
pub use crate::witnesses::{Witness, Witnesses};
