//! The machine, step by step and in random histories.

use std::collections::VecDeque;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn settings(interval: Duration) -> Settings {
    Settings { interval, ..Settings::default() }
}

fn machine(settings: Settings) -> Machine {
    Machine::new(settings, fastrand::Rng::with_seed(1))
}

fn effects(machine: &mut Machine) -> Vec<Effect> {
    std::iter::from_fn(|| machine.next_effect()).collect()
}

/// The numbers that are sent, with their ids.
fn sent(machine: &mut Machine) -> Vec<(u64, u64)> {
    let sends = effects(machine).into_iter().filter_map(|effect| match effect {
        Effect::Send { id, number, .. } => Some((id, number)),
        _ => None,
    });
    sends.collect()
}

fn acknowledged(id: u64) -> Input {
    Input::Acknowledged { id, result: Ok(()) }
}

/// A machine that is connected, and has a role.
fn connected(settings: Settings, role: Role, last_number: u64) -> Machine {
    let mut machine = machine(settings);
    machine.tick(Time::ZERO);
    assert_eq!(effects(&mut machine), [Effect::Connect]);
    machine.input(Time::ZERO, Input::Accepted);
    machine.input(Time::ZERO, Input::Assigned { role, last_number });
    machine
}

/// The same, and counting runs.
fn counting(settings: Settings, role: Role, last_number: u64) -> Machine {
    let mut machine = connected(settings, role, last_number);
    machine.input(Time::ZERO, Input::Started);
    machine
}

#[test]
fn it_begins_after_the_last_number_of_its_role() {
    for (role, last_number, first) in [
        (Role::Client1, 0, 1),
        (Role::Client2, 0, 2),
        (Role::Client1, 1, 3),
        (Role::Client2, 2, 4),
        (Role::Client1, 99, 101),
        (Role::Client1, 100, 101),
        (Role::Client2, 1, 2),
    ] {
        let mut machine = counting(settings(SECOND), role, last_number);
        assert_eq!(sent(&mut machine), [(0, first)], "{role} after {last_number}");
    }
    let mut machine = counting(settings(SECOND), Role::Client1, u64::MAX);
    assert_eq!(sent(&mut machine), [], "there is none after the largest");
}

#[test]
fn with_a_pause_one_number_is_in_flight() {
    let mut machine = counting(settings(SECOND), Role::Client2, 0);
    assert_eq!(sent(&mut machine), [(0, 2)]);
    machine.tick(3 * SECOND);
    assert_eq!(sent(&mut machine), [], "the first is not acknowledged");
    machine.input(4 * SECOND, acknowledged(0));
    assert_eq!(sent(&mut machine), [(1, 4)]);
    machine.input(4 * SECOND + SECOND / 2, acknowledged(1));
    assert_eq!(sent(&mut machine), [], "the pause is not over");
    assert_eq!(machine.deadline(), Some(5 * SECOND));
    machine.tick(5 * SECOND);
    assert_eq!(sent(&mut machine), [(2, 6)]);
}

#[test]
fn without_a_pause_a_window_is_in_flight() {
    let mut machine = counting(Settings { window: 3, ..settings(Duration::ZERO) }, Role::Client1, 0);
    assert_eq!(sent(&mut machine), [(0, 1), (1, 3), (2, 5)]);
    machine.input(SECOND, acknowledged(1));
    assert_eq!(sent(&mut machine), [(3, 7)]);
    machine.input(SECOND, acknowledged(1));
    assert_eq!(sent(&mut machine), [], "it was acknowledged before");
}

#[test]
fn every_assignment_counts() {
    let mut machine = counting(settings(Duration::ZERO), Role::Client1, 0);
    assert_eq!(sent(&mut machine).len(), 64);
    machine.input(SECOND, Input::Assigned { role: Role::Client2, last_number: 20 });
    let again = sent(&mut machine);
    assert_eq!((again[0], again.len()), ((64, 22), 64));
    machine.input(SECOND, acknowledged(0));
    assert_eq!(sent(&mut machine), [], "what was sent before does not count any more");
}

#[test]
fn numbers_are_sent_only_while_counting_runs() {
    let mut machine = connected(settings(SECOND), Role::Client1, 0);
    assert_eq!(sent(&mut machine), []);
    machine.input(SECOND, Input::Started);
    assert_eq!(sent(&mut machine), [(0, 1)]);
    machine.input(SECOND, Input::Stopped);
    machine.input(SECOND, acknowledged(0));
    machine.tick(10 * SECOND);
    assert_eq!(sent(&mut machine), []);
    machine.input(11 * SECOND, Input::Started);
    assert_eq!(sent(&mut machine), [(1, 3)]);
}

#[test]
fn a_number_without_an_acknowledgement_ends_the_connection() {
    let mut machine = counting(settings(SECOND), Role::Client1, 0);
    assert_eq!(sent(&mut machine), [(0, 1)]);
    // While counting is stopped, the server may wait for a number of the other client.
    machine.input(2 * SECOND, Input::Stopped);
    assert_eq!(machine.deadline(), None);
    machine.tick(100 * SECOND);
    assert_eq!(effects(&mut machine), []);
    machine.input(101 * SECOND, Input::Started);
    assert_eq!(machine.deadline(), Some(111 * SECOND));
    machine.tick(111 * SECOND);
    let effects = effects(&mut machine);
    assert!(
        matches!(&effects[..], [Effect::Abandon, Effect::Failed { delay, .. }] if *delay <= SECOND / 10),
        "{effects:?}"
    );
}

#[test]
fn a_refused_number_ends_the_connection() {
    let mut machine = counting(settings(SECOND), Role::Client1, 0);
    assert_eq!(sent(&mut machine), [(0, 1)]);
    machine.input(SECOND, Input::Acknowledged { id: 0, result: Err("no".to_owned()) });
    let effects = effects(&mut machine);
    assert!(
        matches!(&effects[..], [Effect::Refused { number: 1, error, .. }, Effect::Disconnect, Effect::Failed { reason, .. }]
            if error == "no" && reason == "the server refuses the number 1: no"),
        "{effects:?}"
    );
}

#[test]
fn a_server_has_a_time_for_everything() {
    let mut machine = machine(settings(SECOND));
    machine.tick(Time::ZERO);
    assert_eq!(effects(&mut machine), [Effect::Connect]);
    machine.tick(5 * SECOND);
    let failed = effects(&mut machine);
    assert!(matches!(&failed[..], [Effect::Abandon, Effect::Failed { .. }]), "{failed:?}");
    machine.tick(10 * SECOND);
    assert_eq!(effects(&mut machine), [Effect::Connect]);
    machine.input(14 * SECOND, Input::Accepted);
    assert_eq!(machine.deadline(), Some(19 * SECOND));
    machine.tick(19 * SECOND);
    let failed = effects(&mut machine);
    assert!(matches!(&failed[..], [Effect::Disconnect, Effect::Failed { .. }]), "{failed:?}");
}

#[test]
fn it_waits_for_the_only_role_that_it_takes() {
    let wanted = Settings { role: Some(Role::Client1), ..settings(SECOND) };
    let mut machine = connected(wanted.clone(), Role::Client2, 0);
    let failed = effects(&mut machine);
    assert!(
        matches!(&failed[..], [Effect::Disconnect, Effect::Failed { reason, .. }] if reason == "the role client1 is taken"),
        "{failed:?}"
    );
    let mut machine = counting(wanted, Role::Client1, 0);
    assert_eq!(sent(&mut machine), [(0, 1)]);
}

#[test]
fn it_ends_at_the_last_number() {
    // The client that has it ends at once.
    let until = |until| Settings { until: Some(until), ..settings(Duration::ZERO) };
    let mut machine = counting(until(6), Role::Client2, 0);
    assert_eq!(sent(&mut machine), [(0, 2), (1, 4), (2, 6)]);
    for id in 0..3 {
        assert_eq!(effects(&mut machine).len(), usize::from(id > 0));
        machine.input(SECOND, acknowledged(id));
    }
    assert_eq!(effects(&mut machine)[1..], [Effect::Disconnect, Effect::End]);
    assert_eq!(machine.deadline(), None);

    // The other one stays until that one has left, but not for ever.
    for ends_by in [Some(Input::Stopped), Some(Input::Ended("cut".to_owned())), None] {
        let mut machine = counting(until(6), Role::Client1, 3);
        assert_eq!(sent(&mut machine), [(0, 5)]);
        machine.input(SECOND, acknowledged(0));
        assert_eq!(effects(&mut machine).len(), 1);
        assert_eq!(machine.deadline(), Some(11 * SECOND));
        match &ends_by {
            Some(input) => machine.input(2 * SECOND, input.clone()),
            None => machine.tick(11 * SECOND),
        }
        assert_eq!(effects(&mut machine).last(), Some(&Effect::End), "{ends_by:?}");
    }

    // Everything was counted before.
    let mut machine = connected(until(6), Role::Client2, 6);
    assert_eq!(effects(&mut machine)[1..], [Effect::Disconnect, Effect::End]);
}

#[test]
fn it_finishes_what_it_has_sent() {
    let mut machine = counting(settings(Duration::ZERO), Role::Client1, 0);
    let ids = sent(&mut machine);
    machine.input(SECOND, Input::Finish);
    for (id, _) in ids {
        assert!(!effects(&mut machine).contains(&Effect::End));
        machine.input(SECOND, acknowledged(id));
    }
    assert_eq!(effects(&mut machine)[1..], [Effect::Disconnect, Effect::End]);

    let mut machine = counting(settings(Duration::ZERO), Role::Client1, 0);
    assert_eq!(sent(&mut machine).len(), 64);
    machine.input(SECOND, Input::Finish);
    assert_eq!((effects(&mut machine), machine.deadline()), (vec![], Some(2 * SECOND)));
    machine.tick(2 * SECOND);
    assert_eq!(effects(&mut machine), [Effect::Disconnect, Effect::End]);

    let mut machine = machine_at_start();
    machine.input(Time::ZERO, Input::Finish);
    assert_eq!(effects(&mut machine), [Effect::End]);
    let mut machine = machine_at_start();
    machine.tick(Time::ZERO);
    machine.input(Time::ZERO, Input::Finish);
    assert_eq!(effects(&mut machine), [Effect::Connect, Effect::Abandon, Effect::End]);
}

fn machine_at_start() -> Machine {
    machine(settings(SECOND))
}

#[test]
fn failures_in_a_row_are_further_and_further_apart() {
    let mut longest = [Duration::ZERO; 8];
    for seed in 0..200 {
        let mut machine = Machine::new(settings(SECOND), fastrand::Rng::with_seed(seed));
        let mut now = Time::ZERO;
        for longest in &mut longest {
            machine.tick(now);
            assert_eq!(effects(&mut machine), [Effect::Connect]);
            machine.input(now, Input::Ended("refused".to_owned()));
            let [Effect::Failed { delay, .. }] = effects(&mut machine)[..] else { panic!("it fails") };
            *longest = (*longest).max(delay);
            now += delay;
        }
    }
    for (longest, limit) in longest.into_iter().zip([100, 200, 400, 800, 1600, 2000, 2000, 2000]) {
        let limit = Duration::from_millis(limit);
        assert!(longest <= limit && longest > limit.mul_f64(0.9), "{longest:?} of {limit:?}");
    }
}

/// What happens to a client in a random history.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// The server reads so many of the numbers that are on their way, and acknowledges them, or
    /// loses the acknowledgements.
    Read(usize, bool),
    /// So many acknowledgements arrive, the last one first or not.
    Arrive(usize, bool),
    /// Time passes, in milliseconds.
    Wait(u64),
    Start,
    Stop,
    /// The server tells the role again.
    Assign,
    /// The server gives the other role from now on.
    Exchange,
    /// The connection is cut; what is on its way is lost.
    Cut,
    /// The server refuses numbers on this connection from now on.
    Refuse,
    Nonsense(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0_usize..70, prop::bool::weighted(0.9)).prop_map(|(count, is_kept)| Step::Read(count, is_kept)),
        12 => (0_usize..70, any::<bool>()).prop_map(|(count, is_reverse)| Step::Arrive(count, is_reverse)),
        8 => (0_u64..3000).prop_map(Step::Wait),
        8 => Just(Step::Start),
        2 => Just(Step::Stop),
        2 => Just(Step::Assign),
        1 => Just(Step::Exchange),
        2 => Just(Step::Cut),
        1 => Just(Step::Refuse),
        1 => any::<u64>().prop_map(Step::Nonsense),
    ]
}

/// What the server does on a connection.
#[derive(Debug, Clone, Copy, Default)]
struct Connection {
    is_counting: bool,
    is_refusing: bool,
}

/// A server, and the connection to it.
struct World {
    machine: Machine,
    window: usize,
    now: Time,
    role: Role,
    /// The last stored number of each role.
    stored: [u64; 2],
    connection: Option<Connection>,
    has_ended: bool,
    to_server: VecDeque<(u64, u64)>,
    to_client: VecDeque<Input>,
    /// The numbers that may be sent next: that after the last one sent or, after an assignment,
    /// that after the last one stored.
    expected: Option<u64>,
    in_flight: usize,
}

impl World {
    fn new(settings: Settings) -> Self {
        Self {
            window: if settings.interval.is_zero() { settings.window } else { 1 },
            machine: machine(settings),
            now: Time::ZERO,
            role: Role::Client1,
            stored: [0; 2],
            connection: None,
            has_ended: false,
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
            expected: None,
            in_flight: 0,
        }
    }

    fn next_stored(&self) -> u64 {
        let last = self.stored[self.role as usize];
        if last == 0 { self.role.first() } else { last + 2 }
    }

    fn run(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Read(count, is_kept) => {
                for _ in 0..count {
                    let Some((id, number)) = self.to_server.pop_front() else { break };
                    if self.connection.is_some_and(|connection| connection.is_refusing) {
                        self.to_client.push_back(Input::Acknowledged { id, result: Err("no".to_owned()) });
                        continue;
                    }
                    prop_assert!(number <= self.next_stored(), "{number} leaves out {}", self.next_stored());
                    let last = &mut self.stored[self.role as usize];
                    *last = number.max(*last);
                    if is_kept {
                        self.to_client.push_back(acknowledged(id));
                    }
                }
            }
            Step::Arrive(count, is_reverse) => {
                for _ in 0..count {
                    let next = if is_reverse { self.to_client.pop_back() } else { self.to_client.pop_front() };
                    let Some(input) = next else { break };
                    self.input(input)?;
                }
            }
            Step::Wait(millis) => {
                let until = self.now + Duration::from_millis(millis);
                let mut ticks = 0;
                while let Some(deadline) = self.machine.deadline().filter(|deadline| *deadline <= until) {
                    ticks += 1;
                    prop_assert!(ticks < 10_000, "it wakes up for nothing");
                    self.now = self.now.max(deadline);
                    self.machine.tick(self.now);
                    self.execute()?;
                }
                self.now = until;
            }
            Step::Start | Step::Stop => {
                if let Some(connection) = &mut self.connection {
                    connection.is_counting = matches!(step, Step::Start);
                    let input = if connection.is_counting { Input::Started } else { Input::Stopped };
                    self.input(input)?;
                }
            }
            Step::Assign => self.assign()?,
            Step::Exchange => {
                self.role = self.role.other();
                self.assign()?;
            }
            Step::Cut if self.connection.is_some() => {
                self.disconnect();
                self.input(Input::Ended("cut".to_owned()))?;
            }
            Step::Cut => {}
            Step::Refuse => {
                if let Some(connection) = &mut self.connection {
                    connection.is_refusing = true;
                }
            }
            Step::Nonsense(id) => self.input(acknowledged(id | 1 << 40))?,
        }
        Ok(())
    }

    /// Tells the role. The connection is in order: the server has read what was sent before, and
    /// the acknowledgements arrive before or after.
    fn assign(&mut self) -> Result<(), TestCaseError> {
        if self.connection.is_none() {
            return Ok(());
        }
        self.to_server.clear();
        self.expected = Some(self.next_stored());
        self.in_flight = 0;
        let last_number = self.stored[self.role as usize];
        self.input(Input::Assigned { role: self.role, last_number })
    }

    fn disconnect(&mut self) {
        self.connection = None;
        self.to_server.clear();
        self.to_client.clear();
        self.expected = None;
        self.in_flight = 0;
    }

    fn input(&mut self, input: Input) -> Result<(), TestCaseError> {
        self.machine.input(self.now, input);
        self.execute()
    }

    fn execute(&mut self) -> Result<(), TestCaseError> {
        while let Some(effect) = self.machine.next_effect() {
            match effect {
                Effect::Connect => {
                    prop_assert!(self.connection.is_none());
                    self.connection = Some(Connection::default());
                    self.machine.input(self.now, Input::Accepted);
                    self.assign()?;
                }
                Effect::Send { id, role, number } => {
                    prop_assert!(self.connection.is_some_and(|connection| connection.is_counting));
                    prop_assert_eq!((role, Some(number)), (self.role, self.expected));
                    self.expected = Some(number + 2);
                    self.to_server.push_back((id, number));
                    self.in_flight += 1;
                    prop_assert!(self.in_flight <= self.window);
                }
                Effect::Disconnect | Effect::Abandon => self.disconnect(),
                Effect::Acknowledged { role, number, .. } => {
                    prop_assert_eq!(role, Role::of(number));
                    prop_assert!(number <= self.stored[role as usize], "it is stored");
                    self.in_flight -= 1;
                }
                Effect::Refused { .. } => self.in_flight -= 1,
                Effect::Assigned { .. } | Effect::Failed { .. } => {}
                Effect::End => self.has_ended = true,
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn no_number_is_left_out_and_the_end_is_reached(
        steps in vec(step(), 0..200),
        millis in prop_oneof![Just(0_u64), 1_u64..1500],
        until in 1_u64..2000,
    ) {
        let interval = Duration::from_millis(millis);
        let mut world = World::new(Settings { until: Some(until), ..settings(interval) });
        for step in steps {
            if !world.has_ended {
                world.run(step)?;
            }
        }
        // Now nothing goes wrong any more.
        for _ in 0..10_000 {
            if world.has_ended {
                break;
            }
            world.run(Step::Start)?;
            world.run(Step::Read(64, true))?;
            world.run(Step::Arrive(64, false))?;
            world.run(Step::Wait(3000))?;
        }
        prop_assert!(world.has_ended, "{:?}", world.machine);
        let last = world.stored[world.role as usize];
        prop_assert!(last + 2 > until, "the last number is {last} of {until}");
    }
}
