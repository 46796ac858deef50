//! The searches. Each has a few faults in one part of the protocol; together they cover more than a
//! single search could in the time of a test.

use std::sync::Arc;

use kit_model::Witnesses;
use round_robin_core::plan::Sizes;
use stateright::Checker;

use crate::properties::{self, Witness};
use crate::state::{Budget, Config};
use crate::{Mutation, Protocol};

const NOTHING: Budget = Budget {
    turns: 0,
    steps_back: 0,
    given_up: 0,
    twice: 0,
    lost_registrations: 0,
    lost_turns: 0,
    crashes: 0,
    terminations: 0,
    repeats: 0,
    conflicts: 0,
    ahead: 0,
    reconnects: 0,
    forgetful: 0,
    acknowledgements: 0,
    deletions: 0,
};

/// Two replicas take turns, each may be late by any time, and the clock steps back.
const TURNS: Config = Config {
    name: "turns",
    replicas: 2,
    clients: 1,
    first: 1,
    last: 2,
    sockets: false,
    stored: true,
    sizes: Sizes { clients: 1, messages: 1 },
    lives: 2,
    budget: Budget { turns: 3, steps_back: 1, ..NOTHING },
};

/// Commands arrive late, twice or never.
const LATE: Config = Config { name: "late", budget: Budget { turns: 2, given_up: 1, twice: 1, ..NOTHING }, ..TURNS };

/// A replica crashes and registers again.
const CRASHES: Config =
    Config { name: "crashes", lives: 3, budget: Budget { turns: 2, given_up: 1, crashes: 1, ..NOTHING }, ..TURNS };

/// One of three replicas ends in order.
const THREE: Config =
    Config { name: "three", replicas: 3, lives: 3, budget: Budget { turns: 2, terminations: 1, ..NOTHING }, ..TURNS };

/// One of two replicas ends in order, and its commands arrive late or never.
const ENDINGS: Config =
    Config { name: "endings", budget: Budget { turns: 2, given_up: 1, terminations: 1, ..NOTHING }, ..TURNS };

/// Two clients wait, and each batch has room for a part of their messages.
const FAIR: Config = Config {
    name: "fair",
    clients: 2,
    sizes: Sizes { clients: 1, messages: 2 },
    budget: Budget { turns: 2, given_up: 1, ..NOTHING },
    ..TURNS
};

/// Registrations are lost, and their numbers come again, while commands arrive late.
const LOST_REGISTRATIONS: Config = Config {
    name: "lost registrations",
    lives: 4,
    budget: Budget { turns: 1, lost_registrations: 1, given_up: 1, ..NOTHING },
    ..TURNS
};

/// The row of a turn is lost, and another replica gets that turn.
const LOST_TURNS: Config =
    Config { name: "lost turns", lives: 3, budget: Budget { turns: 1, lost_turns: 1, crashes: 1, ..NOTHING }, ..TURNS };

/// A client without connections repeats messages, sends others ahead of a gap, and changes texts.
const MESSAGES: Config = Config {
    name: "messages",
    replicas: 1,
    first: 0,
    stored: false,
    sizes: Sizes { clients: 2, messages: 2 },
    lives: 1,
    budget: Budget { turns: 1, given_up: 1, repeats: 1, conflicts: 1, ahead: 1, ..NOTHING },
    ..TURNS
};

/// Two clients send messages while two replicas serve.
const CLIENTS: Config = Config {
    name: "clients",
    replicas: 2,
    clients: 2,
    last: 1,
    lives: 2,
    budget: Budget { given_up: 1, repeats: 1, ahead: 1, ..NOTHING },
    ..MESSAGES
};

/// A client connects again, and its older connection is still open.
const CONNECTIONS: Config = Config {
    name: "connections",
    replicas: 0,
    clients: 1,
    first: 0,
    last: 2,
    sockets: true,
    stored: false,
    sizes: Sizes { clients: 1, messages: 2 },
    lives: 1,
    budget: Budget { given_up: 1, repeats: 1, ahead: 1, reconnects: 2, forgetful: 1, ..NOTHING },
};

/// A client acknowledges answers, these are deleted, and it connects again without its state.
const RETENTION: Config = Config {
    name: "retention",
    first: 1,
    last: 3,
    budget: Budget { turns: 1, reconnects: 1, forgetful: 1, acknowledgements: 2, deletions: 1, ..NOTHING },
    ..CONNECTIONS
};

/// Searches all states of `config`: no property may fail, and each witness must be found.
fn search(config: Config, expected: &[Witness]) {
    let witnesses = Arc::new(Witnesses::default());
    let model = Protocol { config, mutation: None, witnesses: Arc::clone(&witnesses) };
    kit_model::search(config.name, model).assert_properties();
    witnesses.assert_found(config.name, expected);
}

#[test]
fn turns() {
    search(TURNS, &[Witness::LateServe]);
}

#[test]
fn late() {
    search(LATE, &[Witness::LateServe, Witness::ServedBefore]);
}

#[test]
fn crashes() {
    search(CRASHES, &[Witness::LateServe, Witness::ServedBefore, Witness::Restarted]);
}

#[test]
fn three() {
    search(THREE, &[Witness::ServedOut, Witness::LateServe]);
}

#[test]
fn endings() {
    search(ENDINGS, &[Witness::ServedOut, Witness::LateServe]);
}

#[test]
fn fair() {
    search(FAIR, &[Witness::LateServe, Witness::ServedBefore]);
}

#[test]
fn lost_turns() {
    search(LOST_TURNS, &[Witness::TurnTaken]);
}

#[test]
fn clients() {
    search(CLIENTS, &[Witness::AnsweredAgain]);
}

#[test]
fn lost_registrations() {
    let expected = [Witness::NumberCameAgain, Witness::TurnOfALostReplica, Witness::Restarted];
    search(LOST_REGISTRATIONS, &expected);
}

#[test]
fn messages() {
    search(MESSAGES, &[Witness::AnsweredAgain, Witness::Conflict, Witness::Gap]);
}

#[test]
fn connections() {
    search(CONNECTIONS, &[Witness::Fenced, Witness::Resumed, Witness::AnsweredAgain, Witness::Gap]);
}

#[test]
fn retention() {
    search(RETENTION, &[Witness::Resumed, Witness::Lost]);
}

/// Finds a counterexample to `property`, which `mutation` must violate.
fn catch(config: Config, mutation: Mutation, property: &'static str) {
    let model = Protocol { config, mutation: Some(mutation), witnesses: Arc::default() };
    let steps = kit_model::catch(model, property);
    println!("{mutation:?}: {steps} steps to \"not {property}\"");
}

#[test]
fn a_missing_check_of_the_clock_is_caught() {
    catch(TURNS, Mutation::ServeIgnoresClock, properties::TURN);
}

#[test]
fn a_missing_check_of_the_turn_is_caught() {
    catch(LOST_TURNS, Mutation::ServeIgnoresTurn, properties::TURN);
}

#[test]
fn a_turn_that_is_not_recorded_is_caught() {
    catch(CRASHES, Mutation::BeatForgetsTurn, properties::ONE_REPLICA);
}

#[test]
fn a_missing_check_of_the_next_counter_is_caught() {
    catch(LATE, Mutation::ServeIgnoresNext, properties::ONCE);
    catch(LATE, Mutation::ServeIgnoresNext, properties::ORDER);
}

#[test]
fn a_registration_without_a_token_is_caught() {
    catch(LOST_REGISTRATIONS, Mutation::ReplicaIgnoresToken, properties::TURN);
}

#[test]
fn a_turn_without_a_token_is_caught() {
    catch(LOST_REGISTRATIONS, Mutation::TurnIgnoresToken, properties::ONE_REPLICA);
}

#[test]
fn a_replica_that_does_not_register_again_is_caught() {
    catch(LOST_REGISTRATIONS, Mutation::BeatHidesLoss, properties::LIVE);
}

#[test]
fn a_forgotten_end_is_caught() {
    catch(ENDINGS, Mutation::LeaveForgotten, properties::LEAVING);
}

#[test]
fn a_missing_check_of_the_epoch_is_caught() {
    catch(CONNECTIONS, Mutation::AcceptIgnoresEpoch, properties::FENCE);
}

#[test]
fn an_epoch_that_does_not_grow_is_caught() {
    catch(CONNECTIONS, Mutation::ConnectKeepsEpoch, properties::FENCE);
}

#[test]
fn a_missing_check_of_acknowledgements_is_caught() {
    catch(RETENTION, Mutation::AcknowledgeIgnoresEpoch, properties::FENCE);
}

#[test]
fn a_message_that_is_stored_twice_is_caught() {
    catch(MESSAGES, Mutation::AcceptIgnoresStored, properties::KEPT);
}

#[test]
fn a_gap_that_is_ignored_is_caught() {
    catch(MESSAGES, Mutation::AcceptIgnoresGap, properties::ORDER);
}
