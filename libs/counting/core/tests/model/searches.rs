//! The searches. Each has a few faults in one part of the protocol; together they cover more
//! than a single search could in the time of a test.

use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model};

use crate::state::{Budget, Config, Rule};
use crate::{CALM, Mutation, PROGRESS, Protocol};

const NOTHING: Budget =
    Budget { cuts: 0, client_crashes: 0, server_crashes: 0, store_failures: 0, early_deadlines: 0, further_clients: 0 };

/// A connection breaks, and the client counts on or ends.
const CUTS: Config =
    Config { name: "cuts", goal: 3, until: 4, in_flight: 2, notices: true, budget: Budget { cuts: 1, ..NOTHING } };

/// Both connections break, or one twice.
const TWO_CUTS: Config =
    Config { name: "two cuts", goal: 1, until: 1, in_flight: 1, budget: Budget { cuts: 2, ..NOTHING }, ..CUTS };

/// Clients are killed.
const CLIENT_CRASHES: Config = Config {
    name: "client crashes",
    goal: 2,
    until: 3,
    in_flight: 1,
    budget: Budget { client_crashes: 2, ..NOTHING },
    ..CUTS
};

/// The server is killed, and its clients count on or end.
const SERVER_CRASHES: Config = Config {
    name: "server crashes",
    goal: 2,
    until: 3,
    in_flight: 1,
    budget: Budget { server_crashes: 1, ..NOTHING },
    ..CUTS
};

/// The server notices nothing by itself: clients that come again find a role that is held by
/// nobody.
const HALF_OPEN: Config = Config {
    name: "half-open",
    goal: 2,
    until: 3,
    in_flight: 1,
    notices: false,
    budget: Budget { client_crashes: 1, cuts: 1, ..NOTHING },
};

/// A third client comes at any time, and one of the others is killed.
const THIRD: Config = Config {
    name: "third",
    goal: 1,
    until: 1,
    in_flight: 1,
    budget: Budget { further_clients: 1, client_crashes: 1, ..NOTHING },
    ..CUTS
};

/// A third client comes at any time, and a holder is too slow.
const SLOW: Config =
    Config { name: "slow", budget: Budget { further_clients: 1, early_deadlines: 1, ..NOTHING }, ..THIRD };

/// The disk fails, and the server crashes or a connection breaks meanwhile.
const DISK: Config = Config {
    name: "disk",
    goal: 2,
    until: 3,
    in_flight: 1,
    budget: Budget { store_failures: 2, cuts: 1, ..NOTHING },
    ..CUTS
};

const DISK_CRASHES: Config =
    Config { name: "disk crashes", budget: Budget { store_failures: 1, server_crashes: 1, ..NOTHING }, ..DISK };

/// Searches all states of `config`: no property may fail.
fn search(config: Config) {
    let started = Instant::now();
    let model = Protocol { config, mutation: None };
    let checker = model.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    println!(
        "{}: {} states, {} steps, depth {}, {:.1?}",
        config.name,
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        started.elapsed()
    );
    for property in [Rule::Order.name(), Rule::Acknowledged.name(), Rule::Probed.name(), CALM, PROGRESS] {
        checker.assert_no_discovery(property);
    }
}

#[test]
fn cuts() {
    search(CUTS);
}

#[test]
#[ignore = "takes many minutes and gigabytes of memory: run it alone, after changes to the protocol"]
fn two_cuts() {
    search(TWO_CUTS);
}

#[test]
fn client_crashes() {
    search(CLIENT_CRASHES);
}

#[test]
fn server_crashes() {
    search(SERVER_CRASHES);
}

#[test]
fn half_open() {
    search(HALF_OPEN);
}

#[test]
fn third() {
    search(THIRD);
}

#[test]
fn slow() {
    search(SLOW);
}

#[test]
fn disk() {
    search(DISK);
}

#[test]
fn disk_crashes() {
    search(DISK_CRASHES);
}

/// Finds a counterexample to `property`, which `mutation` must violate.
fn catch(config: Config, mutation: Mutation, property: &'static str) {
    let model = Protocol { config, mutation: Some(mutation) };
    let wanted = HasDiscoveries::AnyOf([property].into());
    let checker = model.checker().threads(2).finish_when(wanted).spawn_bfs().join();
    let path = checker.assert_any_discovery(property);
    println!("{mutation:?}: {} steps to \"not {property}\"", path.into_actions().len());
}

#[test]
fn a_missing_number_that_is_waited_for_for_ever_is_caught() {
    catch(CUTS, Mutation::NoDeadlines, PROGRESS);
}

#[test]
fn a_silent_holder_that_is_waited_for_for_ever_is_caught() {
    catch(HALF_OPEN, Mutation::NoDeadlines, PROGRESS);
}

#[test]
fn a_failed_store_that_is_not_repeated_is_caught() {
    catch(DISK, Mutation::NoDeadlines, PROGRESS);
}

#[test]
fn an_acknowledgement_before_the_sync_is_caught() {
    catch(SERVER_CRASHES, Mutation::StoredEarly, Rule::Acknowledged.name());
}

#[test]
fn a_start_behind_the_file_is_caught() {
    catch(SERVER_CRASHES, Mutation::StartsBehind, Rule::Order.name());
}

#[test]
fn a_start_ahead_of_the_file_is_caught() {
    catch(SERVER_CRASHES, Mutation::StartsAhead, Rule::Order.name());
}

#[test]
fn roles_that_do_not_follow_the_clients_are_caught() {
    catch(SERVER_CRASHES, Mutation::RolesAreFixed, PROGRESS);
}

#[test]
fn a_rejection_without_a_probe_is_caught() {
    catch(HALF_OPEN, Mutation::ProbesAreAssumed, Rule::Probed.name());
}
