//! What holds whatever happens to the counter: thousands of random histories.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::Config;
use visits_core::{Coalescer, Count, Full, Outcome};

const CAPACITY: usize = 6;

/// What may happen next.
#[derive(Debug, Clone)]
enum Step {
    /// So many visits come to a server.
    Visits { server: usize, count: usize },
    /// A server sends its next addition, or the answer to it arrives.
    Proceed { server: usize },
    /// A server gives up on its addition, which has been or will be carried out, or not.
    GiveUp { server: usize, happens: bool },
    /// The counter crashes and comes back as it was so many numbers ago.
    Crash { loses: i64 },
    /// Another program adds to the counter.
    Others { count: i64 },
}

/// A server with its visits, which are numbered.
struct Server {
    coalescer: Coalescer<u32>,
    contact: u64,
    sent: Option<i64>,
}

struct World {
    total: i64,
    servers: Vec<Server>,
    contacts: u64,
    visits: u32,
    answered: BTreeSet<u32>,
    turned_away: BTreeSet<u32>,
    numbers: BTreeSet<i64>,
}

impl World {
    fn new(servers: u64) -> Self {
        let server = |contact| Server { coalescer: Coalescer::new(CAPACITY), contact, sent: None };
        Self {
            total: 0,
            servers: (0..servers).map(server).collect(),
            contacts: servers,
            visits: 0,
            answered: BTreeSet::new(),
            turned_away: BTreeSet::new(),
            numbers: BTreeSet::new(),
        }
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Visits { server, count } => (0..count).try_for_each(|_| self.visit(server)),
            Step::Proceed { server } => self.proceed(server),
            Step::GiveUp { server, happens } => self.give_up(server, happens),
            Step::Crash { loses } => {
                self.total = (self.total - loses).max(0);
                (0..self.servers.len()).try_for_each(|server| self.give_up(server, false))
            }
            Step::Others { count } => {
                self.total += count;
                Ok(())
            }
        }
    }

    fn visit(&mut self, server: usize) -> Result<(), TestCaseError> {
        self.visits += 1;
        let visit = self.visits;
        let server = &mut self.servers[server];
        match server.coalescer.push(visit) {
            Ok(idle) => prop_assert_eq!(idle, server.sent.is_none()),
            Err(Full(refused)) => {
                prop_assert_eq!(refused, visit);
                self.turned_away.insert(visit);
            }
        }
        Ok(())
    }

    fn proceed(&mut self, index: usize) -> Result<(), TestCaseError> {
        let server = &mut self.servers[index];
        let Some(amount) = server.sent else {
            server.sent = server.coalescer.start();
            prop_assert!(server.sent.is_none_or(|visits| (1..=6).contains(&visits)));
            return Ok(());
        };
        self.total += amount;
        match server.coalescer.answered(Count { total: self.total, contact: server.contact }) {
            Outcome::Again(amount) => {
                prop_assert!(amount >= 1);
                server.sent = Some(amount);
            }
            Outcome::Numbers(numbers) => {
                server.sent = None;
                for (visit, number) in numbers {
                    prop_assert!(number <= self.total, "{} is beyond {}", number, self.total);
                    prop_assert!(self.numbers.insert(number), "{} was handed out twice", number);
                    prop_assert!(self.answered.insert(visit), "visit {} was answered twice", visit);
                }
            }
        }
        Ok(())
    }

    fn give_up(&mut self, index: usize, happens: bool) -> Result<(), TestCaseError> {
        let server = &mut self.servers[index];
        if let Some(amount) = server.sent.take().filter(|_| happens) {
            self.total += amount;
        }
        self.contacts += 1;
        server.contact = self.contacts;
        for visit in server.coalescer.failed() {
            prop_assert!(self.turned_away.insert(visit), "visit {} was turned away twice", visit);
        }
        Ok(())
    }

    /// Everything that was sent is answered, and nobody is left behind.
    fn finish(mut self) -> Result<(), TestCaseError> {
        for index in 0..self.servers.len() {
            // An addition that is under way, the one for those that wait, and for
            // each the one that sets the counter forward.
            for _ in 0..6 {
                self.proceed(index)?;
            }
        }
        prop_assert!(self.answered.is_disjoint(&self.turned_away));
        prop_assert_eq!(self.answered.len() + self.turned_away.len(), self.visits as usize);
        Ok(())
    }
}

fn steps(servers: usize, loses: impl Strategy<Value = i64> + 'static) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..servers, 1_usize..9).prop_map(|(server, count)| Step::Visits { server, count }),
        8 => (0..servers).prop_map(|server| Step::Proceed { server }),
        1 => (0..servers, any::<bool>()).prop_map(|(server, happens)| Step::GiveUp { server, happens }),
        1 => loses.prop_map(|loses| Step::Crash { loses }),
        1 => (1_i64..5).prop_map(|count| Step::Others { count }),
    ];
    vec(step, 0..80)
}

/// A failure prints its smallest case, to be added as a test.
fn many() -> Config {
    Config { failure_persistence: None, ..Config::with_cases(10_000) }
}

proptest! {
    #![proptest_config(many())]

    #[test]
    fn one_server_hands_no_number_out_twice_though_the_counter_loses_some(steps in steps(1, 0_i64..20)) {
        let mut world = World::new(1);
        steps.iter().try_for_each(|step| world.step(step))?;
        world.finish()?;
    }

    #[test]
    fn many_servers_hand_no_number_out_twice_while_the_counter_loses_none(steps in steps(3, Just(0))) {
        let mut world = World::new(3);
        steps.iter().try_for_each(|step| world.step(step))?;
        world.finish()?;
    }
}

fn numbers(outcome: Outcome<u32>) -> Vec<(u32, i64)> {
    match outcome {
        Outcome::Numbers(numbers) => numbers,
        Outcome::Again(amount) => panic!("it wants {amount} more"),
    }
}

#[test]
fn a_lone_visitor_waits_for_nobody_and_the_next_ones_share() {
    let mut coalescer = Coalescer::new(10);
    assert_eq!(coalescer.start(), None);
    assert_eq!(coalescer.push(1), Ok(true));
    assert_eq!(coalescer.start(), Some(1));
    for visit in 2..=4 {
        assert_eq!(coalescer.push(visit), Ok(false));
    }
    assert_eq!(coalescer.start(), None, "one addition at a time");
    assert_eq!(numbers(coalescer.answered(Count { total: 8, contact: 0 })), [(1, 8)]);
    assert_eq!(coalescer.start(), Some(3));
    assert_eq!(numbers(coalescer.answered(Count { total: 11, contact: 0 })), [(2, 9), (3, 10), (4, 11)]);
    assert_eq!(coalescer.start(), None);
}

#[test]
fn a_counter_that_lost_numbers_is_set_forward() {
    let mut coalescer = Coalescer::new(10);
    coalescer.push(1).unwrap();
    coalescer.start();
    numbers(coalescer.answered(Count { total: 100, contact: 0 }));
    for visit in 2..=3 {
        coalescer.push(visit).unwrap();
    }
    assert_eq!(coalescer.start(), Some(2));
    assert_eq!(coalescer.answered(Count { total: 92, contact: 1 }), Outcome::Again(10));
    assert_eq!(numbers(coalescer.answered(Count { total: 102, contact: 1 })), [(2, 101), (3, 102)]);
}

#[test]
fn a_counter_set_back_by_hand_is_left_alone() {
    let mut coalescer = Coalescer::new(10);
    for (total, number) in [(100, 100), (1, 1), (2, 2)] {
        coalescer.push(number).unwrap();
        coalescer.start();
        let expected = (number, i64::from(number));
        assert_eq!(numbers(coalescer.answered(Count { total, contact: 7 })), [expected]);
    }
}

#[test]
fn the_ends_of_the_number_range_are_no_end_of_the_program() {
    for total in [i64::MIN, i64::MAX] {
        let mut coalescer = Coalescer::new(1);
        coalescer.push(1).unwrap();
        coalescer.start();
        coalescer.answered(Count { total, contact: 0 });
        coalescer.push(2).unwrap();
        coalescer.start();
        coalescer.answered(Count { total: -total.saturating_add(1), contact: 1 });
    }
}
