//! A worker in simulated time, against the production tables.

use std::sync::atomic::{AtomicI64, Ordering};

use proptest::collection::vec;
use proptest::prelude::*;
use values_core::assignment::Transfer;
use values_core::tables::{Beat, Counted, LightTick, OwnedRow, Tables, Tick};
use values_core::types::{Incarnation, Registration, Term, Token, ValueRow, WorkerState};
use values_core::worker::{Change, Command, Next, Outcome, REREAD_SECONDS, Report, Worker, phase_ms};

use crate::many;

/// A worker, the database and its clock.
struct Run {
    tables: Tables,
    worker: Worker,
    /// Each command, with the time at which the database executed it.
    log: Vec<(i64, Command)>,
}

impl Run {
    /// Starts at `now_ms`, after `lives` other workers, which sets the phase.
    fn new(now_ms: i64, lives: usize) -> Self {
        let mut tables = Tables::default();
        tables.now_ms = now_ms;
        for _ in 0..lives {
            let other = tables.register("other", 1, fresh_token());
            tables.retire(other);
        }
        Self { tables, worker: Worker::new(), log: Vec::new() }
    }

    /// Runs the next command, `late_ms` after it is due. Returns whether there was one.
    fn step(&mut self, late_ms: i64) -> bool {
        let Next::Run(_, at) = self.worker.next() else { return false };
        self.tables.now_ms = self.tables.now_ms.max(at.unwrap_or(self.tables.now_ms)) + late_ms;
        self.step_now();
        true
    }

    /// Runs the next command, whenever it is due.
    fn step_now(&mut self) -> Change {
        let command = self.next();
        self.log.push((self.tables.now_ms, command));
        let outcome = run(&mut self.tables, command);
        self.worker.apply(&outcome)
    }

    /// The rows of the worker in the table, as a tick should report them.
    fn held(&self) -> Report {
        let owned = self.tables.values.values().filter(|row| row.owner == self.worker.incarnation());
        let values = owned.map(|row| (row.id, row.value)).collect();
        Report { second: self.tables.now_ms.div_euclid(1000), values }
    }

    fn next(&self) -> Command {
        match self.worker.next() {
            Next::Run(command, _) => command,
            Next::Exit => panic!("the worker has ended"),
        }
    }

    /// The worker's present registration.
    fn life(&self) -> Registration {
        self.worker.registration().expect("a registered worker")
    }

    /// The present term of the lease.
    fn term(&self) -> Term {
        self.tables.lease.as_ref().expect("a lease").current()
    }

    fn give(&mut self, id: i64) {
        let second = self.tables.now_ms.div_euclid(1000);
        let owner = Some(self.life().incarnation);
        self.tables.values.insert(id, ValueRow { owner, ..ValueRow::new(id, 0, second) });
    }

    fn seconds_of_ticks(&self) -> Vec<i64> {
        let ticks = self.log.iter().filter(|(_, command)| is_tick(*command));
        ticks.map(|(at, _)| at.div_euclid(1000)).collect()
    }
}

/// A token that no one else has.
fn fresh_token() -> Token {
    static LAST: AtomicI64 = AtomicI64::new(0);
    Token(LAST.fetch_add(1, Ordering::Relaxed))
}

const fn is_tick(command: Command) -> bool {
    matches!(command, Command::Tick(_) | Command::LightTick(..))
}

fn run(tables: &mut Tables, command: Command) -> Outcome {
    match command {
        Command::Register => Outcome::Registered(tables.register("pod", 20, fresh_token())),
        Command::Tick(worker) => Outcome::Ticked(tables.tick(worker)),
        Command::LightTick(worker, generation) => Outcome::LightlyTicked(tables.light_tick(worker, generation)),
        Command::Heartbeat(worker) => Outcome::Beat(tables.heartbeat(worker)),
        Command::Leave(worker) => Outcome::Beat(tables.leave(worker)),
        Command::Retire(worker) => {
            tables.retire(worker);
            Outcome::Retired
        }
    }
}

/// An event that changes a worker's rows or clock.
#[derive(Debug, Clone)]
enum Happening {
    /// Milliseconds between two commands; negative if the clock steps back.
    Passes(i64),
    /// The command is executed, and its answer is lost.
    AnswerLost,
    /// A user adds a row without an owner.
    Inserted(i64, i64),
    Removed(i64),
    /// The manager assigns some of the rows without an owner to the worker.
    Given(u64),
    /// The manager moves some of the worker's rows away.
    Taken(u64),
    DeclaredDead,
    /// The registrations are lost, and another worker gets the number of this one.
    NumberComesAgain,
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let value = prop_oneof![8 => -50_i64..50, 1 => Just(i64::MIN), 1 => i64::MAX - 5..=i64::MAX];
    let one = prop_oneof![
        12 => prop_oneof![6 => 0_i64..600, 2 => 600_i64..5000, 1 => -4000_i64..0].prop_map(Happening::Passes),
        1 => Just(Happening::AnswerLost),
        3 => (1_i64..12, value).prop_map(|(id, value)| Happening::Inserted(id, value)),
        2 => (1_i64..12).prop_map(Happening::Removed),
        3 => (1_u64..4).prop_map(Happening::Given),
        2 => (1_u64..4).prop_map(Happening::Taken),
        1 => Just(Happening::DeclaredDead),
        1 => Just(Happening::NumberComesAgain),
    ];
    vec(one, 1..80)
}

impl Run {
    fn happens(&mut self, happening: &Happening) {
        let (term, second) = (self.term(), self.tables.now_ms.div_euclid(1000));
        let other = Incarnation(i64::MAX);
        let worker = self.worker.incarnation().unwrap_or(other);
        match happening {
            Happening::Passes(ms) => self.tables.now_ms += ms,
            Happening::AnswerLost => {
                let command = self.next();
                run(&mut self.tables, command);
                self.worker.apply(&Outcome::Failed);
            }
            Happening::Inserted(id, value) => {
                self.tables.values.entry(*id).or_insert_with(|| ValueRow::new(*id, *value, second));
            }
            Happening::Removed(id) => {
                self.tables.values.remove(id);
            }
            Happening::Given(count) => {
                let transfer = Transfer { from: None, to: worker, count: *count };
                self.tables.assign(term, 1000, &[transfer]).expect("the lease");
            }
            Happening::Taken(count) => {
                let transfer = Transfer { from: Some(worker), to: other, count: *count };
                self.tables.assign(term, 1000, &[transfer]).expect("the lease");
            }
            Happening::DeclaredDead => {
                if let Some(row) = self.tables.workers.get_mut(&worker) {
                    row.state = WorkerState::Dead;
                }
            }
            Happening::NumberComesAgain => {
                if let Some(Incarnation(number)) = self.worker.incarnation() {
                    self.tables.lose_registrations(number - 1);
                    self.tables.register("other", 20, fresh_token());
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(many())]

    #[test]
    fn it_reports_exactly_what_its_tick_left_in_the_table(start in 10_000_i64..100_000, happenings in happenings()) {
        let mut run = Run::new(start, 3);
        run.tables.campaign("m", 1000, fresh_token());
        for happening in &happenings {
            run.happens(happening);
            let command = run.next();
            let report = run.step_now().report;
            prop_assert!(report.is_none() || is_tick(command));
            prop_assert!(report.is_none_or(|report| report == run.held()), "{:?} after {:?}", command, run.log);
        }
        // Without further changes, the worker knows its rows without reading them.
        let mut reports = 0;
        for _ in 0..6 {
            run.tables.now_ms += 1000;
            let command = run.next();
            if let Some(report) = run.step_now().report {
                prop_assert_eq!(report, run.held(), "{:?}", command);
                reports += 1;
            }
        }
        prop_assert!(reports >= 1, "{:?}", run.log);
    }

    #[test]
    fn what_is_written_by_hand_is_noticed_in_time(start in 10_000_i64..100_000, edits in vec(0_u8..4, 1..4)) {
        let mut run = Run::new(start, 3);
        run.step(0);
        (1..=3).for_each(|id| run.give(id));
        for _ in 0..10 {
            run.step(0);
        }
        for edit in edits {
            match edit {
                0 => run.give(4),
                1 => {
                    run.tables.values.remove(&2);
                }
                2 => run.tables.values.values_mut().for_each(|row| (row.value, row.initial_value) = (row.value + 9, row.initial_value + 9)),
                _ => run.tables.values.get_mut(&1).expect("nobody removes it").owner = None,
            }
        }
        let deadline = run.tables.now_ms + REREAD_SECONDS * 1000 + 1000;
        while run.tables.now_ms < deadline {
            run.step(0);
        }
        while !is_tick(run.next()) {
            run.step(0);
        }
        let Next::Run(_, Some(at)) = run.worker.next() else { panic!("it goes on at its time") };
        run.tables.now_ms = at;
        prop_assert_eq!(run.step_now().report, Some(run.held()));
    }

    #[test]
    fn it_ticks_once_a_second_with_one_beat_in_between(
        start in 0_i64..100_000, lives in 0_usize..200, delays in vec(-20_i64..=40, 40)
    ) {
        let mut run = Run::new(start, lives);
        for late in delays {
            // A tick that is due right at the start of a second must not run early.
            let punctual = !matches!(run.next(), Command::Heartbeat(_));
            run.step(if punctual { late.max(0) } else { late });
        }
        let seconds = run.seconds_of_ticks();
        prop_assert!(seconds.len() >= 15, "{:?}", run.log);
        prop_assert!(seconds.windows(2).all(|pair| pair[1] == pair[0] + 1), "{:?}", run.log);
        // The worker has settled after two seconds, in any phase.
        let settled = run.log.iter().skip_while(|(at, _)| *at < start + 2000).map(|(_, command)| command);
        let ticks: Vec<bool> = settled.map(|command| is_tick(*command)).collect();
        prop_assert!(ticks.windows(2).all(|pair| pair[0] != pair[1]), "{:?}", run.log);
        prop_assert!(run.log.windows(2).all(|pair| pair[1].0 - pair[0].0 <= 550 + 40), "{:?}", run.log);
    }

    #[test]
    fn late_answers_lose_no_second_that_has_room_for_a_tick(
        start in 0_i64..100_000, lives in 0_usize..200, delays in vec(0_i64..=400, 40)
    ) {
        let mut run = Run::new(start, lives);
        run.step(0);
        run.give(1);
        for late in delays {
            run.step(late);
            prop_assert!(run.tables.values[&1].is_consistent());
        }
        let seconds = run.seconds_of_ticks();
        prop_assert!(seconds.windows(2).all(|pair| pair[1] > pair[0]), "{:?}", run.log);
        let last = seconds.last().copied().unwrap_or_default();
        prop_assert_eq!(run.tables.values[&1].last_tick, last);
        prop_assert!(run.log.windows(2).all(|pair| pair[1].0 - pair[0].0 <= 550 + 400), "{:?}", run.log);
    }

    #[test]
    fn it_goes_on_ticking_wherever_the_clock_steps(
        start in 0_i64..100_000, before in 3_usize..12, step_ms in -50_000_i64..5_000
    ) {
        let mut run = Run::new(100_000 + start, 7);
        for _ in 0..before {
            run.step(0);
        }
        run.give(1);
        // The worker waits by its own monotonic clock, so the next command runs half a
        // second later, regardless of the database's clock.
        run.tables.now_ms += step_ms;
        let after = run.tables.now_ms;
        for _ in 0..3 {
            let command = run.next();
            run.tables.now_ms += 300;
            let outcome = self::run(&mut run.tables, command);
            run.worker.apply(&outcome);
            run.log.push((run.tables.now_ms, command));
        }
        let Next::Run(_, at) = run.worker.next() else { panic!("it goes on") };
        prop_assert!(at.is_none_or(|at| at <= run.tables.now_ms + 550), "due {:?} at {}", at, after);
        prop_assert!(run.tables.values[&1].is_consistent());
    }

    #[test]
    fn whatever_comes_to_its_commands_it_goes_on_or_ends(outcomes in vec(any::<(u8, bool, i64, bool)>(), 0..40)) {
        let mut worker = Worker::new();
        for (what, alive, number, ends) in outcomes {
            if ends {
                if alive { worker.drain() } else { worker.stop() }
            }
            let Next::Run(command, _) = worker.next() else { break };
            let beat = Beat { now_ms: number.rem_euclid(1 << 40), alive, generation: number % 3 };
            worker.apply(&match command {
                _ if what % 3 == 0 => Outcome::Failed,
                Command::Register => Outcome::Registered(Registration { incarnation: Incarnation(number), token: Token(0) }),
                Command::Tick(_) => {
                    let rows = vec![OwnedRow { id: number % 5, value: 1, last_tick: number % 7 }];
                    Outcome::Ticked(Tick { beat, counted: Counted { rows: 1, second: Some(number % 7) }, rows })
                }
                Command::LightTick(..) => Outcome::LightlyTicked(LightTick {
                    counted: Counted { rows: u64::from(what % 2), second: Some(number % 7) },
                    beat_ms: alive.then_some(beat.now_ms),
                }),
                Command::Heartbeat(_) | Command::Leave(_) => Outcome::Beat(beat),
                Command::Retire(_) => Outcome::Retired,
            });
        }
    }

    #[test]
    fn phases_stay_in_the_first_part_of_the_second(incarnation in any::<i64>()) {
        prop_assert!((0..400).contains(&phase_ms(Incarnation(incarnation))));
    }
}

#[test]
fn at_rest_it_reads_its_rows_once_in_ten_seconds() {
    let mut run = registered();
    run.give(1);
    run.worker.apply(&Outcome::Failed);
    for _ in 0..200 {
        run.step(5);
    }
    let full = |(_, command): &&(i64, Command)| matches!(command, Command::Tick(_));
    let seconds: Vec<i64> = run.log.iter().filter(full).map(|(at, _)| at.div_euclid(1000)).collect();
    assert!(seconds[2..].windows(2).all(|pair| pair[1] - pair[0] == REREAD_SECONDS), "{seconds:?}");
    assert!(seconds.len() > 8, "{seconds:?}");
}

#[test]
fn a_row_that_stands_still_is_read_each_second() {
    let mut run = registered();
    run.give(1);
    run.tables.values.insert(2, ValueRow { owner: Some(run.life().incarnation), ..ValueRow::new(2, i64::MAX, 0) });
    run.worker.apply(&Outcome::Failed);
    for _ in 0..20 {
        run.step(5);
    }
    assert!(run.log.iter().all(|(_, command)| !matches!(command, Command::LightTick(..))), "{:?}", run.log);
}

fn registered() -> Run {
    let mut run = Run::new(10_250, 0);
    run.step(0);
    run.step(0);
    run
}

#[test]
fn phases_are_spread_evenly() {
    let mut fullest = [0; 40];
    for worker in 1..=400 {
        fullest[usize::try_from(phase_ms(Incarnation(worker)) / 10).expect("small")] += 1;
    }
    assert!(fullest.iter().all(|count| (5..=15).contains(count)), "{fullest:?}");
}

#[test]
fn a_draining_worker_leaves_then_retires_when_empty_then_ends() {
    let mut run = registered();
    run.give(1);
    let life = run.life();
    run.worker.drain();
    run.step(0);
    assert_eq!(run.tables.workers[&life.incarnation].state, WorkerState::Draining);
    assert_eq!(run.tables.workers[&life.incarnation].capacity, 0);
    for _ in 0..6 {
        run.step(0);
        assert!(!matches!(run.next(), Command::Retire(_)), "it still owns an id");
    }
    run.tables.values.clear();
    while run.step(0) {}
    let commands: Vec<_> = run.log.iter().map(|(_, command)| *command).collect();
    assert_eq!(commands[commands.len() - 2..], [Command::Tick(life), Command::Retire(life)]);
    assert_eq!(run.worker.next(), Next::Exit);
    assert_eq!(run.tables.workers[&life.incarnation].state, WorkerState::Dead);
}

#[test]
fn a_drain_whose_answer_is_lost_is_said_again() {
    let mut run = registered();
    let life = run.life();
    run.worker.drain();
    assert_eq!(run.next(), Command::Leave(life));
    run.worker.apply(&Outcome::Failed);
    assert_eq!(run.next(), Command::Leave(life));
}

#[test]
fn a_stopped_worker_releases_its_ids_at_once() {
    let mut run = registered();
    run.give(1);
    run.worker.stop();
    assert!(run.step(0));
    assert_eq!(run.worker.next(), Next::Exit);
    assert_eq!((run.tables.values[&1].owner, run.tables.values[&1].epoch), (None, 1));
}

#[test]
fn a_worker_that_never_registered_just_ends() {
    let mut worker = Worker::new();
    worker.drain();
    assert_eq!(worker.next(), Next::Exit);
}

#[test]
fn a_fenced_worker_says_what_it_lost_and_registers_anew() {
    let mut run = registered();
    run.give(1);
    run.worker.apply(&Outcome::Failed);
    run.step(0);
    let old = run.life();
    run.tables.workers.get_mut(&old.incarnation).expect("its row").state = WorkerState::Dead;
    let tick = run.tables.tick(old);
    let change = run.worker.apply(&Outcome::Ticked(tick));
    assert!(change.fenced);
    assert_eq!(change.lost, [1]);
    assert_eq!(run.next(), Command::Register);
    run.step(0);
    assert!(run.life() > old);
    assert_eq!(run.worker.next(), Next::Run(Command::Tick(run.life()), None));
}

#[test]
fn a_worker_whose_number_came_again_is_fenced_and_reports_nothing() {
    let commands: [fn(Registration) -> Command; 4] =
        [Command::Tick, Command::Heartbeat, Command::Leave, |worker| Command::LightTick(worker, 0)];
    for command in commands {
        let mut run = registered();
        run.give(1);
        let old = run.life();
        run.tables.lose_registrations(0);
        let new = run.tables.register("other", 20, fresh_token());
        assert_eq!(new.incarnation, old.incarnation);
        let workers = run.tables.workers.clone();
        run.tables.now_ms += 5000;
        let outcome = self::run(&mut run.tables, command(old));
        let mut reports = vec![run.worker.apply(&outcome).report];
        if let Command::Tick(worker) = run.next() {
            let tick = run.tables.tick(worker);
            reports.push(run.worker.apply(&Outcome::Ticked(tick)).report);
        }
        assert_eq!(run.next(), Command::Register);
        assert!(reports.iter().all(Option::is_none), "{reports:?}");
        assert_eq!(run.tables.retire(old), 0);
        assert_eq!(run.tables.workers, workers);
        let tick = run.tables.tick(new);
        let row = run.tables.values[&1];
        assert!(tick.beat.alive && row.is_consistent() && row.owner == Some(new.incarnation), "{tick:?} {row:?}");
    }
}

#[test]
fn a_changed_assignment_ticks_at_once_and_is_told() {
    let mut run = registered();
    let life = run.life();
    run.tables.campaign("m", 1000, fresh_token());
    run.tables.values.insert(5, ValueRow::new(5, 0, 10));
    let transfer = Transfer { from: None, to: life.incarnation, count: 1 };
    run.tables.assign(run.term(), 1000, &[transfer]).expect("the lease");
    while !matches!(run.log.last(), Some((_, Command::Heartbeat(_)))) {
        run.step(0);
    }
    if run.worker.next() == Next::Run(Command::Tick(life), None) {
        let tick = run.tables.tick(life);
        let change = run.worker.apply(&Outcome::Ticked(tick));
        assert_eq!((change.gained, change.lost), (vec![5], vec![]));
    } else {
        assert!(run.seconds_of_ticks().len() > 1, "a tick came first and saw it: {:?}", run.log);
    }
}

#[test]
fn after_a_failure_it_ticks_at_once() {
    let mut run = registered();
    run.worker.apply(&Outcome::Failed);
    assert_eq!(run.worker.next(), Next::Run(Command::Tick(run.life()), None));
}

#[test]
fn after_the_clock_stepped_back_it_ticks_at_once() {
    let mut run = registered();
    let beat = Beat { now_ms: 5_000, alive: true, generation: 0 };
    run.worker.apply(&Outcome::Beat(beat));
    assert_eq!(run.worker.next(), Next::Run(Command::Tick(run.life()), None));
}
