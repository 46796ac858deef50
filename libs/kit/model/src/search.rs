//! Searches for states that break a property.

use std::hash::Hash;
use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model};

/// Threads of a search: the cores that the tests are made for.
const THREADS: usize = 2;

/// Searches all states of `model`, or until a property fails. Prints their number and the time.
/// The caller asserts what the result has to be.
pub fn search<M>(name: &str, model: M) -> impl Checker<M>
where
    M: Model + Send + Sync + 'static,
    M::State: Hash + Send + Sync + Clone + PartialEq + 'static,
    M::Action: Clone + PartialEq,
{
    let started = Instant::now();
    let checker = model.checker().threads(THREADS).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    println!(
        "{name}: {} states, {} steps, depth {}, {:.1?}",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        started.elapsed()
    );
    checker
}

/// Finds a counterexample to `property`, and returns the number of its steps. The model has a
/// mistake that violates the property.
///
/// # Panics
/// If there is none: the search does not find such mistakes.
pub fn catch<M>(model: M, property: &'static str) -> usize
where
    M: Model + Send + Sync + 'static,
    M::State: Hash + Send + Sync + Clone + PartialEq + 'static,
    M::Action: Clone + PartialEq,
{
    let wanted = HasDiscoveries::AnyOf([property].into());
    let checker = model.checker().threads(THREADS).finish_when(wanted).spawn_bfs().join();
    checker.assert_any_discovery(property).into_actions().len()
}
