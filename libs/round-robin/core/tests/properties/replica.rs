//! Replicas in simulated time, against the production tables.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use round_robin_core::plan::Sizes;
use round_robin_core::replica::{BEAT_MS, Command, Next, Outcome, Replica};
use round_robin_core::tables::{Beat, ServedBatch};
use round_robin_core::turns::{DEAD_AFTER_MS, Quantum};
use round_robin_core::types::{Registration, ReplicaId, Token, Turn, TurnRow};

use crate::simulation::{Pace, Simulation};
use crate::{cases, many, waiting};

/// Milliseconds within which a message is served as long as all replicas run: a heartbeat at the
/// start of a turn, a listing and a batch, with delays of up to 10 ms each way.
const PROMPT_MS: i64 = 100;

/// The same while a replica ends. It leaves and asks whose turn it is before it serves again. If its
/// turn ends just then, the message also waits for the first heartbeat, listing and batch of the
/// next turn.
const PROMPT_AT_AN_END_MS: i64 = PROMPT_MS + 60;

/// Differences of the clocks of two or three replicas.
fn offsets() -> impl Strategy<Value = Vec<i64>> {
    vec(-1_000_000_i64..1_000_000, 2..4)
}

fn delays() -> impl Strategy<Value = Vec<i64>> {
    vec(1_i64..=10, 1..50)
}

/// A simulation whose replicas have all served.
fn settled(start: i64, offsets: &[i64], delays: Vec<i64>) -> Simulation {
    let mut simulation = Simulation::new(start, offsets, delays);
    simulation.run(3000);
    simulation.run_to_turn();
    simulation.worst();
    simulation.refused = 0;
    simulation
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn each_replica_serves_in_its_turns(start in 0_i64..100_000, offsets in offsets(), delays in delays()) {
        let mut simulation = settled(start, &offsets, delays);
        let replicas = i64::try_from(offsets.len()).unwrap();
        let first = simulation.turn();
        simulation.run(1000 * 2 * replicas);
        let mut shares = BTreeMap::<ReplicaId, i64>::new();
        for turn in first.0..first.0 + 2 * replicas {
            let (replica, served) = simulation.served(Turn(turn)).expect("each turn has a replica");
            prop_assert!(served > 0, "nothing was served in the turn {}", turn);
            *shares.entry(replica).or_default() += 1;
        }
        prop_assert!(shares.values().all(|share| *share == 2) && shares.len() == offsets.len(), "{:?}", shares);
        // The last command of a turn may be too late.
        prop_assert!(simulation.refused <= 1 + 2 * offsets.len(), "{} commands came late", simulation.refused);
        let worst = simulation.worst();
        prop_assert!(worst <= PROMPT_MS, "a message waited for {} ms", worst);
    }

    #[test]
    fn a_replica_that_ends_leaves_no_turn_unserved(
        start in 0_i64..100_000, offsets in offsets(), delays in delays(), at in 0_i64..3000
    ) {
        let mut simulation = settled(start, &offsets, delays);
        simulation.run(at);
        let ending = simulation.places[0].replica.registration().expect("it is registered").id;
        simulation.places[0].replica.shut_down();
        // It has left. A turn that began before it left may be its own: then it serves that turn.
        simulation.run(100);
        let turn = simulation.turn();
        let is_serving = simulation.served(turn).is_some_and(|(replica, _)| replica == ending);
        prop_assert!(!(is_serving && simulation.places[0].has_ended), "it serves until the end of its turn");
        let end = if is_serving { 1000 * (turn.0 + 1) } else { simulation.tables.now };
        simulation.run(end + 100 - simulation.tables.now);
        prop_assert!(simulation.places[0].has_ended);
        simulation.run(3000);
        let later = simulation.tables.turns.values().filter(|row| row.turn > turn);
        prop_assert!(later.clone().all(|row| row.replica != ending && (row.served > 0 || row.turn == simulation.turn())));
        let worst = simulation.worst();
        prop_assert!(worst <= PROMPT_AT_AN_END_MS, "a message waited for {} ms", worst);
    }

    #[test]
    fn a_replica_that_is_gone_loses_its_turns_and_returns(
        start in 0_i64..100_000, offsets in offsets(), delays in delays(), at in 0_i64..3000, unanswered: bool
    ) {
        let mut simulation = settled(start, &offsets, delays);
        simulation.run(at);
        let gone = simulation.places[0].replica.registration().expect("it is registered").id;
        simulation.places[0].pace = if unanswered { Pace::Unanswered } else { Pace::Paused };
        // Its next heartbeat arrives, and is its last one.
        let from = simulation.tables.now + BEAT_MS + 70 + DEAD_AFTER_MS;
        simulation.run(5000);
        simulation.run_to_turn();
        let turns = simulation.tables.turns.values().filter(|row| 1000 * row.turn.0 >= from);
        prop_assert!(turns.clone().count() >= 3);
        let is_served = |row: &TurnRow| row.replica != gone && row.served > 0 || row.turn == simulation.turn();
        prop_assert!(turns.clone().all(is_served), "{:?}", turns.collect::<Vec<_>>());
        simulation.places[0].pace = Pace::Runs;
        let back = simulation.turn();
        simulation.run(1000 * (1 + i64::try_from(offsets.len()).unwrap()));
        let turns = simulation.tables.turns.values().filter(|row| row.turn > back && row.turn < simulation.turn());
        prop_assert!(turns.clone().any(|row| row.replica == gone), "it is back");
        prop_assert!(turns.clone().all(|row| row.served > 0), "{:?}", turns.collect::<Vec<_>>());
    }

    #[test]
    fn replicas_go_on_wherever_the_clock_steps(
        start in 100_000_i64..200_000, offsets in offsets(), delays in delays(), at in 0_i64..2000,
        step in prop_oneof![-5000_i64..5000, -90_000_i64..90_000]
    ) {
        let mut simulation = settled(start, &offsets, delays);
        simulation.run(at);
        simulation.tables.now += step;
        // Each replica learns of it by its next heartbeat; a turn that was given before may be one
        // of a replica that is alone in it, but each replica lives.
        simulation.run(BEAT_MS + 60);
        simulation.run_to_turn();
        simulation.run(20);
        simulation.worst();
        simulation.run(4000);
        let worst = simulation.worst();
        prop_assert!(worst <= 500 + PROMPT_MS, "a message waited for {} ms", worst);
    }

    #[test]
    fn lost_registrations_are_renewed(start in 0_i64..100_000, offsets in offsets(), delays in delays(), at in 0_i64..2000) {
        let mut simulation = settled(start, &offsets, delays);
        simulation.run(at);
        simulation.tables.lose_registrations(ReplicaId(0));
        // The current turn belongs to nobody any more.
        simulation.run_to_turn();
        simulation.run(1000);
        simulation.worst();
        simulation.run(3000);
        prop_assert_eq!(simulation.tables.replicas.len(), offsets.len());
        let worst = simulation.worst();
        prop_assert!(worst <= PROMPT_MS, "a message waited for {} ms", worst);
    }
}

/// The outcome of a command, as random as an outcome can be.
fn outcome(command: &Command, (kind, number, now): (u8, i64, i64)) -> Outcome {
    let registration = Registration { id: ReplicaId(1), token: Token(number % 3) };
    let turn = Quantum::SECOND.turn_at(now);
    let listed = (0..usize::try_from(number % 3).unwrap_or(0)).map(|client| waiting(client, 1, 5)).collect();
    match command {
        _ if kind == 0 => Outcome::Failed,
        Command::Register => Outcome::Registered(registration),
        Command::Beat(replica) => {
            let serves = [None, Some(*replica), Some(registration)][usize::from(kind % 3)];
            Outcome::Beat(Beat { now, is_registered: kind != 1, turn, serves })
        }
        Command::List { .. } => Outcome::Listed(listed),
        Command::Serve { ranges, .. } => {
            Outcome::Served((kind > 2).then(|| (ServedBatch { at: now, ranges: ranges.clone() }, listed)))
        }
        Command::Leave(_) => Outcome::Left,
    }
}

proptest! {
    #![proptest_config(many())]

    #[test]
    fn whatever_comes_to_its_commands_it_goes_on_or_ends(
        outcomes in vec((0_u8..9, 0_i64..9, -10_000_i64..10_000, 0_i64..400, 0_u8..60), 0..60)
    ) {
        let mut replica = Replica::new(Quantum::SECOND, Sizes::DEFAULT);
        let mut now = 0;
        for (kind, number, database, ms, event) in outcomes {
            match event {
                0 => replica.shut_down(),
                1 => replica.stop(),
                2..20 => replica.wake(),
                _ => {}
            }
            let command = match replica.next(now) {
                Next::Run(command) => command,
                Next::Sleep { until, is_idle } => {
                    prop_assert!(until > now && until <= now + BEAT_MS + 50, "{} at {}", until, now);
                    if !is_idle {
                        replica.wake();
                        prop_assert!(matches!(replica.next(now), Next::Sleep { .. }), "it is not its turn");
                    }
                    now = until;
                    continue;
                }
                Next::Exit => {
                    replica.shut_down();
                    prop_assert_eq!(replica.next(now + ms), Next::Exit);
                    return Ok(());
                }
            };
            if let Command::Serve { replica: sender, turn, ranges, .. } = &command {
                prop_assert_eq!((Some(*sender), Some(*turn)), (replica.registration(), replica.serving()));
                prop_assert!(!ranges.is_empty());
            }
            let before = replica.serving();
            let asked = now;
            now += ms;
            let change = replica.apply(&outcome(&command, (kind, number, database)), asked, now);
            prop_assert_eq!(change.began.or(before.filter(|_| change.ended.is_none())), replica.serving());
            prop_assert!(change.ended.is_none() || change.ended == before);
            prop_assert!(!change.is_lost || replica.registration().is_none());
        }
    }
}

#[test]
fn a_message_wakes_an_idle_replica() {
    let mut replica = Replica::new(Quantum::SECOND, Sizes::DEFAULT);
    let me = Registration { id: ReplicaId(1), token: Token(1) };
    replica.apply(&Outcome::Registered(me), 0, 0);
    assert_eq!(replica.next(0), Next::Run(Command::Beat(me)));
    let beat = Beat { now: 5000, is_registered: true, turn: Turn(5), serves: Some(me) };
    assert_eq!(replica.apply(&Outcome::Beat(beat), 0, 0).began, Some(Turn(5)));
    let list = Next::Run(Command::List { after: None, limit: Sizes::DEFAULT.clients });
    assert_eq!(replica.next(0), list);
    replica.apply(&Outcome::Listed(Vec::new()), 0, 2);
    assert_eq!(replica.next(2), Next::Sleep { until: 12, is_idle: true });
    assert_eq!(replica.next(12), list, "it looks again by itself");
    replica.wake();
    assert_eq!(replica.next(3), list);
    let listed = vec![waiting(0, 1, 2)];
    replica.apply(&Outcome::Listed(listed.clone()), 3, 4);
    let ranges = vec![listed[0].range.clone()];
    let serve = Command::Serve { replica: me, turn: Turn(5), ranges, after: None, limit: Sizes::DEFAULT.clients };
    assert_eq!(replica.next(4), Next::Run(serve));
    assert_eq!(replica.next(249), replica.next(4));
    assert_eq!(replica.next(250), Next::Run(Command::Beat(me)), "the heartbeat is due");
}

#[test]
fn the_last_heartbeat_of_a_turn_is_that_of_the_next_one() {
    let mut replica = Replica::new(Quantum::SECOND, Sizes::DEFAULT);
    let me = Registration { id: ReplicaId(1), token: Token(1) };
    replica.apply(&Outcome::Registered(me), 0, 0);
    for (now, expected) in [(5000, 250), (5250, 250), (5699, 250), (5700, 250), (5701, 299), (5990, 10)] {
        let beat = Beat { now, is_registered: true, turn: Turn(5), serves: None };
        replica.apply(&Outcome::Beat(beat), 0, 0);
        let Next::Sleep { until, is_idle: false } = replica.next(0) else { panic!("at {now}") };
        assert_eq!(until, expected, "at {now}");
    }
}

#[test]
fn a_replica_that_is_stopped_ends_at_once() {
    let mut replica = Replica::new(Quantum::SECOND, Sizes::DEFAULT);
    assert_eq!(replica.next(0), Next::Run(Command::Register));
    replica.shut_down();
    assert_eq!(replica.next(0), Next::Exit, "it has nothing to leave");
    let mut replica = Replica::new(Quantum::SECOND, Sizes::DEFAULT);
    let me = Registration { id: ReplicaId(1), token: Token(1) };
    replica.apply(&Outcome::Registered(me), 0, 0);
    replica.shut_down();
    assert_eq!(replica.next(0), Next::Run(Command::Leave(me)));
    replica.apply(&Outcome::Failed, 0, 0);
    assert_eq!(replica.next(0), Next::Run(Command::Leave(me)), "it tries again");
    replica.stop();
    assert_eq!(replica.next(0), Next::Exit);
    replica.apply(&Outcome::Left, 0, 0);
    assert_eq!(replica.next(0), Next::Exit);
}
