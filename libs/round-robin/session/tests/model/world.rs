//! A client, a network and a server whose database is the specification of the tables.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use round_robin_core::connection::{Closed as Reason, Connection, Output as ServerOutput};
use round_robin_core::tables::{Hello, Request, Resume, Tables};
use round_robin_core::turns::Quantum;
use round_robin_core::types::{ClientId, Range, Registration, Token};
use round_robin_protocol::{ClientFrame, Position, Refusal, ServerFrame, TAKEN_OVER};
use round_robin_session::machine::{Closed, Effect, Input, Machine, Output};
use round_robin_session::{Lost, Settings};

/// Something that may happen.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    /// The application submits messages.
    Submit(usize),
    /// Milliseconds pass.
    Wait(u64),
    /// The server reads frames, of each connection that it believes is open.
    ServerReads(usize),
    /// The client reads frames.
    ClientReads(usize),
    /// A replica serves messages.
    Serve(i64),
    /// The server sends answers.
    Answer,
    /// An attempt to connect succeeds or fails.
    Connect(bool),
    /// The client loses its connection. The server may notice later, and read what is on its way.
    Cut(bool),
    /// The server loses its connections. The client notices by itself.
    CutServer,
    /// The server says that it is about to exit, after this time in milliseconds, and closes.
    Goaway(u64),
    /// The database is away: the next message is refused.
    Refuse,
    /// The application loses its state.
    Restart,
    /// The application takes its answers.
    Take,
}

/// A connection with the frames on their way.
#[derive(Debug, Default)]
struct Pipe {
    to_server: VecDeque<ClientFrame>,
    to_client: VecDeque<ServerFrame>,
    /// The server's end, once it has read the hello.
    server: Option<Connection>,
    is_server_gone: bool,
    /// The close code of the server.
    code: Option<u16>,
}

/// The client's side of its present connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Down,
    Connecting,
    Up,
}

/// The number of a message, and of the run of the application that submitted it.
type Ticket = (usize, usize);

pub(crate) struct World {
    tables: Tables,
    now: Duration,
    machine: Machine<Ticket>,
    /// The pipes that the client has abandoned, and its present one as the last, if it has one.
    pipes: Vec<Pipe>,
    link: Link,
    refuses: bool,
    random: fastrand::Rng,
    run: usize,
    submitted: usize,
    /// The counters of the messages of this run that were accepted.
    accepted: BTreeMap<usize, i64>,
    /// The texts of the messages of this run that were answered, in the order of the answers.
    answered: Vec<String>,
    next_answer: Option<i64>,
    losses: Vec<Lost>,
    has_forgotten: bool,
}

fn client() -> ClientId {
    "x".to_owned().try_into().unwrap()
}

fn text(run: usize, number: usize) -> String {
    format!("{run}/{number}")
}

fn machine(random: &mut fastrand::Rng) -> Machine<Ticket> {
    let settings = Settings { window: 20, ..Settings::default() };
    Machine::new(client(), settings, random.fork())
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut tables = Tables::new(1_000_000, Quantum::SECOND);
        tables.register("a", Token(1));
        tables.register("b", Token(2));
        Self {
            tables,
            now: Duration::ZERO,
            machine: machine(&mut random),
            pipes: Vec::new(),
            link: Link::Down,
            refuses: false,
            random,
            run: 0,
            submitted: 0,
            accepted: BTreeMap::new(),
            answered: Vec::new(),
            next_answer: None,
            losses: Vec::new(),
            has_forgotten: false,
        }
    }

    pub(crate) fn steps(&mut self, steps: impl IntoIterator<Item = Step>) {
        for step in steps {
            self.step(step);
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Submit(count) => (0..count).for_each(|_| self.submit()),
            Step::Wait(ms) => self.wait(Duration::from_millis(ms)),
            Step::ServerReads(count) => self.server_reads(count),
            Step::ClientReads(count) => self.client_reads(count),
            Step::Serve(count) => self.serve(count),
            Step::Answer => self.answer(),
            Step::Connect(succeeds) => self.connect(succeeds),
            Step::Cut(is_noticed) => self.cut(is_noticed),
            Step::CutServer => self.pipes.iter_mut().for_each(|pipe| pipe.is_server_gone = true),
            Step::Goaway(retry_after_ms) => self.go_away(retry_after_ms),
            Step::Refuse => self.refuses = true,
            Step::Restart => self.restart(),
            Step::Take => self.take(),
        }
        self.settle();
    }

    fn submit(&mut self) {
        if self.machine.has_room() {
            let (run, number) = (self.run, self.submitted);
            self.machine.submit(self.now, |_| text(run, number), (run, number)).unwrap();
            self.submitted += 1;
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.tables.now += i64::try_from(time.as_millis()).unwrap();
        self.machine.tick(self.now);
    }

    fn connect(&mut self, succeeds: bool) {
        if self.link != Link::Connecting {
            return;
        }
        self.link = if succeeds { Link::Up } else { Link::Down };
        let input = if succeeds { Input::Opened } else { Input::Closed(closed(None)) };
        if succeeds {
            self.pipes.push(Pipe::default());
        }
        self.machine.input(self.now, input);
    }

    fn cut(&mut self, is_noticed: bool) {
        if self.link == Link::Up {
            self.link = Link::Down;
            let pipe = self.pipes.last_mut().unwrap();
            pipe.is_server_gone |= is_noticed;
            pipe.to_server.truncate(self.random.usize(..=pipe.to_server.len()));
            self.machine.input(self.now, Input::Closed(closed(None)));
        }
    }

    fn go_away(&mut self, retry_after_ms: u64) {
        if let Some(pipe) = self.pipes.last_mut().filter(|pipe| self.link == Link::Up && !pipe.is_server_gone) {
            pipe.to_client.push_back(ServerFrame::Goaway { retry_after_ms });
            (pipe.is_server_gone, pipe.code) = (true, Some(1012));
        }
    }

    /// The next run of the application knows nothing.
    fn restart(&mut self) {
        self.cut(false);
        self.link = Link::Down;
        // A hello of an earlier run that is read later would take over, and end the next run.
        self.pipes.retain(|pipe| pipe.server.is_some());
        self.run += 1;
        self.now = Duration::ZERO;
        self.machine = machine(&mut self.random);
        self.submitted = 0;
        self.accepted.clear();
        self.answered.clear();
        self.next_answer = None;
    }

    fn take(&mut self) {
        if let Some(next) = self.next_answer {
            self.machine.input(self.now, Input::Taken(next - 1));
        }
    }

    fn server_reads(&mut self, count: usize) {
        for index in 0..self.pipes.len() {
            for _ in 0..count {
                let pipe = &mut self.pipes[index];
                let Some(frame) = pipe.to_server.pop_front() else { break };
                if !pipe.is_server_gone {
                    self.handle(index, frame);
                }
            }
        }
    }

    fn handle(&mut self, index: usize, frame: ClientFrame) {
        let outputs = match (frame, self.pipes[index].server.as_ref().map(Connection::epoch)) {
            (ClientFrame::Hello { client_id, epoch, last_served }, None) => {
                return self.greet(index, &Hello { client: client_id, epoch, last_served });
            }
            (ClientFrame::Message { counter, .. }, Some(_)) if std::mem::take(&mut self.refuses) => {
                let detail = "away".to_owned();
                let refused = ServerFrame::Refused { counter, code: Refusal::Unavailable, detail, expected: None };
                return self.pipes[index].to_client.push_back(refused);
            }
            (ClientFrame::Message { counter, message }, Some(epoch)) => {
                let accepted = self.tables.accept(&Request { client: client(), counter, message, epoch: Some(epoch) });
                self.pipes[index].server.as_mut().unwrap().accepted(counter, &accepted)
            }
            (ClientFrame::Ack { counter }, Some(epoch)) => {
                self.tables.acknowledge(&client(), epoch, counter);
                self.pipes[index].server.as_mut().unwrap().acknowledged(counter)
            }
            (frame, _) => panic!("a frame in the wrong place: {frame:?}"),
        };
        self.send(index, outputs);
    }

    fn greet(&mut self, index: usize, hello: &Hello) {
        let connected = self.tables.connect(hello);
        let row = &connected.client;
        let above = self.tables.messages.keys().map(|(_, counter)| *counter).filter(|counter| *counter > row.missing);
        let position = Position {
            epoch: row.epoch,
            from: connected.resume.from(),
            last_served: row.last_served(),
            first_missing: row.missing,
            ahead: above.collect(),
        };
        let frame = match connected.resume {
            Resume::From(_) => ServerFrame::Resumed(position),
            Resume::Lost { reason, .. } => ServerFrame::Lost { reason: format!("{reason:?}"), position },
        };
        let pipe = &mut self.pipes[index];
        pipe.to_client.push_back(frame);
        pipe.server = Some(Connection::new(&connected));
    }

    fn send(&mut self, index: usize, outputs: Vec<ServerOutput>) {
        let pipe = &mut self.pipes[index];
        for output in outputs {
            match output {
                ServerOutput::Accepted(counter) => pipe.to_client.push_back(ServerFrame::Accepted { counter }),
                ServerOutput::Served(counter, served) => {
                    let (replica, served_at_ms) = (served.replica, served.at);
                    pipe.to_client.push_back(ServerFrame::Served { counter, replica, served_at_ms });
                }
                ServerOutput::Close(Reason::TakenOver) => {
                    (pipe.is_server_gone, pipe.code) = (true, Some(TAKEN_OVER));
                }
                output => panic!("the client made a mistake: {output:?}"),
            }
        }
    }

    fn client_reads(&mut self, count: usize) {
        for _ in 0..count {
            if self.link != Link::Up {
                return;
            }
            let pipe = self.pipes.last_mut().unwrap();
            let input = match pipe.to_client.pop_front() {
                Some(frame) => Input::Frame(frame),
                None if pipe.is_server_gone => {
                    self.link = Link::Down;
                    Input::Closed(closed(pipe.code))
                }
                None => return,
            };
            self.machine.input(self.now, input);
            self.settle();
        }
    }

    fn serve(&mut self, count: i64) {
        let replicas: Vec<_> =
            self.tables.replicas.values().map(|row| Registration { id: row.id, token: row.token }).collect();
        let beats = replicas.iter().map(|replica| self.tables.beat(*replica)).last().unwrap();
        let Some(replica) = beats.serves else { return };
        let ranges: Vec<Range> = self.tables.waiting(None, 1).into_iter().map(|waiting| waiting.range).collect();
        let ranges: Vec<Range> =
            ranges.into_iter().map(|range| Range { last: range.last.min(range.first + count - 1), ..range }).collect();
        self.tables.serve(replica, beats.turn, &ranges).unwrap();
    }

    fn answer(&mut self) {
        let Some(row) = self.tables.clients.get(&client()).cloned() else { return };
        for index in 0..self.pipes.len() {
            let pipe = &mut self.pipes[index];
            let Some(server) = pipe.server.as_mut().filter(|_| !pipe.is_server_gone) else { continue };
            let mut outputs = server.progress(row.epoch, row.next);
            if let Some(due) = server.due(5) {
                let answers = (due.first..=due.last)
                    .filter_map(|counter| Some((counter, self.tables.messages[&(client(), counter)].served.clone()?)));
                outputs.extend(server.answers(due.last, answers));
            }
            self.send(index, outputs);
        }
    }

    /// Executes the effects of the client, and sends what it wants to send.
    fn settle(&mut self) {
        loop {
            while let Some(effect) = self.machine.next_effect() {
                self.execute(effect);
            }
            if self.link != Link::Up {
                return;
            }
            let Some(output) = self.machine.next_output(self.now) else { break };
            if let Output::Frame(frame) = output {
                self.pipes.last_mut().unwrap().to_server.push_back(frame);
            }
        }
        assert!(self.machine.in_flight() <= 20, "the window is limited");
    }

    fn execute(&mut self, effect: Effect<Ticket>) {
        match effect {
            Effect::Connect => {
                assert_eq!(self.link, Link::Down, "one connection at a time");
                self.link = Link::Connecting;
            }
            Effect::Abandon => self.link = Link::Down,
            Effect::Accepted((run, number), counter) => {
                assert_eq!(run, self.run);
                assert_eq!(self.accepted.insert(number, counter), None, "a message is accepted once");
                if !self.has_forgotten {
                    assert_eq!(self.tables.messages[&(client(), counter)].message, text(run, number));
                }
            }
            Effect::Answer(answer) => {
                assert!(
                    self.next_answer.is_none_or(|next| next == answer.counter),
                    "no answer is left out or repeated"
                );
                self.next_answer = Some(answer.counter + 1);
                if let Some(message) = answer.message {
                    if !self.has_forgotten {
                        assert_eq!(message, self.tables.messages[&(client(), answer.counter)].message);
                    }
                    self.answered.push(message);
                }
            }
            Effect::Lost(lost) => {
                self.next_answer = Some(lost.from);
                self.losses.push(lost);
            }
            Effect::Resumed(position) => {
                // The position is that after the last message that was served when it was told.
                let next = self.next_answer.get_or_insert(position.from);
                assert_eq!(*next, position.from);
            }
            Effect::Disconnected { .. } => {}
            Effect::End(result) => panic!("the session ended: {result:?}"),
        }
    }

    /// Everything works from now on, until everything is answered.
    pub(crate) fn heal(&mut self) {
        self.refuses = false;
        for _ in 0..2000 {
            let last = self.pipes.len().saturating_sub(1);
            self.pipes.drain(..last);
            for step in [
                Step::Wait(50),
                Step::Connect(true),
                Step::ServerReads(100),
                Step::Serve(100),
                Step::Answer,
                Step::ClientReads(100),
                Step::Take,
            ] {
                self.step(step);
            }
            if self.link == Link::Up && self.machine.has_room() && self.machine.in_flight() == 0 {
                let row = &self.tables.clients[&client()];
                if row.missing > row.last_received {
                    return;
                }
                // An earlier run left a gap, which the next message fills.
                self.step(Step::Submit(1));
            }
        }
        panic!("{} messages are not answered", self.machine.in_flight());
    }

    pub(crate) fn assert_everything_is_answered(&self) {
        let texts: Vec<String> = (0..self.submitted).map(|number| text(self.run, number)).collect();
        assert_eq!(self.answered, texts, "all messages are answered in the order in which they were submitted");
        assert_eq!(self.accepted.len(), self.submitted, "all messages are accepted");
        if !self.has_forgotten {
            let mut stored: Vec<&str> = self.tables.messages.values().map(|row| row.message.as_str()).collect();
            let count = stored.len();
            stored.sort_unstable();
            stored.dedup();
            assert_eq!(stored.len(), count, "no message is stored twice");
        }
        let row = &self.tables.clients[&client()];
        assert_eq!(row.next, row.missing, "no message waits");
    }

    pub(crate) fn losses(&self) -> usize {
        self.losses.len()
    }

    pub(crate) fn snapshot(&self) -> Tables {
        self.tables.clone()
    }

    /// The database and all servers lose everything since the snapshot.
    pub(crate) fn restore(&mut self, mut tables: Tables) {
        tables.now = self.tables.now;
        self.tables = tables;
        self.has_forgotten = true;
        self.pipes.iter_mut().for_each(|pipe| pipe.is_server_gone = true);
    }
}

fn closed(code: Option<u16>) -> Closed {
    Closed { code, reason: "the network".to_owned(), retry_after: None }
}
