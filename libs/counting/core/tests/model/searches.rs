//! The searches. Each has a few faults in one part of the protocol; together they cover more
//! than a single search could in the time of a test.

use std::sync::Arc;

use kit_model::Witnesses;
use stateright::Checker;

use crate::properties::Witness::{
    Exchanged, Granted, Missing, NotGranted, Rejected, Repeated, StoredLater, Succeeded, Taken,
};
use crate::properties::{CALM, PROGRESS, Witness};
use crate::state::{Budget, Config, Rule};
use crate::{Mutation, Protocol};

const NOTHING: Budget =
    Budget { cuts: 0, client_crashes: 0, server_crashes: 0, store_failures: 0, early_deadlines: 0, further_clients: 0 };

/// A connection breaks, and the client counts on or ends.
const CUTS: Config = Config {
    name: "cuts",
    goal: 3,
    until: 4,
    in_flight: 2,
    notices: true,
    wishes: false,
    budget: Budget { cuts: 1, ..NOTHING },
};

/// The same up to a smaller number, for searches with more faults.
const SMALL: Config = Config { goal: 2, until: 3, in_flight: 1, ..CUTS };

/// One number is stored, for searches with still more faults. A fault that loses numbers lets the
/// clients go on.
const SMALLEST: Config = Config { goal: 1, until: 1, ..SMALL };

/// Both connections break, or one twice.
const TWO_CUTS: Config = Config { name: "two cuts", budget: Budget { cuts: 2, ..NOTHING }, ..SMALLEST };

/// A connection breaks, and clients may ask for roles.
const CUTS_AND_WISHES: Config = Config { name: "cuts and wishes", wishes: true, ..SMALL };

/// Clients are killed.
const CLIENT_CRASHES: Config =
    Config { name: "client crashes", budget: Budget { client_crashes: 2, ..NOTHING }, ..SMALL };

/// A connection breaks, and a client is killed.
const CUT_AND_CRASH: Config =
    Config { name: "cut and crash", budget: Budget { cuts: 1, client_crashes: 1, ..NOTHING }, ..SMALLEST };

/// The server is killed twice, and its clients count on or end.
const SERVER_CRASHES: Config =
    Config { name: "server crashes", budget: Budget { server_crashes: 2, ..NOTHING }, ..SMALL };

/// The server is killed, and a client is killed.
const BOTH_CRASH: Config =
    Config { name: "both crash", budget: Budget { server_crashes: 1, client_crashes: 1, ..NOTHING }, ..SMALLEST };

/// A connection breaks, and the server is killed.
const CUT_AND_SERVER_CRASH: Config =
    Config { name: "cut and server crash", budget: Budget { cuts: 1, server_crashes: 1, ..NOTHING }, ..SMALLEST };

/// The server is killed, and clients may ask for roles, also for one that another client counts.
const CRASHES_AND_WISHES: Config = Config {
    name: "crashes and wishes",
    wishes: true,
    budget: Budget { server_crashes: 1, ..NOTHING },
    ..SERVER_CRASHES
};

/// The server notices nothing by itself: clients that come again find a role that is held by
/// nobody. They may ask for it.
const HALF_OPEN: Config = Config {
    name: "half-open",
    notices: false,
    wishes: true,
    budget: Budget { client_crashes: 1, cuts: 1, ..NOTHING },
    ..SMALL
};

const HALF_OPEN_CUTS: Config =
    Config { name: "half-open cuts", notices: false, budget: Budget { cuts: 2, ..NOTHING }, ..SMALL };

/// A third client comes at any time, and one of the others is killed. All may ask for roles.
const THIRD: Config = Config {
    name: "third",
    wishes: true,
    budget: Budget { further_clients: 1, client_crashes: 1, ..NOTHING },
    ..SMALLEST
};

/// A third client comes at any time, and one of the others comes again before the server notices
/// that it was gone.
const THIRD_HALF_OPEN: Config = Config {
    name: "third half-open",
    notices: false,
    budget: Budget { further_clients: 1, cuts: 1, ..NOTHING },
    ..SMALLEST
};

/// A third client comes at any time, and a holder is too slow.
const SLOW: Config =
    Config { name: "slow", budget: Budget { further_clients: 1, early_deadlines: 1, ..NOTHING }, ..SMALLEST };

/// A connection breaks, and an answer or a number that was missing comes too late.
const SLOW_CUTS: Config =
    Config { name: "slow cuts", budget: Budget { cuts: 1, early_deadlines: 1, ..NOTHING }, ..SMALL };

/// The disk fails, and the server crashes or a connection breaks meanwhile.
const DISK: Config = Config { name: "disk", budget: Budget { store_failures: 2, cuts: 1, ..NOTHING }, ..SMALL };

const DISK_CRASHES: Config =
    Config { name: "disk crashes", budget: Budget { store_failures: 1, server_crashes: 1, ..NOTHING }, ..SMALL };

/// Searches all states of `config`: no property may fail, and each witness must be found.
fn search(config: Config, expected: &[Witness]) {
    let witnesses = Arc::new(Witnesses::default());
    let model = Protocol { config, mutation: None, witnesses: Arc::clone(&witnesses) };
    kit_model::search(config.name, model).assert_properties();
    witnesses.assert_found(config.name, expected);
}

#[test]
fn cuts() {
    search(CUTS, &[Rejected, Missing, Taken, Exchanged, Repeated]);
}

#[test]
fn two_cuts() {
    search(TWO_CUTS, &[Rejected, Missing, Taken, Exchanged]);
}

#[test]
fn cuts_and_wishes() {
    search(CUTS_AND_WISHES, &[Rejected, Missing, Taken, Exchanged, Repeated, Granted, NotGranted]);
}

#[test]
fn client_crashes() {
    search(CLIENT_CRASHES, &[Rejected, Repeated]);
}

#[test]
fn cut_and_crash() {
    search(CUT_AND_CRASH, &[Rejected, Missing, Taken, Exchanged]);
}

#[test]
fn server_crashes() {
    search(SERVER_CRASHES, &[Missing, Taken, Exchanged, Repeated]);
}

#[test]
fn both_crash() {
    search(BOTH_CRASH, &[Rejected, Missing, Taken, Exchanged]);
}

#[test]
fn cut_and_server_crash() {
    search(CUT_AND_SERVER_CRASH, &[Rejected, Missing, Taken, Exchanged]);
}

#[test]
fn crashes_and_wishes() {
    search(CRASHES_AND_WISHES, &[Missing, Taken, Exchanged, Repeated, Granted, NotGranted]);
}

#[test]
fn half_open() {
    search(HALF_OPEN, &[Rejected, Succeeded, Taken, Exchanged, Repeated, Granted, NotGranted]);
}

#[test]
fn half_open_cuts() {
    search(HALF_OPEN_CUTS, &[Rejected, Succeeded, Taken, Exchanged, Repeated]);
}

#[test]
fn third() {
    search(THIRD, &[Rejected, Granted, NotGranted]);
}

#[test]
fn third_half_open() {
    search(THIRD_HALF_OPEN, &[Rejected, Succeeded, Exchanged]);
}

#[test]
fn slow() {
    search(SLOW, &[Rejected, Succeeded]);
}

#[test]
fn slow_cuts() {
    search(SLOW_CUTS, &[Rejected, Succeeded, Missing, Taken, Exchanged, Repeated]);
}

#[test]
fn disk() {
    search(DISK, &[Rejected, Missing, Taken, Exchanged, Repeated, StoredLater]);
}

#[test]
fn disk_crashes() {
    search(DISK_CRASHES, &[Missing, Taken, Exchanged, Repeated, StoredLater]);
}

/// Finds a counterexample to `property`, which `mutation` must violate.
fn catch(config: Config, mutation: Mutation, property: &'static str) {
    let model = Protocol { config, mutation: Some(mutation), witnesses: Arc::default() };
    let steps = kit_model::catch(model, property);
    println!("{mutation:?}: {steps} steps to \"not {property}\"");
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

#[test]
fn wishes_that_are_ignored_are_caught() {
    catch(CRASHES_AND_WISHES, Mutation::WishesAreIgnored, Rule::Wished.name());
}

#[test]
fn a_failed_store_that_counts_as_done_is_caught() {
    catch(DISK, Mutation::FailuresAreHidden, Rule::Acknowledged.name());
}

#[test]
fn a_client_that_should_be_disconnected_and_is_not_is_caught() {
    catch(CUTS, Mutation::NobodyIsDisconnected, PROGRESS);
    catch(HALF_OPEN, Mutation::NobodyIsDisconnected, PROGRESS);
}

#[test]
fn clients_that_begin_behind_a_missing_number_are_caught() {
    catch(CLIENT_CRASHES, Mutation::AssignsAhead, CALM);
}
