//! Random histories of arbitrary events, also of clients that send anything.

use std::collections::BTreeSet;

use counting_core::{AHEAD, Command, Connection, Event, MISSING_MS, PROBE_MS, RETRY_MS, Reply, Role, Server};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

#[derive(Debug, Clone, Copy)]
enum Step {
    Event(Event),
    /// The store in progress ends after so many of its lines.
    EndStore {
        lines: u64,
        fails: bool,
    },
    /// Time passes, in milliseconds.
    Wait(u64),
    /// The server starts again; so many lines of the store in progress are durable.
    Crash {
        lines: u64,
    },
}

fn connection() -> impl Strategy<Value = Connection> {
    (0_u64..5).prop_map(Connection)
}

fn connected() -> impl Strategy<Value = Event> {
    let wanted = prop::option::of(prop::sample::select(&Role::ALL));
    (connection(), wanted).prop_map(|(connection, wanted)| Event::Connected { connection, wanted })
}

fn number() -> impl Strategy<Value = Event> {
    let any_number = prop_oneof![20 => 0_u64..14, 1 => AHEAD - 5..AHEAD + 20, 1 => any::<u64>()];
    let (is_right, asks) = (prop::bool::weighted(0.9), prop::bool::weighted(0.9));
    (connection(), any_number, is_right, asks).prop_map(|(from, number, is_right, asks)| {
        let role = if is_right { Role::of(number) } else { Role::of(number).other() };
        // The world numbers the replies.
        Event::Number { from, role, number, reply: asks.then_some(Reply(0)) }
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => connected().prop_map(Step::Event),
        2 => connection().prop_map(|from| Step::Event(Event::Disconnected(from))),
        2 => connection().prop_map(|from| Step::Event(Event::Answered(from))),
        1 => connection().prop_map(|from| Step::Event(Event::Malformed { from, reply: None })),
        16 => number().prop_map(Step::Event),
        6 => (0_u64..4, prop::bool::weighted(0.2)).prop_map(|(lines, fails)| Step::EndStore { lines, fails }),
        2 => (0_u64..3_000).prop_map(Step::Wait),
        1 => (0_u64..4).prop_map(|lines| Step::Crash { lines }),
    ]
}

/// The server, its file, and what was sent to its clients.
struct World {
    server: Server,
    now: u64,
    /// The last durable number.
    log: u64,
    storing: Option<u64>,
    /// Numbers that came from a client of their role.
    came: BTreeSet<u64>,
    connected: BTreeSet<Connection>,
    /// Acknowledgements that clients expect.
    open: BTreeSet<(Connection, u64, Reply)>,
    /// The next reply: each is used once.
    next_reply: u64,
}

impl World {
    fn new() -> Self {
        Self {
            server: Server::new(0),
            now: 0,
            log: 0,
            storing: None,
            came: BTreeSet::new(),
            connected: BTreeSet::new(),
            open: BTreeSet::new(),
            next_reply: 0,
        }
    }

    fn run(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Event(event) => self.event(event),
            Step::EndStore { lines, fails } => {
                let Some(last) = self.storing.take() else { return Ok(()) };
                self.log = if fails { last.min(self.log + lines) } else { last.max(self.log) };
                self.tell(if fails { Event::StoreFailed(self.log) } else { Event::Stored(self.log) })
            }
            Step::Wait(time) => {
                self.now += time;
                self.tell(Event::Time)
            }
            Step::Crash { lines } => {
                self.log = self.storing.take().map_or(self.log, |last| last.min(self.log + lines));
                self.server = Server::new(self.log);
                self.connected.clear();
                self.open.clear();
                Ok(())
            }
        }
    }

    fn event(&mut self, mut event: Event) -> Result<(), TestCaseError> {
        if let Event::Number { reply: Some(reply), .. } = &mut event {
            *reply = Reply(self.next_reply);
            self.next_reply += 1;
        }
        match event {
            Event::Answered(connection) => return self.answer(connection),
            Event::Connected { connection, wanted } => return self.connect(connection, wanted),
            Event::Disconnected(connection) => self.end(connection),
            Event::Number { from, role, number, reply } if self.has_role(from) => {
                if Role::of(number) == role {
                    self.came.insert(number);
                }
                self.open.extend(reply.map(|reply| (from, number, reply)));
            }
            _ => {}
        }
        self.tell(event)
    }

    /// A client that connects gets the role that it asks for if that is free, else the other one if
    /// that is free.
    fn connect(&mut self, connection: Connection, wanted: Option<Role>) -> Result<(), TestCaseError> {
        let is_new = self.connected.insert(connection);
        let free: Vec<_> = Role::ALL.into_iter().filter(|role| self.server.holder(*role).is_none()).collect();
        self.tell(Event::Connected { connection, wanted })?;
        let expected = wanted.filter(|role| free.contains(role)).or_else(|| free.first().copied());
        if let Some(role) = expected.filter(|_| is_new) {
            prop_assert_eq!(self.server.holder(role), Some(connection));
        }
        Ok(())
    }

    /// An answer gives nobody a role and takes none, and that of a client without a role changes
    /// nothing. No deadline is due.
    fn answer(&mut self, connection: Connection) -> Result<(), TestCaseError> {
        let before = self.server.clone();
        let holders = Role::ALL.map(|role| before.holder(role));
        self.tell(Event::Answered(connection))?;
        prop_assert_eq!(Role::ALL.map(|role| self.server.holder(role)), holders);
        if !holders.contains(&Some(connection)) {
            prop_assert_eq!(&self.server, &before);
        }
        Ok(())
    }

    fn has_role(&self, connection: Connection) -> bool {
        Role::ALL.into_iter().any(|role| self.server.holder(role) == Some(connection))
    }

    fn end(&mut self, connection: Connection) {
        self.connected.remove(&connection);
        self.open.retain(|(of, _, _)| *of != connection);
    }

    fn tell(&mut self, event: Event) -> Result<(), TestCaseError> {
        for command in self.server.step(event, self.now) {
            self.judge(event, command)?;
        }
        let holders = Role::ALL.map(|role| self.server.holder(role));
        prop_assert!(holders[0].is_none() || holders[0] != holders[1]);
        prop_assert!(holders.iter().flatten().all(|holder| self.connected.contains(holder)));
        let both = holders.iter().all(Option::is_some);
        prop_assert_eq!(self.server.is_counting(), both && !self.server.cannot_store());
        prop_assert!(self.server.stored() <= self.log);
        prop_assert!(self.server.wake_at().is_none_or(|at| at > self.now), "a deadline was passed over");
        let longest = PROBE_MS.max(MISSING_MS).max(RETRY_MS);
        prop_assert!(self.server.wake_at().is_none_or(|at| at <= self.now + longest));
        Ok(())
    }

    fn judge(&mut self, event: Event, command: Command) -> Result<(), TestCaseError> {
        if let Event::Answered(_) = event {
            prop_assert!(matches!(command, Command::Reject(_)), "an answer leads to {command:?}");
        }
        match command {
            Command::Acknowledge { to, reply, number } => {
                prop_assert!(number <= self.log, "{number} is not durable");
                prop_assert!(self.open.remove(&(to, number, reply)), "{number} is acknowledged once");
            }
            Command::Refuse { to, reply: Some(reply), .. } => {
                if let Event::Number { number, .. } = event {
                    self.open.remove(&(to, number, reply));
                }
            }
            Command::Store(last) => {
                prop_assert!(self.storing.replace(last).is_none(), "one store at a time");
                prop_assert_eq!(self.server.stored(), self.log);
                prop_assert!((self.log + 1..=last).all(|number| self.came.contains(&number)));
            }
            Command::Assign { to, role, last_number } => {
                prop_assert!(self.connected.contains(&to));
                prop_assert_eq!(last_number, role.last_up_to(self.log));
            }
            Command::Reject(connection) | Command::Disconnect { connection, .. } => {
                prop_assert!(self.connected.contains(&connection));
                self.end(connection);
            }
            Command::Start(to) | Command::Stop(to) | Command::Probe(to) => {
                prop_assert!(self.connected.contains(&to));
            }
            Command::Refuse { reply: None, .. } => {}
        }
        Ok(())
    }

    /// When the disk works and each missing number comes, all is stored and acknowledged.
    fn finish(&mut self) -> Result<(), TestCaseError> {
        for connection in (0..5).map(Connection) {
            self.event(Event::Disconnected(connection))?;
        }
        for connection in [10, 11].map(Connection) {
            self.event(Event::Connected { connection, wanted: None })?;
        }
        self.settle()?;
        let goal = self.log + 40;
        for number in self.log + 1..=goal {
            let holder = self.server.holder(Role::of(number));
            let from = holder.expect("both roles are held");
            self.event(Event::Number { from, role: Role::of(number), number, reply: Some(Reply(number)) })?;
        }
        self.settle()?;
        prop_assert!(self.log >= goal, "{} of {goal} are stored", self.log);
        let late: Vec<_> = self.open.iter().filter(|(_, number, _)| *number <= self.log).collect();
        prop_assert!(late.is_empty(), "not acknowledged: {late:?}");
        Ok(())
    }

    /// The disk works until nothing waits for it.
    fn settle(&mut self) -> Result<(), TestCaseError> {
        if self.server.cannot_store() {
            self.run(Step::Wait(RETRY_MS))?;
        }
        while self.storing.is_some() {
            self.run(Step::EndStore { lines: 0, fails: false })?;
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_doubled_or_stuck(steps in vec(step(), 1..80)) {
        let mut world = World::new();
        for step in steps {
            world.run(step)?;
        }
        world.finish()?;
    }
}
