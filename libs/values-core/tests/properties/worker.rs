//! A worker in simulated time, against the production tables.

use proptest::collection::vec;
use proptest::prelude::*;
use values_core::tables::{Beat, Tables, Tick};
use values_core::types::{Incarnation, Term, ValueRow, WorkerState};
use values_core::worker::{Command, Next, Outcome, Worker, phase_ms};

use crate::many;

/// A worker, the database and its clock.
struct Run {
    tables: Tables,
    worker: Worker,
    /// Every command with the time at which the database ran it.
    log: Vec<(i64, Command)>,
}

impl Run {
    /// Starts at `now_ms`, after `lives` other workers, which sets the phase.
    fn new(now_ms: i64, lives: usize) -> Self {
        let mut tables = Tables::default();
        tables.now_ms = now_ms;
        for _ in 0..lives {
            let other = tables.register("other", 1);
            tables.retire(other);
        }
        Self { tables, worker: Worker::new(), log: Vec::new() }
    }

    /// Runs the next command, `late_ms` after it is due, and says whether there was one.
    fn step(&mut self, late_ms: i64) -> bool {
        let Next::Run(command, at) = self.worker.next() else { return false };
        self.tables.now_ms = self.tables.now_ms.max(at.unwrap_or(self.tables.now_ms)) + late_ms;
        self.log.push((self.tables.now_ms, command));
        let outcome = run(&mut self.tables, command);
        self.worker.apply(&outcome);
        true
    }

    fn next(&self) -> Command {
        match self.worker.next() {
            Next::Run(command, _) => command,
            Next::Exit => panic!("the worker has ended"),
        }
    }

    /// The worker's present life.
    fn life(&self) -> Incarnation {
        self.worker.incarnation().expect("a registered worker")
    }

    fn give(&mut self, id: i64) {
        let second = self.tables.now_ms.div_euclid(1000);
        let owner = Some(self.life());
        self.tables.values.insert(id, ValueRow { owner, ..ValueRow::new(id, 0, second) });
    }

    fn seconds_of_ticks(&self) -> Vec<i64> {
        let ticks = self.log.iter().filter(|(_, command)| matches!(command, Command::Tick(_)));
        ticks.map(|(at, _)| at.div_euclid(1000)).collect()
    }
}

fn run(tables: &mut Tables, command: Command) -> Outcome {
    match command {
        Command::Register => Outcome::Registered(tables.register("pod", 20)),
        Command::Tick(worker) => Outcome::Ticked(tables.tick(worker)),
        Command::Heartbeat(worker) => Outcome::Beat(tables.heartbeat(worker)),
        Command::Leave(worker) => Outcome::Beat(tables.leave(worker)),
        Command::Retire(worker) => {
            tables.retire(worker);
            Outcome::Retired
        }
    }
}

proptest! {
    #![proptest_config(many())]

    #[test]
    fn it_ticks_once_a_second_with_one_beat_in_between(
        start in 0_i64..100_000, lives in 0_usize..200, delays in vec(-20_i64..=40, 40)
    ) {
        let mut run = Run::new(start, lives);
        for late in delays {
            // A tick right at the start of a second must not come early.
            let punctual = !matches!(run.next(), Command::Heartbeat(_));
            run.step(if punctual { late.max(0) } else { late });
        }
        let seconds = run.seconds_of_ticks();
        prop_assert!(seconds.len() >= 15, "{:?}", run.log);
        prop_assert!(seconds.windows(2).all(|pair| pair[1] == pair[0] + 1), "{:?}", run.log);
        // Settled after the first two seconds, whatever the phase.
        let settled = run.log.iter().skip_while(|(at, _)| *at < start + 2000).map(|(_, command)| command);
        let ticks: Vec<bool> = settled.map(|command| matches!(command, Command::Tick(_))).collect();
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
        // The worker waits by its own monotonic clock, so the next command comes
        // half a second later whatever the database's clock says by then.
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
                Command::Register => Outcome::Registered(Incarnation(number)),
                Command::Tick(_) => Outcome::Ticked(Tick { beat, values: vec![(number % 5, 1)], changed: 1 }),
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
    assert_eq!(run.tables.workers[&life].state, WorkerState::Draining);
    assert_eq!(run.tables.workers[&life].capacity, 0);
    for _ in 0..6 {
        run.step(0);
        assert!(!matches!(run.next(), Command::Retire(_)), "it still owns an id");
    }
    run.tables.values.clear();
    while run.step(0) {}
    let commands: Vec<_> = run.log.iter().map(|(_, command)| *command).collect();
    assert_eq!(commands[commands.len() - 2..], [Command::Tick(life), Command::Retire(life)]);
    assert_eq!(run.worker.next(), Next::Exit);
    assert_eq!(run.tables.workers[&life].state, WorkerState::Dead);
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
    run.tables.workers.get_mut(&old).expect("its row").state = WorkerState::Dead;
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
fn a_changed_assignment_ticks_at_once_and_is_told() {
    let mut run = registered();
    let life = run.life();
    run.tables.campaign("m", 1000);
    run.tables.values.insert(5, ValueRow::new(5, 0, 10));
    let transfer = values_core::assignment::Transfer { from: None, to: life, count: 1 };
    run.tables.assign(Term(1), 1000, &[transfer]).expect("the lease");
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
