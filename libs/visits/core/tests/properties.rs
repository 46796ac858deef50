//! No number is assigned twice, whatever happens to the counter: random histories.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::Config;
use visits_core::{Assigned, Count, Numbering};

/// Highest number of visits that wait at a server.
const CAPACITY: usize = 6;

#[derive(Debug, Clone)]
enum Step {
    /// `count` visits arrive at a server.
    Visits { server: usize, count: usize },
    /// A server sends its next addition or receives the answer.
    Proceed { server: usize },
    /// A server abandons its addition, which the counter executes or not.
    GiveUp { server: usize, happens: bool },
    /// The counter crashes and loses its last additions.
    Crash { loses: i64 },
    /// Another program adds to the counter.
    Others { count: i64 },
}

/// A server and its visits, which have consecutive numbers here.
#[derive(Default)]
struct Server {
    numbering: Numbering,
    contact: u64,
    waiting: Vec<u32>,
    /// The visits of the addition in progress, and its amount.
    sent: Option<(Vec<u32>, i64)>,
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
        Self {
            total: 0,
            servers: (0..servers).map(|contact| Server { contact, ..Server::default() }).collect(),
            contacts: servers,
            visits: 0,
            answered: BTreeSet::new(),
            turned_away: BTreeSet::new(),
            numbers: BTreeSet::new(),
        }
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Visits { server, count } => (0..count).for_each(|_| self.visit(server)),
            Step::Proceed { server } => self.proceed(server)?,
            Step::GiveUp { server, happens } => self.give_up(server, happens)?,
            Step::Crash { loses } => {
                self.total = (self.total - loses).max(0);
                (0..self.servers.len()).try_for_each(|server| self.give_up(server, false))?;
            }
            Step::Others { count } => self.total += count,
        }
        Ok(())
    }

    fn visit(&mut self, server: usize) {
        self.visits += 1;
        let waiting = &mut self.servers[server].waiting;
        if waiting.len() < CAPACITY {
            waiting.push(self.visits);
        } else {
            self.turned_away.insert(self.visits);
        }
    }

    fn proceed(&mut self, index: usize) -> Result<(), TestCaseError> {
        let server = &mut self.servers[index];
        let Some((visits, amount)) = server.sent.take() else {
            let visits = std::mem::take(&mut server.waiting);
            let amount = length(&visits);
            server.sent = (amount > 0).then_some((visits, amount));
            return Ok(());
        };
        self.total += amount;
        let count = Count { total: self.total, contact: server.contact };
        match server.numbering.assign(length(&visits), count) {
            Assigned::SetForward(amount) => {
                prop_assert!(amount >= 1);
                server.sent = Some((visits, amount));
            }
            Assigned::Numbers(numbers) => {
                prop_assert_eq!(numbers.clone().count(), visits.len());
                for (visit, number) in visits.into_iter().zip(numbers) {
                    prop_assert!(number <= self.total, "{} is beyond {}", number, self.total);
                    prop_assert!(self.numbers.insert(number), "{} was assigned twice", number);
                    prop_assert!(self.answered.insert(visit), "visit {} was answered twice", visit);
                }
            }
        }
        Ok(())
    }

    fn give_up(&mut self, index: usize, happens: bool) -> Result<(), TestCaseError> {
        let server = &mut self.servers[index];
        let (mut visits, amount) = server.sent.take().unwrap_or_default();
        self.total += if happens { amount } else { 0 };
        self.contacts += 1;
        server.contact = self.contacts;
        visits.append(&mut server.waiting);
        for visit in visits {
            prop_assert!(self.turned_away.insert(visit), "visit {} was turned away twice", visit);
        }
        Ok(())
    }

    /// Waits until every addition is answered, and every visit is answered or rejected.
    fn finish(mut self) -> Result<(), TestCaseError> {
        for index in 0..self.servers.len() {
            // The addition in progress and the addition for the waiting visits, and for
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
    fn one_server_assigns_no_number_twice_although_the_counter_loses_some(steps in steps(1, 0_i64..20)) {
        let mut world = World::new(1);
        steps.iter().try_for_each(|step| world.step(step))?;
        world.finish()?;
    }

    #[test]
    fn many_servers_assign_no_number_twice_while_the_counter_loses_none(steps in steps(3, Just(0))) {
        let mut world = World::new(3);
        steps.iter().try_for_each(|step| world.step(step))?;
        world.finish()?;
    }
}

fn length(visits: &[u32]) -> i64 {
    i64::try_from(visits.len()).unwrap_or(i64::MAX)
}

#[test]
fn the_numbers_of_an_addition_go_up_to_its_total() {
    let mut numbering = Numbering::new();
    assert_eq!(numbering.assign(1, Count { total: 8, contact: 0 }), Assigned::Numbers(8..=8));
    assert_eq!(numbering.assign(3, Count { total: 11, contact: 0 }), Assigned::Numbers(9..=11));
}

#[test]
fn a_counter_that_lost_numbers_is_set_forward() {
    let mut numbering = Numbering::new();
    numbering.assign(1, Count { total: 100, contact: 0 });
    assert_eq!(numbering.assign(2, Count { total: 92, contact: 1 }), Assigned::SetForward(10));
    assert_eq!(numbering.assign(2, Count { total: 102, contact: 1 }), Assigned::Numbers(101..=102));
}

#[test]
fn a_counter_reset_by_an_operator_is_left_alone() {
    let mut numbering = Numbering::new();
    for total in [100, 1, 2] {
        assert_eq!(numbering.assign(1, Count { total, contact: 7 }), Assigned::Numbers(total..=total));
    }
}

#[test]
fn the_ends_of_the_number_range_do_not_overflow() {
    for total in [i64::MIN, i64::MAX] {
        let mut numbering = Numbering::new();
        numbering.assign(1, Count { total, contact: 0 });
        numbering.assign(1, Count { total: -total.saturating_add(1), contact: 1 });
    }
}
