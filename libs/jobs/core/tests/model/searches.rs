//! The searches. Each has a few faults in one part of the protocol; together they cover more
//! than a single search could in the time of a test.

use stateright::Checker;

use crate::state::{Budget, Config};
use crate::{ATTEMPTS, ENDS, KEYS, Mutation, NOTICED, ONCE, Protocol, SUCCESS};

const NOTHING: Budget = Budget {
    lost_accepts: 0,
    lost_publishes: 0,
    lost_confirms: 0,
    lost_messages: 0,
    doubled: 0,
    lost_acks: 0,
    lost_answers: 0,
    crashes: 0,
    expiries: 0,
    failures: 0,
    releases: 0,
    dead_letters: 0,
    cancels: 0,
    retries: 0,
};

/// Two workers, one lost acknowledgement, one expired lease, one crash, and a message
/// that is delivered twice.
const RUNNING: Config = Config {
    name: "running",
    keys: 1,
    workers: 2,
    max_attempts: 3,
    budget: Budget { lost_acks: 1, expiries: 1, crashes: 1, doubled: 1, lost_answers: 1, failures: 1, ..NOTHING },
};

/// The same for two jobs at a time.
const TWO: Config = Config {
    name: "two jobs",
    keys: 2,
    workers: 2,
    max_attempts: 2,
    budget: Budget { lost_acks: 1, expiries: 1, crashes: 1, ..NOTHING },
};

/// Losses between client and broker.
const ACCEPTING: Config = Config {
    name: "accepting",
    keys: 1,
    workers: 2,
    max_attempts: 2,
    budget: Budget {
        lost_accepts: 1,
        lost_publishes: 1,
        lost_confirms: 1,
        lost_messages: 1,
        expiries: 1,
        failures: 1,
        ..NOTHING
    },
};

/// Clients that cancel and retry a running or waiting job.
const HANDS: Config = Config {
    name: "hands",
    keys: 1,
    workers: 2,
    max_attempts: 2,
    budget: Budget { cancels: 1, retries: 1, failures: 1, expiries: 1, ..NOTHING },
};

/// Jobs that are released, and messages that become dead letters.
const RETURNS: Config = Config {
    name: "returns",
    budget: Budget { releases: 1, dead_letters: 1, crashes: 1, expiries: 1, cancels: 1, ..NOTHING },
    ..HANDS
};

/// A poison job: every worker that runs it crashes.
const POISON: Config =
    Config { name: "poison", keys: 1, workers: 2, max_attempts: 2, budget: Budget { crashes: 4, ..NOTHING } };

/// Searches all states of `config`: no property may fail.
fn search(config: Config) {
    let checker = kit_model::search(config.name, Protocol { config, mutation: None });
    for property in [ONCE, SUCCESS, KEYS, ATTEMPTS, NOTICED, ENDS] {
        checker.assert_no_discovery(property);
    }
    if config.budget.expiries > 0 {
        checker.assert_any_discovery("a stale worker is turned away");
        checker.assert_any_discovery("a job succeeds after its lease ran out");
    }
}

#[test]
fn running() {
    search(RUNNING);
}

#[test]
fn two_jobs() {
    search(TWO);
}

#[test]
fn accepting() {
    search(ACCEPTING);
}

#[test]
fn hands() {
    search(HANDS);
}

#[test]
fn returns() {
    search(RETURNS);
}

#[test]
fn poison() {
    search(POISON);
}

/// Finds a counterexample to `property`, which `mutation` must violate.
fn catch(config: Config, mutation: Mutation, property: &'static str) {
    let model = Protocol { config, mutation: Some(mutation) };
    let steps = kit_model::catch(model, property);
    println!("{mutation:?}: {steps} steps to \"not {property}\"");
}

#[test]
fn a_claim_of_a_running_job_is_caught() {
    catch(RUNNING, Mutation::ClaimIgnoresState, ATTEMPTS);
}

#[test]
fn an_effect_under_an_old_token_is_caught() {
    catch(RUNNING, Mutation::FinishIgnoresToken, ONCE);
}

#[test]
fn a_failure_under_an_old_token_is_caught() {
    catch(RUNNING, Mutation::FailIgnoresToken, SUCCESS);
}

#[test]
fn a_key_that_is_two_jobs_is_caught() {
    catch(ACCEPTING, Mutation::AcceptIgnoresKey, KEYS);
}

#[test]
fn a_confirm_of_another_message_is_caught() {
    catch(ACCEPTING, Mutation::ConfirmIgnoresToken, NOTICED);
}

#[test]
fn a_forgotten_outbox_is_caught() {
    catch(ACCEPTING, Mutation::SweepForgetsUnpublished, ENDS);
}

#[test]
fn forgotten_leases_are_caught() {
    catch(RUNNING, Mutation::SweepForgetsLeases, ENDS);
}

#[test]
fn forgotten_retries_are_caught() {
    catch(RUNNING, Mutation::SweepForgetsRetries, ENDS);
}
