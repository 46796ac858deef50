//! The searches. Each has a few faults in one part of the protocol; together they cover
//! more than a single search could in the time of a test.

use std::sync::Arc;

use kit_model::Witnesses;
use stateright::Checker;
use values_core::scaling::Mode;

use crate::properties::{self, Witness};
use crate::state::{Budget, Config};
use crate::{Mutation, Protocol};

const NOTHING: Budget = Budget {
    seconds: 0,
    steps_back: 0,
    expiries: 0,
    given_up: 0,
    twice: 0,
    lost_registrations: 0,
    lost_leases: 0,
    worker_crashes: 0,
    manager_crashes: 0,
    terminations: 0,
    added_rows: 0,
    removed_rows: 0,
    wrong_kills: 0,
    hand_scales: 0,
};

/// Four seconds, a clock that steps back, and a worker that may crash, be suspended, be
/// declared dead (rightly or not), and repeat commands.
const TICKS: Config = Config {
    name: "ticks",
    ids: 2,
    pods: 2,
    max_pods: 2,
    managers: 1,
    capacity: 2,
    batch: 2,
    scaling: Mode::Manual,
    every_step: false,
    lives: 3,
    terms: 1,
    budget: Budget { seconds: 4, steps_back: 1, expiries: 1, given_up: 1, worker_crashes: 1, ..NOTHING },
};

/// Rows are added, removed and moved between the ticks of workers that know their rows.
const LIGHT_TICKS: Config = Config {
    name: "light ticks",
    every_step: true,
    terms: 1,
    lives: 2,
    budget: Budget { seconds: 2, steps_back: 1, added_rows: 1, removed_rows: 1, ..NOTHING },
    ..TICKS
};

/// Ticks that arrive late and twice, between bare heartbeats.
const BEATS: Config = Config {
    name: "beats",
    ids: 1,
    every_step: true,
    budget: Budget { seconds: 2, steps_back: 1, expiries: 1, given_up: 1, twice: 1, worker_crashes: 1, ..NOTHING },
    ..TICKS
};

/// Three workers, and two managers that take over the lease from each other and lose
/// answers.
const RIVALS: Config = Config {
    name: "rivals",
    pods: 3,
    max_pods: 3,
    managers: 2,
    capacity: 1,
    batch: 1,
    lives: 3,
    terms: 3,
    budget: Budget { expiries: 1, given_up: 1, ..NOTHING },
    ..TICKS
};

/// A manager crashes between its observation and its moves, or while moves are in
/// transit.
const CRASHES: Config = Config {
    name: "crashes",
    ids: 3,
    terms: 2,
    capacity: 2,
    budget: Budget { seconds: 1, expiries: 1, manager_crashes: 1, ..NOTHING },
    ..RIVALS
};

/// Users add and remove rows while moves are in transit.
const ROWS: Config = Config {
    name: "rows",
    managers: 2,
    capacity: 1,
    lives: 2,
    terms: 2,
    budget: Budget { seconds: 1, given_up: 1, added_rows: 1, removed_rows: 1, ..NOTHING },
    ..TICKS
};

/// Registrations are lost, and their numbers come again, while commands arrive late and a
/// worker ends.
const LOST_REGISTRATIONS: Config = Config {
    name: "lost registrations",
    lives: 3,
    budget: Budget { seconds: 1, lost_registrations: 1, given_up: 1, terminations: 1, ..NOTHING },
    ..TICKS
};

/// The lease is lost, and its terms come again, while moves are in transit.
const LOST_LEASES: Config = Config {
    name: "lost leases",
    pods: 2,
    max_pods: 2,
    lives: 3,
    terms: 3,
    budget: Budget { lost_leases: 1, expiries: 1, given_up: 1, ..NOTHING },
    ..RIVALS
};

/// A worker ends in order while commands arrive late and twice.
const ENDINGS: Config = Config {
    name: "endings",
    lives: 3,
    budget: Budget { seconds: 2, given_up: 1, twice: 1, terminations: 1, ..NOTHING },
    ..TICKS
};

/// The manager and an operator scale, while ids are added and removed.
const SCALING: Config = Config {
    name: "scaling",
    ids: 2,
    pods: 3,
    max_pods: 3,
    managers: 1,
    capacity: 1,
    batch: 2,
    scaling: Mode::Auto,
    every_step: false,
    lives: 4,
    terms: 1,
    budget: Budget { added_rows: 1, removed_rows: 1, wrong_kills: 1, hand_scales: 1, ..NOTHING },
};

/// The container of a pod restarts while its previous incarnation is still registered.
const RESTARTS: Config = Config {
    name: "restarts",
    managers: 1,
    lives: 4,
    terms: 1,
    budget: Budget { worker_crashes: 1, removed_rows: 1, expiries: 1, ..NOTHING },
    ..SCALING
};

/// Two managers set different scales, and lose answers.
const RIVAL_SCALING: Config = Config {
    name: "rival scaling",
    pods: 2,
    max_pods: 2,
    managers: 2,
    terms: 2,
    lives: 3,
    budget: Budget { added_rows: 1, removed_rows: 1, given_up: 1, ..NOTHING },
    ..SCALING
};

/// Searches all states of `config`: no property may fail, and each witness must be found.
fn search(config: Config, expected: &[Witness]) {
    let witnesses = Arc::new(Witnesses::default());
    let model = Protocol { config, mutation: None, witnesses: Arc::clone(&witnesses) };
    kit_model::search(config.name, model).assert_properties();
    witnesses.assert_found(config.name, expected);
}

#[test]
fn ticks() {
    search(TICKS, &[Witness::ZombieRejected, Witness::Takeover, Witness::RetryAfterUnknownCommit]);
}

#[test]
fn light_ticks() {
    search(LIGHT_TICKS, &[Witness::ReportedUnread, Witness::LightTickDisbelieved]);
}

#[test]
fn beats() {
    search(BEATS, &[Witness::TickedTwice, Witness::TickedInThePast, Witness::RetryAfterUnknownCommit]);
}

#[test]
fn rivals() {
    search(RIVALS, &[Witness::ZombieRejected, Witness::StaleAssignRefused]);
}

#[test]
fn crashes() {
    search(CRASHES, &[Witness::StaleAssignRefused, Witness::Takeover]);
}

#[test]
fn rows() {
    search(ROWS, &[Witness::StaleAssignRefused]);
}

#[test]
fn lost_registrations() {
    search(LOST_REGISTRATIONS, &[Witness::NumberCameAgain, Witness::GracefulEnd]);
}

#[test]
fn lost_leases() {
    search(LOST_LEASES, &[Witness::TermCameAgain]);
}

#[test]
fn endings() {
    search(ENDINGS, &[Witness::GracefulEnd]);
}

#[test]
fn scaling() {
    search(SCALING, &[Witness::PodRemoved, Witness::WrongKill, Witness::Reactivated]);
}

#[test]
fn restarts() {
    search(RESTARTS, &[Witness::PodRemoved]);
}

#[test]
fn rival_scaling() {
    search(RIVAL_SCALING, &[Witness::PodRemoved, Witness::StaleAssignRefused]);
}

/// The same searches with more faults at once. They take minutes, and gigabytes of
/// memory.
#[test]
#[ignore = "takes minutes and up to 20 GB: run it alone, after changes to the protocol"]
fn larger() {
    let ticks = Budget { twice: 1, ..TICKS.budget };
    search(Config { name: "larger ticks", every_step: true, budget: ticks, ..TICKS }, &[Witness::Takeover]);
    let rivals = Budget { seconds: 1, manager_crashes: 1, ..RIVALS.budget };
    search(Config { name: "larger rivals", budget: rivals, ..RIVALS }, &[Witness::Takeover]);
    let rows = Budget { expiries: 1, ..ROWS.budget };
    search(Config { name: "larger rows", capacity: 2, budget: rows, ..ROWS }, &[]);
    let endings = Budget { expiries: 1, ..ENDINGS.budget };
    search(Config { name: "larger endings", lives: 4, terms: 2, budget: endings, ..ENDINGS }, &[Witness::Takeover]);
    let losses = Budget { lost_registrations: 1, seconds: 1, ..LOST_LEASES.budget };
    search(Config { name: "larger losses", pods: 3, max_pods: 3, budget: losses, ..LOST_LEASES }, &[]);
    let registrations = Budget { twice: 1, ..LOST_REGISTRATIONS.budget };
    search(Config { name: "larger lost registrations", lives: 4, budget: registrations, ..LOST_REGISTRATIONS }, &[]);
    search(Config { name: "larger rival scaling", pods: 3, max_pods: 3, ..RIVAL_SCALING }, &[]);
}

/// Finds a counterexample to `property`, which `mutation` must violate.
fn catch(config: Config, mutation: Mutation, property: &'static str) {
    let model = Protocol { config, mutation: Some(mutation), witnesses: Arc::default() };
    let steps = kit_model::catch(model, property);
    println!("{mutation:?}: {steps} steps to \"not {property}\"");
}

#[test]
fn a_missing_term_check_is_caught() {
    catch(RIVALS, Mutation::AssignIgnoresTerm, properties::STALE);
    catch(RIVALS, Mutation::AssignIgnoresTerm, properties::OWNERSHIP);
}

#[test]
fn a_missing_tick_number_is_caught() {
    catch(TICKS, Mutation::TickIgnoresLastTick, properties::ONCE);
    catch(TICKS, Mutation::TickIgnoresLastTick, properties::VALUES);
}

#[test]
fn a_missing_owner_check_is_caught() {
    catch(TICKS, Mutation::TickIgnoresOwner, properties::OWNERSHIP);
}

#[test]
fn a_missing_generation_check_is_caught() {
    catch(LIGHT_TICKS, Mutation::LightTickIgnoresGeneration, properties::REPORT);
}

#[test]
fn a_registration_without_a_token_is_caught() {
    catch(LOST_REGISTRATIONS, Mutation::WorkerIgnoresToken, properties::FENCE);
    catch(LOST_REGISTRATIONS, Mutation::WorkerIgnoresToken, properties::OWNERSHIP);
}

#[test]
fn a_term_without_a_token_is_caught() {
    catch(LOST_LEASES, Mutation::ManagerIgnoresToken, properties::STALE);
    catch(LOST_LEASES, Mutation::ManagerIgnoresToken, properties::OWNERSHIP);
}

#[test]
fn a_forgotten_unknown_commit_is_caught() {
    catch(RIVALS, Mutation::ManagerForgetsUnknownCommit, properties::CAPACITY);
}
