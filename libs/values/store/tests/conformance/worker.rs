//! Requests of workers.

use std::time::Duration;

use kit_database::sqlx::{MySqlConnection, raw_sql};
use testkit::on_every_backend;
use values_core::assignment::Transfer;
use values_core::tables::{LightTick, OwnedRow};
use values_core::types::{Incarnation, Registration, Token, WorkerState};
use values_core::worker::{Command, Next, Outcome, Worker};

use crate::backend::{Backend, literal};

on_every_backend!(
    incarnations_ascend_and_are_never_reused,
    names_are_kept_as_they_are,
    the_long_dead_are_forgotten,
    a_tick_catches_up_what_was_missed,
    a_tick_counts_a_second_once,
    negative_values_count_upwards,
    a_full_row_stands_still_and_the_others_tick,
    a_clock_that_stepped_back_pauses,
    only_own_rows_tick,
    a_tick_is_a_heartbeat,
    a_light_tick_counts_and_beats,
    a_light_tick_catches_up_what_was_missed,
    a_light_tick_under_another_generation_counts_and_says_so,
    a_light_tick_of_the_dead_is_no_heartbeat,
    a_light_tick_shows_by_its_count_that_rows_came_or_went,
    a_zombie_is_told_and_changes_nothing_after_a_takeover,
    who_was_declared_dead_only_counts,
    who_never_registered_only_counts,
    a_number_that_comes_again_fences_its_older_holder,
    a_registration_without_a_token_is_not_taken_for_one_with,
    leaving_is_for_good,
    retiring_releases,
);

/// A registration that no database has made.
const NOBODY: Registration = Registration { incarnation: Incarnation(77), token: Token(7) };

async fn incarnations_ascend_and_are_never_reused(backend: Backend) {
    let first = backend.worker().await;
    let second = backend.worker().await;
    assert!(second.incarnation > first.incarnation);
    backend.store.retire(second).await.unwrap();
    backend.sql("DELETE FROM workers").await.unwrap();
    assert!(backend.worker().await.incarnation > second.incarnation);
}

async fn names_are_kept_as_they_are(backend: Backend) {
    for name in ["o'brien", "a\"b\\c`d", "'; DROP TABLE workers; -- ", "Ünïcödé 名前 🦀", "", &"x".repeat(253)]
    {
        let worker = backend.store.register(name, 1).await.unwrap();
        assert_eq!(backend.contents().await.workers[&worker.incarnation].name, name);
        // The name of a lease holder is stored unchanged, too.
        backend.sql("UPDATE manager_lease SET until = 0").await.unwrap();
        backend.store.campaign(name).await.unwrap().won.unwrap();
        assert_eq!(backend.contents().await.lease.unwrap().holder, name);
        let sql = format!("UPDATE workers SET name = 'found' WHERE name = {}", literal(&backend, name));
        backend.sql(&sql).await.unwrap();
        assert_eq!(backend.contents().await.workers[&worker.incarnation].name, "found");
    }
}

async fn the_long_dead_are_forgotten(backend: Backend) {
    let [dead, living] = [backend.worker().await, backend.worker().await];
    backend.store.retire(dead).await.unwrap();
    backend.advance(23 * 60 * 60 * 1000, None).await;
    backend.worker().await;
    assert!(backend.contents().await.workers.contains_key(&dead.incarnation));
    backend.advance(2 * 60 * 60 * 1000, None).await;
    backend.worker().await;
    let workers = backend.contents().await.workers;
    assert!(!workers.contains_key(&dead.incarnation));
    assert!(workers.contains_key(&living.incarnation), "only those that were declared dead");
}

async fn a_tick_catches_up_what_was_missed(backend: Backend) {
    let worker = backend.worker().await;
    backend.owned(7, worker).await;
    backend.advance(5000, None).await;
    backend.owned(8, worker).await;
    backend.advance(7000, None).await;
    let tick = backend.store.tick(worker).await.unwrap();
    assert_eq!(tick.counted.rows, 2);
    for (id, seconds) in [(7, 12), (8, 7)] {
        let row = backend.row(id).await;
        assert_eq!(row.last_tick, tick.second());
        assert!(row.is_consistent() && row.value >= seconds, "{row:?}");
        assert!(tick.rows.contains(&OwnedRow { id, value: row.value, last_tick: row.last_tick }));
    }
}

async fn a_tick_counts_a_second_once(backend: Backend) {
    let worker = backend.worker().await;
    backend.owned(7, worker).await;
    backend.advance(3000, None).await;
    let mut seconds = std::collections::BTreeMap::new();
    for _ in 0..5 {
        let tick = backend.store.tick(worker).await.unwrap();
        let value = tick.rows[0].value;
        assert_eq!(*seconds.entry(tick.second()).or_insert(value), value, "two values in one second");
        assert!(backend.row(7).await.is_consistent());
    }
}

async fn negative_values_count_upwards(backend: Backend) {
    let worker = backend.worker().await;
    backend
        .sql(&format!("INSERT INTO `values` (id, value, owner) VALUES (7, -10, {})", worker.incarnation))
        .await
        .unwrap();
    backend.advance(4000, None).await;
    backend.store.tick(worker).await.unwrap();
    let row = backend.row(7).await;
    assert!(row.is_consistent() && row.value >= -6 && row.initial_value == -10, "{row:?}");
}

async fn a_full_row_stands_still_and_the_others_tick(backend: Backend) {
    let worker = backend.worker().await;
    let owner = worker.incarnation;
    let almost = i64::MAX - 2;
    backend
        .sql(&format!(
            "INSERT INTO `values` (id, value, owner) VALUES \
             (1, {max}, {owner}), (2, 5, {owner}), (3, {almost}, {owner}), (4, {min}, {owner})",
            max = i64::MAX,
            min = i64::MIN
        ))
        .await
        .unwrap();
    backend.advance(60_000, None).await;
    // The row is ahead of the clock, as after a step of the clock.
    let ahead = backend.now_ms().await.div_euclid(1000) + 1_000_000;
    backend
        .sql(&format!("INSERT INTO `values` (id, first_tick, last_tick, owner) VALUES (5, {ahead}, {ahead}, {owner})"))
        .await
        .unwrap();
    let tick = backend.store.tick(worker).await.unwrap();
    assert_eq!(tick.counted.rows, 2);
    assert_eq!(backend.row(1).await.value, i64::MAX);
    assert_eq!(backend.row(3).await.value, almost, "not even in part");
    assert!(backend.row(2).await.value >= 65);
    assert!(backend.row(4).await.value >= i64::MIN + 60);
    assert_eq!(backend.row(5).await.value, 0);
}

/// The clock is fixed, so the count reaches its maximum exactly.
#[tokio::test]
async fn a_row_is_counted_until_it_is_full() {
    let backend = Backend::mysql("until_full").await;
    let worker = backend.worker().await;
    let owner = worker.incarnation;
    backend
        .sql(&format!("INSERT INTO `values` (id, value, owner) VALUES (1, {}, {owner})", i64::MAX - 5))
        .await
        .unwrap();
    for (seconds, value) in [(3, i64::MAX - 2), (2, i64::MAX), (1, i64::MAX)] {
        backend.advance(seconds * 1000, None).await;
        backend.store.tick(worker).await.unwrap();
        assert_eq!(backend.row(1).await.value, value);
    }
}

async fn a_clock_that_stepped_back_pauses(backend: Backend) {
    let worker = backend.worker().await;
    backend.owned(7, worker).await;
    backend.advance(10_000, None).await;
    backend.store.tick(worker).await.unwrap();
    let before = backend.row(7).await;
    backend.advance(-5000, None).await;
    assert_eq!(backend.store.tick(worker).await.unwrap().counted.rows, 0);
    assert_eq!(backend.row(7).await.value, before.value);
    backend.advance(8000, None).await;
    assert_eq!(backend.store.tick(worker).await.unwrap().counted.rows, 1);
    let after = backend.row(7).await;
    assert!(after.is_consistent() && after.value >= before.value + 3, "{before:?} {after:?}");
}

async fn only_own_rows_tick(backend: Backend) {
    let [one, other] = [backend.worker().await, backend.worker().await];
    backend.owned(1, one).await;
    backend.owned(2, other).await;
    backend.sql("INSERT INTO `values` (id) VALUES (3)").await.unwrap();
    backend.advance(3000, None).await;
    let others = [backend.row(2).await, backend.row(3).await];
    let tick = backend.store.tick(one).await.unwrap();
    assert_eq!((tick.counted.rows, tick.rows.len()), (1, 1));
    assert_eq!([backend.row(2).await, backend.row(3).await], others);
}

async fn a_tick_is_a_heartbeat(backend: Backend) {
    let worker = backend.worker().await;
    for _ in 0..2 {
        backend.advance(1000, None).await;
        let beat = backend.store.tick(worker).await.unwrap().beat;
        assert!(beat.alive);
        assert_eq!(backend.contents().await.workers[&worker.incarnation].heartbeat, beat.now_ms);
        backend.advance(1000, None).await;
        let beat = backend.store.heartbeat(worker).await.unwrap();
        assert!(beat.alive);
        assert_eq!(backend.contents().await.workers[&worker.incarnation].heartbeat, beat.now_ms);
    }
}

async fn a_light_tick_counts_and_beats(backend: Backend) {
    let [worker, other] = [backend.worker().await, backend.worker().await];
    for (id, owner) in [(1, worker), (2, worker), (3, other)] {
        backend.owned(id, owner).await;
    }
    backend.advance(1000, None).await;
    let tick = backend.store.light_tick(worker, 0).await.unwrap();
    assert_eq!(tick.counted.rows, 2);
    let second = tick.counted.second.expect("rows were counted");
    for id in [1, 2] {
        let row = backend.row(id).await;
        assert!(row.is_consistent() && row.last_tick == second, "{row:?} {tick:?}");
    }
    assert_eq!(backend.row(3).await.value, 0);
    let heartbeat = backend.contents().await.workers[&worker.incarnation].heartbeat;
    assert_eq!(tick.beat_ms, Some(heartbeat));
    assert!([0, 1].contains(&(heartbeat.div_euclid(1000) - second)), "{tick:?}");
    // A tick without rows is still a heartbeat.
    backend.sql("DELETE FROM `values`").await.unwrap();
    let tick = backend.store.light_tick(worker, 0).await.unwrap();
    assert_eq!((tick.counted.rows, tick.counted.second), (0, None));
    assert!(tick.beat_ms.is_some_and(|beat_ms| beat_ms >= heartbeat), "{tick:?}");
}

async fn a_light_tick_catches_up_what_was_missed(backend: Backend) {
    let worker = backend.worker().await;
    backend.owned(7, worker).await;
    let before = backend.row(7).await;
    backend.advance(12_000, None).await;
    let missed = backend.row(7).await;
    let tick = backend.store.light_tick(worker, 0).await.unwrap();
    let row = backend.row(7).await;
    assert_eq!(tick.counted.second, Some(row.last_tick));
    assert!(row.is_consistent() && row.value >= before.value + 12, "{row:?}");
    assert_eq!(row.value - missed.value, row.last_tick - missed.last_tick);
}

async fn a_light_tick_under_another_generation_counts_and_says_so(backend: Backend) {
    let worker = backend.worker().await;
    backend.owned(7, worker).await;
    let term = backend.lead().await;
    backend.sql("INSERT INTO `values` (id) VALUES (8)").await.unwrap();
    let given = Transfer { from: None, to: worker.incarnation, count: 1 };
    assert_eq!(backend.store.assign(term, &[given]).await.unwrap(), Some(1));
    backend.advance(1000, None).await;
    let heartbeat = backend.contents().await.workers[&worker.incarnation].heartbeat;
    let tick = backend.store.light_tick(worker, 0).await.unwrap();
    assert_eq!((tick.beat_ms, tick.counted.rows), (None, 2));
    assert_eq!(backend.contents().await.workers[&worker.incarnation].heartbeat, heartbeat);
    assert!(backend.row(7).await.is_consistent() && backend.row(8).await.is_consistent());
    assert!(backend.store.light_tick(worker, 1).await.unwrap().beat_ms.is_some());
    assert!(backend.store.light_tick(worker, 2).await.unwrap().beat_ms.is_none());
}

async fn a_light_tick_of_the_dead_is_no_heartbeat(backend: Backend) {
    let worker = backend.worker().await;
    backend.owned(7, worker).await;
    backend.advance(5000, None).await;
    let term = backend.lead().await;
    backend.store.expire(term, &[worker.incarnation], 2000).await.unwrap();
    let before = backend.contents().await.workers;
    let tick = backend.store.light_tick(worker, 0).await.unwrap();
    assert_eq!((tick.beat_ms, tick.counted.rows), (None, 1));
    assert_eq!(backend.contents().await.workers, before, "the dead do not come back");
    assert!(backend.row(7).await.is_consistent());
    assert_eq!(backend.store.light_tick(NOBODY, 0).await.unwrap(), LightTick::default());
}

async fn a_light_tick_shows_by_its_count_that_rows_came_or_went(backend: Backend) {
    let worker = backend.worker().await;
    for id in [1, 2, 3] {
        backend.owned(id, worker).await;
    }
    let rows = async || {
        backend.advance(1000, None).await;
        backend.store.light_tick(worker, 0).await.unwrap().counted.rows
    };
    assert_eq!(rows().await, 3);
    backend.store.remove(2).await.unwrap();
    assert_eq!(rows().await, 2);
    backend.owned(4, worker).await;
    backend.owned(5, worker).await;
    assert_eq!(rows().await, 4);
}

/// The clock is fixed between commands. Whichever commands a worker chooses, its report
/// must equal the contents of the table.
#[tokio::test]
async fn a_worker_reports_what_the_table_holds() {
    let backend = Backend::mysql("reports").await;
    let mut worker = Worker::new();
    let term = backend.lead().await;
    let (mut reports, mut light) = (0, 0);
    for step in 0..60_i64 {
        let Next::Run(command, _) = worker.next() else { panic!("nobody ends it") };
        let outcome = ask(&backend, command).await;
        let report = worker.apply(&outcome).report;
        if let Some(report) = report {
            let rows = backend.contents().await.values;
            let held = rows.values().filter(|row| row.owner == worker.incarnation()).map(|row| (row.id, row.value));
            assert_eq!(report.values, held.collect::<Vec<_>>(), "after {command:?}");
            assert_eq!(report.second, backend.now_ms().await.div_euclid(1000));
            light += u32::from(matches!(command, Command::LightTick(..)) && !report.values.is_empty());
            reports += 1;
        }
        let present = worker.incarnation().expect("it registers first");
        match step % 12 {
            2 => {
                backend.store.add_count(3).await.unwrap();
                let given = Transfer { from: None, to: present, count: 2 };
                backend.store.assign(term, &[given]).await.unwrap();
            }
            7 => drop(backend.store.remove_count(1).await.unwrap()),
            10 => backend.advance(4000, None).await,
            _ => {}
        }
        backend.advance(500, None).await;
    }
    assert!(reports > 20 && light > 5, "{reports} reports, {light} of them of light ticks");
}

async fn ask(backend: &Backend, command: Command) -> Outcome {
    let store = &backend.store;
    match command {
        Command::Register => Outcome::Registered(store.register("worker", 20).await.unwrap()),
        Command::Tick(worker) => Outcome::Ticked(store.tick(worker).await.unwrap()),
        Command::LightTick(worker, generation) => {
            Outcome::LightlyTicked(store.light_tick(worker, generation).await.unwrap())
        }
        Command::Heartbeat(worker) => Outcome::Beat(store.heartbeat(worker).await.unwrap()),
        Command::Leave(_) | Command::Retire(_) => panic!("nobody ends it"),
    }
}

/// The statements of one packet may run in different seconds: here the count waits for a
/// lock until the next second. The answer must contain the second that was counted.
#[tokio::test]
async fn the_second_told_is_the_second_counted() {
    let backend = Backend::mysql_in_real_time("seconds").await;
    let worker = backend.worker().await;
    backend.owned(7, worker).await;
    let mut user = backend.user().await;

    lock_late_in_a_second(&backend, &mut user).await;
    let (tick, ()) = tokio::join!(backend.store.light_tick(worker, 0), release_soon(&mut user));
    let (tick, row) = (tick.unwrap(), backend.row(7).await);
    assert_eq!(tick.counted.second, Some(row.last_tick));
    assert_eq!(tick.beat_ms.expect("it is alive").div_euclid(1000), row.last_tick + 1);

    lock_late_in_a_second(&backend, &mut user).await;
    let (tick, ()) = tokio::join!(backend.store.tick(worker), release_soon(&mut user));
    let (tick, row) = (tick.unwrap(), backend.row(7).await);
    assert_eq!((tick.second(), tick.rows[0].last_tick), (row.last_tick, row.last_tick));
    assert_eq!(tick.beat.now_ms.div_euclid(1000), row.last_tick + 1);
}

async fn lock_late_in_a_second(backend: &Backend, user: &mut MySqlConnection) {
    let ahead = 1600 - backend.now_ms().await.rem_euclid(1000);
    tokio::time::sleep(Duration::from_millis(ahead.unsigned_abs())).await;
    raw_sql("BEGIN; SELECT * FROM `values` WHERE id = 7 FOR UPDATE").execute(user).await.unwrap();
}

async fn release_soon(user: &mut MySqlConnection) {
    tokio::time::sleep(Duration::from_millis(600)).await;
    raw_sql("COMMIT").execute(user).await.unwrap();
}

/// If triggers write, too, the server reports no second. The store must not read that as
/// second 0.
#[tokio::test]
async fn triggers_do_not_mislead() {
    let backend = Backend::mysql("triggers").await;
    let worker = backend.worker().await;
    backend.owned(7, worker).await;
    let slow =
        |name, table| format!("CREATE TRIGGER {name} BEFORE UPDATE ON {table} FOR EACH ROW SET @seen = NEW.heartbeat");
    backend.sql(&slow("beats", "workers")).await.unwrap();
    backend.sql(&slow("ticks", "`values`").replace("heartbeat", "value")).await.unwrap();
    backend.advance(1000, None).await;
    let tick = backend.store.light_tick(worker, 0).await.unwrap();
    let row = backend.row(7).await;
    assert!(tick.counted.second.is_none_or(|second| second == row.last_tick), "{tick:?}");
    assert!(tick.beat_ms.is_none_or(|beat_ms| beat_ms.div_euclid(1000) == row.last_tick), "{tick:?}");
    let mut machine = Worker::new();
    for _ in 0..30 {
        let Next::Run(command, _) = machine.next() else { panic!("nobody ends it") };
        let report = machine.apply(&ask(&backend, command).await).report;
        assert!(report.is_none_or(|report| report.second >= row.last_tick), "{command:?}");
        backend.advance(250, None).await;
    }
}

async fn a_zombie_is_told_and_changes_nothing_after_a_takeover(backend: Backend) {
    let [zombie, heir] = [backend.worker().await, backend.worker().await];
    backend.owned(7, zombie).await;
    backend.advance(5000, None).await;
    let term = backend.lead().await;
    assert_eq!(backend.store.expire(term, &[zombie.incarnation], 2000).await.unwrap(), Some(1));
    let takeover = Transfer { from: Some(zombie.incarnation), to: heir.incarnation, count: 1 };
    assert_eq!(backend.store.assign(term, &[takeover]).await.unwrap(), Some(1));
    let before = backend.contents().await;
    let tick = backend.store.tick(zombie).await.unwrap();
    assert!(!tick.beat.alive && tick.counted.rows == 0 && tick.rows.is_empty(), "{tick:?}");
    assert!(!backend.store.heartbeat(zombie).await.unwrap().alive);
    assert!(!backend.store.leave(zombie).await.unwrap().alive);
    assert_eq!(backend.store.retire(zombie).await.unwrap(), 0);
    assert_eq!(backend.contents().await, before);
    assert_eq!(backend.store.tick(heir).await.unwrap().counted.rows, 1);
    assert!(backend.row(7).await.is_consistent());
}

async fn who_was_declared_dead_only_counts(backend: Backend) {
    let worker = backend.worker().await;
    backend.owned(7, worker).await;
    backend.advance(5000, None).await;
    let term = backend.lead().await;
    backend.store.expire(term, &[worker.incarnation], 2000).await.unwrap();
    is_fenced(&backend, worker).await;
}

async fn who_never_registered_only_counts(backend: Backend) {
    backend.owned(7, NOBODY).await;
    backend.advance(1000, None).await;
    is_fenced(&backend, NOBODY).await;
    assert!(backend.contents().await.workers.is_empty());
}

/// The table of workers was emptied, or a replica without the last registrations became
/// the primary: another worker gets the same number.
async fn a_number_that_comes_again_fences_its_older_holder(backend: Backend) {
    let older = backend.worker().await;
    backend.owned(7, older).await;
    backend.lose_registrations().await;
    backend.advance(2000, None).await;
    is_fenced(&backend, older).await;

    let newer = backend.worker().await;
    assert_eq!(newer.incarnation, older.incarnation);
    assert_ne!(newer.token, older.token);
    backend.advance(2000, None).await;
    is_fenced(&backend, older).await;
    let tick = backend.store.tick(newer).await.unwrap();
    assert!(tick.beat.alive && tick.rows.len() == 1, "{tick:?}");
    backend.advance(2000, None).await;
    assert_eq!(backend.store.light_tick(newer, 0).await.unwrap().counted.rows, 1);
    assert!(backend.store.leave(newer).await.unwrap().alive);
    assert_eq!(backend.store.retire(newer).await.unwrap(), 1);
}

/// A registration of a release without tokens.
async fn a_registration_without_a_token_is_not_taken_for_one_with(backend: Backend) {
    let worker = backend.worker().await;
    backend.owned(7, worker).await;
    backend.sql("UPDATE workers SET token = 0").await.unwrap();
    backend.advance(2000, None).await;
    assert_ne!(worker.token, Token(0));
    is_fenced(&backend, worker).await;
}

/// Checks that every command of `worker`, who owns id 7, answers that it is not
/// registered, counts seconds as they are, and changes nothing else.
async fn is_fenced(backend: &Backend, worker: Registration) {
    let before = backend.contents().await;
    let tick = backend.store.tick(worker).await.unwrap();
    assert_eq!((tick.beat.alive, tick.counted.rows), (false, 1));
    assert_eq!(backend.store.light_tick(worker, 0).await.unwrap().beat_ms, None);
    assert!(!backend.store.heartbeat(worker).await.unwrap().alive);
    assert!(!backend.store.leave(worker).await.unwrap().alive);
    assert_eq!(backend.store.retire(worker).await.unwrap(), 0);
    let after = backend.contents().await;
    assert_eq!((after.workers, after.lease), (before.workers, before.lease));
    let (old, new) = (before.values[&7], after.values[&7]);
    assert!(new.is_consistent() && (new.owner, new.epoch) == (old.owner, old.epoch), "{old:?} {new:?}");
}

async fn leaving_is_for_good(backend: Backend) {
    let worker = backend.worker().await;
    backend.advance(1000, None).await;
    let beat = backend.store.leave(worker).await.unwrap();
    assert!(beat.alive);
    let row = backend.contents().await.workers[&worker.incarnation].clone();
    assert_eq!((row.state, row.capacity, row.heartbeat), (WorkerState::Draining, 0, beat.now_ms));
    let term = backend.lead().await;
    backend.store.set_draining(term, &[worker.incarnation], false).await.unwrap();
    assert_eq!(backend.contents().await.workers[&worker.incarnation].state, WorkerState::Draining);
    assert!(backend.store.heartbeat(worker).await.unwrap().alive, "it is alive until it has gone");
}

async fn retiring_releases(backend: Backend) {
    let [worker, other] = [backend.worker().await, backend.worker().await];
    backend.owned(1, worker).await;
    backend.owned(2, worker).await;
    backend.owned(3, other).await;
    assert_eq!(backend.store.retire(worker).await.unwrap(), 2);
    let contents = backend.contents().await;
    assert_eq!((contents.values[&1].owner, contents.values[&1].epoch), (None, 1));
    assert_eq!((contents.values[&3].owner, contents.values[&3].epoch), (Some(other.incarnation), 0));
    assert_eq!(contents.workers[&worker.incarnation].state, WorkerState::Dead);
    assert_eq!(backend.store.retire(worker).await.unwrap(), 0, "twice is as good as once");
}
